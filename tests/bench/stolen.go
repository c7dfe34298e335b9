package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/tests/document"
	"weir/tests/lab"
	"weir/tests/peers"
)

// stolenOptions say how the stolen account is used.
type stolenOptions struct {
	weir       string
	peers      string // folder with policyd-rate-limit's unpacked package
	sources    int
	messages   int // of each source
	recipients int // of each message
	update     string
}

// runStolen lets five hundred sources send in one user's name at once, through
// a real Postfix and Dovecot in network namespaces, while the user reads and
// writes mail at home: with weir, with policyd-rate-limit, and with nothing.
func runStolen(ctx context.Context, args []string) error {
	var o stolenOptions
	flags := flag.NewFlagSet("bench stolen", flag.ContinueOnError)
	flags.StringVar(&o.weir, "weir", "bin/weir", "weir's `binary`")
	flags.StringVar(&o.peers, "peers", "", "`folder` with the unpacked packages of the others (tests/setup.sh bench policy)")
	flags.IntVar(&o.sources, "sources", 500, "`how many` sources have the password")
	flags.IntVar(&o.messages, "messages", 4, "`how many` messages each sends")
	flags.IntVar(&o.recipients, "recipients", 10, "of each message")
	flags.StringVar(&o.update, "update", "", "write the table to `file` as well")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.sources < 1 || o.sources > 500 || o.messages < 1 || o.recipients < 1 {
		return errors.New("1 to 500 sources are possible")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %d cores (%s), %s; load average %s before. %d sources, each %d messages to %d recipients in one session, all at once; 100 smtpd processes.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuName(), kernel(), loadAverage(), o.sources, o.messages, o.recipients)
	b.WriteString("| | thieves' messages tried | reached the queue | recipients | before the account was flagged | after | refused by Postfix | sessions cut off or never let in | the owner's messages | failed | mailbox readings | failed |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, d := range []defence{noDefence{}, rateLimitDefence{o.peers}, weirDefence{absolute(o.weir)}} {
		say("%s", d.name())
		r, err := o.play(ctx, d)
		if err != nil {
			return fmt.Errorf("%s: %w", d.name(), err)
		}
		b.WriteString(r.row(d.name()))
	}
	fmt.Print(b.String())
	if o.update != "" {
		return document.Replace(o.update, "<!-- bench-stolen writes what follows -->\n", "<!-- bench-stolen wrote what stands above -->\n", b.String())
	}
	return nil
}

// defence is what stands between the thieves and the queue.
type defence interface {
	name() string
	mainCF(l *lab.Lab) string
	start(ctx context.Context, l *lab.Lab) error
	// flagged tells when the account was flagged, from what it or the mail
	// server wrote.
	flagged(ctx context.Context, l *lab.Lab, log string) (time.Time, bool)
}

type noDefence struct{}

func (noDefence) name() string                          { return "nothing" }
func (noDefence) mainCF(*lab.Lab) string                { return "" }
func (noDefence) start(context.Context, *lab.Lab) error { return nil }
func (noDefence) flagged(context.Context, *lab.Lab, string) (time.Time, bool) {
	return time.Time{}, false
}

// rateLimitDefence is policyd-rate-limit with the limits that Debian ships: 10
// recipients a minute, 150 a day.
type rateLimitDefence struct{ peers string }

func (d rateLimitDefence) name() string {
	version, _ := peers.Version(d.peers, "policyd-rate-limit") // start says what is missing
	return "policyd-rate-limit (" + version + "), its own limits"
}

func (rateLimitDefence) mainCF(l *lab.Lab) string {
	return "smtpd_recipient_restrictions = check_policy_service { unix:" + l.Path("ratelimit", "socket") + ", default_action=DUNNO }\n"
}

func (d rateLimitDefence) start(ctx context.Context, l *lab.Lab) error {
	if _, missing := peers.Version(d.peers, "policyd-rate-limit"); missing != "" {
		return errors.New(missing)
	}
	dir := l.Path("ratelimit")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(d.peers, "etc", "policyd-rate-limit.yaml"))
	if err != nil {
		return err
	}
	configuration := string(text)
	for _, c := range [][2]string{
		{`(?m)^debug:.*$`, "debug: False"}, {`(?m)^user:.*$`, "user: root"}, {`(?m)^group:.*$`, "group: root"},
		{`(?m)^pidfile:.*$`, "pidfile: " + dir + "/pid"}, {`(?m)^    database: "/var.*$`, "    database: " + dir + "/db"}, {`(?m)^SOCKET:.*$`, "SOCKET: " + dir + "/socket"},
	} {
		configuration = regexp.MustCompile(c[0]).ReplaceAllString(configuration, c[1])
	}
	path := filepath.Join(dir, "conf.yaml")
	if err := os.WriteFile(path, []byte(configuration), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("/usr/bin/python3", filepath.Join(d.peers, "usr", "bin", "policyd-rate-limit"), "--file", path)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(d.peers, "usr", "lib", "python3", "dist-packages"))
	if _, err := l.Start(l.Mail, "ratelimit", cmd); err != nil {
		return err
	}
	return lab.Poll(ctx, lab.Patience, "policyd-rate-limit", func() bool { _, err := os.Stat(dir + "/socket"); return err == nil })
}

// flagged: it has no notion of that; its first refusal is taken.
func (rateLimitDefence) flagged(_ context.Context, _ *lab.Lab, log string) (time.Time, bool) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "Rate limit reach") {
			return stampOf(line), true
		}
	}
	return time.Time{}, false
}

// weirDefence is weir with its built-in rules and the quota of the
// documentation.
type weirDefence struct{ binary string }

func (weirDefence) name() string { return "weir, its built-in rules and 300 recipients an hour" }

func (weirDefence) mainCF(l *lab.Lab) string {
	return "smtpd_data_restrictions = check_policy_service { unix:" + l.Path("policy.sock") + ", timeout=2s, default_action=DUNNO }\n"
}

func (d weirDefence) start(ctx context.Context, l *lab.Lab) error {
	w, err := l.Weir(d.binary, "enforce", fmt.Sprintf("[postfix_policy]\nlisten = [%q]\n[quota]\nrecipients = [\"300/1h\", \"1000/1d\"]\n", "unix:"+l.Path("policy.sock")))
	if err != nil {
		return err
	}
	return w.Start(ctx)
}

var decided = regexp.MustCompile(`(?m)^time=(\S+) .*msg=decision target=owner action=(?:guard|limit|defer) .*rule=(\S+)`)

func (weirDefence) flagged(_ context.Context, l *lab.Lab, _ string) (time.Time, bool) {
	m := decided.FindStringSubmatch(l.Output("weir"))
	if m == nil {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, m[1])
	return at, err == nil
}

// stolenResult is what came of it.
type stolenResult struct {
	tried, queued, recipients int64
	before, after             int
	flagged                   bool
	refused, cut              int64
	ownSent, ownFailed        int64
	readings, readingsFailed  int64
}

func (r *stolenResult) row(name string) string {
	before, after := strconv.Itoa(r.before), strconv.Itoa(r.after)
	if !r.flagged {
		before, after = "never flagged", "–"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %d | %d | %d | %d |\n", name, thousands(r.tried), thousands(r.queued), thousands(r.recipients), before, after,
		thousands(r.refused), thousands(r.cut), r.ownSent, r.ownFailed, r.readings, r.readingsFailed)
}

// home is where the owner is, in a network of its own.
var home = netip.MustParseAddr("2001:db8:900d::10")

// thiefAddress returns the address of source n.
func thiefAddress(n int) netip.Addr {
	net := lab.NetA
	if n >= 250 {
		net, n = lab.NetB, n-250
	}
	b := net.Addr().As4()
	b[3] = byte(2 + n)
	return netip.AddrFrom4(b)
}

const owner = "owner"

func (o *stolenOptions) play(ctx context.Context, d defence) (*stolenResult, error) {
	l, err := lab.New(ctx, lab.Options{Users: []string{owner}, MainCF: d.mainCF, Processes: 100})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := d.start(ctx, l); err != nil {
		return nil, err
	}
	if err := yesterday(l); err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // that is read
	r := &stolenResult{}
	var people, thieves sync.WaitGroup
	stop := make(chan struct{})
	people.Go(func() { r.write(ctx, l, stop) })
	people.Go(func() { r.read(ctx, l, stop) })
	time.Sleep(time.Second)
	for n := range o.sources {
		thieves.Go(func() { o.steal(ctx, l, n, r) })
	}
	thieves.Wait()
	time.Sleep(3 * time.Second) // and how the owner fares after it
	close(stop)
	people.Wait()
	text, err := os.ReadFile(l.MailLog())
	if err != nil {
		return nil, err
	}
	at, flagged := d.flagged(ctx, l, string(text))
	r.flagged = flagged
	r.tally(string(text), at)
	return r, nil
}

// yesterday lets the log say that the owner has logged in at home before.
func yesterday(l *lab.Lab) error {
	f, err := os.OpenFile(l.MailLog(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for hours := 30; hours > 0; hours -= 10 {
		at := time.Now().Add(-time.Duration(hours) * time.Hour)
		fmt.Fprintf(f, "%s mail dovecot: imap-login: Login: user=<%s>, method=PLAIN, rip=%s, lip=2001:db8::25, mpid=1, TLS, session=<x%d>\n", at.Format(time.Stamp), owner, home, hours)
	}
	return f.Close()
}

// steal sends from source n.
func (o *stolenOptions) steal(ctx context.Context, l *lab.Lab, n int, r *stolenResult) {
	var to []string
	for i := range o.recipients {
		to = append(to, fmt.Sprintf("victim%d-%d@%s", n, i, lab.Elsewhere))
	}
	atomic.AddInt64(&r.tried, int64(o.messages))
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	s, err := l.Submission(ctx, thiefAddress(n), 587)
	if err == nil {
		defer s.Close()
		err = s.Auth(owner, lab.Password)
	}
	for sent := 0; err == nil && sent < o.messages; sent++ {
		if err = s.SendToSome(owner+"@"+lab.Domain, to, "buy", "now"); errors.Is(err, lab.ErrRefused) {
			atomic.AddInt64(&r.refused, 1)
			err = s.Command(250, "RSET")
		}
	}
	if err != nil {
		atomic.AddInt64(&r.cut, 1)
	}
}

// write is the owner sending a message every half second.
func (r *stolenResult) write(ctx context.Context, l *lab.Lab, stop chan struct{}) {
	for every := time.NewTicker(500 * time.Millisecond); ; {
		if err := l.Submit(ctx, home, owner, owner+"@"+lab.Domain, []string{owner + "@" + lab.Domain}, "from home"); err != nil {
			r.ownFailed++
		} else {
			r.ownSent++
		}
		select {
		case <-stop:
			return
		case <-every.C:
		}
	}
}

// read is the owner logging in to the mailbox every half second.
func (r *stolenResult) read(ctx context.Context, l *lab.Lab, stop chan struct{}) {
	for every := time.NewTicker(500 * time.Millisecond); ; {
		if _, err := l.Subjects(ctx, home, owner); err != nil {
			r.readingsFailed++
		} else {
			r.readings++
		}
		select {
		case <-stop:
			return
		case <-every.C:
		}
	}
}

var (
	clientLine = regexp.MustCompile(`smtpd\[\d+\]: ([0-9A-F]+): client=\S+?\[([0-9a-f.:]+)\]`)
	activeLine = regexp.MustCompile(`qmgr\[\d+\]: ([0-9A-F]+): from=<.*>, size=\d+, nrcpt=(\d+) \(queue active\)`)
)

// stampOf reads the time of a line that Postfix wrote, by the second.
func stampOf(line string) time.Time {
	at, err := time.ParseInLocation(time.Stamp, line[:min(len(line), len(time.Stamp))], time.Local)
	if err != nil {
		return time.Time{}
	}
	return at.AddDate(time.Now().Year(), 0, 0)
}

// tally counts what reached the queue from elsewhere than home.
func (r *stolenResult) tally(log string, flagged time.Time) {
	from := make(map[string]string)
	for line := range strings.Lines(log) {
		if m := clientLine.FindStringSubmatch(line); m != nil {
			from[m[1]] = m[2]
		}
		m := activeLine.FindStringSubmatch(line)
		if m == nil || from[m[1]] == "" || from[m[1]] == home.String() {
			continue
		}
		n, _ := strconv.Atoi(m[2])
		r.queued++
		r.recipients += int64(n)
		if r.flagged && stampOf(line).After(flagged) {
			r.after++
		} else {
			r.before++
		}
		delete(from, m[1])
	}
}
