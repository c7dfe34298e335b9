package config

import (
	"fmt"
	"strings"

	"weir/policy"
)

// List is a file of prefixes that the operator supplies.
type List struct {
	Name   string
	Path   string
	Action policy.Action // drop, tarpit or limit
	Rate   policy.Rate   // of limit
}

// lists reads every [[list]].
func (c *Config) lists(top *section) {
	names, paths := make(map[string]int), make(map[string]int)
	for _, s := range top.sections("list") {
		l := List{Action: policy.Drop}
		l.Name = s.text("name", "spamhaus-drop")
		switch line, taken := names[l.Name]; {
		case l.Name == "" && !s.broken["name"]:
			s.fail("name", "is missing", `write what it is called, such as name = "spamhaus-drop"`)
		case l.Name == "":
		case !isListName(l.Name):
			s.fail("name", "is "+shown(l.Name), `write small letters, digits and hyphens, such as "spamhaus-drop"`)
		case taken:
			s.fail("name", fmt.Sprintf("is taken by the list of line %d", line), "choose another")
		}
		names[l.Name] = s.line("name")
		if _, given := s.get("path"); !given {
			s.fail("path", "is missing", `write which file, such as path = "/etc/weir/drop.txt"`)
		}
		s.absolute("path", &l.Path)
		if line, taken := paths[l.Path]; taken && l.Path != "" && !s.broken["path"] {
			s.fail("path", fmt.Sprintf("is read by the list of line %d already", line), "remove one of the two")
		}
		paths[l.Path] = s.line("path")
		if text := s.text("action", "drop"); text != "" {
			if err := l.Action.UnmarshalText([]byte(text)); err != nil || l.Action != policy.Drop && l.Action != policy.Tarpit && l.Action != policy.Limit {
				s.fail("action", "is "+shown(text), `write "drop", "tarpit" or "limit"`)
			}
		}
		s.listRate(&l)
		s.finish()
		c.Lists = append(c.Lists, l)
	}
}

// listRate reads how much a limit lets through.
func (s *section) listRate(l *List) {
	text := s.text("rate", "6/m")
	burst, given := s.integer("burst", 1, maxBurst)
	if l.Action != policy.Limit {
		if (text != "" || given) && !s.broken["action"] {
			s.fail("rate", "goes with a limit alone", `remove it, or write action = "limit"`)
		}
		return
	}
	rate, err := policy.ParseRate(text)
	if err != nil && !s.broken["rate"] {
		problem := "is " + shown(text)
		if text == "" {
			problem = "is missing"
		}
		s.fail("rate", problem, `write how many connections may be opened, such as rate = "6/m" (units: s, m, h, d)`)
	}
	l.Rate = rate
	l.Rate.Burst = max(burst, 1)
}

// isListName keeps names fit for rules, files and messages.
func isListName(name string) bool {
	return len(name) <= 64 && name[0] != '-' && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}
