package maillog

import (
	"regexp"
	"strings"
)

// secrets are what servers write of passwords where they are told to, or where
// a client says one in the wrong place: Dovecot with auth_verbose_passwords or
// auth_debug_passwords (src/auth/auth-request.c, auth-client-connection.c), and
// a command AUTH that is quoted as it came (RFC 4954, section 4). What a user may
// have typed as a password is hidden to the end of the line, as it may hold
// anything.
var secrets = regexp.MustCompile(`( \((?:[A-Za-z0-9]+ of )?given password: )(?s:.*)` +
	`|((?i:\bauth) +(?i:plain|login|cram-md5|xoauth2|oauthbearer|scram-[-a-z0-9]+|digest-md5)(?: +|=))[-+/=_A-Za-z0-9]{2,}` +
	`|(\b(?:resp|pass|password|client_secret|access_token)=)[^\s&]+`)

// HideSecrets returns text, a line or a part of one, without the passwords in it.
// It is for what is kept and shown to people: where there may be one, it costs some
// microseconds.
func HideSecrets(text string) string {
	if !maySaySecrets(text) {
		return text
	}
	return secrets.ReplaceAllString(text, "${1}${2}${3}[hidden]")
}

// maySaySecrets is true of everything that secrets matches, and of few other lines.
func maySaySecrets(text string) bool {
	if strings.Contains(text, "given password: ") {
		return true
	}
	for rest, at := text, 0; ; rest = rest[at+1:] {
		if at = strings.IndexByte(rest, '='); at < 0 {
			break
		}
		for _, key := range [...]string{"resp", "pass", "password", "client_secret", "access_token"} {
			if strings.HasSuffix(rest[:at], key) {
				return true
			}
		}
	}
	const auth = "auth"
	for rest, at := text, 0; ; rest = rest[at+1:] {
		if at = strings.IndexByte(rest, ' '); at < 0 {
			return false
		}
		if at < len(auth) || !strings.EqualFold(rest[at-len(auth):at], auth) {
			continue
		}
		if mechanism := strings.TrimLeft(rest[at:], " "); mechanism != "" && (strings.IndexByte("plcxosdPLCXOSD", mechanism[0]) >= 0 || mechanism[0] >= 0x80) { // ſ is an s
			return true
		}
	}
}
