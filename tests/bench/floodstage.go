package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"weir/tests/bench/live"
	"weir/tests/lab"
)

// floodStage is a mail host with a real Postfix and Dovecot. Everything of the
// host, from its NIC's receiving on, works on one core, and everybody else on
// another, before other programs of the machine. The NIC has one queue, so
// that the flood and good clients come in by the same.
type floodStage struct {
	lab     *lab.Lab
	link    *live.Link
	napi    map[int]bool // kernel threads that are others'
	closing []func() error
}

const (
	hostCore  = 0
	worldCore = 1
	niceness  = -15
)

// mailUser has a mailbox on the host.
const mailUser = "alice"

func newFloodStage(ctx context.Context) (_ *floodStage, err error) {
	s := &floodStage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if runtime.NumCPU() < 2 {
		return nil, errors.New("the flood and the host need a core each")
	}
	if err := ownProcess(worldCore); err != nil {
		return nil, err
	}
	if s.lab, err = lab.New(ctx, lab.Options{Users: []string{mailUser}}); err != nil {
		return nil, err
	}
	s.closing = append(s.closing, s.lab.Close)
	servers, err := s.lab.Mail.Processes()
	if err != nil {
		return nil, err
	}
	for _, pid := range servers {
		if err := keepOn(pid, hostCore); err != nil {
			return nil, err
		}
	}
	if s.link, err = live.Join(s.lab.Mail, s.lab.World, lab.WorldInterface); err != nil {
		return nil, err
	}
	if err := s.link.SetQueues(1); err != nil {
		return nil, err
	}
	if s.napi, err = receivers(); err != nil {
		return nil, err
	}
	return s, s.lab.Mail.Do(threadReceiving)
}

func (s *floodStage) close() error {
	var errs []error
	for i := len(s.closing) - 1; i >= 0; i-- {
		errs = append(errs, s.closing[i]())
	}
	return errors.Join(errs...)
}

// ownProcess keeps this process on a core, and all that it starts.
func ownProcess(core int) error {
	tasks, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if err := keepOn(id, core); err != nil {
			return err
		}
	}
	return nil
}

func keepOn(id, core int) error {
	var set unix.CPUSet
	set.Set(core)
	for _, err := range []error{unix.SchedSetaffinity(id, &set), unix.Setpriority(unix.PRIO_PROCESS, id, niceness)} {
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("keep process %d on core %d: %w", id, core, err)
		}
	}
	// Where sessions are groups that share the cores (sched(7)), niceness is
	// one within a group, and the group has another.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", id), []byte(strconv.Itoa(niceness)), 0)
	return nil
}

// threadReceiving gives the receiving of the host's NIC to kernel threads
// (Documentation/networking/napi.rst), which can be kept on a core: a NIC
// raises its interrupts where it is told to, but what comes through veth is
// handled where it was sent. The thread that calls has mounts of its own
// afterwards: /sys shows the interfaces of whoever mounts it.
func threadReceiving() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	return os.WriteFile(filepath.Join("/sys/class/net", live.Interface, "threaded"), []byte("1"), 0)
}

// receivers are the kernel threads that receive for an interface of this name,
// in any namespace.
func receivers() (map[int]bool, error) {
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	found := make(map[int]bool)
	for _, file := range files {
		name, _ := os.ReadFile(file) // the process may be gone
		if id, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil && strings.HasPrefix(string(name), "napi/"+live.Interface) {
			found[id] = true
		}
	}
	return found, nil
}

// settle keeps the receiving on the host's core: its threads may be others
// than before when a program has come or gone.
func (s *floodStage) settle() error {
	all, err := receivers()
	if err != nil {
		return err
	}
	ours := 0
	for id := range all {
		if !s.napi[id] {
			ours++
			if err := errors.Join(keepOn(id, hostCore), promptly(id)); err != nil {
				return err
			}
		}
	}
	if ours == 0 {
		return errors.New("the host's NIC has no thread that receives")
	}
	return nil
}

// promptly has a thread run as soon as it has something to do, as interrupts
// do, while it takes no more than its share of the core: its turns are short,
// so they come soon (sched(7) since Linux 6.12; 100 µs is the least). When it
// would take more, it shares the core, as the kernel's own receiving does
// (ksoftirqd), if with a larger share.
func promptly(id int) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: -20, Runtime: 100_000}
	if err := unix.SchedSetAttr(id, &attr, 0); err != nil {
		return fmt.Errorf("give process %d short turns: %w", id, err)
	}
	return nil
}

// floodCounts are counters of the host.
type floodCounts struct{ judged, cookies uint64 }

func (s *floodStage) counts(r *floodRow) (c floodCounts, err error) {
	if c.judged, err = r.gate.count(); err != nil {
		return c, err
	}
	err = s.lab.Mail.Do(func() (err error) {
		c.cookies, err = extended("SyncookiesSent")
		return err
	})
	return c, err
}

// extended reads a counter of TCP (/proc/net/netstat: a line of names, then
// one of values).
func extended(name string) (uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		return 0, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, n := range names {
			if n == name && i < len(fields) {
				return strconv.ParseUint(fields[i], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("no counter %s", name)
}
