package intake

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestFollowRotation(t *testing.T) {
	tests := map[string]func(h *host){
		"line by line": func(h *host) {
			h.write("a")
			h.check()
			h.write("b", "c")
			h.check()
		},
		"line in two writes": func(h *host) {
			h.write("a")
			h.begin("first half, ")
			h.check()
			h.write("second half")
			h.check()
		},
		"rename, writer follows at once": func(h *host) {
			h.write("a")
			h.check()
			h.write("b")
			h.rename(true)
			h.reopen()
			h.write("c")
			h.check()
		},
		"rename, writer goes on with the old file": func(h *host) {
			h.write("a")
			h.check()
			h.rename(true)
			h.write("b")
			h.check()
			h.begin("c ")
			h.check()
			h.write("d")
			h.reopen()
			h.check()
			h.write("e")
			h.check()
		},
		"rename without create": func(h *host) {
			h.write("a")
			h.check()
			h.rename(false)
			h.check()
			h.write("b")
			h.check()
			h.reopen()
			h.write("c")
			h.check()
		},
		"one of many writers is late": func(h *host) {
			h.write("a")
			h.check()
			late := h.out
			h.out = nil
			h.rename(true)
			h.write("b")
			h.check()
			must(late.WriteString("c\n"))(h.t)
			h.wrote = append(h.wrote, "c")
			h.check()
			h.stop()
			h.check()
			late.Close()
		},
		"renamed twice unseen": func(h *host) {
			h.write("a")
			h.check()
			h.write("b")
			h.rename(true)
			h.reopen()
			h.write("c")
			h.rename(true)
			h.reopen()
			h.write("d")
			h.check()
		},
		"renamed twice unseen, second file empty": func(h *host) {
			h.write("a")
			h.check()
			h.rename(true)
			h.rename(true)
			h.write("b")
			h.check()
			h.reopen()
			h.write("c")
			h.check()
		},
		"copytruncate, all read": func(h *host) {
			h.write("a", "b")
			h.check()
			h.copyTruncate()
			h.check()
			h.write("c")
			h.check()
		},
		"copytruncate, not all read": func(h *host) {
			h.write("a")
			h.check()
			h.write("b")
			h.copyTruncate()
			h.check()
			h.write("c")
			h.check()
		},
		"copytruncate, soon as long as before": func(h *host) {
			h.write("a", "b")
			h.check()
			h.write("c")
			h.copyTruncate()
			h.write("1", "2", "3", "4")
			h.check()
		},
		"copytruncate of a file that grew from nothing": func(h *host) {
			h.write("a")
			h.check()
			h.tick()
			h.copyTruncate()
			h.check()
			h.tick()
			h.write("b")
			h.copyTruncate()
			h.write("c")
			h.check()
		},
		"copytruncate twice unseen": func(h *host) {
			h.write("a")
			h.check()
			h.write("b")
			h.copyTruncate()
			h.write("c")
			h.copyTruncate()
			h.write("d")
			h.check()
		},
		"copy made, not truncated yet": func(h *host) {
			h.write("a")
			h.check()
			h.rename(true)
			h.reopen()
			h.write("b")
			h.shift()
			h.copy()
			h.check()
			h.truncate()
			h.write("c")
			h.check()
		},
		"restart": func(h *host) {
			h.write("a", "b")
			h.check()
			h.begin("c ")
			h.check()
			h.stop()
			h.write("d", "e")
			h.check()
		},
		"restart, rotated meanwhile": func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			h.tick()
			h.write("b")
			h.rename(true)
			h.reopen()
			h.write("c")
			h.check()
		},
		"restart, rotated and compressed": func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			for _, l := range []string{"b", "c", "d"} {
				h.tick()
				h.write(l)
				h.rename(true)
				h.reopen()
				h.compress(2)
			}
			h.compress(1)
			h.write("e")
			h.check()
		},
		"restart while reading a compressed one": func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			h.write("b")
			h.rename(true)
			h.compress(1)
			h.check()
			h.stop()
			h.tick()
			h.reopen()
			h.write("c")
			h.check()
		},
		"restart, copytruncate meanwhile": func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			h.write("b")
			h.copyTruncate()
			h.write("c")
			h.copyTruncate()
			h.check()
			h.write("d")
			h.check()
		},
		"restored from a backup": func(h *host) {
			h.write("a")
			h.check()
			h.stop()
			h.out.Close()
			h.out = nil
			b := must(os.ReadFile(h.path))(h.t)
			mustDo(h.t, os.WriteFile(h.path+".new", b, 0o600))
			mustDo(h.t, os.Rename(h.path+".new", h.path))
			h.write("b")
			h.check()
		},
		"missing at first": func(h *host) {
			h.check()
			if s := h.m.stats(); s.State != StateWaiting || !strings.Contains(s.Error, h.path) {
				h.t.Fatalf("not said to be missing: %+v", s)
			}
			h.tick()
			h.write("a")
			h.check()
			if s := h.m.stats(); s.State != StateFollowing || s.Error != "" {
				h.t.Fatalf("still said to be missing: %+v", s)
			}
		},
		"gone for an hour": func(h *host) {
			h.write("a")
			h.check()
			mustDo(h.t, os.Remove(h.path))
			h.check()
			h.clock = h.clock.Add(time.Hour)
			h.check()
			h.reopen()
			h.write("b")
			h.check()
		},
		"folder gone": func(h *host) {
			h.path = h.path + ".d/mail.log"
			h.o.Path = h.path
			h.check()
			mustDo(h.t, os.Mkdir(strings.TrimSuffix(h.path, "/mail.log"), 0o700))
			h.write("a")
			h.check()
		},
		"rotated file ends without newline": func(h *host) {
			h.write("a")
			h.begin("b")
			h.check()
			h.wrote, h.part = append(h.wrote, "b"), ""
			h.rename(true)
			h.reopen()
			h.write("c")
			h.check()
		},
		"NUL and invalid UTF-8": func(h *host) {
			h.write("a\x00b\x00", "\xff\xfe\x80", "", "\r")
			h.check()
		},
		"link to the log": func(h *host) {
			real := h.path
			h.path = real + "-link"
			h.o.Path = h.path
			mustDo(h.t, os.Symlink(real, h.path))
			h.path = real
			h.write("a")
			h.check()
			h.write("b")
			h.rename(true)
			h.reopen()
			h.write("c")
			h.check()
		},
	}
	for name, run := range tests {
		for _, style := range []string{"numbers", "dates", "extension"} {
			t.Run(name+"/"+style, func(t *testing.T) {
				h := newHost(t)
				h.style(style)
				run(h)
				if h.m.stats().Lost != 0 {
					t.Errorf("losses counted though nothing was lost: %+v", h.m.stats())
				}
			})
		}
	}
}

// style sets how rotated files are called.
func (h *host) style(name string) {
	switch name {
	case "dates":
		h.names = func(age int) string { return fmt.Sprintf("%s-202611%02d", h.path, 30-age) }
	case "extension":
		h.names = func(age int) string { return fmt.Sprintf("%s.%d.log", strings.TrimSuffix(h.path, ".log"), age) }
	}
}
