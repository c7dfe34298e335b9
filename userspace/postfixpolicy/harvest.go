package postfixpolicy

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"weir/policy"
)

// harvest counts the recipients of one client's message that Postfix refused
// after they were asked about here. Postfix never tells; it shows only in what
// it asks next about the same message: a message gets its queue ID with the
// first recipient that is accepted, and DATA comes with the number of those
// that were. What becomes of the last ones of a message without DATA does not
// show: those were left.
type harvest struct {
	client   netip.Addr
	source   policy.Source // of client, the invalid one if it is not judged
	instance []byte
	asked    int // recipients
	refused  int // of them, as told so far
	left     []uint64
	null     bool // sent by nobody: a call-out, or a bounce
	data     bool
}

// mostLeft is how many recipients of a message are remembered.
const mostLeft = 16

// see takes a request, and returns how many refusals it shows that were not
// known.
func (h *harvest) see(r *Request, seed maphash.Seed) (more int) {
	refused := h.refused
	switch r.State {
	case StateRcpt:
		if len(r.QueueID) == 0 {
			refused, h.left = h.asked, h.left[:0]
		}
		h.asked++
		if len(h.left) < mostLeft {
			h.left = append(h.left, maphash.Bytes(seed, r.Recipient))
		}
		h.null = len(r.Sender) == 0
	case StateData, StateEndOfMessage:
		h.data = true
		if r.Recipients > 0 && h.asked > r.Recipients {
			refused = h.asked - r.Recipients
		}
	}
	more = max(refused-h.refused, 0)
	h.refused = max(h.refused, refused)
	return more
}

// begin makes h ready for a client's next message.
func (h *harvest) begin(client netip.Addr, source policy.Source, instance []byte) {
	*h = harvest{client: client, source: source, instance: append(h.instance[:0], instance...), left: h.left[:0]}
}

// probes remembers which recipients sources have left. A client may change its
// mind, or ask whether an address exists before it believes a sender; one that
// names many and never sends anything has come for the names. Of sources that
// share a place the newer one is remembered.
type probes struct {
	seed   maphash.Seed
	places []probe
	ports  [1 << 16 / 64]uint64 // of the server, at which DATA was asked about
}

type probe struct {
	source policy.Source
	at     int64 // when it left the last one
	names  [16]uint64
	left   int // so many in all, of which names has the last
}

const (
	probePlaces = 1 << 13
	fewProbes   = 5 // recipients that a source may leave, within probeTime of each other, before more are evidence
	probeTime   = int64(24 * time.Hour)
)

func newProbes() *probes {
	return &probes{seed: maphash.MakeSeed(), places: make([]probe, probePlaces)}
}

// left notes recipients that a source has left, and returns how many of them
// are evidence.
func (p *probes) left(source policy.Source, names []uint64, now int64) (evidence int) {
	place := &p.places[maphash.Comparable(p.seed, source)%probePlaces]
	if place.source != source || now-place.at > probeTime {
		*place = probe{source: source}
	}
	for _, name := range names {
		place.at = now
		if slices.Contains(place.names[:min(place.left, len(place.names))], name) {
			continue
		}
		place.names[place.left%len(place.names)] = name
		if place.left++; place.left > fewProbes {
			evidence++
		}
	}
	return evidence
}

// sent notes that a source has sent a message.
func (p *probes) sent(source policy.Source) {
	if place := &p.places[maphash.Comparable(p.seed, source)%probePlaces]; place.source == source {
		*place = probe{}
	}
}

// asksAtData notes at which ports DATA is asked about, and reports whether it
// is at that of r: elsewhere all messages would seem to have been left.
func (p *probes) asksAtData(r *Request) bool {
	word, bit := &p.ports[r.ServerPort/64], uint64(1)<<(r.ServerPort%64)
	if r.State >= StateData {
		*word |= bit
	}
	return *word&bit != 0
}

// unknown tells of unknown recipients that r shows. Who is logged in looks for
// nobody.
func (j *Judge) unknown(h *harvest, r *Request, e policy.Event, source policy.Source) {
	asks := j.probes.asksAtData(r)
	if !bytes.Equal(h.instance, r.Instance) {
		if asks && !h.data && !h.null && h.source.IsValid() {
			e.Source = h.client
			j.tellUnknown(e, j.probes.left(h.source, h.left, e.Time.UnixNano()))
		}
		if len(r.User) > 0 {
			source = policy.Source{}
		}
		h.begin(r.Client, source, r.Instance)
	}
	e.Source = r.Client
	if more := h.see(r, j.probes.seed); h.source.IsValid() {
		j.tellUnknown(e, more)
	}
	if h.data {
		j.probes.sent(h.source)
	}
}

func (j *Judge) tellUnknown(e policy.Event, n int) {
	e.Kind, e.User, e.Service = policy.UnknownRecipient, "", serviceOf("")
	for range n {
		j.tell(&Told{Event: e})
	}
}
