package maillog

// pattern is one kind of line that gives events or joins them. Each has its
// samples in testdata/corpus, under its name.
type pattern uint8

const (
	postfixConnect pattern = iota
	postfixScreened
	postfixSASLFailure
	postfixClient
	postfixProxyAccept
	postfixQueueActive
	postfixUnknownRecipient

	dovecotLogin
	dovecotLoginFailure
	dovecotDisconnect
	dovecotAuthFailure
	dovecotProxyLogin
	dovecotProxyFailure

	eximConnect
	eximAuthFailure
	eximArrival
	eximDelivery
	eximUnknownRecipient
	eximNoMail

	openSMTPDConnect
	openSMTPDLogin
	openSMTPDMessage
	openSMTPDReject

	nginxConnect
	nginxLogin
	nginxLoginFailure
	postfixMilterReject
	rspamdVerdict
	amavisVerdict
	clamavInfected

	sendmailConnect
	sendmailLogin
	sendmailAuthFailure
	sendmailMessage
	sendmailUnknownRecipient
	sendmailAttack
	sendmailNothing

	roundcubeLogin
	roundcubeFailure

	sogoLogin
	sogoLoginFailure
	sogoDAVFailure

	stalwartConnect
	stalwartLoginSuccess
	stalwartLoginFailure
	stalwartMessageQueued
	stalwartUnknownRecipient

	cyrusLogin
	cyrusLoginFailure
	saslauthdFailure
	saslauthdPAM

	courierConnect
	courierLogin
	courierLoginFailure
	courierUnknownRecipient
	courierArrival
	courierDelivery

	patternCount
)

func (k pattern) String() string {
	return [...]string{
		postfixConnect:          "postfix-connect",
		postfixScreened:         "postfix-screened",
		postfixSASLFailure:      "postfix-sasl-failure",
		postfixClient:           "postfix-client",
		postfixProxyAccept:      "postfix-proxy-accept",
		postfixQueueActive:      "postfix-queue-active",
		postfixUnknownRecipient: "postfix-unknown-recipient",

		dovecotLogin:        "dovecot-login",
		dovecotLoginFailure: "dovecot-login-failure",
		dovecotDisconnect:   "dovecot-disconnect",
		dovecotAuthFailure:  "dovecot-auth-failure",
		dovecotProxyLogin:   "dovecot-proxy-login",
		dovecotProxyFailure: "dovecot-proxy-failure",

		eximConnect:          "exim-connect",
		eximAuthFailure:      "exim-auth-failure",
		eximArrival:          "exim-arrival",
		eximDelivery:         "exim-delivery",
		eximUnknownRecipient: "exim-unknown-recipient",
		eximNoMail:           "exim-no-mail",

		openSMTPDConnect: "opensmtpd-connect",
		openSMTPDLogin:   "opensmtpd-login",
		openSMTPDMessage: "opensmtpd-message",
		openSMTPDReject:  "opensmtpd-reject",

		nginxConnect:        "nginx-connect",
		nginxLogin:          "nginx-login",
		nginxLoginFailure:   "nginx-login-failure",
		postfixMilterReject: "postfix-milter-reject",
		rspamdVerdict:       "rspamd-verdict",
		amavisVerdict:       "amavis-verdict",
		clamavInfected:      "clamav-infected",

		sendmailConnect:          "sendmail-connect",
		sendmailLogin:            "sendmail-login",
		sendmailAuthFailure:      "sendmail-auth-failure",
		sendmailMessage:          "sendmail-message",
		sendmailUnknownRecipient: "sendmail-unknown-recipient",
		sendmailAttack:           "sendmail-attack",
		sendmailNothing:          "sendmail-nothing",

		roundcubeLogin:   "roundcube-login",
		roundcubeFailure: "roundcube-login-failure",

		sogoLogin:        "sogo-login",
		sogoLoginFailure: "sogo-login-failure",
		sogoDAVFailure:   "sogo-dav-failure",

		stalwartConnect:          "stalwart-connect",
		stalwartLoginSuccess:     "stalwart-login",
		stalwartLoginFailure:     "stalwart-login-failure",
		stalwartMessageQueued:    "stalwart-message",
		stalwartUnknownRecipient: "stalwart-unknown-recipient",

		cyrusLogin:        "cyrus-login",
		cyrusLoginFailure: "cyrus-login-failure",
		saslauthdFailure:  "saslauthd-failure",
		saslauthdPAM:      "saslauthd-pam",

		courierConnect:          "courier-connect",
		courierLogin:            "courier-login",
		courierLoginFailure:     "courier-login-failure",
		courierUnknownRecipient: "courier-unknown-recipient",
		courierArrival:          "courier-arrival",
		courierDelivery:         "courier-delivery",
	}[k]
}
