package mailconf

import (
	"net/netip"
	"path"
	"strings"
)

// PostfixDir is where Postfix's configuration stands unless an instance has
// its own.
const PostfixDir = "/etc/postfix"

// Postfix is an instance's main.cf and master.cf, postconf(5) and master(5).
type Postfix struct {
	Dir      string
	Settings map[string]string // as they are written; what is not there has a default
	Services []Service         // in the order of the file
}

// Service is a line of master.cf.
type Service struct {
	Name    string // "smtp", "587", "[::1]:465"
	Type    string // inet, unix, …
	Chroot  bool
	Command string            // the daemon: smtpd, postscreen, …
	Options map[string]string // of -o, which come before those of main.cf
}

// PostfixSettings reads a main.cf: a line that begins with white space
// continues the one before, and the last value counts.
func (f *Files) PostfixSettings(name string) map[string]string {
	settings := make(map[string]string)
	for _, line := range logicalLines(f.Read(name)) {
		key, value, _ := strings.Cut(line, "=")
		settings[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return settings
}

// Postfix reads the instance of a folder, nil if there is none.
func (f *Files) Postfix(dir string) *Postfix {
	if !f.Exists(dir + "/main.cf") {
		return nil
	}
	p := &Postfix{Dir: dir, Settings: f.PostfixSettings(dir + "/main.cf")}
	for _, line := range logicalLines(f.Read(dir + "/master.cf")) {
		if s, ok := parseService(line, p.chrootDefault()); ok {
			p.Services = append(p.Services, s)
		}
	}
	return p
}

// Postfixes reads all instances of this host, the main one first.
func (f *Files) Postfixes() (all []*Postfix) {
	first := f.Postfix(PostfixDir)
	if first == nil {
		return nil
	}
	all = append(all, first)
	for _, dir := range Words(first.Settings["multi_instance_directories"]) {
		if p := f.Postfix(dir); p != nil {
			all = append(all, p)
		}
	}
	return all
}

// chrootDefault is what "-" means for chroot: yes before Postfix 3.0, and in
// what is still to be compatible with that (COMPATIBILITY_README).
func (p *Postfix) chrootDefault() bool {
	level, set := p.Settings["compatibility_level"]
	return !set || level == "0"
}

// parseService reads "name type private unpriv chroot wakeup maxproc command…".
func parseService(line string, chroot bool) (s Service, ok bool) {
	fields := split(line, " \t")
	if len(fields) < 8 {
		return s, false
	}
	s = Service{Name: fields[0], Type: fields[1], Chroot: fields[4] == "y" || fields[4] == "-" && chroot, Command: fields[7], Options: make(map[string]string)}
	for i := 8; i < len(fields); i++ {
		option, given := strings.CutPrefix(fields[i], "-o")
		if !given {
			continue
		}
		if option == "" {
			if i++; i == len(fields) {
				break
			}
			option = fields[i]
		}
		key, value, _ := strings.Cut(strings.Trim(option, "{}"), "=")
		s.Options[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return s, true
}

// Value returns a setting as it holds for a service (nil: for none), with
// what it refers to put in; known is false where it refers to a default that
// the files do not say.
func (p *Postfix) Value(s *Service, key string) (value string, known bool) {
	left := maxReferences
	return p.value(s, key, &left)
}

// maxReferences bounds what a value refers to, by itself and through others:
// settings may refer to each other, and many times.
const maxReferences = 200

func (p *Postfix) value(s *Service, key string, left *int) (string, bool) {
	text, set := "", false
	if s != nil {
		text, set = s.Options[key]
	}
	if !set {
		text = p.Settings[key]
	}
	return p.expand(s, text, left)
}

// expand puts in what $name and ${name} refer to.
func (p *Postfix) expand(s *Service, text string, left *int) (string, bool) {
	var out strings.Builder
	known := true
	for {
		before, rest, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String(), known
		}
		name := ""
		name, text = reference(rest)
		_, here := p.Settings[name]
		if !here && s != nil {
			_, here = s.Options[name]
		}
		if *left--; !here || *left < 0 {
			known = false
			continue
		}
		value, sure := p.value(s, name, left)
		known = known && sure
		out.WriteString(value)
	}
}

// reference takes the name off that stands behind a "$".
func reference(text string) (name, rest string) {
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "(") {
		end := strings.IndexAny(text, "})")
		if end < 0 {
			return "", text
		}
		return text[1:end], text[end+1:]
	}
	end := 0
	for end < len(text) && isName(text[end]) {
		end++
	}
	return text[:end], text[end:]
}

func isName(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Port is the TCP port of a service of type inet, 0 for others and for names
// that are not those of mail.
func (s *Service) Port() uint16 {
	if s.Type != "inet" {
		return 0
	}
	name := s.Name[strings.LastIndexByte(s.Name, ':')+1:]
	switch name {
	case "smtp":
		return 25
	case "submission":
		return 587
	case "smtps", "submissions", "urd":
		return 465
	}
	return number(name)
}

// Trusted returns whose word on a client's address this instance believes:
// smtpd_authorized_xclient_hosts (XCLIENT_README), as far as it names
// addresses and networks. Clients of the PROXY protocol are not among them:
// Postfix asks that of everybody on the port, and names nobody.
func (p *Postfix) Trusted() (out []Trust) {
	const key = "smtpd_authorized_xclient_hosts"
	hosts := []*Service{nil}
	for i := range p.Services {
		if _, own := p.Services[i].Options[key]; own {
			hosts = append(hosts, &p.Services[i])
		}
	}
	for _, s := range hosts {
		value, _ := p.Value(s, key)
		where := path.Join(p.Dir, "main.cf")
		if s != nil {
			where = path.Join(p.Dir, "master.cf")
		}
		out = append(out, trusted("Postfix", key, where, Words(value))...)
	}
	return out
}

// Trust is a network whose word on a client's address a server believes.
type Trust struct {
	Prefix netip.Prefix
	Server string // whose configuration says so
	Key    string // the setting
	File   string // where it stands
}

// trusted reads networks as servers write them. Names, tables and exceptions
// ("!…") are none.
func trusted(server, key, file string, list []string) (out []Trust) {
	for _, text := range list {
		text = strings.NewReplacer("[", "", "]", "").Replace(strings.Trim(text, `"'`))
		if addr, err := netip.ParseAddr(text); err == nil {
			addr = addr.Unmap().WithZone("")
			out = append(out, Trust{netip.PrefixFrom(addr, addr.BitLen()), server, key, file})
		} else if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() {
			out = append(out, Trust{p.Masked(), server, key, file})
		}
	}
	return out
}

// logicalLines joins what Postfix takes for one line: white space in front
// continues the line before; comments and empty lines do not end it.
func logicalLines(text string) (out []string) {
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if len(out) > 0 {
				out[len(out)-1] += " " + trimmed
			}
		default:
			out = append(out, trimmed)
		}
	}
	return out
}

// Words splits at white space and commas; what stands in braces is one word.
func Words(text string) []string { return split(text, " \t\r\n,") }

func split(text, separators string) (out []string) {
	depth, start := 0, -1
	for i := 0; i <= len(text); i++ {
		switch {
		case i == len(text), depth == 0 && strings.IndexByte(separators, text[i]) >= 0:
			if start >= 0 {
				out = append(out, text[start:i])
				start = -1
			}
			continue
		case text[i] == '{':
			depth++
		case text[i] == '}' && depth > 0:
			depth--
		}
		if start < 0 {
			start = i
		}
	}
	return out
}

func number(text string) uint16 {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || n > 65535 {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	if n > 65535 {
		return 0
	}
	return uint16(n)
}
