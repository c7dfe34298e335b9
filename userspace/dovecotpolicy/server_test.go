package dovecotpolicy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/policy"
)

const testKey = "0123456789abcdef"

// stub is a Judge that answers what it was told to, and remembers.
type stub struct {
	mu       sync.Mutex
	standing Standing
	err      error
	events   []policy.Event
	counted  int
}

func (s *stub) Standing(ctx context.Context, source netip.Addr, user string) (Standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing, s.err
}

func (s *stub) Report(e *policy.Event, evidence string, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, *e)
	if counts {
		s.counted++
	}
}

// mustServe starts a server on a unix socket and returns a client of it.
func mustServe(t testing.TB, judge Judge, change func(*Options)) (*Server, *http.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	o := DefaultOptions()
	o.Listen, o.Key, o.Logger = []string{"unix:" + path}, testKey, slog.New(slog.DiscardHandler)
	if change != nil {
		change(&o)
	}
	s, err := Listen(judge, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) },
	}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, client, path
}

func mustPost(t testing.TB, client *http.Client, command, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://weir/?command="+command, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(header) == 0 {
		header = []string{"X-API-Key", testKey}
	}
	r.Header.Set(header[0], header[1])
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func mustBody(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "captured", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAllow(t *testing.T) {
	judge := &stub{}
	s, client, _ := mustServe(t, judge, nil)
	for _, c := range []struct {
		standing Standing
		err      error
		want     string
	}{
		{Standing{}, nil, `{"status":0,"msg":""}`},
		{Standing{Refused: true}, nil, `{"status":-1,"msg":"` + refusedMessage + `"}`},
		{Standing{Refused: true, Guarded: true}, nil, `{"status":-1,"msg":"` + guardedMessage + `"}`},
		{Standing{Suspicion: 0.25}, nil, `{"status":1,"msg":""}`},
		{Standing{Suspicion: 0.5}, nil, `{"status":3,"msg":""}`},
		{Standing{Suspicion: 7}, nil, `{"status":15,"msg":""}`},
		{Standing{Suspicion: 1, Trusted: true}, nil, `{"status":0,"msg":""}`},
		{Standing{Refused: true}, errors.New("too slow"), `{"status":0,"msg":""}`},
	} {
		judge.mu.Lock()
		judge.standing, judge.err = c.standing, c.err
		judge.mu.Unlock()
		for _, dialect := range []string{"2.3-allow.json", "2.4-allow.json"} {
			if code, got := mustPost(t, client, "allow", mustBody(t, dialect)); code != 200 || got != c.want {
				t.Errorf("%+v: %d %s, want %s", c.standing, code, got, c.want)
			}
		}
	}
	// The host itself is never refused.
	judge.standing, judge.err = Standing{Refused: true}, nil
	for _, remote := range []string{"127.0.0.1", "::1", "", "nonsense"} {
		if _, got := mustPost(t, client, "allow", `{"login":"alice","remote":"`+remote+`"}`); !strings.Contains(got, `"status":0`) {
			t.Errorf("from %q: %s", remote, got)
		}
	}
	if n := s.Stats(); n.Refused != 4 || n.Delayed != 6 || n.Unanswered != 2 || n.Allowed != 8 {
		t.Errorf("counted %+v", n)
	}
}

func TestReport(t *testing.T) {
	judge := &stub{}
	s, client, _ := mustServe(t, judge, nil)
	for _, c := range []struct {
		name   string
		counts bool
	}{
		{"2.3-report-wrong.json", true},
		{"2.3-report-database-down.json", true}, // nobody can tell, yet
		{"2.3-report-right.json", true},
		{"2.3-report-database-down.json", false}, // with a password that was right from there
		{"2.3-report-wrong.json", true},
		{"2.3-report-policy.json", false},
		{"2.4-report-unknown.json", true},
	} {
		before := judge.counted
		if code, got := mustPost(t, client, "report", mustBody(t, c.name)); code != 200 || got != `{"status":0,"msg":""}` {
			t.Errorf("%s: %d %s", c.name, code, got)
		}
		if got := judge.counted > before; got != c.counts {
			t.Errorf("%s counts: %t", c.name, got)
		}
	}
	if len(judge.events) != 7 {
		t.Errorf("%d events", len(judge.events))
	}
	if n := s.Stats(); n.Successes != 1 || n.Failures != 4 || n.Excused != 2 {
		t.Errorf("counted %+v", n)
	}
}

func TestKey(t *testing.T) {
	judge := &stub{standing: Standing{Refused: true}}
	s, client, _ := mustServe(t, judge, nil)
	body := mustBody(t, "2.3-allow.json")
	for _, c := range []struct {
		header, value string
		want          int
	}{
		{"X-API-Key", testKey, 200},
		{"Authorization", "Bearer " + testKey, 200},
		{"Authorization", "Basic d2VpcjowMTIzNDU2Nzg5YWJjZGVm", 200}, // weir:0123456789abcdef
		{"Authorization", "Basic !!!", 401},
		{"Authorization", testKey, 401},
		{"X-API-Key", "", 401},
		{"X-API-Key", testKey + "0", 401},
		{"X-API-Key", testKey[1:], 401},
	} {
		if code, got := mustPost(t, client, "allow", body, c.header, c.value); code != c.want {
			t.Errorf("%s: %s: %d %s", c.header, c.value, code, got)
		}
	}
	if n := s.Stats().Unauthorised; n != 5 {
		t.Errorf("counted %d", n)
	}
}

func TestReadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{testKey + "\n", 0o640, ""},
		{testKey, 0o644, "everybody may read it"},
		{"short\n", 0o600, "at least 16"},
		{"", 0o600, "at least 16"},
	} {
		if err := errors.Join(os.WriteFile(path, []byte(c.text), 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		key, err := ReadKey(path)
		if c.want == "" && (err != nil || key != testKey) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q %o: %q, %v", c.text, c.mode, key, err)
		}
	}
	if _, err := ReadKey(path + "nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What no Dovecot sends gets an error and no event.
func TestMalformed(t *testing.T) {
	judge := &stub{}
	s, client, _ := mustServe(t, judge, nil)
	for _, c := range []struct{ command, body string }{
		{"allow", ""}, {"allow", "{"}, {"report", "[]"}, {"report", `"x"`}, {"other", "{}"},
		{"report", `{"login":"` + strings.Repeat("x", maxBody) + `"}`},
	} {
		if code, _ := mustPost(t, client, c.command, c.body); code != 400 {
			t.Errorf("%s %.20q: %d", c.command, c.body, code)
		}
	}
	if len(judge.events) != 0 || s.Stats().Malformed != 6 {
		t.Errorf("%d events, %+v", len(judge.events), s.Stats())
	}
}

// Clients that send garbage, hang, or send a byte now and then are cut off,
// and others are served meanwhile.
func TestHostileClients(t *testing.T) {
	const patience = 200 * time.Millisecond
	_, client, path := mustServe(t, &stub{}, func(o *Options) { o.Patience, o.Idle, o.MaxClients = patience, patience, 64 })
	var hostile []net.Conn
	for n := range 60 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		switch n % 3 {
		case 0:
			_, err = conn.Write([]byte("\x16\x03\x01 garbage\r\n\r\n"))
		case 1:
			_, err = conn.Write([]byte("POST /?command=allow HTTP/1.1\r\nHost: x\r\nX-API-Key: " + testKey + "\r\nContent-Length: 100\r\n\r\n{"))
		}
		if err != nil {
			t.Fatal(err)
		}
		hostile = append(hostile, conn)
	}
	if code, got := mustPost(t, client, "allow", mustBody(t, "2.3-allow.json")); code != 200 {
		t.Errorf("%d %s", code, got)
	}
	for _, conn := range hostile {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a hostile client was not cut off")
		}
	}
}

// A thousand connections, many requests on each.
func TestManyConnections(t *testing.T) {
	judge := &stub{}
	s, client, _ := mustServe(t, judge, nil)
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	body := []byte(mustBody(t, "2.4-report-wrong.json"))
	var clients sync.WaitGroup
	errs := make(chan error, 1000)
	for range 1000 {
		clients.Go(func() {
			for range 3 {
				r, err := http.NewRequest(http.MethodPost, "http://weir/?command=report", bytes.NewReader(body))
				if err != nil {
					errs <- err
					return
				}
				r.Header.Set("X-API-Key", testKey)
				response, err := client.Do(r)
				if err != nil {
					errs <- err
					return
				}
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != 200 {
					errs <- fmt.Errorf("%d %w", response.StatusCode, err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	if n := s.Stats().Failures; n != 3000 || judge.counted != 3000 {
		t.Errorf("%d reports, %d events", n, judge.counted)
	}
}

func TestListenSaysWhatIsThere(t *testing.T) {
	o := DefaultOptions()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Listen, o.Key = []string{"unix:" + path}, testKey
	if _, err := Listen(&stub{}, o); err == nil || !strings.Contains(err.Error(), "something else is there") {
		t.Error(err)
	}
	_, _, taken := mustServe(t, &stub{}, nil)
	o.Listen = []string{"unix:" + taken}
	if _, err := Listen(&stub{}, o); err == nil || !strings.Contains(err.Error(), "another program listens there") {
		t.Error(err)
	}
	if o.Listen = nil; o.Validate() == nil {
		t.Error("nothing to listen on is fine")
	}
}
