package loader

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// SetPorts replaces the set of protected ports. A port that is in both the
// old and the new set is protected throughout.
func (d *Datapath) SetPorts(ports []uint16) error {
	return d.setPorts(datapathPortsOfPORTS_PROTECTED, ports)
}

func (d *Datapath) setPorts(which datapathPortsOf, ports []uint16) error {
	var set datapathPortSet
	for _, p := range ports {
		set.Word[p/64] |= 1 << (p % 64)
	}
	if err := d.objects.Ports.Put(which, &set); err != nil {
		return fmt.Errorf("set ports: %w", err)
	}
	return nil
}

// Ceiling is how many connections any source that no entry concerns may open:
// one each Every, and Burst of them at once. Its buckets are kept for the
// CEILING_SOURCES (65,536) sources of each family that opened connections
// latest. The zero Ceiling lets any number through.
type Ceiling struct {
	Every time.Duration
	Burst int
	Ports []uint16 // where it holds; those that are not protected do not matter
}

// Validate reports what is wrong with c.
func (c Ceiling) Validate() error {
	switch {
	case c.Every == 0 && c.Burst == 0:
		return nil
	case c.Every <= 0 || c.Burst < 1:
		return fmt.Errorf("ceiling of one opening each %s, burst %d: both must be positive", c.Every, c.Burst)
	case c.Every > maxTolerance || c.Burst > int(maxTolerance/c.Every):
		return fmt.Errorf("ceiling of one opening each %s, burst %d: burst takes more than %s to refill", c.Every, c.Burst, maxTolerance)
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
	// In this order no source is held to more than one of the two asks for.
	if err := d.objects.CeilingToleranceNs.Set(uint64(max(c.Burst-1, 0)) * uint64(c.Every)); err != nil {
		return fmt.Errorf("set ceiling: %w", err)
	}
	if err := d.objects.CeilingEveryNs.Set(uint64(c.Every)); err != nil {
		return fmt.Errorf("set ceiling: %w", err)
	}
	return nil
}
