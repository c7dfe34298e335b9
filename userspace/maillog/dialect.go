package maillog

import (
	"bytes"

	"weir/policy"
)

// dialect is a way of writing log lines.
type dialect uint8

const (
	otherDialect dialect = iota
	smtpdDialect
	postscreenDialect
	qmgrDialect
	dovecotDialect
	eximDialect
	openSMTPDDialect
	nginxDialect
	cleanupDialect
	rspamdDialect
	amavisDialect
	clamavDialect
	sendmailDialect
	roundcubeDialect
	sogoDialect
	stalwartDialect
)

// dialectOf finds the reader of a program's lines by its name alone. Postfix
// writes syslog_name "/" process, and syslog_name is the administrator's:
// postfix/smtpd, postfix/submission/smtpd, postfix-out/smtpd, mx1/qmgr.
func dialectOf(r *record) dialect {
	switch {
	case r.own:
		return dovecotDialect
	case r.mainlog:
		return eximDialect
	case r.dialect != otherDialect:
		return r.dialect
	}
	program := r.program
	if i := bytes.LastIndexByte(program, '/'); i > 0 {
		switch string(program[i+1:]) {
		case "smtpd":
			return smtpdDialect
		case "postscreen":
			return postscreenDialect
		case "qmgr", "oqmgr": // the former queue manager
			return qmgrDialect
		case "cleanup":
			return cleanupDialect
		}
		return otherDialect
	}
	if hasPrefix(program, "exim") { // exim, exim4; syslog_processname: exim-out
		return eximDialect
	}
	switch string(program) {
	case "dovecot":
		return dovecotDialect
	case "smtpd": // Postfix's has a slash
		return openSMTPDDialect
	case "nginx":
		return nginxDialect
	case "rspamd":
		return rspamdDialect
	case "amavis", "amavisd", "amavisd-new":
		return amavisDialect
	case "clamav-milter":
		return clamavDialect
	case "sm-mta", "sendmail":
		return sendmailDialect
	case "roundcube":
		return roundcubeDialect
	case "sogod", "sogo":
		return sogoDialect
	case "stalwart", "stalwart-mail":
		return stalwartDialect
	}
	return otherDialect
}

// readText hands the text to the reader of its dialect.
func (p *Parser) readText(r *record, out []policy.Event) []policy.Event {
	switch r.dialect {
	case smtpdDialect:
		return p.smtpd(r, out)
	case postscreenDialect:
		return p.postscreen(r, out)
	case qmgrDialect:
		return p.qmgr(r, out)
	case eximDialect:
		return p.exim(r, out)
	case openSMTPDDialect:
		return p.openSMTPD(r, out)
	case nginxDialect:
		return p.nginx(r, out)
	case cleanupDialect:
		return p.cleanup(r, out)
	case rspamdDialect:
		return p.rspamd(r, out)
	case amavisDialect:
		return p.amavis(r, out)
	case clamavDialect:
		return p.clamavMilter(r, out)
	case sendmailDialect:
		return p.sendmail(r, out)
	case roundcubeDialect:
		return p.roundcube(r, out)
	case sogoDialect:
		return p.sogo(r, out)
	case stalwartDialect:
		return p.stalwart(r, out)
	default:
		return p.dovecot(r, out)
	}
}
