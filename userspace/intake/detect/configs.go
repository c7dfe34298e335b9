package detect

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"weir/userspace/mailconf"
)

// postfixLogs reads maillog_file, postconf(5), of Postfix and its other
// instances. Without it, Postfix writes to syslog.
func postfixLogs(f *finder, s *server) {
	dirs := []string{mailconf.PostfixDir}
	main := f.PostfixSettings(mailconf.PostfixDir + "/main.cf")
	dirs = append(dirs, strings.FieldsFunc(main["multi_instance_directories"], func(c rune) bool { return c == ' ' || c == ',' || c == '\t' })...)
	syslog := false
	for _, dir := range dirs {
		log := f.PostfixSettings(dir + "/main.cf")["maillog_file"]
		if strings.Contains(log, "$") {
			asked, ok := f.Ask("postconf", "-c", dir, "-x", "-h", "maillog_file")
			if !ok {
				f.note(s.name, "maillog_file in %s/main.cf is %q, and postconf could not be asked what that is", dir, log)
				continue
			}
			log = asked
		}
		switch {
		case log == "":
			syslog = true
		case strings.HasPrefix(log, "/dev/"):
			f.note(s.name, "it writes to %s, which cannot be followed: set maillog_file in %s/main.cf to a file", log, dir)
		default:
			f.toFile(s, log, "maillog_file of "+dir+"/main.cf")
		}
	}
	if syslog {
		f.toSyslog(s)
	}
}

// dovecotLogs reads where Dovecot writes what it tells at level info, to
// which logins belong: info_log_path, else log_path, else syslog.
func dovecotLogs(f *finder, s *server) {
	config := f.Dovecot()
	if config == nil {
		return
	}
	log := cmp.Or(config.Get("info_log_path"), config.Get("log_path"))
	if strings.ContainsAny(log, "%$") {
		asked, ok := f.Ask("doveconf", "-x", "-h", "info_log_path")
		if ok && asked == "" {
			asked, ok = f.Ask("doveconf", "-x", "-h", "log_path")
		}
		if !ok {
			f.note(s.name, "log_path is %q, and doveconf could not be asked what that is", log)
			return
		}
		log = asked
	}
	switch {
	case log == "" || log == "syslog":
		f.toSyslog(s)
	case strings.HasPrefix(log, "/dev/"):
		f.note(s.name, "it writes to %s, which cannot be followed: set log_path to syslog or to a file", log)
	default:
		f.toFile(s, log, "log_path of "+config.File)
	}
}

// eximLogs reads log_file_path (Exim specification, chapter 53): a list of a
// pattern of file names, "syslog", both or neither, where %s is the log's name.
func eximLogs(f *finder, s *server) {
	value, config := f.eximLogPath()
	file, syslog := "", false
	for _, part := range strings.Split(value, ":") {
		switch part = strings.TrimSpace(part); {
		case part == "syslog":
			syslog = true
		case part == "":
		case !strings.HasPrefix(part, "/"):
			f.note(s.name, "log_file_path is %q, which is no file name", value)
			return
		default:
			file = strings.ReplaceAll(part, "%slog", "mainlog")
			if !f.Exists(file) && strings.Contains(part, "%s") {
				file = strings.ReplaceAll(part, "%s", "main")
			}
		}
	}
	if i := strings.Index(file, "%"); i >= 0 { // %D and %M: a file for each day or month
		file = strings.TrimRight(file[:i], "-._")
	}
	if file == "" && !syslog { // the folder that was built in
		known := []string{"/var/log/exim4/mainlog", "/var/log/exim/main.log", "/var/log/exim/mainlog", "/var/log/exim_mainlog", "/var/spool/exim/log/mainlog", "/var/spool/exim4/log/mainlog"}
		i := slices.IndexFunc(known, f.Exists)
		if i < 0 { // nothing was ever logged; Exim's own folder is there
			i = slices.IndexFunc(known, func(name string) bool {
				folder := path.Dir(name)
				return folder != "/var/log" && f.Exists(folder)
			})
		}
		if i >= 0 {
			file, config = known[i], "Exim"
		}
	}
	why := "log_file_path of " + config
	if config == "Exim" {
		why = "Exim writes there"
	}
	switch {
	case file != "" && syslog:
		f.both = append(f.both, bothWays{s, file, why})
	case file != "":
		f.toFile(s, file, why)
	case syslog:
		f.toSyslog(s)
	default:
		f.note(s.name, "its log was not found; name it in an [[intake]]")
	}
}

// eximLogPath returns log_file_path, and where it stands. Exim is asked where
// macros may have a part in it.
func (f *finder) eximLogPath() (value, config string) {
	e := f.Exim()
	if e == nil {
		return "", "Exim"
	}
	value, known := e.Get("log_file_path")
	if !known {
		value = ""
	}
	return value, e.File
}

// blocks reads a configuration of nginx's form, with what it includes, and
// gives each directive with the outermost block that it stands in.
func (f *finder) blocks(name string, each func(block, name, value string)) {
	f.blockFile(name, path.Dir(name), &[]string{}, each, 0)
}

func (f *finder) blockFile(name, base string, inside *[]string, each func(block, name, value string), depth int) {
	if depth > 8 {
		return
	}
	var statement strings.Builder
	for line := range strings.Lines(f.Read(name)) {
		line, _, _ = strings.Cut(line, "#")
		for _, c := range line {
			switch c {
			case ';', '{', '}':
			default:
				statement.WriteRune(c)
				continue
			}
			word, value, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(statement.String(), "\n", " ")), " ")
			statement.Reset()
			outermost := ""
			if len(*inside) > 0 {
				outermost = (*inside)[0]
			}
			if word != "" {
				each(outermost, word, strings.TrimSpace(value))
			}
			switch {
			case c == '{':
				*inside = append(*inside, word)
			case c == '}' && len(*inside) > 0:
				*inside = (*inside)[:len(*inside)-1]
			case word == "include":
				pattern := strings.TrimSpace(value)
				if !path.IsAbs(pattern) {
					pattern = path.Join(base, pattern)
				}
				for _, included := range f.Glob(pattern) {
					f.blockFile(included, base, inside, each, depth+1)
				}
			}
		}
	}
}
