package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	Busy   time.Duration // of all processors, in user and kernel mode
	Faults int64         // of pages, none of which waited for a disk
}

// UsageOf reads what a process has used so far (proc_pid_stat(5)).
func UsageOf(pid int) (u Usage, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	const minflt, utime, stime = 10, 14, 15 // fields, counted from 1
	const second = 3                        // the first one behind the name, which may have spaces
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= stime-second {
		return u, fmt.Errorf("bad /proc/%d/stat: %q", pid, text)
	}
	var user, kernel int64
	for field, value := range map[int]*int64{minflt: &u.Faults, utime: &user, stime: &kernel} {
		if *value, err = strconv.ParseInt(fields[field-second], 10, 64); err != nil {
			return u, fmt.Errorf("bad /proc/%d/stat: %w", pid, err)
		}
	}
	const tick = time.Second / 100 // USER_HZ
	u.Busy = time.Duration(user+kernel) * tick
	return u, nil
}
