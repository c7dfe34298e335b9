package check

import (
	"fmt"
	"strings"

	"weir/loader"
)

// Interfaces are those that are selected.
type Interfaces struct {
	NotSeen error
	Found   []loader.Surveyed
}

// LookAtInterfaces surveys a selection.
func LookAtInterfaces(selection []string) Interfaces {
	found, err := loader.Survey(selection)
	return Interfaces{err, found}
}

func interfaces(f *Facts, b *book) {
	if f.Interfaces.NotSeen != nil {
		b.unseen("list", f.Interfaces.NotSeen, "")
	}
	for i := range f.Interfaces.Found {
		s := &f.Interfaces.Found[i]
		if s.Index == 0 {
			severity := Note
			if f.Settings.Enforce {
				severity = Error
			}
			b.add(severity, s.Name, "ip link lists what there is: name one in interfaces", "%s", strings.Join(s.Why, "; "))
			continue
		}
		one(f, s, b)
	}
}

// one examines an interface that is there.
func one(f *Facts, s *loader.Surveyed, b *book) {
	mode, why := s.Expected, s.Why
	says := "is expected"
	if a, attached := f.Agent.Interfaces[s.Name]; attached {
		mode, why, says = a.Mode, []string{a.Reason}, "is in force"
	}
	severity, remedy := OK, ""
	switch {
	case mode == loader.ModeNone:
		severity, remedy = Error, "protect another interface that this one's packets pass"
	case mode == loader.ModeGeneric && settable(why):
		severity, remedy = Warning, "do what is said below, and restart weir"
	case mode == loader.ModeGeneric, mode == "", settable(why):
		severity = Note
	case (mode == loader.ModeTCX || mode == loader.ModeClsact) && s.Program != "" && !s.Ours:
		severity, remedy = Note, fmt.Sprintf("if that program is not needed: ip link set dev %s xdp off", s.Name)
	}
	f1 := b.add(severity, s.Name, remedy, "%s; %s %s", hardware(s), modeWords(mode), says)
	for _, w := range why {
		f1.detail("why", w)
	}
	if !s.Up {
		b.add(Warning, s.Name, "ip link set dev "+s.Name+" up", "it is down")
	}
	if s.Program != "" && s.Ours && f.Agent.Down != nil && !f.Agent.Forbidden && !f.Settings.Enforce {
		b.add(Warning, s.Name, "start the agent, which takes it away in mode observe, or say weir panic",
			"weir's program is attached, from an earlier run, and enforces what that left")
	}
	if len(s.Behind) > 0 {
		b.add(Note, s.Name, "", "others have programs at its traffic control: %s; they see what weir lets pass", listed(s.Behind))
	}
}

// settable reports whether the reasons name something that can be changed.
func settable(why []string) bool {
	text := strings.Join(why, "\n")
	return strings.Contains(text, ": ethtool ") || strings.Contains(text, ": ip link ")
}

func hardware(s *loader.Surveyed) string {
	parts := []string{s.Kind}
	if s.Driver != "" && s.Driver != s.Kind {
		parts = append(parts, "driver "+s.Driver)
	}
	parts = append(parts, fmt.Sprintf("MTU %d", s.MTU))
	if s.Queues > 0 {
		parts = append(parts, counted(s.Queues, "receive queue", "receive queues"))
	}
	if len(s.Joins) > 0 {
		parts = append(parts, "offloads that join packets: "+listed(s.Joins))
	} else {
		parts = append(parts, "no LRO, no GRO_HW")
	}
	return strings.Join(parts, ", ")
}

func modeWords(mode string) string {
	switch mode {
	case loader.ModeNative, loader.ModeGeneric:
		return mode + " XDP"
	case loader.ModeTCX:
		return "TCX"
	case loader.ModeNone:
		return "no protection"
	case "":
		return "native or generic XDP"
	}
	return mode
}
