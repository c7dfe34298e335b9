package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"

	"weir/tests/bench/live"
	"weir/tests/peers"
)

// xdpFilter is xdp-filter's program, in the variant that looks at addresses
// alone and lets pass what it does not know. It is attached as it is, without
// the dispatcher that its own loader puts before it.
type xdpFilter struct {
	version    string
	collection *ebpf.Collection
	flagged    uint32
}

const (
	xdpFilterName = "xdpfilt_alw_ip"
	xdpFilterMap4 = "filter_ipv4"
	// xdpFilterMost is the size of its maps.
	xdpFilterMost = 10_000
	// xdpFilterSource is its flag for an address that is dropped as a source
	// (xdp-filter/common_kern_user.h).
	xdpFilterSource = 1
)

func openXDPFilter(packages string, n uint32) (_ *xdpFilter, err error) {
	version, missing := peers.Version(packages, "libxdp1")
	if missing != "" {
		return nil, errors.New("package libxdp1 is not there: run tests/setup.sh bench datapath and name its folder with -peers")
	}
	objects, err := filepath.Glob(filepath.Join(packages, "usr/lib/*/bpf", xdpFilterName+".o"))
	if err != nil || len(objects) == 0 {
		return nil, fmt.Errorf("no %s.o in %s", xdpFilterName, packages)
	}
	spec, err := ebpf.LoadCollectionSpec(objects[0])
	if err != nil {
		return nil, err
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	f := &xdpFilter{version: version, flagged: min(n, xdpFilterMost)}
	if f.collection, err = ebpf.NewCollection(spec); err != nil {
		return nil, fmt.Errorf("load %s: %w", xdpFilterName, err)
	}
	values := make([]uint64, ebpf.MustPossibleCPU())
	for i := range values {
		values[i] = xdpFilterSource
	}
	for i := range f.flagged {
		if err := f.collection.Maps[xdpFilterMap4].Put(live.Source4(i).As4(), values); err != nil {
			return nil, errors.Join(fmt.Errorf("fill %s: %w", xdpFilterMap4, err), f.close())
		}
	}
	return f, nil
}

func (f *xdpFilter) close() error {
	f.collection.Close()
	return nil
}

func (f *xdpFilter) program() *ebpf.Program { return f.collection.Programs[xdpFilterName] }

// xdpFilterRow is the row of xdp-filter, with as many sources as it has room
// for.
func (b *datapathBench) xdpFilterRow(base *row) error {
	r := &row{contender: "xdp-filter", what: "drops IPv4", traffic: base.traffic, base: base, plotted: "xdp-filter"}
	b.rows = append(b.rows, r)
	f, err := openXDPFilter(b.peers, b.peerSources[0])
	if err != nil {
		r.missing = err.Error()
		say("%s WILL NOT BE MEASURED: %s", r.contender, r.missing)
		return nil
	}
	b.closing = append(b.closing, f.close)
	b.xdp = f
	r.contender += " (" + f.version + ")"
	r.flagged, r.traffic.Count = f.flagged, f.flagged
	r.gate = &programGate{link: b.link, program: f.program()}
	return nil
}
