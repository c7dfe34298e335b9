package live

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// BPFFS is where a namespace has a BPF file system of its own.
const BPFFS = "/sys/fs/bpf"

// Place is a network namespace. Do runs f on a thread that is in it, and so
// are the processes that f starts.
type Place interface {
	Do(f func() error) error
}

// Namespace is a network namespace with mounts of its own. It has no name, so
// that nothing stays behind when the process dies.
type Namespace struct{ net, mounts *os.File }

func newNamespace() (*Namespace, error) {
	n := &Namespace{}
	err := onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		if err := unix.Mount("bpf", BPFFS, "bpf", 0, "mode=0700"); err != nil {
			return fmt.Errorf("mount BPF file system: %w", err)
		}
		if n.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		n.mounts, err = os.Open("/proc/thread-self/ns/mnt")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make namespace: %w", errors.Join(err, n.close()))
	}
	return n, nil
}

func (n *Namespace) close() error {
	var errs []error
	for _, f := range []*os.File{n.net, n.mounts} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Do implements [Place].
func (n *Namespace) Do(f func() error) error {
	return onOwnThread(func() error {
		// A thread that shares its working directory with others may not
		// change its mounts.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		for _, ns := range []struct {
			file *os.File
			kind int
		}{{n.mounts, unix.CLONE_NEWNS}, {n.net, unix.CLONE_NEWNET}} {
			if err := unix.Setns(int(ns.file.Fd()), ns.kind); err != nil {
				return fmt.Errorf("enter namespace: %w", err)
			}
		}
		return f()
	})
}

// onOwnThread runs f on a thread that ends with it: never unlocked, so that no
// other goroutine meets what f has changed.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- f()
	}()
	return <-result
}
