package agent

import (
	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/geo"
)

// setLocator gives engines the database of countries that a configuration
// names, or takes it away.
func setLocator(c *config.Config, engines ...*policy.Engine) error {
	var locator policy.Locator
	if c.Countries != "" {
		database, err := geo.Open(c.Countries)
		if err != nil {
			return err
		}
		locator = database
	}
	for _, e := range engines {
		e.SetLocator(locator)
	}
	return nil
}

// locate is setLocator for an agent that runs: without the database it goes on
// as before, and says so.
func (c *core) locate(to *config.Config) {
	if err := setLocator(to, c.engine); err != nil {
		c.a.log.Error("countries are not known, and rules that count them wait; put the database there and reload", "error", err)
	}
}
