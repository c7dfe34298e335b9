package postfixpolicy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	many      = 10_000
	clientsOf = "WEIR_TEST_CLIENTS_OF" // tells a child where the server is
)

// Ten thousand connections at once are served, and those beyond the bound are
// closed. The clients are another process: few systems let one process have
// twice as many files open.
func TestTenThousandConnections(t *testing.T) {
	mustOpenFiles(t, many+1000)
	if path := os.Getenv(clientsOf); path != "" {
		beTenThousand(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "s")
	o := testOptions("unix:" + path)
	o.Connections = many
	s := mustListen(t, o)

	clients := exec.Command(os.Args[0], "-test.run=^TestTenThousandConnections$", "-test.count=1")
	clients.Env = append(os.Environ(), clientsOf+"="+path)
	var said strings.Builder
	clients.Stderr = &said
	hold, err := clients.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := clients.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, _ := lines.ReadString('\n')
	if st := s.Stats(); first == "served\n" && (st.Open != many || st.Refused != 1) {
		t.Errorf("%+v", st)
	}
	hold.Close()
	rest, _ := io.ReadAll(lines)
	if err := clients.Wait(); err != nil || first != "served\n" {
		t.Errorf("clients: %v\n%s%s%s", err, first, rest, said.String())
	}
}

// beTenThousand is the clients. They stay until standard input ends.
func beTenThousand(t *testing.T, path string) {
	dial := func() net.Conn {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	conns := make([]net.Conn, many)
	for i := range conns {
		conns[i] = dial()
		if i%100 == 0 { // so that the queue of those who wait never overflows
			fmt.Fprint(conns[i], request("sasl_username=x"))
			mustAnswer(t, bufio.NewReader(conns[i]), "action=OK x\n\n")
		}
	}
	for _, conn := range conns {
		fmt.Fprint(conn, request("sasl_username=y"))
	}
	for _, conn := range conns {
		mustAnswer(t, bufio.NewReader(conn), "action=OK y\n\n")
	}
	if got, err := io.ReadAll(dial()); err != nil && !strings.Contains(err.Error(), "reset") || len(got) > 0 {
		t.Errorf("one more: %q, %v", got, err)
	}
	fmt.Println("served")
	io.Copy(io.Discard, os.Stdin)
}

// mustOpenFiles sees to it that this process may have so many files open.
func mustOpenFiles(t *testing.T, n uint64) {
	t.Helper()
	var room unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &room)
	if err == nil && room.Cur < n {
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: max(n, room.Max)})
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skipf("SKIPPED: %d open files are needed: %v", n, err)
	}
}
