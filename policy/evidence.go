package policy

import (
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxSample bounds Evidence.Sample: the first five and the last five.
const maxSample = 10

// testimony returns o as evidence.
func (e *Engine) testimony(o *observation) Observation {
	ob := Observation{
		Time:    instant(o.at),
		Kind:    o.kind,
		Source:  netip.AddrFrom16(o.addr).Unmap(),
		User:    e.names.name(o.user),
		Service: e.labels.word(o.service),
		Server:  e.labels.word(o.server),
		Line:    o.line,
	}
	if o.kind == Message {
		ob.Recipients = int(o.amount)
	}
	return ob
}

// evidence returns what is in w.
func (e *Engine) evidence(w *window) Evidence {
	var all []uint32
	for i := w.first; i != 0; i = e.seen.at(i).next {
		all = append(all, i)
	}
	return e.evidenceOf(all)
}

// evidenceOf returns the observations with these numbers, oldest first.
func (e *Engine) evidenceOf(numbers []uint32) Evidence {
	n := len(numbers)
	ev := Evidence{Count: n, Sample: make([]Observation, 0, min(n, maxSample))}
	if n > 0 {
		ev.FirstLine, ev.LastLine = e.seen.at(numbers[0]).line, e.seen.at(numbers[n-1]).line
	}
	for i, number := range numbers {
		if i < maxSample/2 || i >= n-maxSample/2 {
			ev.Sample = append(ev.Sample, e.testimony(e.seen.at(number)))
		}
	}
	return ev
}

// bySources returns the sources in w in the order of their first observation
// there, and the observations of each.
func (e *Engine) bySources(w *window) ([]Source, map[Source][]uint32) {
	var order []Source
	parts := make(map[Source][]uint32)
	for i := w.first; i != 0; i = e.seen.at(i).next {
		s := e.seen.at(i).source()
		if parts[s] == nil {
			order = append(order, s)
		}
		parts[s] = append(parts[s], i)
	}
	return order, parts
}

// numbers is what the observations of a window add up to.
type numbers struct {
	observations, amount, users, sources int
	networks, countries                  int
	marked                               [8]int // by bit of observation.marks
	span                                 time.Duration
	kind                                 Kind // of all, 0 if they differ
	user                                 uint32
}

func (e *Engine) sum(w *window) numbers {
	var n numbers
	users := make(map[uint32]struct{})
	sources := make(map[Source]struct{})
	networks := make(map[Source]struct{})
	countries := make(map[uint16]struct{})
	for i := w.first; i != 0; i = e.seen.at(i).next {
		o := e.seen.at(i)
		if n.observations++; n.observations == 1 {
			n.kind = o.kind
		} else if n.kind != o.kind {
			n.kind = 0
		}
		n.amount += int(o.amount)
		if o.user != 0 {
			users[o.user] = struct{}{}
			n.user = o.user
		}
		source := o.source()
		sources[source] = struct{}{}
		networks[source.network()] = struct{}{}
		if c, ok := e.country(MeasureCountries, o); ok {
			countries[c] = struct{}{}
		}
		for bit := range n.marked {
			if o.marks&(1<<bit) != 0 {
				n.marked[bit]++
			}
		}
	}
	n.users, n.sources, n.networks, n.countries = len(users), len(sources), len(networks), len(countries)
	n.span = time.Duration(e.seen.at(w.last).at - e.seen.at(w.first).at)
	return n
}

// kindWords holds singular and plural of what each kind of event is called
// in a reason. Kind 0 stands for several.
var kindWords = [len(kindNames)][2]string{
	0:                {"event", "events"},
	AuthFailure:      {"failed login", "failed logins"},
	AuthSuccess:      {"login", "logins"},
	Message:          {"message", "messages"},
	UnknownRecipient: {"unknown recipient", "unknown recipients"},
	Connection:       {"connection", "connections"},
	Content:          {"message with bad content", "messages with bad content"},
	Listed:           {"listing in the DNS", "listings in the DNS"},
}

// count writes n and the word for it.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (k Kind) counted(n int) string { return count(n, kindWords[k][0], kindWords[k][1]) }

// sourceReason tells why r fired on source: "12 failed logins in 8m20s from
// 203.0.113.5, 7 different users".
func (e *Engine) sourceReason(r *Rule, source Source, w *window) string {
	n := e.sum(w)
	var what string
	switch r.Measure {
	case MeasureUsers:
		return count(n.users, "user", "different users") + " tried" + during(n) + " from " + source.String()
	case MeasureRecipients:
		what = count(n.amount, "recipient", "recipients") + " in " + Message.counted(n.observations)
	default:
		what = n.kind.counted(n.observations)
	}
	what += during(n) + " from " + source.String()
	switch {
	case n.users == 1:
		what += ", all for " + quoted(e.names.name(n.user))
	case n.users > 1:
		what += ", " + strconv.Itoa(n.users) + " different users"
	}
	if r.Measure == MeasureWeight {
		what += ", weighing " + points(n.amount) + " of " + strconv.Itoa(r.Threshold) + marked(n)
	}
	return what
}

// points writes hundredths of a point with one digit of fraction.
func points(hundredths int) string { return strconv.FormatFloat(float64(hundredths)/point, 'f', 1, 64) }

// marked tells why observations weigh what they do.
func marked(n numbers) string {
	var why []string
	for _, m := range []struct {
		mark  uint8
		words string
	}{
		{markUnknown, "at users unknown here"},
		{markForeign, "from a network that hardly anybody succeeds from"},
		{markPressure, "while strangers' offences were far above normal"},
		{markRepeat, "what it had tried before"},
		{markGuarded, "at users under guard"},
		{markParole, "after an earlier decision"},
	} {
		if k := n.marked[bits.TrailingZeros8(m.mark)]; k > 0 {
			why = append(why, strconv.Itoa(k)+" "+m.words)
		}
	}
	if len(why) == 0 {
		return ""
	}
	return ": " + strings.Join(why, ", ")
}

// userReason tells what r counted for a user: "520 recipients in 14 messages
// in 12m from 9 sources".
func (e *Engine) userReason(r *Rule, w *window) string {
	n := e.sum(w)
	switch r.Measure {
	case MeasureSources:
		return count(n.sources, "source", "different sources") + during(n)
	case MeasureNetworks:
		return count(n.networks, "network", "different networks") + " new to the user" + during(n)
	case MeasureCountries:
		return count(n.countries, "country", "different countries") + during(n)
	case MeasureRecipients:
		return count(n.amount, "recipient", "recipients") + " in " + Message.counted(n.observations) +
			during(n) + " from " + count(n.sources, "source", "sources")
	}
	return n.kind.counted(n.observations) + during(n) + " from " + count(n.sources, "source", "sources")
}

// userAside tells what the threshold of r was set by, if not by r alone.
func (e *Engine) userAside(u *userState, r *Rule, w *window, h *happening) string {
	switch {
	case r.Settled != 0 && h.at < u.doubt:
		return ", whose password seems to have been guessed"
	case r.Settled != 0 && w.amount < uint32(r.Threshold):
		return ", while strangers send far more here than is normal"
	case r.Baseline != 0 && u.baseline(r) >= 1:
		return ", who sends to " + strconv.Itoa(int(u.baseline(r))) + " a day from where it is at home"
	}
	return ""
}

// during writes the time that a window's observations span, if it is any.
func during(n numbers) string {
	if n.observations < 2 {
		return ""
	}
	return " in " + FormatDuration(max(n.span, time.Second))
}

// furtherReason tells why a source is flagged that acted for a user under
// guard.
func furtherReason(kind Kind, who string, until int64) string {
	return "a source that is not familiar to " + quoted(who) + ": " + kind.counted(1) +
		" while the user is guarded until " + instant(until).Format(time.RFC3339)
}

// quoted writes a user name, which an attacker may have chosen, so that it
// cannot be taken for anything else.
func quoted(user string) string {
	for i := 0; i < len(user); i++ {
		c := user[i]
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == ',' || c == ';' || c == ':' {
			return strconv.Quote(user)
		}
	}
	return user
}
