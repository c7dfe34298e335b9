package maillog

import "bytes"

// Cyrus SASL judges logins for Cyrus IMAP, Sendmail and Postfix. Its results
// (include/sasl.h) have a number and a text (sasl_errstring() in
// lib/common.c), and detail may follow:
//
//	authentication failure (-13) SASL(-13): authentication failure: DETAIL
//
// A server writes the number, the text or both. What an offence is, is the
// same for all: the client did not know the password (BADAUTH), tried a user
// that there is none of (NOUSER), or a mechanism that was not offered, as only
// those do who try all doors (NOMECH). SASL(N) has BADAUTH for NOUSER.

// saslResult is a result by which credentials are refused.
type saslResult struct {
	number int // below zero
	text   string
}

func saslOffences() [3]saslResult {
	return [...]saslResult{{13, "authentication failure"}, {20, "user not found"}, {4, "no mechanism available"}}
}

func isSASLOffenceNumber(n int) bool {
	for _, r := range saslOffences() {
		if n == r.number {
			return true
		}
	}
	return false
}

// endsInSASLOffence reports whether b ends in "BEFORE" + TEXT + "BEHIND".
func endsInSASLOffence(b []byte, before, behind string) bool {
	for _, r := range saslOffences() {
		head, ok := bytes.CutSuffix(b, []byte(behind))
		if head, ok2 := bytes.CutSuffix(head, []byte(r.text)); ok && ok2 && bytes.HasSuffix(head, []byte(before)) {
			return true
		}
	}
	return false
}

// isSASLExcuse reports whether text is one of the library's other results,
// none of which says that a password was wrong.
func isSASLExcuse(text []byte) bool {
	switch string(text) {
	case // The server is in trouble, or set up wrong: FAIL, NOMEM, BUFOVER,
		// NOTDONE, BADPARAM, TRYAGAIN, BADSERV, WRONGMECH, NOTINIT, BADVERS,
		// UNAVAIL, CONFIGERR.
		"generic failure",
		"no memory available",
		"overflowed buffer",
		"can't request information until later in exchange",
		"invalid parameter supplied",
		"transient failure (e.g., weak key)",
		"server failed mutual authentication step",
		"mechanism doesn't support requested feature",
		"SASL library is not initialized",
		"version mismatch with plug-in",
		"remote authentication server unavailable",
		"error when parsing configuration file",
		"undefined error!",
		// The exchange broke off, or made no sense: CONTINUE, INTERACT,
		// BADPROT, BADMAC, BADBINDING.
		"another step is needed in authentication",
		"needs user interaction",
		"bad protocol / cancel",
		"integrity check failed",
		"channel binding failure",
		"wrong mechanism",
		// The password may be right, and its user is told why it is of no use
		// here, or now: NOAUTHZ, EXPIRED, DISABLED, PWLOCK.
		"authorization failure",
		"passphrase expired, has to be reset",
		"account disabled",
		"passphrase locked",
		// The user has no secret for this mechanism: TOOWEAK, ENCRYPT, TRANS,
		// NOVERIFY.
		"mechanism too weak for this user",
		"encryption needed to use mechanism",
		"One time use of a plaintext password will enable requested mechanism for user",
		"user exists, but no verifier for user":
		return true
	}
	return false
}

// isPlainMechanism reports whether the mechanism that b begins with hands the
// password to the server, which may then ask saslauthd.
func isPlainMechanism(b []byte) bool {
	n := bytes.IndexByte(b, ' ')
	if n < 0 {
		n = len(b)
	}
	for _, plain := range [...]string{"plaintext", "PLAIN", "LOGIN", "Basic"} {
		if n == len(plain) && bytes.EqualFold(b[:n], []byte(plain)) {
			return true
		}
	}
	return false
}
