// Package geo tells in which country an address is, by a database in MaxMind's
// format (MaxMind DB File Format Specification 2.0) that the operator supplies:
// GeoLite2 or GeoIP2 Country or City, DB-IP, IPinfo and others. It knows
// nothing of who asks.
package geo

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Database tells countries. It is not safe for concurrent use. It implements
// policy.Locator.
type Database struct {
	reader *maxminddb.Reader
	known  map[uintptr]uint16 // countries of records that were read, by their place
}

// maxKnown bounds how many records are remembered: a database of countries has
// some hundreds, one of towns several hundred thousand.
const maxKnown = 1 << 16

// Open reads the database at path. It is held in memory, some ten megabytes
// for countries: a file that is mapped and then cut short would end the agent.
func Open(path string) (*Database, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open the database of countries: %w", err)
	}
	d, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read the database of countries %s: %w; it must be in MaxMind's format (.mmdb)", path, err)
	}
	return d, nil
}

func parse(data []byte) (*Database, error) {
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, err
	}
	return &Database{reader: reader, known: make(map[uintptr]uint16)}, nil
}

// Country returns the country of addr: the two letters of its ISO 3166-1 code
// as one number, the first one the high byte. It reports false if the database
// does not say.
func (d *Database) Country(addr netip.Addr) (country uint16, ok bool) {
	found := d.reader.Lookup(addr.Unmap())
	if !found.Found() {
		return 0, false
	}
	country, ok = d.known[found.Offset()]
	if !ok {
		country = read(found)
		if len(d.known) == maxKnown {
			clear(d.known)
		}
		d.known[found.Offset()] = country
	}
	return country, country != 0
}

// read returns the country of a record, 0 if it has none. MaxMind and DB-IP
// keep the code under "country", IPinfo as "country_code" or "country" itself.
func read(found maxminddb.Result) uint16 {
	for _, path := range [][]any{{"country", "iso_code"}, {"country_code"}, {"country"}} {
		var code string
		if found.DecodePath(&code, path...) == nil && len(code) == 2 {
			return uint16(code[0])<<8 | uint16(code[1])
		}
	}
	return 0
}
