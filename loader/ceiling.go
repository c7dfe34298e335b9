package loader

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Ceiling is how many connections any source that no entry concerns may open:
// one each Every, 66 µs or more, and Burst of them at once, so many that they
// are due again within a day. The zero Ceiling lets any number through.
//
// It is kept of 65,536 sources at once. One that stays below its rate is
// forgotten as soon as its next opening would be due.
type Ceiling struct {
	Every time.Duration
	Burst int
	Ports []uint16 // where it holds; those that are not protected do not matter
}

const (
	// ceilingUnit is what the program counts time in (CEILING_SHIFT).
	ceilingUnit = time.Duration(1 << 16)

	maxCeilingDebt = 24 * time.Hour // of 78 after which its clock comes round
)

// Validate reports what is wrong with c.
func (c Ceiling) Validate() error {
	switch {
	case c.Every == 0 && c.Burst == 0:
		return nil
	case c.Every < ceilingUnit || c.Burst < 1:
		return fmt.Errorf("ceiling of one opening each %s, burst %d: must be at least %s and 1", c.Every, c.Burst, ceilingUnit)
	case c.Every > maxCeilingDebt || c.Burst > int(maxCeilingDebt/c.Every):
		return fmt.Errorf("ceiling of one opening each %s, burst %d: burst takes more than %s to refill", c.Every, c.Burst, maxCeilingDebt)
	case slices.Contains(c.Ports, 0):
		return errors.New("ceiling of port 0: must be between 1 and 65535")
	}
	return nil
}

// SetCeiling replaces the ceiling of this program, which must be attached
// for it to hold: what an earlier run left in force keeps its own.
func (d *Datapath) SetCeiling(c Ceiling) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := d.setPorts(datapathPortsOfPORTS_CEILING, c.Ports); err != nil {
		return err
	}
	every := uint32((c.Every + ceilingUnit/2) / ceilingUnit)
	tolerance := uint32(max(c.Burst-1, 0)) * every
	err := errors.Join(d.objects.CeilingTolerance.Set(tolerance), d.objects.CeilingEvery.Set(every))
	if err != nil {
		return fmt.Errorf("set ceiling: %w", err)
	}
	return nil
}
