package protect

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// inNamespace runs f in a network namespace of its own.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ns, err := netns.New()
		if err == nil {
			defer ns.Close()
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("make a network namespace: %v", err)
		}
		t.Skipf("make a network namespace: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestOwnAndGateways(t *testing.T) {
	inNamespace(t, func() {
		if found := must((&Finder{Kinds: Kinds(), Sessions: t.TempDir()}).Find(noon)); len(found) != 0 {
			t.Fatalf("in an empty namespace: %v", found)
		}
		must(0, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "prot0"}, PeerName: "prot1"}))
		link, peer := must(netlink.LinkByName("prot0")), must(netlink.LinkByName("prot1"))
		must(0, netlink.LinkSetUp(peer))
		must(0, netlink.LinkSetUp(link))
		for _, a := range []string{"192.0.2.25/24", "2001:db8:1::25/64"} {
			must(0, netlink.AddrAdd(link, must(netlink.ParseAddr(a))))
		}
		gateway := func(table int, dst, via string) {
			route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: netip.MustParseAddr(via).AsSlice(), Table: table}
			route.Dst = must(netlink.ParseIPNet(dst))
			must(0, netlink.RouteAdd(route))
		}
		gateway(254, "0.0.0.0/0", "192.0.2.1")
		gateway(100, "0.0.0.0/0", "192.0.2.2") // another table, as hosts with two uplinks have one
		gateway(254, "203.0.113.0/24", "192.0.2.3")
		gateway(254, "::/0", "2001:db8:1::1")
		reasons := make(map[string]string)
		for _, one := range must((&Finder{Kinds: Kinds(), Sessions: t.TempDir()}).Find(noon)) {
			if addr := one.Prefix.Addr(); !addr.IsLinkLocalUnicast() {
				reasons[addr.String()] = one.Reason
			}
		}
		want := map[string]string{
			"192.0.2.25": "the host's own address, on prot0", "2001:db8:1::25": "the host's own address, on prot0",
			"192.0.2.1": "the default gateway, on prot0", "192.0.2.2": "the default gateway, on prot0", "2001:db8:1::1": "the default gateway, on prot0",
		}
		if !reflect.DeepEqual(reasons, want) {
			t.Errorf("found %v, want %v", reasons, want)
		}
	})
}

func TestAdministrators(t *testing.T) {
	dir := t.TempDir()
	session := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	session("1", "# private\nUID=0\nUSER=root\nACTIVE=1\nSTATE=active\nREMOTE=1\nREMOTE_HOST=198.51.100.7\nCLASS=user\n")
	session("2", "UID=0\nSTATE=closing\nREMOTE=1\nREMOTE_HOST=198.51.100.8\n")
	session("3", "UID=0\nSTATE=active\nREMOTE=0\n")
	session("4", "UID=0\nSTATE=active\nREMOTE=1\nREMOTE_HOST=host.example.org\n")
	session("5", "UID=4294967294\nSTATE=active\nREMOTE=1\nREMOTE_HOST=198.51.100.9\n") // nobody we know
	session("6", "UID=0\nSTATE=online\nREMOTE=1\nREMOTE_HOST=2001:db8::7%eth0\n")
	if err := os.Mkdir(filepath.Join(dir, "7"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := &Finder{Kinds: []string{Administrators}, Sessions: dir}
	addrs := func(at time.Time) (found []string) {
		t.Helper()
		for _, one := range must(f.Find(at)) {
			found = append(found, one.Prefix.Addr().String())
		}
		return found
	}
	both := []string{"198.51.100.7", "2001:db8::7"}
	if got := addrs(noon); !reflect.DeepEqual(got, both) {
		t.Fatalf("logged in: %v", got)
	}
	for _, name := range []string{"1", "6"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := addrs(noon.Add(linger)); !reflect.DeepEqual(got, both) {
		t.Errorf("logged out lately: %v", got)
	}
	if got := addrs(noon.Add(linger + time.Second)); len(got) != 0 {
		t.Errorf("logged out long ago: %v", got)
	}
	f.Sessions = filepath.Join(dir, "none")
	if got := addrs(noon); len(got) != 0 {
		t.Errorf("without logind: %v", got)
	}
}

// TestProxies: who a mail server believes is protected, unless that is half of
// the Internet, and the configuration is read again when it may have changed.
func TestProxies(t *testing.T) {
	files := fstest.MapFS{
		"etc/postfix/main.cf":      {Data: []byte("smtpd_authorized_xclient_hosts = 192.0.2.1 127.0.0.1 0.0.0.0/0 198.51.0.0/16 198.51.100.0/24\n")},
		"etc/dovecot/dovecot.conf": {Data: []byte("haproxy_trusted_networks = 10.0.0.0/8 192.0.2.1 2001:db8::/32 2001:db8:1:2::/64\n")},
	}
	f := &Finder{Kinds: []string{Proxies}, FS: files}
	find := func(at time.Time) string {
		t.Helper()
		var found []string
		for _, one := range must(f.Find(at)) {
			found = append(found, one.Prefix.String())
		}
		return strings.Join(found, " ")
	}
	const all = "10.0.0.0/8 192.0.2.1/32 198.51.100.0/24 2001:db8:1:2::/64"
	if got := find(noon); got != all {
		t.Errorf("found %s", got)
	}
	if one := must(f.Find(noon))[0]; one.Reason != "a proxy that Dovecot trusts (haproxy_trusted_networks)" {
		t.Errorf("of %s it says %q", one.Prefix, one.Reason)
	}
	delete(files, "etc/dovecot/dovecot.conf")
	if got := find(noon.Add(proxiesEvery - time.Second)); got != all {
		t.Errorf("a moment later: %s", got)
	}
	if got := find(noon.Add(proxiesEvery)); got != "192.0.2.1/32 198.51.100.0/24" {
		t.Errorf("read again: %s", got)
	}
}

// FuzzSession: a session's file spares an address that packets can come from, of
// somebody whom it names, or nobody.
func FuzzSession(f *testing.F) {
	for _, text := range []string{
		"# private\nUID=0\nUSER=root\nACTIVE=1\nSTATE=active\nREMOTE=1\nREMOTE_HOST=198.51.100.7\nCLASS=user\n",
		"UID=0\nSTATE=online\nREMOTE=1\nREMOTE_HOST=2001:db8::7%eth0\n",
		"UID=0\nSTATE=closing\nREMOTE=1\nREMOTE_HOST=::ffff:198.51.100.8\n",
		"UID=0\nREMOTE=1\nREMOTE_HOST=host.example.org\nREMOTE_HOST=\x00",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		uid, from, ok := parseSession(strings.NewReader(text))
		if !ok {
			return
		}
		if p := host(from); !p.IsValid() || !p.IsSingleIP() || from.Is4In6() || from.Zone() != "" || !usable(from) {
			t.Errorf("spares %v", from)
		}
		if !strings.Contains(text, "REMOTE=1") || !strings.Contains(text, uid) {
			t.Errorf("uid %q", uid)
		}
	})
}
