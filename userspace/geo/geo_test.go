package geo

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// mustWrite writes a database of some prefixes and what stands under them.
func mustWrite(t testing.TB, records map[string]mmdbtype.DataType) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, record := range records {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "countries.mmdb")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func country(code string) mmdbtype.Map {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
}

func TestCountry(t *testing.T) {
	d, err := Open(mustWrite(t, map[string]mmdbtype.DataType{
		"192.0.2.0/24":     country("JP"),
		"198.51.100.0/24":  mmdbtype.Map{"country_code": mmdbtype.String("DE")},
		"203.0.113.0/25":   mmdbtype.Map{"country": mmdbtype.String("CH")},
		"203.0.113.128/25": mmdbtype.Map{"city": mmdbtype.Map{"geoname_id": mmdbtype.Uint32(7)}},
		"2001:db8::/32":    country("FR"),
		"233.252.0.0/24":   country("Atlantis"),
	}))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"192.0.2.1": "JP", "::ffff:192.0.2.9": "JP", "198.51.100.1": "DE", "203.0.113.1": "CH", "203.0.113.200": "",
		"2001:db8:1::1": "FR", "2001:db9::1": "", "10.0.0.1": "", "233.252.0.1": "",
	} {
		for range 2 { // read, and remembered
			got, ok := d.Country(netip.MustParseAddr(addr))
			if ok != (want != "") || ok && string([]byte{byte(got >> 8), byte(got)}) != want {
				t.Errorf("%s: %x, %t, want %q", addr, got, ok, want)
			}
		}
	}
}

func TestNoDatabase(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.mmdb")); !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
	path := filepath.Join(t.TempDir(), "x.mmdb")
	if err := os.WriteFile(path, []byte("192.0.2.0/24 JP\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), ".mmdb") {
		t.Errorf("a file of another format: %v", err)
	}
}

func BenchmarkCountry(b *testing.B) {
	d, err := Open(mustWrite(b, map[string]mmdbtype.DataType{"192.0.2.0/24": country("JP")}))
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.MustParseAddr("192.0.2.77")
	b.ReportAllocs()
	for b.Loop() {
		d.Country(addr)
	}
}

// FuzzDatabase reads files that are damaged: whatever is in one, a country is two
// bytes or none, and the same when it is asked for again.
func FuzzDatabase(f *testing.F) {
	data, err := os.ReadFile(mustWrite(f, map[string]mmdbtype.DataType{
		"192.0.2.0/24":    country("JP"),
		"198.51.100.0/24": mmdbtype.Map{"country_code": mmdbtype.String("DE")},
		"203.0.113.0/25":  mmdbtype.Map{"country": mmdbtype.String("CH"), "more": mmdbtype.Slice{mmdbtype.Uint64(7), mmdbtype.Bool(true)}},
		"2001:db8::/32":   country("FR"),
	}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[len(data)/2:])
	f.Add([]byte("192.0.2.0/24 JP\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parse(data)
		if err != nil {
			return
		}
		for _, a := range []string{"192.0.2.1", "198.51.100.9", "203.0.113.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::"} {
			addr := netip.MustParseAddr(a)
			first, ok := d.Country(addr)
			if ok != (first != 0) {
				t.Errorf("%s: %x, %t", a, first, ok)
			}
			if again, still := d.Country(addr); again != first || still != ok {
				t.Errorf("%s: %x, then %x", a, first, again)
			}
		}
	})
}
