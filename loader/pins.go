package loader

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The pin folder:
//
//	maps_<layout>/<map>   the maps of one layout, all or none
//	new_<layout>/<map>    the same while being made
//	links/if<index>       the XDP link of an interface
//	links/tcx<index>      its TCX link
//	links/clsact<index>/  it has our clsact filter, which needs no pin
//	links/send<index>     the tcx link that sends the tarpit's answers there
//
// Names hold no dots, the BPF file system reserves those. The running program
// holds the maps it uses, so removing their pins never disturbs enforcement.
const (
	mapsPrefix  = "maps_"
	newPrefix   = "new_"
	linksFolder = "links"
	sendPrefix  = "send"
)

// defaultBPFFS is where a BPF file system is expected, and mounted if it is
// not there.
const defaultBPFFS = "/sys/fs/bpf"

// pins is a locked pin folder.
type pins struct {
	dir  string
	lock *os.File // the folder, locked; the kernel unlocks it when we die

	private bool // the BPF file system was mounted where nobody else sees it
}

// openPins makes the folder if need be and locks it.
func openPins(dir string) (*pins, error) {
	mounted, err := ensureBPFFS(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err := os.MkdirAll(filepath.Join(dir, linksFolder), 0o700); err != nil {
			return nil, fmt.Errorf("make pin folder: %w", explain(err))
		}
		lock, err := lockFolder(dir)
		if err != nil {
			return nil, err
		}
		// Somebody may have removed the folder between making and locking.
		if same, err := stillAt(lock, dir); err != nil || same {
			if err != nil {
				_ = lock.Close()
				return nil, err
			}
			return &pins{dir: dir, lock: lock, private: mounted && ownMounts()}, nil
		}
		_ = lock.Close()
	}
}

// stillAt reports whether path is f. A folder that was removed is nobody's, even
// where a bind mount goes on showing it (weir.service makes one).
func stillAt(f *os.File, path string) (bool, error) {
	held, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("lock pin folder: %w", err)
	}
	if st, ok := held.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return false, nil
	}
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock pin folder: %w", err)
	}
	return os.SameFile(held, now), nil
}

func (p *pins) close() error { return p.lock.Close() }

// ensureBPFFS checks that dir is, or will be made, on a BPF file system, and
// mounts the usual one if it is the one that is missing.
func ensureBPFFS(dir string) (mounted bool, err error) {
	on, err := isBPFFS(dir)
	if err != nil || on {
		return false, err
	}
	remedy := fmt.Sprintf("mount one with: mount -t bpf bpf %s", filepath.Dir(dir))
	if !strings.HasPrefix(filepath.Clean(dir)+"/", defaultBPFFS+"/") {
		return false, fmt.Errorf("pin folder %s: %w; %s, or choose a folder below %s", dir, ErrNoBPFFS, remedy, defaultBPFFS)
	}
	if err := unix.Mount("bpf", defaultBPFFS, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return false, fmt.Errorf("pin folder %s: %w, and mounting one at %s failed: %w; as root: mount -t bpf bpf %s", dir, ErrNoBPFFS, defaultBPFFS, err, defaultBPFFS)
	}
	return true, nil
}

// ownMounts reports whether we see other mounts than the first process of the
// system does, as behind "ip netns exec": what we mount vanishes with the last
// of us (mount_namespaces(7)). Where that one may not be asked, our parent is.
func ownMounts() bool {
	ours, err := os.Readlink("/proc/thread-self/ns/mnt")
	if err != nil {
		return false
	}
	for _, pid := range []int{1, os.Getppid()} {
		if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err == nil {
			return ours != theirs
		}
	}
	return false
}

// isBPFFS looks at dir, or at the nearest folder above that exists.
func isBPFFS(dir string) (bool, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return st.Type == unix.BPF_FS_MAGIC, nil
		}
		if !errors.Is(err, unix.ENOENT) || dir == "/" {
			return false, fmt.Errorf("look at file system of %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
}

// lockFolder locks the folder itself: a BPF file system holds no plain files.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock pin folder: %w", explain(err))
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	defer f.Close()
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("lock pin folder %s: %w", dir, err)
	}
	if pid, ok := lockHolder(f); ok {
		return nil, fmt.Errorf("pin folder %s: %w (process %d)", dir, ErrInUse, pid)
	}
	return nil, fmt.Errorf("pin folder %s: %w", dir, ErrInUse)
}

// lockHolder finds who holds the lock on f in /proc/locks (proc_locks(5)).
func lockHolder(f *os.File) (pid int, ok bool) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, false
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0, false
	}
	defer locks.Close()
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for s := bufio.NewScanner(locks); s.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 712 00:1f:33 0 EOF
		if f := strings.Fields(s.Text()); len(f) > 5 && f[1] == "FLOCK" && f[5] == file {
			pid, err := strconv.Atoi(f[4])
			return pid, err == nil && pid > 0
		}
	}
	return 0, false
}

// openMaps returns the pinned maps of this layout by name, or none if there
// are none that can be used.
func (p *pins) openMaps(layout string, spec *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	maps := make(map[string]*ebpf.Map)
	for name, ms := range spec.Maps {
		if !isPinned(name) {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir, mapsPrefix+layout, name), nil)
		if err == nil {
			maps[name] = m
			err = ms.Compatible(m)
		}
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, ebpf.ErrMapIncompatible):
			closeMaps(maps)
			return nil, nil
		default:
			closeMaps(maps)
			return nil, fmt.Errorf("open pinned map %s: %w", name, explain(err))
		}
	}
	return maps, nil
}

func closeMaps(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		_ = m.Close()
	}
}

// pinMaps pins new maps so that either all of them or none can be found.
func (p *pins) pinMaps(layout string, maps map[string]*ebpf.Map) error {
	fresh := filepath.Join(p.dir, newPrefix+layout)
	final := filepath.Join(p.dir, mapsPrefix+layout)
	for _, dir := range []string{fresh, final} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("pin maps: %w", err)
		}
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("pin maps: %w", err)
	}
	for name, m := range maps {
		if err := pinMap(m, filepath.Join(fresh, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if err := os.Rename(fresh, final); err != nil {
		return fmt.Errorf("pin maps: %w", err)
	}
	return nil
}

// pinMap pins a copy, which believes of no pin that it is there.
func pinMap(m *ebpf.Map, path string) error {
	c, err := m.Clone()
	if err != nil {
		return err
	}
	return errors.Join(c.Pin(path), c.Close())
}

// holdMaps reports whether the maps can still be found.
func (p *pins) holdMaps(layout string, maps map[string]*ebpf.Map) bool {
	for name := range maps {
		if _, err := os.Stat(filepath.Join(p.dir, mapsPrefix+layout, name)); errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// reclaim makes the folder again if it was removed, and locks it. It reports
// whether that was so.
func (p *pins) reclaim() (bool, error) {
	same, err := stillAt(p.lock, p.dir)
	if err != nil || same {
		return false, err
	}
	fresh, err := openPins(p.dir)
	if err != nil {
		return true, err
	}
	_ = p.lock.Close()
	*p = *fresh
	return true, nil
}

// removeOtherMaps removes the maps of every other layout, and what an
// interrupted start left. That the folder itself was removed is reclaim's to tell.
func (p *pins) removeOtherMaps(layout string) error {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old maps: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		old := strings.HasPrefix(name, mapsPrefix) && name != mapsPrefix+layout
		if old || strings.HasPrefix(name, newPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(p.dir, name)))
		}
	}
	return errors.Join(errs...)
}

func (p *pins) hookPath(where place, index int) string {
	return filepath.Join(p.dir, linksFolder, string(where)+strconv.Itoa(index))
}

func (p *pins) sendPath(index int) string {
	return filepath.Join(p.dir, linksFolder, sendPrefix+strconv.Itoa(index))
}

// pinnedHook names a hook.
type pinnedHook struct {
	where place
	index int
}

// hooks returns all that can be found.
func (p *pins) hooks() (found []pinnedHook, err error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, linksFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list pinned links: %w", err)
	}
	for _, e := range entries {
		for _, where := range places() {
			digits, ok := strings.CutPrefix(e.Name(), string(where))
			if index, err := strconv.Atoi(digits); ok && err == nil {
				found = append(found, pinnedHook{where, index})
			}
		}
	}
	return found, nil
}

// remove removes everything in the folder, and the folder itself where that can
// be done: in a unit's sandbox it is a mount point.
func (p *pins) remove() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove pins: %w", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(p.dir, e.Name())); err != nil {
			return fmt.Errorf("remove pins: %w", err)
		}
	}
	_ = os.Remove(p.dir)
	return nil
}
