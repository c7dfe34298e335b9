package hub

// What weir has no event for, in whatever words a server writes it.
const (
	listed    = "refused for what a list says of the source, which is no sign of guessing"
	limited   = "a rate limit of the server's own"
	sender    = "refused for the sender's address or domain"
	relay     = "refused to relay, or without a login: no recipient was guessed"
	helo      = "refused for the name in HELO"
	noSMTP    = "spoke something else than SMTP, and tried no credentials"
	resolving = "the proxy looked up a name; the client's attempt has a line of its own"
	anonymous = "let through without a login"
)

// otherwise holds the lines that weir reads otherwise, and why, by folder and
// number.
var otherwise = map[string]string{
	"exim-logs:4":        listed,
	"exim-logs:6":        limited,
	"exim-logs:7":        sender,
	"exim-logs:8":        sender,
	"exim-logs:9":        relay,
	"exim-syslog-logs:4": listed,
	"exim-syslog-logs:6": limited,
	"exim-syslog-logs:7": sender,
	"exim-syslog-logs:8": sender,
	"exim-syslog-logs:9": relay,

	"nginx-mail-logs:2":  resolving,
	"nginx-mail-logs:8":  anonymous,
	"nginx-mail-logs:10": "connected to a port of no known service; the login that follows is told",
	"nginx-mail-logs:11": resolving,
	"nginx-mail-logs:14": "connected to a port of no known service; the login that follows is told",

	"postfix-logs:2":    "refused by an access rule",
	"postfix-logs:3":    helo,
	"postfix-logs:4":    relay,
	"postfix-logs:5":    relay,
	"postfix-logs:6":    noSMTP,
	"postfix-logs:7":    noSMTP,
	"postscreen-logs:1": "spoke before its turn, which postscreen itself answers",
	"postscreen-logs:2": noSMTP,
}
