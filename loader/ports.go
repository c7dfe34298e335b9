package loader

import "fmt"

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
