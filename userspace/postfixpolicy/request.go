package postfixpolicy

import (
	"bytes"
	"errors"
	"net/netip"
	"unsafe"
)

// State is how far the SMTP client is (protocol_state).
type State uint8

const (
	StateOther State = iota // one that is not asked about here: CONNECT, EHLO, HELO, VRFY, ETRN
	StateMail
	StateRcpt
	StateData
	StateEndOfMessage
)

// Request is one request, as far as it is looked at. What is in it points into
// the buffer that it was read from.
type Request struct {
	State      State
	Client     netip.Addr // client_address; invalid if Postfix does not know it
	Port       []byte     // client_port, from Postfix 3.0 on
	User       []byte     // sasl_username; empty: not logged in
	Sender     []byte
	Recipient  []byte // empty at DATA and END-OF-MESSAGE of several
	QueueID    []byte // empty before the first recipient was accepted, and with smtpd_proxy_filter
	Instance   []byte // of the message: the same in all requests about it
	Context    []byte // policy_context, from Postfix 3.1 on: whatever the administrator wrote
	Recipients int    // recipient_count; 0 before DATA
}

// Attributes that must not be there twice: one of them would then be the
// client's.
const (
	hasRequest = 1 << iota
	hasState
	hasClient
	hasPort
	hasUser
	hasSender
	hasRecipient
	hasQueueID
	hasInstance
	hasRecipients
	hasContext
)

var (
	errMalformed = errors.New("request is malformed")
	errOther     = errors.New("request is not one of smtpd_access_policy")
)

// requestEnd is the empty line that ends a request, with the end of the line
// before it.
var requestEnd = []byte("\n\n")

// parse reads a request: lines "NAME=VALUE", all but the last with their ends.
// Names that it does not know are left out. It allocates nothing.
func (r *Request) parse(text []byte) error {
	*r = Request{}
	seen := 0
	for len(text) > 0 {
		line := text
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		equals := bytes.IndexByte(line, '=')
		if equals < 1 {
			return errMalformed
		}
		value := line[equals+1:]
		known, ok := 0, true
		switch string(line[:equals]) {
		case "request":
			known = hasRequest
			if string(value) != "smtpd_access_policy" {
				return errOther
			}
		case "protocol_state":
			known, r.State = hasState, stateOf(value)
		case "client_address":
			known, r.Client = hasClient, addressOf(value)
		case "client_port":
			known, r.Port = hasPort, value
		case "sasl_username":
			known, r.User = hasUser, value
		case "sender":
			known, r.Sender = hasSender, value
		case "recipient":
			known, r.Recipient = hasRecipient, value
		case "queue_id":
			known, r.QueueID = hasQueueID, value
		case "instance":
			known, r.Instance = hasInstance, value
		case "policy_context":
			known, r.Context = hasContext, value
		case "recipient_count":
			known = hasRecipients
			r.Recipients, ok = numberOf(value)
		}
		if !ok || seen&known != 0 {
			return errMalformed
		}
		seen |= known
	}
	if seen&hasRequest == 0 {
		return errOther
	}
	return nil
}

func stateOf(value []byte) State {
	switch string(value) {
	case "MAIL":
		return StateMail
	case "RCPT":
		return StateRcpt
	case "DATA":
		return StateData
	case "END-OF-MESSAGE":
		return StateEndOfMessage
	}
	return StateOther
}

// addressOf reads an address, and gives the invalid one for anything else
// ("unknown").
func addressOf(value []byte) netip.Addr {
	if len(value) == 0 || len(value) > 64 || bytes.IndexByte(value, '%') >= 0 {
		return netip.Addr{}
	}
	// Nothing of the text is in the result, as there is no zone in it; only an
	// error would keep it, which is let go of here.
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(value), len(value)))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// maxRecipients bounds what one message may say that it has.
const maxRecipients = 1_000_000

func numberOf(value []byte) (n int, ok bool) {
	if len(value) == 0 {
		return 0, true
	}
	for _, c := range value {
		if c < '0' || c > '9' || n > maxRecipients {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= maxRecipients
}

// domainOf returns what stands behind the last "@" of an address.
func domainOf(address []byte) []byte {
	if at := bytes.LastIndexByte(address, '@'); at >= 0 {
		return address[at+1:]
	}
	return nil
}
