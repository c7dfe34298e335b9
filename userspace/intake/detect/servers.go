package detect

import (
	"strings"

	"weir/userspace/mailconf"
)

// server is a mail server, or a program beside one, whose log is read.
type server struct {
	name     string
	signs    []string // it is installed if one of these is there
	units    []string // of systemd, by all the names that distributions give it
	tags     []string // by which a line of syslog is known to be its
	facility string   // of syslog; empty: mail
	logs     func(f *finder, s *server)
}

var servers = [...]server{
	{
		name: "Postfix", signs: []string{"/etc/postfix/main.cf"},
		units: []string{"postfix.service", "postfix@-.service", "postfix@*.service"},
		tags:  []string{"postfix/", "postfix-"}, logs: postfixLogs,
	},
	{
		name: "Dovecot", signs: mailconf.DovecotFiles(),
		units: []string{"dovecot.service"}, tags: []string{"dovecot:", "dovecot["}, logs: dovecotLogs,
	},
	{
		name: "Exim", signs: []string{"/usr/sbin/exim4", "/usr/sbin/exim", "/usr/exim/bin/exim"},
		units: []string{"exim4.service", "exim.service"}, tags: []string{"exim[", "exim4["}, logs: eximLogs,
	},
	{
		name: "OpenSMTPD", signs: []string{"/usr/sbin/smtpd", "/usr/sbin/opensmtpd"},
		units: []string{"opensmtpd.service", "smtpd.service"}, tags: []string{"smtpd["},
	},
	{
		name: "Sendmail", signs: []string{"/etc/mail/sendmail.cf"},
		units: []string{"sendmail.service", "sm-client.service"}, tags: []string{"sendmail[", "sm-mta["},
	},
	{
		name: "Cyrus", signs: []string{"/etc/cyrus.conf"},
		units: []string{"cyrus-imapd.service", "cyrus-imapd.socket"}, tags: []string{"imap[", "imaps[", "pop3[", "pop3s[", "cyrus/"},
	},
	{
		name: "saslauthd", signs: []string{"/usr/sbin/saslauthd"}, facility: "auth", // its own choice, LOG_AUTH
		units: []string{"saslauthd.service"}, tags: []string{"saslauthd["},
	},
	{
		name: "Courier", signs: []string{"/etc/courier", "/etc/courier-imap"},
		units: []string{
			"courier.service", "courier-mta.service", "courier-mta-ssl.service", "courier-msa.service", "courier-imap.service",
			"courier-imap-ssl.service", "courier-pop.service", "courier-pop-ssl.service", "courier-authdaemon.service", "courier-authlib.service",
		},
		tags: []string{"imapd:", "imapd[", "imapd-ssl:", "imapd-ssl[", "pop3d:", "pop3d[", "pop3d-ssl:", "pop3d-ssl[", "courieresmtpd:", "courieresmtpd[", "authdaemond:", "authdaemond["},
	},
	{
		name: "amavis", signs: []string{"/usr/sbin/amavisd-new", "/usr/sbin/amavisd", "/etc/amavis/conf.d", "/etc/amavisd/amavisd.conf"},
		units: []string{"amavis.service", "amavisd.service", "amavisd-new.service"}, tags: []string{"amavis["},
	},
	{
		name: "clamav-milter", signs: []string{"/usr/sbin/clamav-milter"},
		units: []string{"clamav-milter.service"}, tags: []string{"clamav-milter["},
		logs: fileOrSyslog("/var/log/clamav/clamav-milter.log", "/var/log/clamav-milter.log"),
	},
	{
		name: "rspamd", signs: []string{"/usr/bin/rspamd", "/usr/sbin/rspamd"},
		units: []string{"rspamd.service"}, tags: []string{"rspamd["},
		logs: fileOrSyslog("/var/log/rspamd/rspamd.log"),
	},
	{
		name: "Stalwart", signs: []string{"/opt/stalwart*/bin/stalwart*", "/usr/bin/stalwart", "/usr/bin/stalwart-mail"},
		units: []string{"stalwart.service", "stalwart-mail.service"}, tags: []string{"stalwart"},
		logs: stalwartLogs,
	},
	{
		name: "nginx", signs: []string{nginxConfig}, units: []string{"nginx.service"}, tags: []string{"nginx:"},
		logs: nginxLogs,
	},
	{
		name: "SOGo", signs: []string{"/usr/sbin/sogod", "/etc/sogo"},
		units: []string{"sogo.service", "sogod.service"}, tags: []string{"sogod["},
		logs: fileOrSyslog("/var/log/sogo/sogo.log"),
	},
	{
		name: "Roundcube", signs: []string{"/etc/roundcube", "/etc/roundcubemail", "/usr/share/roundcube", "/usr/share/roundcubemail"},
		tags: []string{"roundcube:", "roundcube["}, logs: roundcubeLogs,
	},
}

// fileOrSyslog reads the first of some files that is there, by default where
// the server writes to; else its lines are looked for in syslog.
func fileOrSyslog(names ...string) func(*finder, *server) {
	return func(f *finder, s *server) {
		for _, name := range names {
			if f.Exists(name) {
				f.toFile(s, name, s.name+" writes there")
				return
			}
		}
		f.toSyslog(s)
	}
}

// roundcubeLogs are the logs of errors and of logins. Both tell of a refused
// login, and the reader knows.
func roundcubeLogs(f *finder, s *server) {
	for _, dir := range []string{"/var/log/roundcube", "/var/log/roundcubemail"} {
		for _, name := range []string{"errors.log", "errors", "userlogins.log", "userlogins"} {
			if f.Exists(dir + "/" + name) {
				f.toFile(s, dir+"/"+name, "Roundcube writes there")
			}
		}
	}
}

// stalwartLogs are files with the day behind their name, in a folder that its
// configuration names; see "tracer" in its documentation.
func stalwartLogs(f *finder, s *server) {
	dirs := []string{"/var/log/stalwart", "/var/log/stalwart-mail"}
	for _, home := range f.Glob("/opt/stalwart*") {
		dirs = append([]string{home + "/logs"}, dirs...)
	}
	for _, dir := range dirs {
		const log = "/stalwart.log"
		if len(f.Glob(dir+log+".*")) > 0 || f.Exists(dir+log) {
			f.toFile(s, dir+log, "Stalwart writes a file for each day there")
			return
		}
	}
	f.toSyslog(s)
}

const nginxConfig = "/etc/nginx/nginx.conf"

// nginxLogs is nginx's error log where it is a proxy for mail. It tells of
// refused logins at level info alone.
func nginxLogs(f *finder, s *server) {
	const remedy = `nginx tells of refused logins only at level info: write "error_log %s info;" into its mail block`
	log, level, where := "/var/log/nginx/error.log", "error", ""
	proxies := false
	f.blocks(nginxConfig, func(block, name, value string) {
		if block == "" && name == "mail" {
			proxies = true
		}
		if name != "error_log" || block != "" && block != "mail" || block == "" && where == "mail" {
			return
		}
		where = block
		words := strings.Fields(value)
		if len(words) == 0 {
			return
		}
		log, level = words[0], "error"
		if len(words) > 1 {
			level = words[1]
		}
	})
	switch {
	case !proxies:
	case strings.HasPrefix(log, "syslog:"):
		f.toSyslog(s)
	case !strings.HasPrefix(log, "/"):
		f.note(s.name, "its mail log goes to %s, which cannot be followed", log)
	default:
		f.toFile(s, log, "nginx is a mail proxy and writes there")
		if level != "info" && level != "debug" {
			f.note(s.name, remedy, log)
		}
	}
}
