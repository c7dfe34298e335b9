package control_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weir/policy"
	"weir/userspace/control"
	"weir/userspace/control/controltest"
)

// held is how many connections a client keeps that is told to.
const held = 8

// TestMain lets this program be the client of another user.
func TestMain(m *testing.M) {
	if socket := os.Getenv("CONTROL_TEST_HOLD"); socket != "" {
		for range held {
			if _, err := net.Dial("unix", socket); err != nil {
				fmt.Println(err)
			}
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	if socket := os.Getenv("CONTROL_TEST_ASK"); socket != "" {
		c := control.NewClient(socket, "1.0-test")
		_, err := c.Status(context.Background())
		if os.Getenv("CONTROL_TEST_CHANGE") != "" {
			_, err = c.Pin(context.Background(), control.Terms{Action: policy.Drop}, strings.NewReader("192.0.2.1"), func(int) {})
		}
		if err == nil {
			fmt.Println("served")
			os.Exit(0)
		}
		fmt.Println(errors.Is(err, control.ErrForbidden), err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestRoles asks as other users. Operators are the group daemon (1), readers the
// group bin (2), which every system has.
func TestRoles(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("must run as root")
		}
		t.Skip("SKIPPED: only root can act as other users")
	}
	dir, err := os.MkdirTemp("/tmp", "weir-control-") // reachable for others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self := filepath.Join(dir, "ask")
	copyFile(t, "/proc/self/exe", self)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &controltest.Backend{}
	_, socket := mustServe(t, b, func(o *control.Options) {
		o.MaxClients = held
		o.Socket, o.Operators, o.Readers = filepath.Join(dir, "run", "s"), "daemon", "bin"
	})
	info, err := os.Stat(socket)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 || // the mode of the group is the mask
		info.Sys().(*syscall.Stat_t).Gid != 1 || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Fatalf("socket: %v, %v", info, err)
	}
	env := []string{"CONTROL_TEST_ASK=" + socket}
	ask := func(uid, gid uint32, groups ...uint32) string {
		cmd := exec.Command(self)
		cmd.Env = env
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
		out, _ := cmd.Output() // the text tells
		return string(out)
	}
	many := make([]uint32, 200) // more than the kernel is first asked for
	for i := range many {
		many[i] = uint32(5000 + i)
	}
	check := func(name, got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	check("root", ask(0, 0), "served")
	check("primary group", ask(12345, 1), "served")
	check("supplementary group", ask(12345, 12345, 4, 1), "served")
	check("one of many groups", ask(12345, 12345, append(many, 1)...), "served")
	check("reader", ask(12345, 2), "served")
	check("reader by another group", ask(12345, 12345, 4, 2), "served")
	hold := exec.Command(self) // as many as there may be, by who may only look
	hold.Env = []string{"CONTROL_TEST_HOLD=" + socket}
	hold.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 2}}
	in, err := hold.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := hold.StdoutPipe()
	if err == nil {
		err = hold.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "held\n" {
		t.Errorf("%q, %v", said, err)
	}
	check("root beside many readers", ask(0, 0), "served")
	check("one reader more takes the place of a silent one", ask(12345, 2), "served")
	_ = in.Close()
	if err := hold.Wait(); err != nil {
		t.Error(err)
	}
	check("kept out by the mode", ask(12345, 12345), "true "+socket+" is not yours to use: run the command as root")
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	check("kept out by the server", ask(12345, 12345, 4), "true uid 12345 may not speak to weir: run the command as root, or join group daemon")

	env = append(env, "CONTROL_TEST_CHANGE=1")
	check("a stranger's change", ask(12345, 12345, 4), "true uid 12345 may not speak")
	check("a reader's change", ask(12345, 2), "true uid 12345 may look and change nothing: run the command as root, or join group daemon")
	if b.Len() != 0 {
		t.Fatal("a reader has pinned")
	}
	check("an operator's change", ask(12345, 12345, 1, 2), "served")
	if b.Len() != 1 {
		t.Error("an operator has not pinned")
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAudit is what is left of each kind of change, with who, what and why.
func TestAudit(t *testing.T) {
	t.Setenv("SUDO_USER", "alice")
	var kept bytes.Buffer
	b := &controltest.Backend{}
	b.Put(policy.Decision{Target: mustTarget(t, "203.0.113.9"), Action: policy.Drop, Since: epoch, Rule: "failures"})
	c, _ := mustServe(t, b, func(o *control.Options) { o.Audit = slog.New(slog.NewJSONHandler(&kept, nil)) })
	ctx := t.Context()
	_, err := c.Pin(ctx, control.Terms{Action: policy.Drop, Reason: "botnet"}, strings.NewReader("198.51.100.0/24\n192.0.2.1 # seen twice"), nothing)
	if err == nil {
		_, err = c.Unpin(ctx, strings.NewReader("192.0.2.1\n192.0.2.2"), "over", nothing)
	}
	if err == nil {
		_, err = c.Release(ctx, "203.0.113.9", "a mistake")
	}
	if err == nil {
		_, err = c.SetUser(ctx, "Bob", control.Terms{Action: policy.Limit, Rate: "10/h", Burst: 5, Reason: "slowly"})
	}
	if err == nil {
		_, err = c.ResetUser(ctx, "bob", "paid")
	}
	if err == nil {
		_, err = c.Panic(ctx, "shut out")
	}
	if err == nil {
		_, err = c.Lift(ctx, "mended")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Release(ctx, "203.0.113.9", "again"); !errors.Is(err, control.ErrNotFound) { // changes nothing
		t.Fatal(err)
	}
	want := []string{
		`pinned: drop because "botnet": [198.51.100.0/24 192.0.2.1 # seen twice]`,
		`unpinned: <nil> because "over": [192.0.2.1 192.0.2.2]`,
		`released: <nil> because "a mistake": 203.0.113.9`,
		`user set: limit because "slowly": bob`,
		`user reset: <nil> because "paid": bob`,
		`panic: <nil> because "shut out": <nil>`,
		`panic lifted: <nil> because "mended": <nil>`,
	}
	for d := json.NewDecoder(&kept); d.More(); want = want[1:] {
		var r map[string]any
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		on := r["target"]
		if on == nil {
			on = r["targets"]
		}
		got := fmt.Sprintf("%v: %v because %q: %v", r["msg"], r["action"], r["reason"], on)
		if len(want) == 0 || got != want[0] {
			t.Fatalf("kept %s, want %q", got, want)
		}
		sudoer := any("alice")
		if os.Getuid() != 0 {
			sudoer = nil // anybody could say so
		}
		if r["sudo_user"] != sudoer || r["uid"] != float64(os.Getuid()) || r["by"] == "" || r["pid"] != float64(os.Getpid()) {
			t.Errorf("who: %v", r)
		}
	}
	if len(want) > 0 {
		t.Errorf("not kept: %q", want)
	}
}
