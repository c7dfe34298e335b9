package loader

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// Datapath is the loaded program with its maps. Its methods may be called
// concurrently, except Close and Remove, which must come last.
type Datapath struct {
	*tables

	log     *slog.Logger
	pins    *pins
	layout  string
	exits   []string
	objects datapathObjects
	rungs   []rung // that are tried, the best first

	canaries sync.Mutex // held while canaries fly, and guards what follows
	ports    []uint16

	letThrough func() bool // as in Options
	walks      walks       // of the tables of prefixes, whose lock guards it

	following sync.Mutex // held by Follow
	mu        sync.Mutex // guards what follows
	attached  map[int]*attachment
	reported  []Attachment
	checks    Checks
	planted   bool   // canaries
	stood     string // what differed when we last looked, and could not be put right
}

// Open locks the pin folder, takes over the maps an earlier run left there or
// makes new ones, and loads the program. Nothing is attached yet, and what an
// earlier run attached stays in force: put the entries that belong in the
// tables, then call [Datapath.Follow].
//
// If the pinned maps have another layout or capacity, new and empty ones are
// made and counters begin anew, while the program in force keeps the old ones
// until Follow replaces it. The ports take effect at once.
//
// Errors: [ErrPermission], [ErrUnsupported], [ErrNoBPFFS], [ErrInUse].
func Open(o Options) (*Datapath, error) {
	l, err := Load(o)
	if err != nil {
		return nil, err
	}
	return l.Open(o.Ports, o.Ceiling)
}

// Loaded is a program that is loaded, and changes nothing yet: what is in force
// and what is pinned are as they were. The pin folder is locked.
type Loaded struct {
	datapath *Datapath
	key      datapathTableKey
	fresh    bool // its maps are not pinned yet
	clocks   clocks
}

// Load is the part of [Open] that takes long and changes nothing. Either Open or
// Close must follow.
func Load(o Options) (*Loaded, error) { return load(o, clocksOf(o.Now), nil) }

// load is Load with what tests vary: the clocks, and the program's constants.
func load(o Options, clocks clocks, adjust func(*ebpf.CollectionSpec) error) (_ *Loaded, err error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("loader options: %w", err)
	}
	if err := checkKernel(); err != nil {
		return nil, err
	}
	spec, err := loadDatapath()
	if err != nil {
		return nil, err
	}
	sizeMaps(spec, o.Capacity)
	if adjust != nil {
		if err := adjust(spec); err != nil {
			return nil, err
		}
	}

	d := &Datapath{log: o.Logger, attached: make(map[int]*attachment), layout: layoutID(spec), rungs: ladder(o.Modes), letThrough: o.LetThrough}
	if d.exits, err = exitNames(spec); err != nil {
		return nil, err
	}
	if d.pins, err = openPins(o.Dir); err != nil {
		return nil, err
	}
	if d.pins.private {
		d.log.Warn("pins will not outlive the agent, nor will enforcement: the BPF file system had to be mounted in a mount namespace of its own, as \"ip netns exec\" makes one; "+
			"use nsenter --net instead, or keep pins on a BPF file system that is mounted outside of it, and not below /sys", "folder", o.Dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	key, fresh, err := d.load(spec)
	if err != nil {
		return nil, err
	}
	return &Loaded{d, key, fresh, clocks}, nil
}

// Open is the rest of the function of that name.
func (l *Loaded) Open(ports []uint16, ceiling Ceiling) (_ *Datapath, err error) {
	d := l.datapath
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if l.fresh {
		if err := d.objects.TableKey.Put(uint32(0), &l.key); err != nil {
			return nil, fmt.Errorf("write the verdict tables' key: %w", err)
		}
		if err := d.pins.pinMaps(d.layout, d.maps()); err != nil {
			return nil, err
		}
	}
	if d.tables, err = newTables(&d.objects.datapathMaps, l.fresh, l.key, l.clocks); err != nil {
		return nil, err
	}
	if err := d.tables.watchWide(d.objects.Wide); err != nil {
		return nil, err
	}
	if err := d.SetPorts(ports); err != nil {
		return nil, err
	}
	if err := d.SetCeiling(ceiling); err != nil {
		return nil, err
	}
	return d, nil
}

// Close lets go of what was loaded, in place of Open.
func (l *Loaded) Close() error { return l.datapath.Close() }

// sizeMaps gives the maps room for so many entries.
func sizeMaps(spec *ebpf.CollectionSpec, capacity int) {
	for _, name := range []string{datapathMapSources4, datapathMapSources6, datapathMapPrefixes4, datapathMapPrefixes6} {
		spec.Maps[name].MaxEntries = uint32(capacity)
	}
	shape4().sizeFor(capacity, spec.Maps[datapathMapVerdicts4], spec.Maps[datapathMapSieve4], spec.Maps[datapathMapCounts4])
	shape6().sizeFor(capacity, spec.Maps[datapathMapVerdicts6], spec.Maps[datapathMapSieve6], spec.Maps[datapathMapCounts6])
	four, six := markForm4(capacity), markForm6(capacity)
	spec.Maps[datapathMapMarks4].MaxEntries = uint32(four.homes)
	spec.Maps[datapathMapMarks6].MaxEntries = uint32(six.homes)
	spec.Maps[datapathMapUnmarked4].MaxEntries = uint32(four.unmarked())
	spec.Maps[datapathMapUnmarked6].MaxEntries = uint32(six.unmarked())
}

// load loads the program on pinned maps if they fit, else on fresh ones. It returns
// the secret of the verdict tables.
func (d *Datapath) load(spec *ebpf.CollectionSpec) (key datapathTableKey, fresh bool, err error) {
	key = newKey()
	pinned, err := d.pins.openMaps(d.layout, spec)
	if err != nil {
		return key, false, err
	}
	defer closeMaps(pinned)
	if m := pinned[datapathMapTableKey]; m != nil {
		if err := m.Lookup(uint32(0), &key); err != nil {
			return key, false, fmt.Errorf("read the verdict tables' key: %w", err)
		}
	}
	if err := setConstants(spec, key); err != nil {
		return key, false, err
	}
	err = spec.LoadAndAssign(&d.objects, &ebpf.CollectionOptions{MapReplacements: pinned})
	if err != nil {
		return key, false, fmt.Errorf("load program: %w", explain(err))
	}
	return key, len(pinned) == 0, nil
}

// maps are those that are pinned.
func (d *Datapath) maps() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{
		datapathMapCanaries:  d.objects.Canaries,
		datapathMapCeiling:   d.objects.Ceiling,
		datapathMapCounters:  d.objects.Counters,
		datapathMapPorts:     d.objects.Ports,
		datapathMapTableKey:  d.objects.TableKey,
		datapathMapVerdicts4: d.objects.Verdicts4,
		datapathMapVerdicts6: d.objects.Verdicts6,
		datapathMapSieve4:    d.objects.Sieve4,
		datapathMapMarks4:    d.objects.Marks4,
		datapathMapSieve6:    d.objects.Sieve6,
		datapathMapMarks6:    d.objects.Marks6,
		datapathMapBelief4:   d.objects.Belief4,
		datapathMapUnmarked4: d.objects.Unmarked4,
		datapathMapBelief6:   d.objects.Belief6,
		datapathMapUnmarked6: d.objects.Unmarked6,
		datapathMapCounts4:   d.objects.Counts4,
		datapathMapCounts6:   d.objects.Counts6,
		datapathMapRecent:    d.objects.Recent,
		datapathMapSources4:  d.objects.Sources4,
		datapathMapSources6:  d.objects.Sources6,
		datapathMapPrefixes4: d.objects.Prefixes4,
		datapathMapPrefixes6: d.objects.Prefixes6,
		datapathMapWaysOut:   d.objects.WaysOut,
	}
}

// newKey makes the secrets of new maps.
func newKey() datapathTableKey {
	var random [40]byte
	_, _ = rand.Read(random[:]) // it never fails
	return datapathTableKey{
		Factor4: binary.NativeEndian.Uint64(random[0:]) | 1,
		Factor6: binary.NativeEndian.Uint64(random[8:]) | 1,
		Tarpit0: binary.NativeEndian.Uint64(random[16:]),
		Tarpit1: binary.NativeEndian.Uint64(random[24:]),
		Rest6:   binary.NativeEndian.Uint64(random[32:]) | 1,
	}
}

// setConstants gives the program what it treats as constant.
func setConstants(spec *ebpf.CollectionSpec, key datapathTableKey) error {
	tick, boot, err := ticks(spec.Programs[datapathProgWeirClock])
	if err != nil {
		return err
	}
	for name, value := range map[string]any{
		datapathVarFactor4:    key.Factor4,
		datapathVarFactor6:    key.Factor6,
		datapathVarRest6:      key.Rest6,
		datapathVarHomes4:     spec.Maps[datapathMapMarks4].MaxEntries,
		datapathVarHomes6:     spec.Maps[datapathMapMarks6].MaxEntries,
		datapathVarBuckets4:   spec.Maps[datapathMapVerdicts4].MaxEntries,
		datapathVarBuckets6:   spec.Maps[datapathMapVerdicts6].MaxEntries,
		datapathVarTarpit0:    key.Tarpit0,
		datapathVarTarpit1:    key.Tarpit1,
		datapathVarAnswerMark: key.Tarpit0 + key.Tarpit1,
		datapathVarTickNs:     tick,
		datapathVarBootNs:     boot,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// checkKernel tells early, and in words, what would fail obscurely later.
func checkKernel() error {
	caps, err := effectiveCapabilities()
	if err != nil {
		return err
	}
	// CAP_SYS_ADMIN includes what was split off from it. Without CAP_PERFMON
	// the verifier forbids packet offsets that depend on the packet.
	if caps&(1<<unix.CAP_SYS_ADMIN) != 0 {
		caps |= 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	}
	if need := uint64(1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_NET_ADMIN); caps&need != need {
		return ErrPermission
	}
	err = features.HaveProgramHelper(ebpf.XDP, asm.FnXdpGetBuffLen)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("XDP over several buffers: %w: Linux 5.18 or newer with CONFIG_BPF_SYSCALL is needed, this is %s", ErrUnsupported, release())
	}
	if err != nil {
		return fmt.Errorf("probe kernel: %w", explain(err))
	}
	return nil
}

// effectiveCapabilities returns the calling thread's (capabilities(7)).
func effectiveCapabilities() (uint64, error) {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

// release is the running kernel's, as uname -r says it.
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Close releases what this process holds. Pins stay, and so does
// enforcement.
func (d *Datapath) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for index, a := range d.attached {
		errs = append(errs, a.release())
		delete(d.attached, index)
	}
	errs = append(errs, d.tables.close(), d.objects.Close(), d.pins.close())
	return errors.Join(errs...)
}

// Remove detaches the program from every interface of the network namespace
// that the calling thread is in, and removes all pins and the folder. Close
// must still be called.
func (d *Datapath) Remove() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for index := range d.attached {
		errs = append(errs, d.detach(index))
	}
	hooks, err := d.pins.hooks()
	errs = append(errs, err)
	for _, h := range hooks {
		errs = append(errs, d.detachPinned(h))
	}
	errs = append(errs, d.pins.remove())
	return errors.Join(errs...)
}
