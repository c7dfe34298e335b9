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
	ServerPort uint16 // server_port, from Postfix 3.2 on; else 0
}

// attribute is one that is looked at. None may be there twice: one of them
// would then be the client's.
type attribute int

const (
	otherAttribute attribute = iota
	attributeRequest
	attributeState
	attributeClient
	attributePort
	attributeUser
	attributeSender
	attributeRecipient
	attributeQueueID
	attributeInstance
	attributeRecipients
	attributeContext
	attributeServerPort
	attributeCount
)

func attributeOf(name []byte) attribute {
	switch string(name) {
	case "request":
		return attributeRequest
	case "protocol_state":
		return attributeState
	case "client_address":
		return attributeClient
	case "client_port":
		return attributePort
	case "sasl_username":
		return attributeUser
	case "sender":
		return attributeSender
	case "recipient":
		return attributeRecipient
	case "queue_id":
		return attributeQueueID
	case "instance":
		return attributeInstance
	case "recipient_count":
		return attributeRecipients
	case "policy_context":
		return attributeContext
	case "server_port":
		return attributeServerPort
	}
	return otherAttribute
}

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
	var values [attributeCount][]byte
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
		a := attributeOf(line[:equals])
		if a != otherAttribute && values[a] != nil {
			return errMalformed
		}
		values[a] = line[equals+1:]
	}
	if string(values[attributeRequest]) != "smtpd_access_policy" {
		return errOther
	}
	recipients, counted := numberOf(values[attributeRecipients], maxRecipients)
	port, _ := numberOf(values[attributeServerPort], 1<<16-1) // what is none is 0
	if !counted {
		return errMalformed
	}
	*r = Request{
		State:      stateOf(values[attributeState]),
		Client:     addressOf(values[attributeClient]),
		Port:       values[attributePort],
		User:       values[attributeUser],
		Sender:     values[attributeSender],
		Recipient:  values[attributeRecipient],
		QueueID:    values[attributeQueueID],
		Instance:   values[attributeInstance],
		Context:    values[attributeContext],
		Recipients: recipients,
		ServerPort: uint16(port),
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

// numberOf reads a number, 0 where there is none.
func numberOf(value []byte, most int) (n int, ok bool) {
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int(c-'0'); n > most {
			return 0, false
		}
	}
	return n, true
}

// domainOf returns what stands behind the last "@" of an address.
func domainOf(address []byte) []byte {
	if at := bytes.LastIndexByte(address, '@'); at >= 0 {
		return address[at+1:]
	}
	return nil
}
