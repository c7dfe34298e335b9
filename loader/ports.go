package loader

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
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

// LetThrough has every program that is pinned below dir pass every packet, by
// taking all ports away from it. It needs nobody who has the folder open, and
// works beside whoever has; who loaded the program can undo it by SetPorts.
// A folder that is not there is no error.
func LetThrough(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, mapsPrefix+"*", "ports"))
	if err != nil {
		return fmt.Errorf("look for maps in %s: %w", dir, err)
	}
	var errs []error
	for _, path := range found {
		errs = append(errs, clearPorts(path))
	}
	return errors.Join(errs...)
}

func clearPorts(path string) error {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, explain(err))
	}
	defer m.Close()
	none := make([]byte, m.ValueSize())
	for key := range m.MaxEntries() {
		if err := m.Put(key, none); err != nil {
			return fmt.Errorf("clear %s: %w", path, err)
		}
	}
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
