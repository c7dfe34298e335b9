package loader

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Counter is the traffic that left the kernel program for one reason, since
// the maps were made.
type Counter struct {
	Name    string // "other_port", "dropped" …; exit_reason in abi.h tells them all
	Packets uint64
	Bytes   uint64 // whole frames
}

// exitPrefix begins the C name of each exit reason; exitCount is their number.
const (
	exitPrefix = "EXIT_"
	exitCount  = "EXIT_REASONS"
)

// exitNames takes the names of the counters from the program's own type
// information. Index is the counter's key.
func exitNames(spec *ebpf.CollectionSpec) ([]string, error) {
	var reasons *btf.Enum
	if err := spec.Types.TypeByName("exit_reason", &reasons); err != nil {
		return nil, fmt.Errorf("names of exits: %w", err)
	}
	names := make([]string, len(reasons.Values)-1)
	for _, v := range reasons.Values {
		if v.Name == exitCount {
			continue
		}
		if v.Value >= uint64(len(names)) {
			return nil, errors.New("names of exits: not numbered from 0 without gaps")
		}
		names[v.Value] = strings.ToLower(strings.TrimPrefix(v.Name, exitPrefix))
	}
	return names, nil
}

// Counters returns every exit of the program with what left by it, summed
// over CPUs, less the program's own canaries.
func (d *Datapath) Counters() ([]Counter, error) {
	d.canaries.Lock()
	defer d.canaries.Unlock()
	counters := make([]Counter, len(d.exits))
	for i, name := range d.exits {
		var each []datapathCounter
		if err := d.objects.Counters.Lookup(uint32(i), &each); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", name, err)
		}
		counters[i].Name = name
		for _, c := range each {
			counters[i].Packets += c.Packets
			counters[i].Bytes += c.Bytes
		}
		var own datapathCounter
		if err := d.objects.Canaries.Lookup(uint32(i), &own); err != nil {
			return nil, fmt.Errorf("read canaries of %s: %w", name, err)
		}
		counters[i].Packets -= min(own.Packets, counters[i].Packets)
		counters[i].Bytes -= min(own.Bytes, counters[i].Bytes)
	}
	return counters, nil
}
