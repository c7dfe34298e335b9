package check

import (
	"strings"
)

// wantedSelectors are what weir needs of Exim's log beyond its default
// (README.md).
func wantedSelectors() []string {
	return []string{"received_recipients", "incoming_interface", "pid", "smtp_no_mail"}
}

func exim(f *Facts, b *book) {
	e := f.Servers.Exim
	if e == nil {
		b.ok("installed", "no")
		return
	}
	selector, known := e.Get("log_selector")
	switch missing := missingSelectors(selector); {
	case !known:
		b.add(Note, "log_selector", "exim -bP log_selector shows it; it should have +"+strings.Join(wantedSelectors(), " +"),
			"it is made by macros (%s), and Exim could not be asked", selector)
	case len(missing) > 0:
		b.add(Note, "log_selector", "log_selector = +"+strings.Join(missing, " +")+", with what is there", "without %s, recipients, services and sessions are not exact, and logins that send nothing are not seen", listed(missing))
	default:
		b.ok("log_selector", "it has all that weir reads")
	}
	if eximAsks(f) {
		b.ok("policy", "weir is asked")
	}
}

// missingSelectors reads a log_selector: the last word about each counts.
func missingSelectors(value string) (missing []string) {
	has := make(map[string]bool)
	fields := strings.Fields(strings.NewReplacer("+", " +", "-", " -").Replace(value))
	for i := 0; i < len(fields); i++ {
		word := fields[i]
		if (word == "+" || word == "-") && i+1 < len(fields) {
			i++
			word += fields[i]
		}
		name, on := word[1:], word[0] == '+'
		if name == "all" {
			for _, w := range wantedSelectors() {
				has[w] = on
			}
		}
		has[name] = on
	}
	for _, w := range wantedSelectors() {
		if !has[w] {
			missing = append(missing, w)
		}
	}
	return missing
}

// eximAsks reports whether a socket that weir listens at is named in Exim's
// configuration.
func eximAsks(f *Facts) bool {
	if f.Servers.Exim == nil {
		return false
	}
	for _, l := range f.Settings.PolicyListen {
		to := strings.TrimPrefix(l, "unix:")
		if rest, tcp := strings.CutPrefix(l, "tcp:"); tcp {
			to = "inet:" + rest
		}
		if f.Servers.Exim.Mentions("{" + to) {
			return true
		}
	}
	return false
}
