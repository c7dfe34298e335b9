package agent

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// BenchmarkPolicyRequests is the whole way of a request: over a socket, through
// the judge, and its events through parser, engine and ledger. Each is a
// session of its own, so there are two events.
func BenchmarkPolicyRequests(b *testing.B) {
	dir := b.TempDir()
	socket := filepath.Join(dir, "p")
	config := filepath.Join(dir, "weir.toml")
	text := fmt.Sprintf("mode = \"observe\"\nstate_dir = %q\ncontrol_socket = %q\nbpffs = %q\n[postfix_policy]\nlisten = [%q]\n[quota]\nrecipients = [\"1000000/1h\", \"10000000/1d\"]\n",
		filepath.Join(dir, "s"), filepath.Join(dir, "c"), filepath.Join(dir, "none"), "unix:"+socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	o := DefaultOptions()
	o.ConfigPath, o.Logger = config, slog.New(slog.DiscardHandler)
	a, err := start(o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := a.stop(); err != nil {
			b.Error(err)
		}
	}()
	const connections = 50
	var work sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range connections {
		work.Go(func() {
			conn, err := net.Dial("unix", socket)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			var request []byte
			for n := c; n < b.N; n += connections {
				user := n % 20_000
				request = fmt.Appendf(request[:0], "request=smtpd_access_policy\nprotocol_state=DATA\nprotocol_name=ESMTP\nclient_address=198.51.%d.%d\nclient_name=unknown\nclient_port=%d\n"+
					"sender=user%d@example.test\nrecipient_count=2\nqueue_id=4B%08X\ninstance=%x\nsasl_method=PLAIN\nsasl_username=user%d@example.test\n\n", user>>8, user&255, 1024+n%60000, user, n, n, user)
				if _, err := conn.Write(request); err != nil {
					b.Error(err)
					return
				}
				for range 2 {
					if _, err := in.ReadSlice('\n'); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	work.Wait()
	b.StopTimer()
	b.ReportMetric(float64(a.judge.Verdicts().Lost)/float64(b.N), "lost/op")
}
