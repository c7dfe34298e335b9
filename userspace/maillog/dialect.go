package maillog

import (
	"bytes"

	"weir/policy"
)

// dialect is a way of writing log lines.
type dialect uint8

const (
	otherDialect dialect = iota

	// Postfix
	smtpdDialect
	postscreenDialect
	qmgrDialect
	cleanupDialect

	// other servers
	dovecotDialect
	eximDialect
	openSMTPDDialect
	sendmailDialect
	cyrusDialect
	mailboxDialect // of Cyrus or Courier
	courierSMTPDialect
	courierQueueDialect
	stalwartDialect

	// what checks passwords for servers
	saslauthdDialect
	saslPAMDialect

	// proxies and webmail
	nginxDialect
	roundcubeDialect
	sogoDialect

	// content filters
	rspamdDialect
	amavisDialect
	clamavDialect
)

// dialectOf finds the reader of a program's lines by its name alone. Postfix
// writes syslog_name "/" process, and syslog_name is the administrator's:
// postfix/smtpd, postfix/submission/smtpd, postfix-out/smtpd, mx1/qmgr.
func dialectOf(r *record) dialect {
	if r.dialect != otherDialect { // the header tells
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
		if hasPrefix(program, "cyrus") && cyrusService(program[i+1:]) != "" {
			return cyrusDialect
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
	case "sm-mta", "sendmail":
		return sendmailDialect
	case "imap", "imaps", "pop3", "pop3s", "sieve", "timsieved", "managesieve", "http", "https", "httpd":
		return cyrusDialect
	case "imapd", "pop3d", "imapd-ssl", "pop3d-ssl":
		return mailboxDialect
	case "courieresmtpd", "esmtpd", "esmtpd-msa", "esmtpd-ssl":
		return courierSMTPDialect
	case "courierd":
		return courierQueueDialect
	case "stalwart", "stalwart-mail":
		return stalwartDialect
	case "saslauthd":
		return saslauthdDialect
	case "authdaemond":
		return saslPAMDialect
	case "nginx":
		return nginxDialect
	case "roundcube":
		return roundcubeDialect
	case "sogod", "sogo":
		return sogoDialect
	case "rspamd":
		return rspamdDialect
	case "amavis", "amavisd", "amavisd-new":
		return amavisDialect
	case "clamav-milter":
		return clamavDialect
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
	case cleanupDialect:
		return p.cleanup(r, out)
	case dovecotDialect:
		return p.dovecot(r, out)
	case eximDialect:
		return p.exim(r, out)
	case openSMTPDDialect:
		return p.openSMTPD(r, out)
	case sendmailDialect:
		return p.sendmail(r, out)
	case cyrusDialect:
		return p.cyrus(r, out)
	case mailboxDialect:
		return p.mailbox(r, out)
	case courierSMTPDialect:
		return p.courierSMTP(r, out)
	case courierQueueDialect:
		return p.courierQueue(r, out)
	case stalwartDialect:
		return p.stalwart(r, out)
	case saslauthdDialect:
		return p.saslauthd(r, out)
	case saslPAMDialect:
		p.saslPAM(r)
	case nginxDialect:
		return p.nginx(r, out)
	case roundcubeDialect:
		return p.roundcube(r, out)
	case sogoDialect:
		return p.sogo(r, out)
	case rspamdDialect:
		return p.rspamd(r, out)
	case amavisDialect:
		return p.amavis(r, out)
	case clamavDialect:
		return p.clamavMilter(r, out)
	}
	return out
}
