package mixlog

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"time"

	"weir/policy"
)

// Script is a log whose sessions somebody else has thought of; this package
// writes what the servers say of them.
type Script struct {
	Seed     uint64
	Start    time.Time // of the log; see Options.Start
	Hosts    []Setup
	Accounts []string // mailboxes that exist

	// Visits are the sessions, in the order in which they begin.
	Visits iter.Seq[Visit]
}

// Setup is a host with Postfix or Exim, and with Dovecot.
type Setup struct {
	Name       string
	Exim       bool
	UserNamed  bool // Postfix 3.7.11 and later name the user of a failure
	Screen     bool // postscreen stands before port 25
	Filter     bool // mail goes through amavis and comes back
	LongIDs    bool // Postfix's enable_long_queue_ids
	Verbose    bool // Dovecot's auth_verbose
	Worker     bool // its database is asked by a worker
	Dovecot24  bool
	Recipients bool // Exim's log_selector = +received_recipients
}

// Visit is a session: logins that are refused, one that is not, messages, and
// recipients that do not exist, in this order.
type Visit struct {
	At      time.Duration // from the log's start
	Host    int           // in Script.Hosts
	Client  netip.Addr
	Name    string // the client's reverse name; empty: unknown
	Helo    string // empty: the address as a literal
	Service string // smtp, submission, imap, pop3, sieve
	TLS     bool
	Failed  []string // users of the logins that are refused
	User    string   // who logs in; SMTP servers tell of it only if messages follow
	Mails   []Mail
	Unknown int  // recipients that do not exist
	Rude    bool // the client goes without a word
}

// Mail is a message.
type Mail struct {
	From       string
	Recipients int
	Local      bool // to mailboxes of ours
}

// Origin is where an event comes from.
type Origin struct {
	Visit uint32 // number of the visit in the script, from 0
	// Item is what in the visit the event is about. First come its failed
	// logins, then its messages, then its unknown recipients, each with a
	// number. A login belongs to the first message that follows it. What is
	// about the connection has the number 0.
	Item uint16
}

// cast is a script under way.
type cast struct {
	next    func() (Visit, bool)
	stop    func()
	waiting Visit // the next one to begin
	over    bool  // there is none
	until   int64 // the second in which the last line can come
	origin  Origin
	first   [3]uint16 // numbers of the visit's next failure, message, unknown recipient
}

// Play returns a generator that writes the log of a script. It ends with the
// script. Close it if it is not read to its end.
func Play(s Script) (*Generator, error) {
	if s.Start.IsZero() || s.Start.Nanosecond() != 0 {
		return nil, errors.New("play script: Start must be a whole second")
	}
	if len(s.Hosts) == 0 || len(s.Accounts) < minScriptAccounts {
		return nil, fmt.Errorf("play script: want a host and %d accounts, have %d and %d", minScriptAccounts, len(s.Hosts), len(s.Accounts))
	}
	o := DefaultOptions()
	o.Seed, o.Lines, o.Start, o.Rate, o.Accounts, o.Bots = s.Seed, math.MaxUint64, s.Start, 0, minScriptAccounts, minScriptAccounts
	g := &Generator{options: o, random: random{o.Seed}, now: -1, start: o.Start.Unix(), zone: o.Start.Format("Z07:00")}
	g.people = newPeople(&g.random, o)
	g.people.accounts, g.people.names = g.people.accounts[:0], make(map[string]bool, len(s.Accounts))
	for _, name := range s.Accounts {
		g.people.accounts = append(g.people.accounts, account{name: name})
		g.people.names[name] = true
	}
	for i, setup := range s.Hosts {
		g.hosts = append(g.hosts, setup.host(i))
	}
	g.cast = &cast{}
	g.writing.cast = g.cast
	g.cast.next, g.cast.stop = iter.Pull(s.Visits)
	g.cast.turn()
	return g, nil
}

// minScriptAccounts is as many as the servers' lines need names for.
const minScriptAccounts = 100

// Close lets go of a script.
func (g *Generator) Close() {
	if g.cast != nil {
		g.cast.stop()
	}
}

func (s Setup) host(i int) *host {
	h := &host{
		name: s.Name, mta: postfix{}, mailbox: dovecot{},
		postfixUser: s.UserNamed, longIDs: s.LongIDs, screen: s.Screen, filter: s.Filter,
		authVerbose: s.Verbose, authWorker: s.Worker, dovecot24: s.Dovecot24, recipients: s.Recipients,
	}
	if s.Exim {
		h.kind, h.mta = eximHost, exim{}
	}
	h.begin(i)
	return h
}

// turn goes on to the next visit.
func (c *cast) turn() {
	v, more := c.next()
	if c.over = !more; more {
		v.At = max(v.At, c.waiting.At)
		c.waiting = v
		c.until = int64(v.At/time.Second) + horizon
	}
}

// done reports whether all lines of the script are out.
func (c *cast) done(now int64) bool { return c.over && now >= c.until }

// play begins the visits of the present second.
func (g *Generator) play() {
	c := g.cast
	for ; !c.over && int64(c.waiting.At/time.Second) <= g.now; c.turn() {
		w := &c.waiting
		v := visit{service: w.Service, tls: w.TLS, failed: w.Failed, user: w.User, unknown: w.Unknown, rude: w.Rude}
		v.who = peer{addr: w.Client, text: w.Client.String(), name: w.Name, helo: w.Helo}
		if v.who.name == "" {
			v.who.name = "unknown"
		}
		if v.who.helo == "" {
			v.who.helo = "[" + v.who.text + "]"
			if w.Client.Is6() {
				v.who.helo = "[IPv6:" + v.who.text + "]"
			}
		}
		g.mails = g.mails[:0]
		for _, m := range w.Mails {
			g.mails = append(g.mails, mail{from: m.From, recipients: m.Recipients, local: m.Local})
		}
		v.mails = g.mails
		login := 0
		if v.user != "" {
			login = 1
		}
		c.first = [3]uint16{0, uint16(len(v.failed)), uint16(len(v.failed) + max(len(v.mails), login))}
		h := g.hosts[w.Host]
		serve := h.mta
		if v.service != "smtp" && v.service != "submission" {
			serve = h.mailbox
		}
		serve.visit(g, h, w.At.Microseconds(), &v)
		c.origin.Visit++
	}
}

// of returns the origin of the visit's next event of a kind.
func (c *cast) of(k policy.Kind) Origin {
	o := c.origin
	next := func(i int) {
		o.Item = c.first[i]
		c.first[i]++
	}
	switch k {
	case policy.AuthFailure:
		next(0)
	case policy.AuthSuccess:
		o.Item = c.first[1]
	case policy.Message:
		next(1)
	case policy.UnknownRecipient:
		next(2)
	}
	return o
}
