package mixlog

import (
	"errors"
	"fmt"
	"time"
)

// Options say which log to write.
type Options struct {
	Seed  uint64
	Lines uint64

	// Start is the time of the first second. Its zone is that of the stamps,
	// and traditional ones do not name it.
	Start       time.Time
	Traditional bool // "Nov 22 00:20:01" instead of RFC 3339 with microseconds

	// Rate is how many sessions begin in a second, on the average of a day.
	// A session is about ten lines.
	Rate float64

	Accounts int // mailboxes, 100 to 50,000
	Bots     int // sources of botnets, 100 to 50,000

	Weights Weights // of scenarios
	Servers Servers // weights of hosts
}

// Weights say how many of the sessions, or of the runs of sessions, that
// begin are of a kind. Only their proportions count; 0 leaves a kind out.
type Weights struct {
	Inbound    float64 // another server brings mail
	Screened   float64 // a client that is refused before it may speak, or by a block list
	Submission float64 // a user sends mail
	Mailbox    float64 // a user reads mail
	Typo       float64 // a user mistypes the password, and then does not
	Stale      float64 // a telephone in an office tries its old password, every 90 seconds
	Brute      float64 // one source guesses, session after session
	Botnet     float64 // a source that tries once to four times
	Rotating   float64 // a /64, a new address for each try
	Stolen     float64 // many sources send mail with a good password
	Harvest    float64 // a source tries recipients
	Probe      float64 // a client that comes and goes
	Injection  float64 // a source whose names look like log lines
	Outage     float64 // an authentication server is down for a minute
	System     float64 // lines of programs that serve no mail
}

// Servers say how many of the sessions go to hosts with which servers.
type Servers struct {
	Postfix   float64 // with Dovecot: three hosts of different versions
	Exim      float64 // with Dovecot: two
	OpenSMTPD float64 // with Dovecot
	Sendmail  float64 // with Dovecot
	Stalwart  float64
	Web       float64 // with Roundcube, and with SOGo, and nothing else
	Cyrus     float64 // with Postfix and saslauthd
	Courier   float64 // with Postfix
	Nginx     float64 // as a proxy for all protocols
}

// DefaultOptions are a million lines of a site that is busy for one: some ten
// million lines a day.
func DefaultOptions() Options {
	return Options{
		Seed: 1, Lines: 1_000_000,
		Start: time.Date(2026, time.November, 20, 7, 0, 0, 0, time.UTC), Rate: 12,
		Accounts: 5000, Bots: 20000,
		Weights: Weights{
			Inbound: 24, Screened: 12, Submission: 6, Mailbox: 34, Typo: 0.6, Stale: 0.01,
			Brute: 0.04, Botnet: 2.5, Rotating: 0.01, Stolen: 0.002, Harvest: 0.15, Probe: 6,
			Injection: 0.1, Outage: 0.003, System: 14,
		},
		Servers: Servers{Postfix: 68, Exim: 12, OpenSMTPD: 3, Sendmail: 3, Stalwart: 3, Web: 3, Cyrus: 3, Courier: 2, Nginx: 3},
	}
}

// Validate reports all that is wrong with o.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(!o.Start.IsZero() && o.Start.Nanosecond() == 0, "Start must be a whole second")
	check(o.Rate > 0 && o.Rate <= 1000, "Rate %g is not within 0 and 1000", o.Rate)
	check(o.Accounts >= 100 && o.Accounts <= 50000, "Accounts %d is not within 100 and 50000", o.Accounts)
	check(o.Bots >= 100 && o.Bots <= 50000, "Bots %d is not within 100 and 50000", o.Bots)
	sum := 0.0
	for _, w := range o.Weights.list() {
		check(w >= 0, "weight %g is negative", w)
		sum += w
	}
	check(sum > 0, "all weights are 0")
	sum = 0
	for _, w := range o.Servers.list() {
		check(w >= 0, "share %g of a server is negative", w)
		sum += w
	}
	check(sum > 0, "all shares of servers are 0")
	return errors.Join(errs...)
}

// list has one weight for each scenario, in their order.
func (w Weights) list() [scenarioCount]float64 {
	return [...]float64{
		inbound: w.Inbound, screened: w.Screened, submitting: w.Submission, reading: w.Mailbox, typo: w.Typo,
		stale: w.Stale, brute: w.Brute, botnet: w.Botnet, rotating: w.Rotating, stolen: w.Stolen,
		harvest: w.Harvest, probe: w.Probe, injection: w.Injection, outage: w.Outage, system: w.System,
	}
}

// list has one weight for each kind of host, in their order.
func (s Servers) list() [kindCount]float64 {
	return [...]float64{postfixHost: s.Postfix, eximHost: s.Exim, openSMTPDHost: s.OpenSMTPD, nginxHost: s.Nginx, sendmailHost: s.Sendmail, stalwartHost: s.Stalwart, webHost: s.Web, cyrusHost: s.Cyrus, courierHost: s.Courier}
}
