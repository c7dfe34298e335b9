package maillog

import (
	"net/netip"

	"weir/policy"
)

// deliveries follow the messages of a server that tells of a message's
// recipients one by one, as it delivers: Exim and Courier. Each recipient
// counts once, by the address that the client named, so that an alias of a
// hundred people is one; one that no event has told of yet is told of as a
// message of its own, for it is the number of recipients that a message weighs.
type deliveries struct {
	Mail       table[accepted] // by message ID
	Recipients table[bool]     // theirs that have been seen
}

// accepted is a message that a server has accepted from a client.
type accepted struct {
	Source  netip.Addr
	User    string
	Service string
	Told    int // recipients that events have told of
	Seen    int // recipients whose delivery has been tried
	Unix    int64
}

// deliveryTime is for how many seconds a message's deliveries are followed. The
// first try of all recipients lies in it, also where a queue runner starts it.
const deliveryTime = 3600

func newDeliveries() deliveries {
	return deliveries{Mail: newTable[accepted](maxAccepted), Recipients: newTable[bool](maxRecipients)}
}

// emitDelivery appends that the message with a key has one more recipient, if
// events have told of fewer than deliveries were tried to by now. k is the
// pattern that has read so.
func (p *Parser) emitDelivery(r *record, d *deliveries, key uint64, recipient []byte, k pattern, server string, out []policy.Event) []policy.Event {
	m := d.Mail.get(key)
	if m == nil {
		return out
	}
	if t, ok := p.when(r); !ok || t.Unix() > m.Unix+deliveryTime {
		d.Mail.remove(key)
		return out
	}
	its := uint64(newHash.uint(uint32(key)).uint(uint32(key >> 32)).bytes(recipient))
	if d.Recipients.get(its) != nil {
		return out
	}
	p.found(k)
	d.Recipients.put(its, true)
	if m.Seen++; m.Seen <= m.Told {
		return out
	}
	m.Told++
	return p.emitAccepted(r, m, 1, server, out)
}

// emitAccepted appends a message with some of its recipients.
func (p *Parser) emitAccepted(r *record, m *accepted, recipients int, server string, out []policy.Event) []policy.Event {
	return p.emit(r, policy.Event{
		Kind: policy.Message, Source: m.Source, User: m.User, Service: m.Service, Server: server, Recipients: recipients,
	}, out)
}
