package maillog

import (
	"bytes"
	"net/netip"

	"weir/policy"
)

// nginxClient is whom a line of nginx's is about.
type nginxClient struct {
	addr    netip.Addr
	service string
	user    []byte
}

func (c *nginxClient) event(p *Parser, k policy.Kind) policy.Event {
	return policy.Event{Kind: k, Source: c.addr, User: p.users.name(c.user), Service: c.service, Server: nginxServer}
}

// readNginxClient reads
//
//	ADDRESS[ using starttls], server: ADDRESS[, login: "USER"[, upstream: ADDRESS]]
//
// A line of more than 2048 bytes is cut (NGX_MAX_ERROR_STR), and so is USER.
func readNginxClient(b []byte) (c nginxClient, ok bool) {
	addr, n := leadingAddr(b)
	if n == 0 {
		return c, false // "unix:"
	}
	c.addr = addr
	b, _ = skipWord(b[n:], " using starttls")
	if b, ok = skipWord(b, ", server: "); !ok {
		return c, false
	}
	end := bytes.IndexByte(b, ',')
	if end < 0 {
		end = len(b)
	}
	c.service = mailService(b[:end])
	if b, ok = skipWord(b[end:], ", login: \""); !ok {
		return c, true
	}
	if !bytes.HasSuffix(b, []byte{'"'}) {
		if i := bytes.LastIndex(b, []byte("\", upstream: ")); i >= 0 {
			b = b[:i]
		}
	}
	c.user = bytes.TrimSuffix(b, []byte{'"'})
	return c, true
}

// mailService returns the service of the port that a server's address ends
// with, and nothing if it is none that is known for mail (RFC 6409, RFC 8314,
// RFC 5804).
func mailService(addr []byte) string {
	return portService(addr[bytes.LastIndexByte(addr, ':')+1:])
}

func portService(port []byte) string {
	switch string(port) {
	case "25":
		return smtp
	case "465", "587":
		return submission
	case "143", "993":
		return "imap"
	case "110", "995":
		return "pop3"
	case "4190":
		return "sieve"
	}
	return ""
}
