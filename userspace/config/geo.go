package config

// geo reads [geo]: the database that tells countries.
func (c *Config) geo(top *section) {
	s := top.section("geo")
	if s == nil {
		return
	}
	s.absolute("database", &c.Countries)
	if c.Countries == "" && !s.broken["database"] {
		s.fail("database", "is missing", `write where it is, such as "/var/lib/GeoIP/GeoLite2-Country.mmdb", or remove [geo]`)
	}
	s.finish()
}
