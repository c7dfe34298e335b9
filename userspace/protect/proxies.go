package protect

import (
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/mailconf"
)

// proxiesEvery is how often the configuration of mail servers is read again.
const proxiesEvery = time.Minute

// Networks that mail servers trust are taken for proxies up to this size. A
// wider one is more than proxies: it is taken only where nobody from the
// Internet can be in it.
const (
	widest4 = 24
	widest6 = 64
)

// IsProxy reports whether a network that a mail server trusts is protected as
// that of a proxy.
func IsProxy(p netip.Prefix) bool {
	switch {
	case !usable(p.Addr()) || p.Bits() == 0:
		return false
	case isPrivate(p):
		return true
	case p.Addr().Is4():
		return p.Bits() >= widest4
	}
	return p.Bits() >= widest6
}

// isPrivate reports whether all of p is (RFC 1918, RFC 4193).
func isPrivate(p netip.Prefix) bool {
	for _, private := range [...]string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
		if all := netip.MustParsePrefix(private); p.Bits() >= all.Bits() && all.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// proxies returns whose word on a client's address the mail servers believe.
// Packets of all clients come from these, so what is dropped of one is dropped
// of everybody behind it.
func (f *Finder) proxies(now time.Time) (found []One) {
	if f.FS == nil {
		return nil
	}
	if since := now.Sub(f.looked); since >= proxiesEvery || since < 0 {
		files := mailconf.Files{FS: f.FS}
		f.trust, f.looked = files.Trusted(), now
	}
	for _, t := range f.trust {
		if IsProxy(t.Prefix) {
			found = append(found, One{t.Prefix, fmt.Sprintf("a proxy that %s trusts (%s)", t.Server, t.Key)})
		}
	}
	return found
}
