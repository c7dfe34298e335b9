package mixlog

// visit is what a client does in one session.
type visit struct {
	who     peer
	service string   // smtp, submission, imap, pop3, sieve
	tls     bool     // whether the client encrypts
	failed  []string // users of the logins that are refused, one after the other
	user    string   // who logs in at last; empty: nobody
	mails   []mail   // messages that are sent
	unknown int      // recipients that do not exist
	rude    bool     // the client goes without a word
}

// mail is a message.
type mail struct {
	from       string
	recipients int
	local      bool // to mailboxes of ours
	bad        bool // spam, or a virus
}

// server logs visits as a server's programs do.
type server interface {
	// visit writes v, which begins at a time, and returns when it ends.
	visit(g *Generator, h *host, at int64, v *visit) (end int64)
}

// think is how long a client takes for its next step.
func (g *Generator) think(from, to int64) int64 {
	return from + int64(g.random.next()%uint64(to-from))
}

// host picks one that serves a session.
func (g *Generator) host() *host { return pick(&g.random, g.byKind[g.random.weighted(g.shares)]) }

// at picks a place of an account.
func (g *Generator) place(a *account) peer { return a.places[g.random.below(len(a.places))] }

// guess returns names that a guesser tries.
func (g *Generator) guess(n int) []string {
	g.failures = g.failures[:0]
	for range n {
		g.failures = append(g.failures, pick(&g.random, g.people.guesses))
	}
	return g.failures
}

// repeat returns the same name n times.
func (g *Generator) repeat(name string, n int) []string {
	g.failures = g.failures[:0]
	for range n {
		g.failures = append(g.failures, name)
	}
	return g.failures
}

// mail returns n messages with up to most recipients each, which are seldom
// many.
func (g *Generator) mail(from string, n, most int, local bool) []mail {
	g.mails = g.mails[:0]
	for range n {
		g.mails = append(g.mails, mail{from, 1 + g.random.skewed(g.random.skewed(most)+1), local, g.random.chance(2) && (local || g.random.chance(10))})
	}
	return g.mails
}

// protocol picks what a user's client speaks.
func (g *Generator) protocol() string {
	switch n := g.random.below(100); {
	case n < 88:
		return "imap"
	case n < 98:
		return "pop3"
	default:
		return "sieve"
	}
}
