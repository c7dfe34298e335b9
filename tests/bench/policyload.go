package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"weir/tests/bench/paced"
)

// policyLoad asks a policy server as smtpd processes do, each on a connection
// of its own.
type policyLoad struct {
	address     string // network:address
	state       string // protocol_state
	connections int
	users       int
	duration    time.Duration
	rate        int // requests a second of all connections; 0: as many as it answers
}

// policyFigures is what came of a load.
type policyFigures struct {
	Answered int           `json:"answered"`
	Refused  int           `json:"refused"` // that were not DUNNO
	Took     time.Duration `json:"took"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
	Max      time.Duration `json:"max"`
	Late     time.Duration `json:"late"` // p99 of the asker's own delay
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

func (l *policyLoad) run(ctx context.Context) (f policyFigures, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.duration+30*time.Second)
	defer cancel()
	network, address, _ := strings.Cut(l.address, ":")
	asked := paced.Load{
		Dial: func() (net.Conn, error) { return net.Dial(network, address) }, Connections: l.connections, Lasts: l.duration,
		Request: l.write,
		Answer: func(in []byte) (size int, err error) {
			const pass = "action=dunno\n\n"
			if !bytes.HasSuffix(in, []byte("\n\n")) {
				return 0, nil
			}
			if !strings.EqualFold(string(in), pass) {
				f.Refused++
			}
			return len(in), nil
		},
	}
	if l.rate > 0 {
		asked.Every = time.Second / time.Duration(l.rate)
	}
	got, err := asked.Run(ctx)
	f.Answered, f.Took = len(got.Times), got.Took
	f.P50, f.P99, f.Max = paced.At(got.Times, 0.5), paced.At(got.Times, 0.99), paced.At(got.Times, 1)
	f.Late = paced.At(got.Late, 0.99)
	return f, err
}

// write writes request n as Postfix 3.7 does. Each is of another message, and
// users take turns.
func (l *policyLoad) write(b []byte, n int) []byte {
	user := n % l.users
	recipients := 2
	if l.state == "RCPT" {
		recipients = 0
	}
	return fmt.Appendf(b, "request=smtpd_access_policy\nprotocol_state=%s\nprotocol_name=ESMTP\nclient_address=198.51.%d.%d\nclient_name=unknown\nclient_port=%d\n"+
		"reverse_client_name=unknown\nserver_address=192.0.2.25\nserver_port=587\nhelo_name=client.example.test\nsender=user%d@example.test\nrecipient=someone@example.org\n"+
		"recipient_count=%d\nqueue_id=4B%08X\ninstance=%x.%x.0\nsize=0\netrn_domain=\nstress=\nsasl_method=PLAIN\nsasl_username=user%d@example.test\nsasl_sender=\nccert_subject=\n"+
		"ccert_issuer=\nccert_fingerprint=\nccert_pubkey_fingerprint=\nencryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\nencryption_keysize=256\npolicy_context=\n\n",
		l.state, user>>8&255, user&255, 1024+n%60000, user, recipients, uint32(n), n%l.connections, n, user)
}
