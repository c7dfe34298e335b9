package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// policyLoad asks a policy server as smtpd processes do, each on a connection
// of its own: without a rate, the next request when the last was answered;
// with one, at times that are laid down beforehand, so that a server that
// falls behind is found out.
type policyLoad struct {
	address     string // network:address
	state       string // protocol_state
	connections int
	users       int
	duration    time.Duration
	rate        int // requests a second of all connections; 0: as many as it answers
}

// policyFigures is what came of a load. Latencies run from the time at which
// the request was due.
type policyFigures struct {
	Answered int           `json:"answered"`
	Refused  int           `json:"refused"` // that were not DUNNO
	Took     time.Duration `json:"took"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
	Max      time.Duration `json:"max"`
}

func runPolicyLoad(ctx context.Context, args []string) error {
	var l policyLoad
	flags := flag.NewFlagSet("bench policyload", flag.ContinueOnError)
	flags.StringVar(&l.address, "address", "", "`network:address` of the server")
	flags.StringVar(&l.state, "state", "DATA", "protocol `state` of the requests")
	flags.IntVar(&l.connections, "connections", 50, "`how many` smtpd processes ask")
	flags.IntVar(&l.users, "users", 20_000, "`how many` users send")
	flags.DurationVar(&l.duration, "for", 5*time.Second, "how `long`")
	flags.IntVar(&l.rate, "rate", 0, "requests a `second`; 0: as many as are answered")
	if err := flags.Parse(args); err != nil {
		return err
	}
	f, err := l.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

func (l *policyLoad) run(ctx context.Context) (policyFigures, error) {
	ctx, cancel := context.WithTimeout(ctx, l.duration+30*time.Second)
	defer cancel()
	var (
		mu     sync.Mutex
		all    []time.Duration
		f      policyFigures
		failed error
		work   sync.WaitGroup
	)
	conns := make([]net.Conn, l.connections)
	network, address, _ := strings.Cut(l.address, ":")
	for i := range conns {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return f, err
		}
		defer conn.Close()
		conns[i] = conn
		time.Sleep(time.Millisecond) // some listen for five at a time
	}
	begun := time.Now()
	for i, conn := range conns {
		work.Go(func() {
			took, refused, err := l.ask(conn, i, begun)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			f.Refused += refused
			if err != nil && failed == nil {
				failed = err
			}
		})
	}
	work.Wait()
	f.Took = time.Since(begun)
	if failed != nil {
		return f, failed
	}
	slices.Sort(all)
	f.Answered = len(all)
	if len(all) > 0 {
		f.P50, f.P99, f.Max = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	}
	return f, nil
}

// ask asks on one connection until the time is up.
func (l *policyLoad) ask(conn net.Conn, number int, begun time.Time) (took []time.Duration, refused int, err error) {
	if err := conn.SetDeadline(begun.Add(l.duration + 20*time.Second)); err != nil {
		return nil, 0, err
	}
	in := bufio.NewReader(conn)
	end := begun.Add(l.duration)
	every := time.Duration(0)
	due := begun
	if l.rate > 0 {
		every = time.Second * time.Duration(l.connections) / time.Duration(l.rate)
		due = begun.Add(every * time.Duration(number) / time.Duration(l.connections))
	}
	var request []byte
	for n := 0; ; n++ {
		now := time.Now()
		if every > 0 {
			if now.Before(due) {
				time.Sleep(due.Sub(now))
			}
		} else {
			due = now
		}
		if !due.Before(end) || time.Now().After(end.Add(5*time.Second)) {
			return took, refused, nil
		}
		request = l.write(request[:0], number, n)
		if _, err := conn.Write(request); err != nil {
			return took, refused, err
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return took, refused, err
		}
		if !strings.EqualFold(string(line), "action=dunno\n") {
			refused++
		}
		if _, err := in.ReadSlice('\n'); err != nil {
			return took, refused, err
		}
		took = append(took, time.Since(due))
		due = due.Add(every)
	}
}

// write writes a request as Postfix 3.7 does. Each is of another message, and
// users take turns.
func (l *policyLoad) write(b []byte, number, n int) []byte {
	user := (n*l.connections + number) % l.users
	recipients := 2
	if l.state == "RCPT" {
		recipients = 0
	}
	return fmt.Appendf(b, "request=smtpd_access_policy\nprotocol_state=%s\nprotocol_name=ESMTP\nclient_address=198.51.%d.%d\nclient_name=unknown\nclient_port=%d\n"+
		"reverse_client_name=unknown\nserver_address=192.0.2.25\nserver_port=587\nhelo_name=client.example.test\nsender=user%d@example.test\nrecipient=someone@example.org\n"+
		"recipient_count=%d\nqueue_id=4B%08X\ninstance=%x.%x.0\nsize=0\netrn_domain=\nstress=\nsasl_method=PLAIN\nsasl_username=user%d@example.test\nsasl_sender=\nccert_subject=\n"+
		"ccert_issuer=\nccert_fingerprint=\nccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\npolicy_context=\n\n",
		l.state, user>>8&255, user&255, 1024+n%60000, user, recipients, uint32(n*l.connections+number), number, n, user)
}
