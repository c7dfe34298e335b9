package loader

import (
	"fmt"
	"slices"
)

// SetPorts replaces the set of protected ports. A port that is in both the
// old and the new set is protected throughout.
func (d *Datapath) SetPorts(ports []uint16) error {
	d.canaries.Lock()
	defer d.canaries.Unlock()
	if err := d.setPorts(datapathPortsOfPORTS_PROTECTED, ports); err != nil {
		return err
	}
	d.ports = slices.Clone(ports)
	return nil
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
