package maillog

import "weir/policy"

// Content filters tell what they think of a message: that it is spam, or
// carries a virus. Only what a user of this host submitted is of interest:
// its sender is known by a password. Spam that comes in gives no event.
//
// Most filters name the message's queue ID and no user, so Postfix's lines
// are asked who sent it. Several lines can tell of one message: the filter's
// and that of the server which refuses it for the filter, or two filters'.
// They are one event, by the queue ID, whatever host or log they come from: a
// filter's own log names no host.

// submitter returns who submitted a message that Postfix has in its queue, if
// it was a user.
func (p *Parser) submitter(r *record, id []byte) (queued, bool) {
	m := p.recall(r, id)
	if m == nil || m.User == "" {
		return queued{}, false
	}
	return *m, true
}

// emitContent appends that the message was judged bad, unless that was told.
func (p *Parser) emitContent(r *record, id []byte, m queued, server string, out []policy.Event) []policy.Event {
	if len(id) > 0 {
		key := uint64(newHash.bytes(id))
		if p.judged.get(key) != nil {
			return out
		}
		p.judged.put(key, true)
	}
	return p.emit(r, policy.Event{
		Kind: policy.Content, Source: m.Source, User: m.User, Service: m.Service, Server: server,
	}, out)
}
