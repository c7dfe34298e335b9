package maillog

import (
	"bytes"
	"net/netip"
)

// readSOGoLogin reads "HOST" and what stands behind mark. HOST is a header of
// the request: x-webobjects-remote-host, if not there x-forward, then
// X-Forwarded-For, and without any of them the address of the socket. A proxy
// must set the first; then it is one address. Of X-Forwarded-For, which most
// proxies append to, all but the last element is the client's own words, so
// the last is taken: what the nearest proxy saw. If that is an address of
// private use behind others, it is one more proxy of the site's, the element
// before it is as good as the site's own word or a client's, and nothing here
// tells which: no source.
//
// Both HOST and what follows mark may hold mark themselves. If the readings
// name different addresses, none is taken.
func readSOGoLogin(b []byte, mark string) (addr netip.Addr, user []byte, ok bool) {
	for from := 0; ; from += len(mark) {
		i := index(b[from:], mark)
		if i < 0 {
			return addr, user, ok
		}
		from += i
		a, list, valid := sogoHost(b[:from])
		if !valid {
			continue
		}
		if ok && a != addr || list && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()) {
			return addr, nil, false
		}
		if !ok {
			addr, user, ok = a, b[from+len(mark):], true
		}
	}
}

// sogoHost returns the last address of a list, and whether others are before it.
func sogoHost(b []byte) (addr netip.Addr, list, ok bool) {
	i := bytes.LastIndexByte(b, ',')
	last := trimStart(b[i+1:])
	addr, n := leadingAddr(last)
	return addr, i >= 0, n > 0 && n == len(last)
}
