package loader

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

func TestReopenTakesOver(t *testing.T) {
	o := testOptions(t)
	d := mustOpen(t, o)
	mustDo(t, d.Put(Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}, Entry{Prefix: prefix("10.0.0.0/8"), Action: ActionDrop}))
	run(t, d, syn4("192.0.2.1"))
	want, counters := collect(t, d), must(d.Counters())
	mustDo(t, d.Close())

	o.Ports = []uint16{2525}
	d = mustOpen(t, o)
	if got := collect(t, d); !maps.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
	if got := must(d.Counters()); !slices.Equal(got, counters) {
		t.Errorf("counters %v, want %v", got, counters)
	}
	if used := fillOf(d, "IPv4 sources").Used; used != 1 {
		t.Errorf("%d used, want 1", used)
	}
	wantExit(t, d, syn4("192.0.2.1"), xdpPass, "other_port")
	wantExit(t, d, ip4{src: "192.0.2.1"}.wrap(tcp{port: 2525}.bytes()), xdpDrop, "dropped")
}

func TestSecondOpenIsRefused(t *testing.T) {
	o := testOptions(t)
	d := mustOpen(t, o)
	_, err := Open(o)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("second Open: %v, want ErrInUse with the process", err)
	}
	mustDo(t, d.Close())
	mustOpen(t, o)
}

func TestOtherLayout(t *testing.T) {
	layoutOf := func(change func(*ebpf.CollectionSpec)) string {
		spec := must(loadDatapath())
		change(spec)
		return layoutID(spec)
	}
	same := layoutOf(func(*ebpf.CollectionSpec) {})
	if again := layoutOf(func(*ebpf.CollectionSpec) {}); again != same {
		t.Errorf("the same program has layouts %s and %s", same, again)
	}
	if constant := layoutOf(func(s *ebpf.CollectionSpec) { mustDo(t, s.Variables[datapathVarSimulatedTime].Set(true)) }); constant != same {
		t.Error("a constant changes the layout")
	}
	for name, change := range map[string]func(*ebpf.CollectionSpec){
		"capacity":   func(s *ebpf.CollectionSpec) { s.Maps[datapathMapSources4].MaxEntries++ },
		"value size": func(s *ebpf.CollectionSpec) { s.Maps[datapathMapSources4].ValueSize += 8 },
		"type":       func(s *ebpf.CollectionSpec) { s.Maps[datapathMapSources4].Type = ebpf.LRUHash },
		"value type": func(s *ebpf.CollectionSpec) {
			s.Maps[datapathMapSources4].Value = s.Maps[datapathMapCounters].Value
		},
		"exits": func(s *ebpf.CollectionSpec) { s.Maps[datapathMapCounters].Key = s.Maps[datapathMapSources4].Key },
	} {
		if layoutOf(change) == same {
			t.Errorf("a change of %s leaves the layout as it is", name)
		}
	}
}

// A pin that does not hold what its name says is not used, and not fatal.
func TestDamagedPins(t *testing.T) {
	o := testOptions(t)
	d := mustOpen(t, o)
	mustDo(t, d.Put(Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}))
	path := filepath.Join(o.Dir, mapsPrefix+d.layout, datapathMapSources4)
	mustDo(t, os.Remove(path))
	mustDo(t, d.objects.Prefixes6.Pin(path))
	mustDo(t, d.Close())
	mustDo(t, os.MkdirAll(filepath.Join(o.Dir, newPrefix+"0123"), 0o700))

	d = mustOpen(t, o)
	if got := collect(t, d); len(got) != 0 {
		t.Errorf("entries %v in new maps", got)
	}
	mustDo(t, d.Put(Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}))
	mustDo(t, d.Close())
	d = mustOpen(t, o)
	if got := collect(t, d); len(got) != 1 {
		t.Errorf("entries %v after the second start", got)
	}
	mustDo(t, d.Remove())
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pin folder after Remove: %v", err)
	}
}

func TestNotOnBPFFS(t *testing.T) {
	o := testOptions(t)
	o.Dir = filepath.Join(t.TempDir(), "a", "b")
	_, err := Open(o)
	if !errors.Is(err, ErrNoBPFFS) || !strings.Contains(err.Error(), "mount -t bpf bpf") {
		t.Errorf("Open on another file system: %v, want ErrNoBPFFS with a remedy", err)
	}
}

func TestOptionsValidate(t *testing.T) {
	mustDo(t, DefaultOptions().Validate())
	for name, change := range map[string]func(*Options){
		"relative folder": func(o *Options) { o.Dir = "weir" },
		"no folder":       func(o *Options) { o.Dir = "" },
		"root folder":     func(o *Options) { o.Dir = "/" },
		"no capacity":     func(o *Options) { o.Capacity = 0 },
		"huge capacity":   func(o *Options) { o.Capacity = 1 << 40 },
		"port 0":          func(o *Options) { o.Ports = []uint16{25, 0} },
		"no modes":        func(o *Options) { o.Modes = nil },
		"unknown mode":    func(o *Options) { o.Modes = []string{ModeNative, ModeNone} },
		"no logger":       func(o *Options) { o.Logger = nil },
	} {
		o := DefaultOptions()
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The verifier's patience is finite, a million instructions, and a change of its
// own may bring many more: every program keeps a budget of a tenth, on each kernel
// that the tests run on. (weir_tc takes 76,000 on Linux 6.18 and 81,000 on 6.1.)
func TestVerifierBudget(t *testing.T) {
	const budget = 100_000
	needKernel(t)
	spec := must(loadDatapath())
	mustDo(t, setConstants(spec, datapathTableKey{Factor4: 1, Factor6: 1, Rest6: 1}))
	all := must(ebpf.NewCollection(spec))
	defer all.Close()
	for name, p := range all.Programs {
		n, ok := must(p.Info()).VerifiedInstructions()
		if t.Logf("%s: %d instructions verified", name, n); !ok || n > budget {
			t.Errorf("%s: %d instructions verified (told: %t), more than %d", name, n, ok, budget)
		}
	}
}

// The committed objects must be the same wherever they are generated.
func TestObjectsHoldNoPaths(t *testing.T) {
	for _, name := range must(filepath.Glob("datapath_bpfe[lb].*")) {
		content := must(os.ReadFile(name))
		for _, path := range []string{must(os.Getwd()), must(os.UserHomeDir()) + "/", "/usr/", "/home/"} {
			if bytes.Contains(content, []byte(path)) {
				t.Errorf("%s contains %q", name, path)
			}
		}
	}
}

func TestMapNamesFitTheKernel(t *testing.T) {
	for name := range must(loadDatapath()).Maps {
		if len(name) > 15 {
			t.Errorf("map name %q is longer than 15 characters", name)
		}
	}
}

// Where the usual place has no BPF file system, one is mounted.
func TestMountsUsualPlace(t *testing.T) {
	needKernel(t)
	onOwnThread(t, func() {
		// In a mount namespace of this thread alone.
		mustDo(t, unix.Unshare(unix.CLONE_NEWNS))
		mustDo(t, unix.Mount("", "/sys", "", unix.MS_REC|unix.MS_PRIVATE, "")) // in a chroot, / is no mount
		for unix.Unmount(defaultBPFFS, unix.MNT_DETACH) == nil {
		}
		if on, err := isBPFFS(defaultBPFFS); on || err != nil {
			t.Errorf("unmounting did not help: %t, %v", on, err)
			return
		}
		p, err := openPins(DefaultOptions().Dir)
		if err != nil {
			t.Error(err)
			return
		}
		if !p.private {
			t.Error("it is not noticed that nobody else sees the mount")
		}
		if on, err := isBPFFS(DefaultOptions().Dir); !on || err != nil {
			t.Errorf("not on a BPF file system: %t, %v", on, err)
		}
		mustDo(t, errors.Join(p.remove(), p.close()))
	})
}

// What is in force and what is pinned do not change by loading.
func TestLoadChangesNothing(t *testing.T) {
	o := testOptions(t)
	flagged := Entry{Prefix: prefix("192.0.2.1/32"), Action: ActionDrop}
	protected := func(d *Datapath) (set datapathPortSet) {
		mustDo(t, d.objects.Ports.Lookup(datapathPortsOfPORTS_PROTECTED, &set))
		return set
	}
	d := mustOpen(t, o)
	mustDo(t, d.Put(flagged))
	before := protected(d)
	mustDo(t, d.Close())

	ports, larger := o, o
	ports.Ports, larger.Capacity = []uint16{2525}, 2*o.Capacity
	for _, other := range []Options{ports, larger} {
		l := must(Load(other))
		if _, err := Load(other); !errors.Is(err, ErrInUse) {
			t.Errorf("loaded a second time: %v", err)
		}
		mustDo(t, l.Close())
		l = must(Load(o))
		if got := protected(l.datapath); got != before {
			t.Errorf("ports %v are protected, not %v", got, before)
		}
		mustDo(t, l.Close())
	}
	d = mustOpen(t, o)
	if _, found, err := d.Get(flagged.Prefix); !found || err != nil {
		t.Errorf("the entry is there: %t, %v", found, err)
	}
}
