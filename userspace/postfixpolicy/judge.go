package postfixpolicy

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/policy"
)

// Settings are what the configuration says of answers.
type Settings struct {
	Enforce  bool                  // else every message passes, and what would not have is only told
	Over     Reply                 // over a quota, or over a limited user's rate
	Guarded  Reply                 // of a deferred user, or of a guarded user's stranger
	Pause    time.Duration         // of Slow
	Allowed  func(netip.Addr) bool // sources that are never limited: no quota per source holds for them, and they are nobody's strangers
	Harvest  bool                  // recipients that Postfix refuses after they were asked about here count as unknown ones
	Location *time.Location        // in which clients are told when to come again
}

// Told is what a request tells the engine, or the quotas the ledger.
type Told struct {
	Event    policy.Event     // Kind 0: none
	QueueID  [32]byte         // of a Message, as far as it is known; padded with zeros
	Decision *policy.Decision // nil: none
}

// ID returns the queue ID.
func (t *Told) ID() []byte {
	for i, c := range t.QueueID {
		if c == 0 {
			return t.QueueID[:i]
		}
	}
	return t.QueueID[:]
}

// Verdicts counts what became of requests that were not simply passed.
type Verdicts struct {
	Messages uint64 // that were counted
	Over     uint64
	Limited  uint64
	Deferred uint64
	Stranger uint64
	Lost     uint64 // things to tell that found the queue full
}

// Judge answers requests. What stands on users, quotas and who is known from
// where is behind one lock, which is held for less than a microsecond.
type Judge struct {
	now      func() time.Time
	told     chan Told
	tells    chan struct{} // has an element if something was told since it was taken
	settings atomic.Pointer[Settings]

	mu       sync.Mutex
	flow     *policy.Flow
	recent   []uint64 // messages that were counted lately, by their instances' hashes
	seed     maphash.Seed
	probes   *probes
	verdicts Verdicts
}

const (
	toldSize   = 16_384  // events that the core may be behind
	recentSize = 1 << 16 // counted messages that are recognised on another connection
)

// NewJudge returns one that passes everything until it is told otherwise. now
// is the wall clock, by which decisions end.
func NewJudge(limits policy.Limits, now func() time.Time) *Judge {
	j := &Judge{now: now, told: make(chan Told, toldSize), tells: make(chan struct{}, 1),
		flow: policy.NewFlow(limits), recent: make([]uint64, recentSize), seed: maphash.MakeSeed(), probes: newProbes()}
	j.settings.Store(&Settings{Location: time.UTC})
	return j
}

// Set replaces settings and quotas.
func (j *Judge) Set(s Settings, rules policy.QuotaRules) {
	if s.Location == nil {
		s.Location = time.UTC
	}
	j.settings.Store(&s)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flow.Quotas.SetRules(rules)
}

// Told is where events and decisions come out, in the order in which they
// were made.
func (j *Judge) Told() <-chan Told { return j.told }

// Tells has an element once something is to be had from Told: who waits here takes
// nothing, so that whoever takes it next has all of it, in its order.
func (j *Judge) Tells() <-chan struct{} { return j.tells }

// Flow calls f with what is counted and what stands; nobody else touches it
// meanwhile.
func (j *Judge) Flow(f func(*policy.Flow)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(j.flow)
}

// Verdicts returns what became of requests.
func (j *Judge) Verdicts() Verdicts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.verdicts
}

// Logged takes an event that a log tells of, and no request: whose user is
// known from where, and what was sent past this server.
func (j *Judge) Logged(e *policy.Event) {
	if e.Kind != policy.Message && (e.Kind != policy.AuthSuccess || e.User == "") {
		return
	}
	settings := j.settings.Load()
	m := policy.Mail{User: policy.FoldUser(e.User), Source: settings.sourceOf(e.Source), Recipients: max(e.Recipients, 1)}
	j.mu.Lock()
	defer j.mu.Unlock()
	if m.User != "" {
		j.flow.Known.Learn(m.User, m.Source, e.Time)
	}
	if e.Kind == policy.Message {
		j.flow.Quotas.Count(e.Time, &m)
	}
}

// sourceOf returns the source that is judged for an address, the invalid one
// for those that never are.
func (s *Settings) sourceOf(addr netip.Addr) policy.Source {
	if !policy.Judged(addr) || s.Allowed != nil && s.Allowed(addr) {
		return policy.Source{}
	}
	return policy.SourceOf(addr)
}

// Answer implements Answerer.
func (j *Judge) Answer(s *Session, r *Request, out []byte) []byte {
	settings, now := j.settings.Load(), j.now()
	m := policy.Mail{Source: settings.sourceOf(r.Client), Recipients: max(r.Recipients, 1)}
	var room [maxUser]byte

	j.mu.Lock()
	defer j.mu.Unlock()
	if len(r.User) > 0 {
		m.User = j.flow.Known.Name(fold(&room, r.User))
	} else if j.flow.Quotas.BoundsSenders() {
		m.Sender = string(fold(&room, domainOf(r.Sender)))
	}
	user := m.User
	e := policy.Event{Time: now, Source: r.Client, User: user, Service: serviceOf(user), Server: serverOf(r.Context)}
	if s.loggedIn(r, user) {
		e.Kind = policy.AuthSuccess
		j.flow.Known.Learn(user, m.Source, now)
		j.tell(&Told{Event: e})
	}
	if settings.Harvest {
		j.unknown(&s.harvest, r, e, m.Source)
	}
	var a policy.FlowAnswer
	switch {
	case r.State == StateData || r.State == StateEndOfMessage:
		a = j.judge(s, r, &m, &e, settings)
	case user != "":
		a = j.flow.Knock(now, user, m.Source)
		j.count(&a)
	}
	reply := settings.replyTo(&a)
	early := r.State < StateData && (reply == Slow || reply == Hold) // time enough when the message is there
	if a.Action == policy.FlowPass || !settings.Enforce || early {
		return append(out, dunno...)
	}
	return settings.appendReply(out, &a)
}

// maxUser is how many bytes of a login name are looked at (RFC 5321 section
// 4.5.3.1 allows 64 + 1 + 255).
const maxUser = 320

// fold writes a name with small letters, as policy.FoldUser does, and cut to
// what is looked at.
func fold(room *[maxUser]byte, name []byte) []byte {
	folded := room[:copy(room[:], name)]
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return folded
}

// serviceOf names the service as logs do: who logs in submits.
func serviceOf(user string) string {
	if user == "" {
		return "smtp"
	}
	return "submission"
}

// serverOf names the server: one that is not Postfix says so in
// policy_context.
func serverOf(context []byte) string {
	if string(context) == "exim" {
		return "exim"
	}
	return "postfix"
}

// judge decides about a message, once: DATA and END-OF-MESSAGE may both be
// asked about, on one connection or on two.
func (j *Judge) judge(s *Session, r *Request, m *policy.Mail, e *policy.Event, settings *Settings) policy.FlowAnswer {
	var id uint64
	if len(r.Instance) > 0 {
		id = maphash.Bytes(j.seed, r.Instance) | 1
		if s.counted == id || j.recent[id>>48%recentSize] == id {
			return policy.FlowAnswer{}
		}
	}
	a := j.flow.Ask(e.Time, m)
	j.count(&a)
	if a.Action == policy.FlowOver {
		j.overQuota(m, &a, e)
	}
	if reply := settings.replyTo(&a); a.Action != policy.FlowPass && settings.Enforce && reply != Slow && reply != Hold {
		return a
	}
	if a.Action != policy.FlowPass { // it is taken all the same
		j.flow.Quotas.Count(e.Time, m)
	}
	if id != 0 {
		s.counted, j.recent[id>>48%recentSize] = id, id
	}
	e.Kind, e.Recipients = policy.Message, m.Recipients
	t := Told{Event: *e}
	copy(t.QueueID[:], r.QueueID)
	j.verdicts.Messages++
	j.tell(&t)
	return a
}

func (j *Judge) count(a *policy.FlowAnswer) {
	switch a.Action {
	case policy.FlowOver:
		j.verdicts.Over++
	case policy.FlowLimited:
		j.verdicts.Limited++
	case policy.FlowDeferred:
		j.verdicts.Deferred++
	case policy.FlowStranger:
		j.verdicts.Stranger++
	}
}

// renewed is by how much the end of a quota's decision must move for it to be
// decided anew.
const renewed = time.Minute

// overQuota has it decided that a user is over a quota, unless that is known,
// or something else stands.
func (j *Judge) overQuota(m *policy.Mail, a *policy.FlowAnswer, e *policy.Event) {
	if m.User == "" || a.Never {
		return
	}
	if d := j.flow.Standing(e.Time, m.User); d != nil && (d.Rule != policy.QuotaRule || d.Pinned || a.Until.Sub(d.Until) < renewed) {
		return
	}
	d := policy.QuotaDecision(e.Time, m, a, policy.Observation{
		Time: e.Time, Kind: policy.Message, Source: e.Source, User: m.User, Service: e.Service, Server: e.Server, Recipients: m.Recipients,
	})
	j.flow.Stand(m.User, &d)
	j.tell(&Told{Decision: &d})
}

// tell hands over without waiting.
func (j *Judge) tell(t *Told) {
	select {
	case j.told <- *t:
	default:
		j.verdicts.Lost++
	}
	select {
	case j.tells <- struct{}{}:
	default:
	}
}

// savedAtOnce is how many users are saved before requests have their turn.
const savedAtOnce = 64

// Saver writes what a judge has counted, in steps between which it answers.
type Saver struct {
	judge *Judge
	flow  *policy.FlowSaver
}

// Save begins to write what was counted.
func (j *Judge) Save() *Saver {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Saver{j, j.flow.Save()}
}

// Step writes some users more, and reports whether those were all.
func (s *Saver) Step() (done bool) {
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	return s.flow.Step(savedAtOnce)
}

// Parts returns what was written, which put together is for UnmarshalBinary.
func (s *Saver) Parts() [][]byte { return s.flow.Parts() }

// UnmarshalBinary takes up what was counted. On an error nothing changes.
func (j *Judge) UnmarshalBinary(data []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.flow.UnmarshalBinary(data)
}
