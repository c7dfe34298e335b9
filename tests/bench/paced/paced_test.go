package paced

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// serve answers each line with the same one, number hold only when release is
// closed.
func serve(t *testing.T, hold string, release <-chan struct{}) (dial func() (net.Conn, error)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 64)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					if hold != "" && string(buffer[:n]) == hold {
						<-release
					}
					half := n / 2
					for _, part := range [][]byte{buffer[:half], buffer[half:n]} {
						if _, err := conn.Write(part); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return func() (net.Conn, error) { return net.Dial("unix", path) }
}

func load(dial func() (net.Conn, error)) Load {
	return Load{
		Dial: dial, Connections: 4, Lasts: 200 * time.Millisecond,
		Request: func(b []byte, n int) []byte { return fmt.Appendf(b, "%d\n", n) },
		Answer:  func(in []byte) (int, error) { return bytes.IndexByte(in, '\n') + 1, nil },
	}
}

// As many are asked as the rate says, or as are answered.
func TestRate(t *testing.T) {
	l := load(serve(t, "", nil))
	f, err := l.Run(t.Context())
	if err != nil || len(f.Times) < l.Connections || len(f.Late) != 0 {
		t.Errorf("as fast as it answers: %d answers, %d late, %v", len(f.Times), len(f.Late), err)
	}
	l.Every = time.Millisecond
	f, err = l.Run(t.Context())
	if err != nil || len(f.Times) != 200 || f.Took < l.Lasts {
		t.Errorf("one a millisecond: %d answers in %v, %v", len(f.Times), f.Took, err)
	}
	if At(f.Times, 0) > At(f.Times, 1) || At(nil, 0.5) != 0 {
		t.Error("shares are not in order")
	}
}

// A server that stands still is charged with all that should have been
// answered meanwhile (coordinated omission), and the asker is not.
func TestStandstillIsCharged(t *testing.T) {
	release := make(chan struct{})
	l := load(serve(t, "40\n", release))
	l.Connections, l.Every = 1, time.Millisecond
	time.AfterFunc(150*time.Millisecond, func() { close(release) })
	f, err := l.Run(t.Context())
	if err != nil || len(f.Times) != 200 {
		t.Fatalf("%d answers, %v", len(f.Times), err)
	}
	waited := 0
	for _, d := range f.Times {
		if d > 20*time.Millisecond {
			waited++
		}
	}
	if waited < 60 {
		t.Errorf("%d answers are late, of 100 that were held up", waited)
	}
	if len(f.Late) > 150 {
		t.Errorf("%d requests of the asker's own delay: those behind the one that was held are the server's", len(f.Late))
	}
}

// A server that goes away is an error.
func TestServerEnds(t *testing.T) {
	l := load(nil)
	l.Dial = func() (net.Conn, error) {
		near, far := net.Pipe()
		far.Close()
		return near, nil
	}
	if _, err := l.Run(t.Context()); err == nil {
		t.Error("a pipe of Go's has a descriptor")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	l.Dial = func() (net.Conn, error) { return net.Dial("tcp", listener.Addr().String()) }
	if _, err := l.Run(t.Context()); err == nil {
		t.Error("a closed connection answers")
	}
}
