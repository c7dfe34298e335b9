package faults

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"weir/tests/lab"
)

// load is what goes on beside the agent, whether it runs or not: a log that
// grows, and a mail server that asks.
type load struct {
	mu       sync.Mutex
	guessers map[string]bool // true: its third wrong password is, or may be, written
	whole    map[string]bool // all its lines are written
	asked    map[string]int  // recipients that a user's requests named
	answers  int
}

func newLoad() *load {
	return &load{guessers: map[string]bool{}, whole: map[string]bool{}, asked: map[string]int{}}
}

const (
	guessEvery = 20 * time.Millisecond
	askEvery   = 10 * time.Millisecond
	askers     = 40 // users
	quotaOf    = 20 // recipients a user
)

// guesser is the n-th source that guesses passwords.
func guesser(n int) netip.Addr {
	if n%5 == 4 {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xff, byte(n >> 16), byte(n >> 8), byte(n), 15: 1})
	}
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16)&1, byte(n >> 8), byte(n)})
}

// guess has one source after the other fail twice or thrice, in lines that
// may come in two pieces.
func (l *load) guess(ctx context.Context, t *testing.T, path string, random *rand.Rand) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	for n := 0; ctx.Err() == nil; n++ {
		from, text := guesser(n), ""
		times := 2 + random.IntN(2)
		for range times {
			text += failure(from)
		}
		l.mu.Lock()
		l.guessers[lab.SourceText(from)] = times == 3
		l.mu.Unlock()
		cut := random.IntN(len(text))
		for _, piece := range []string{text[:cut], text[cut:]} {
			if _, err := f.WriteString(piece); err != nil {
				t.Error(err)
				return
			}
			pause(ctx, time.Duration(random.IntN(int(guessEvery))))
		}
		l.mu.Lock()
		l.whole[lab.SourceText(from)] = true
		l.mu.Unlock()
	}
}

// ask asks as Postfix does, and comes again when the connection is lost.
func (l *load) ask(ctx context.Context, socket string, random *rand.Rand) {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err == nil {
			in := bufio.NewReader(conn)
			for ctx.Err() == nil && l.askOnce(conn, in, random) == nil {
				pause(ctx, askEvery)
			}
			_ = conn.Close()
		}
		pause(ctx, askEvery)
	}
}

func (l *load) askOnce(conn net.Conn, in *bufio.Reader, random *rand.Rand) error {
	user, recipients := fmt.Sprintf("asker%d", random.IntN(askers)), 1+random.IntN(5)
	l.mu.Lock()
	l.asked[user] += recipients
	l.mu.Unlock()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "request=smtpd_access_policy\nprotocol_state=DATA\nclient_address=%s\nsasl_username=%s\nsender=%s@example.test\nrecipient_count=%d\ninstance=%x.%x\n\n",
		good4, user, user, recipients, random.Uint32(), random.Uint32()); err != nil {
		return err
	}
	for range 2 { // action=…, and an empty line
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.answers++
	l.mu.Unlock()
	return nil
}

// pause waits, or returns at the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
