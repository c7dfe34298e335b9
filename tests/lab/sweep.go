package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// labName matches the directory and the namespaces of a lab, and gives the
// process id of its maker.
var labName = regexp.MustCompile(`^weir-(\d+)-\d+(-mail|-world)?$`)

// Sweep clears what labs left whose process was killed: their namespaces
// with the processes inside, their mounts and their directories.
func Sweep() error {
	var errs []error
	for _, dir := range []string{netnsDir, os.TempDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			m := labName.FindStringSubmatch(e.Name())
			if m == nil || alive(m[1]) {
				continue
			}
			if dir == netnsDir {
				// Busy is a name that is mounted a second time below a mount
				// over the directory: an empty shell that does no harm.
				if err := removeNamespace(e.Name()); !errors.Is(err, unix.EBUSY) {
					errs = append(errs, err)
				}
			} else {
				errs = append(errs, removeDir(filepath.Join(dir, e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && !errors.Is(unix.Kill(n, 0), unix.ESRCH)
}

// removeDir removes a lab's directory, and unmounts what is mounted in it
// before.
func removeDir(dir string) error {
	for _, mount := range []string{"bpf", "log"} {
		err := unix.Unmount(filepath.Join(dir, mount), unix.MNT_DETACH)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s in %s: %w", mount, dir, err)
		}
	}
	return os.RemoveAll(dir)
}

// removeNamespace ends the processes that are in a lab's namespace, then
// takes its name away; the kernel removes it and its interfaces with the
// last user.
func removeNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	deadline := time.Now().Add(Patience)
	for {
		pids, err := members(path)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("end processes in namespace %s: %v are still there", name, pids)
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end process %d in namespace %s: %w", pid, name, err)
			}
		}
		time.Sleep(10 * time.Millisecond) // until the kernel has reaped them; the loop has a deadline
	}
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// members lists the processes, this one aside, whose network namespace is
// the one at path.
func members(path string) ([]int, error) {
	var want unix.Stat_t
	if err := unix.Stat(path, &want); err != nil {
		return nil, fmt.Errorf("look at namespace %s: %w", path, err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, link := range links {
		var have unix.Stat_t
		if unix.Stat(link, &have) != nil || have.Ino != want.Ino || have.Dev != want.Dev {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
