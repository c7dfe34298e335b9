package postfixpolicy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// echo answers with the user of each request.
type echo struct{}

func (echo) Answer(_ *Session, r *Request, out []byte) []byte {
	return append(append(append(out, "action=OK "...), r.User...), "\n\n"...)
}

func testOptions(address string) Options {
	o := DefaultOptions()
	o.Address, o.Logger = address, slog.New(slog.DiscardHandler)
	return o
}

func mustListen(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Listen(o, echo{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustDial(t testing.TB, s *Server) net.Conn {
	t.Helper()
	network, address, _ := strings.Cut(s.o.Address, ":")
	if network == "tcp" {
		address = s.listener.Addr().String()
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func mustAnswer(t testing.TB, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err == nil {
		var end string
		end, err = r.ReadString('\n')
		got += end
	}
	if err != nil || got != want {
		t.Fatalf("answered %q, %v; want %q", got, err, want)
	}
}

// One request, several at once, one in pieces, and the end of the client's
// half: each is answered in its turn.
func TestServe(t *testing.T) {
	for _, address := range []string{"unix:" + filepath.Join(t.TempDir(), "policy.sock"), "tcp:127.0.0.1:0"} {
		s := mustListen(t, testOptions(address))
		conn := mustDial(t, s)
		in := bufio.NewReader(conn)
		fmt.Fprint(conn, request("sasl_username=one"))
		mustAnswer(t, in, "action=OK one\n\n")
		fmt.Fprint(conn, request("sasl_username=two"), request("sasl_username=three"), request("sasl_username=four")[:100])
		mustAnswer(t, in, "action=OK two\n\n")
		mustAnswer(t, in, "action=OK three\n\n")
		fmt.Fprint(conn, request("sasl_username=four")[100:])
		mustAnswer(t, in, "action=OK four\n\n")
		var many, answers strings.Builder
		for n := range 2000 {
			fmt.Fprint(&many, request(fmt.Sprintf("sasl_username=%d", n)))
			fmt.Fprintf(&answers, "action=OK %d\n\n", n)
		}
		go func() { // Exim ends its half when it has asked
			_, _ = io.WriteString(conn, many.String())
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		}()
		if got, err := io.ReadAll(in); err != nil || string(got) != answers.String() {
			t.Fatalf("%v, and %d bytes instead of %d", err, len(got), answers.Len())
		}
		if st := s.Stats(); st.Requests != 2004 || st.Malformed+st.Oversized+st.Late+st.Refused != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// What cannot be understood gets no answer: the connection ends, and those
// before it have theirs.
func TestServeEndsInTrouble(t *testing.T) {
	s := mustListen(t, testOptions("unix:"+filepath.Join(t.TempDir(), "s")))
	for what, text := range map[string]string{
		"nonsense":       "hello\n\n",
		"an empty one":   "\n",
		"TLS":            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",
		"another":        request("request=other"),
		"too long":       "request=smtpd_access_policy\nsender=" + strings.Repeat("x", 1<<17),
		"too many lines": "request=smtpd_access_policy\n" + strings.Repeat("name=value\n", 1<<14),
	} {
		conn := mustDial(t, s)
		go func() { _, _ = io.WriteString(conn, request("sasl_username=good")+text) }()
		got, _ := io.ReadAll(conn)
		if string(got) != "action=OK good\n\n" {
			t.Errorf("%s: answered %q", what, got)
		}
	}
	if st := s.Stats(); st.Malformed != 4 || st.Oversized != 2 {
		t.Errorf("%+v", st)
	}
}

// Time is bounded: of a request that trickles in, of answers that nobody
// takes, and of a client that asks nothing.
func TestServeHasPatience(t *testing.T) {
	for what, c := range map[string]struct {
		client func(conn net.Conn)
		least  time.Duration
		most   time.Duration
	}{
		"a byte a second": {func(conn net.Conn) {
			for i := range len(atData) {
				if _, err := conn.Write([]byte(atData[i : i+1])); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, 9 * time.Second, 12 * time.Second},
		"answers are not taken": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, strings.Repeat(atData, 10))
		}, 4 * time.Second, 11 * time.Second},
		"nothing": {func(net.Conn) {}, 19 * time.Minute, 21 * time.Minute},
		"now and then": {func(conn net.Conn) {
			in := bufio.NewReader(conn)
			for range 10 {
				time.Sleep(8 * time.Minute)
				fmt.Fprint(conn, request("sasl_username=x"))
				mustAnswer(t, in, "action=OK x\n\n")
			}
			conn.Close()
		}, 80 * time.Minute, 81 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{o: testOptions("unix:/x"), answerer: echo{}}
			ours, theirs := net.Pipe()
			var done sync.WaitGroup
			done.Go(func() { c.client(theirs) })
			began := time.Now()
			newConnection(s, ours).serve()
			if took := time.Since(began); took < c.least || took > c.most {
				t.Errorf("%s: served for %v", what, took)
			}
			ours.Close()
			done.Wait()
			theirs.Close()
		})
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	s := mustListen(t, testOptions("unix:"+filepath.Join(dir, "s")))
	for address, want := range map[string]string{
		s.o.Address:                           ErrInUse.Error(),
		"unix:" + dir:                         "something else is there",
		"unix:" + dir + "/no/s":               "make its folder",
		"unix:/" + strings.Repeat("x", 120):   "longer than",
		"udp:127.0.0.1:1":                     "must begin with",
		"tcp:" + "127.0.0.1:notaport":         "lookup",
		"unix:" + filepath.Join(dir, "s\x00"): "",
	} {
		if other, err := Listen(testOptions(address), echo{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", address, err)
			if err == nil {
				other.Close()
			}
		}
	}
}

// The socket of an agent that died is taken over.
func TestListenTakesOver(t *testing.T) {
	address := "unix:" + filepath.Join(t.TempDir(), "s")
	dead, err := Listen(testOptions(address), echo{})
	if err != nil {
		t.Fatal(err)
	}
	dead.made = nil // so that Close leaves it there
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Listen(testOptions(address), echo{})
	if err != nil {
		t.Fatal(err)
	}
	conn := mustDial(t, s)
	fmt.Fprint(conn, request("sasl_username=x"))
	mustAnswer(t, bufio.NewReader(conn), "action=OK x\n\n")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzServe sends any bytes in pieces of any size: what is answered does not
// depend on how they were cut, and is whole answers.
func FuzzServe(f *testing.F) {
	f.Add([]byte(atData+atData), uint16(7))
	f.Add([]byte(request("sasl_username=x")+"\n"+atData), uint16(1))
	f.Add([]byte(request("request=y")+atData), uint16(900))
	f.Add([]byte("\n\n\n"), uint16(1))
	serve := func(data []byte, piece int) string {
		o := testOptions("unix:/x")
		o.MaxRequest = 4096
		s := &Server{o: o, answerer: echo{}}
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			for len(data) > 0 {
				n := min(piece, len(data))
				if _, err := theirs.Write(data[:n]); err != nil {
					return
				}
				data = data[n:]
			}
		}()
		answered := make(chan string)
		read := &answersOf{Conn: ours}
		go func() {
			newConnection(s, read).serve()
			ours.Close()
			answered <- read.text.String()
		}()
		return <-answered
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		if len(data) > 1<<14 {
			return
		}
		got := serve(data, int(cut)+1)
		if got != "" && !strings.HasSuffix(got, "\n\n") || strings.Count(got, "action=OK") > bytes.Count(data, []byte("\n\n")) {
			t.Fatalf("answered %q", got)
		}
		if whole := serve(data, len(data)+1); whole != got {
			t.Fatalf("cut into pieces of %d: %q, at once: %q", int(cut)+1, got, whole)
		}
	})
}

// answersOf keeps what is written to a connection, and passes on the rest.
type answersOf struct {
	net.Conn
	text strings.Builder
}

func (a *answersOf) Write(b []byte) (int, error) { return a.text.Write(b) }

// A socket takes deadlines when its peer has closed, a net.Pipe does not.
func (a *answersOf) SetReadDeadline(time.Time) error  { return nil }
func (a *answersOf) SetWriteDeadline(time.Time) error { return nil }
