package mailconf

import (
	"path"
	"strings"
)

// Setting is one of Dovecot's, with the blocks that it stands in, the
// outermost first, as they are written: "service imap-login".
type Setting struct {
	Blocks []string
	Key    string
	Value  string
	File   string
}

// Dovecot is its configuration, with what it includes (doveconf(1)).
type Dovecot struct {
	File     string
	Settings []Setting // in the order of the files
}

// DovecotFiles are where its configuration begins.
func DovecotFiles() []string {
	return []string{"/etc/dovecot/dovecot.conf", "/usr/local/etc/dovecot/dovecot.conf"}
}

// Dovecot reads the configuration that is installed, nil if there is none.
func (f *Files) Dovecot() *Dovecot {
	for _, name := range DovecotFiles() {
		if f.Exists(name) {
			d := &Dovecot{File: name}
			f.dovecotFile(d, name, nil, 0)
			return d
		}
	}
	return nil
}

func (f *Files) dovecotFile(d *Dovecot, name string, blocks []string, depth int) {
	if depth > maxDepth {
		return
	}
	for line := range strings.Lines(f.Read(name)) {
		text := strings.TrimSpace(line)
		if i := strings.Index(text, " #"); i >= 0 {
			text = strings.TrimSpace(text[:i])
		}
		if text == "" || text[0] == '#' {
			continue
		}
		words := strings.Fields(text)
		key, value, set := strings.Cut(text, "=")
		switch {
		case (words[0] == "!include" || words[0] == "!include_try") && len(words) == 2:
			pattern := words[1]
			if !path.IsAbs(pattern) {
				pattern = path.Join(path.Dir(name), pattern)
			}
			for _, included := range f.Glob(pattern) {
				f.dovecotFile(d, included, blocks, depth+1)
			}
		case strings.HasSuffix(text, "{"):
			blocks = append(blocks[:len(blocks):len(blocks)], strings.TrimSpace(strings.TrimSuffix(text, "{")))
		case text[0] == '}':
			blocks = blocks[:max(len(blocks)-1, 0)]
		case set:
			value = strings.Trim(strings.TrimSpace(value), `"'`)
			d.Settings = append(d.Settings, Setting{Blocks: blocks, Key: strings.TrimSpace(key), Value: value, File: name})
		}
	}
}

// Get returns what stands outside of blocks, the last one of a name; "" if
// nothing does.
func (d *Dovecot) Get(key string) string {
	value := ""
	for _, s := range d.Settings {
		if len(s.Blocks) == 0 && s.Key == key {
			value = s.Value
		}
	}
	return value
}

// Within returns the settings of a name that stand in blocks of kinds, the
// outermost first: "service", "inet_listener".
func (d *Dovecot) Within(key string, kinds ...string) (out []Setting) {
next:
	for _, s := range d.Settings {
		if s.Key != key || len(s.Blocks) != len(kinds) {
			continue
		}
		for i, kind := range kinds {
			if first, _, _ := strings.Cut(s.Blocks[i], " "); first != kind {
				continue next
			}
		}
		out = append(out, s)
	}
	return out
}

// Trusted returns whose word on a client's address Dovecot believes:
// haproxy_trusted_networks and login_trusted_networks.
func (d *Dovecot) Trusted() (out []Trust) {
	for _, s := range d.Settings {
		if s.Key == "haproxy_trusted_networks" || s.Key == "login_trusted_networks" {
			out = append(out, trusted("Dovecot", s.Key, s.File, Words(s.Value))...)
		}
	}
	return out
}
