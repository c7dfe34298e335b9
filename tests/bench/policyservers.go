package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/tests/peers"
)

// policyServer is a contender: a policy server that counts what each user
// sends within an hour and within a day.
type policyServer struct {
	name    string
	version string
	missing string
	state   string // the stage at which it counts
	address string
	args    []string
	env     []string
	pidfile string // of one that goes into the background; empty: it stays
	rated   int    // also measured at so many requests a second
	runs    []policyRun
}

// policyRun is one run's figures.
type policyRun struct {
	policyFigures
	cpu    time.Duration
	memory int64 // bytes
	rated  policyFigures
}

func newPolicyServers(folder string, o policyOptions) []*policyServer {
	return []*policyServer{policyFloor(folder, o), policyWeir(folder, o), policyRateLimit(folder, o), policyPostfwd(folder, o, 1, 10_941), policyPostfwd(folder, o, 2, 10_942)}
}

// policyFloor answers and does nothing else.
func policyFloor(folder string, o policyOptions) *policyServer {
	socket := filepath.Join(folder, "floor")
	self, err := os.Executable()
	s := &policyServer{name: "an answer alone, nothing understood or counted", state: "DATA", address: "unix:" + socket, rated: o.rate, args: []string{self, "policyfloor", socket}}
	if err != nil {
		s.missing = err.Error()
	}
	return s
}

// runPolicyFloor is that server.
func runPolicyFloor(socket string) error {
	_ = os.Remove(socket) // of the run before
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			buffer := make([]byte, 4096)
			for have := 0; ; {
				n, err := conn.Read(buffer[have:])
				if err != nil {
					return
				}
				if have += n; !bytes.HasSuffix(buffer[:have], []byte("\n\n")) {
					continue
				}
				have = 0
				if _, err := io.WriteString(conn, "action=DUNNO\n\n"); err != nil {
					return
				}
			}
		}()
	}
}

// policyWeir is the whole agent, in mode observe, so that no kernel is touched:
// all of a request's way is the same but for the word of the answer.
func policyWeir(folder string, o policyOptions) *policyServer {
	dir := filepath.Join(folder, "weir")
	socket := filepath.Join(dir, "policy.sock")
	configuration := fmt.Sprintf("mode = \"observe\"\nstate_dir = %q\ncontrol_socket = %q\nbpffs = %q\n[postfix_policy]\nlisten = [%q]\n[quota]\nrecipients = [\"1000000/1h\", \"10000000/1d\"]\n",
		filepath.Join(dir, "state"), filepath.Join(dir, "control.sock"), filepath.Join(dir, "none"), "unix:"+socket)
	s := &policyServer{name: "weir", state: "DATA", address: "unix:" + socket, rated: o.rate,
		args: []string{absolute(o.weir), "run", "--config", filepath.Join(dir, "weir.toml")}}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "weir.toml"), []byte(configuration), 0o644)); err != nil {
		s.missing = err.Error()
	}
	return s
}

// policyRateLimit is policyd-rate-limit with its SQLite database on a file
// system in memory, if /dev/shm is one. It counts recipients as they come.
func policyRateLimit(folder string, o policyOptions) *policyServer {
	dir, err := os.MkdirTemp("/dev/shm", "weir-bench-")
	if err != nil {
		dir = folder
	}
	socket := filepath.Join(folder, "ratelimit")
	configuration := fmt.Sprintf("debug: False\nuser: root\ngroup: root\npidfile: %q\nsqlite_config:\n    database: %q\nbackend: 0\nSOCKET: %q\nsocket_permission: 0666\n"+
		"limits:\n    - [1000000, 3600]\n    - [10000000, 86400]\nlimits_by_id: {}\nlimit_by_sasl: True\nlimit_by_sender: False\nlimit_by_ip: False\nlimited_networks: []\n"+
		"success_action: dunno\nfail_action: \"defer_if_permit Rate limit reached\"\ndb_error_action: dunno\nreport: False\nreport_from: null\nreport_to: null\nreport_subject: x\n"+
		"report_limits: [86400]\nreport_only_if_needed: True\nsmtp_server: [localhost, 25]\nsmtp_starttls: False\nsmtp_credentials: null\ndelay_to_close: 300\n",
		filepath.Join(dir, "pid"), filepath.Join(dir, "db.sqlite3"), socket)
	path := filepath.Join(folder, "ratelimit.yaml")
	s := &policyServer{name: "policyd-rate-limit", state: "RCPT", address: "unix:" + socket,
		args: []string{"/usr/bin/python3", filepath.Join(o.peers, "usr/bin/policyd-rate-limit"), "--file", path}, env: []string{"PYTHONPATH=" + filepath.Join(o.peers, "usr/lib/python3/dist-packages")}}
	s.version, s.missing = peers.Version(o.peers, "policyd-rate-limit")
	if err := os.WriteFile(path, []byte(configuration), 0o644); err != nil {
		s.missing = err.Error()
	}
	return s
}

// policyPostfwd is postfwd in one of its two forms: 1 is one process, 2 has
// several.
func policyPostfwd(folder string, o policyOptions, form, port int) *policyServer {
	rules := filepath.Join(folder, "postfwd.cf")
	pidfile := filepath.Join(folder, fmt.Sprintf("postfwd%d.pid", form))
	s := &policyServer{name: fmt.Sprintf("postfwd%d", form), pidfile: pidfile, state: "DATA", address: fmt.Sprintf("tcp:127.0.0.1:%d", port),
		args: []string{"perl", "-T", filepath.Join(o.peers, fmt.Sprintf("usr/sbin/postfwd%d", form)), "--daemon", "--file", rules, "--interface", "127.0.0.1", "--port", strconv.Itoa(port),
			"--user", "nobody", "--group", "nogroup", "--pidfile", pidfile,
			"--nodns", "--norulelog", "--norulestats", "--noidlestats", "--cache", "0"}}
	s.version, s.missing = peers.Version(o.peers, "postfwd")
	text := "id=HOUR; protocol_state==DATA; sasl_username=~/./; action=rcpt(sasl_username/1000000/3600/450 4.7.1 limit reached)\n" +
		"id=DAY; protocol_state==DATA; sasl_username=~/./; action=rcpt(sasl_username/10000000/86400/450 4.7.1 limit reached)\n"
	if err := os.WriteFile(rules, []byte(text), 0o644); err != nil {
		s.missing = err.Error()
	}
	return s
}

// start runs the server on the last core, and waits until it listens. It
// returns the session that all of its processes are in.
func (s *policyServer) start(ctx context.Context, o policyOptions) (session int, err error) {
	args := append([]string{"taskset", "-c", strconv.Itoa(runtime.NumCPU() - 1)}, s.args...)
	if o.realtime {
		args = append([]string{"chrt", "-f", "10"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var wrote bytes.Buffer
	cmd.Stdout, cmd.Stderr = &wrote, &wrote
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is stopped by a signal, or has gone into the background
		close(ended)
	}()
	network, address, _ := strings.Cut(s.address, ":")
	for range 1000 {
		time.Sleep(10 * time.Millisecond)
		conn, err := net.Dial(network, address)
		if err != nil {
			continue
		}
		conn.Close()
		if s.pidfile == "" {
			return cmd.Process.Pid, nil
		}
		text, err := os.ReadFile(s.pidfile)
		pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || bad != nil {
			continue // it is about to be written
		}
		for _, p := range processes() {
			if p.pid == pid {
				return p.session, nil
			}
		}
	}
	stop(cmd.Process.Pid)
	<-ended
	return 0, fmt.Errorf("it does not listen: %s", tail(wrote.String()))
}

// process is what proc(5) tells of one.
type process struct {
	pid, session int
	cpu          time.Duration
	memory       int64 // bytes
}

func processes() (all []process) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 22 || fields[0] == "Z" {
			continue
		}
		number := func(s string) int { n, _ := strconv.Atoi(s); return n }
		p := process{pid: number(filepath.Base(filepath.Dir(path))), session: number(fields[3])}
		p.cpu = time.Duration(number(fields[11])+number(fields[12])) * 10 * time.Millisecond // utime and stime
		p.memory = int64(number(fields[21]) * os.Getpagesize())
		all = append(all, p)
	}
	return all
}

// stop ends what start has started.
func stop(session int) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for range 200 {
			left := 0
			for _, p := range processes() {
				if p.session == session {
					left++
					_ = syscall.Kill(p.pid, signal)
				}
			}
			if left == 0 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// sessionUse returns the CPU time and the memory of a session.
func sessionUse(session int) (cpu time.Duration, memory int64) {
	for _, p := range processes() {
		if p.session == session {
			cpu += p.cpu
			memory += p.memory
		}
	}
	return cpu, memory
}
