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
	postfixMilterReject

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
	openSMTPDUnknownRecipient

	sendmailConnect
	sendmailLogin
	sendmailAuthFailure
	sendmailMessage
	sendmailUnknownRecipient
	sendmailAttack
	sendmailNoMail

	cyrusLogin
	cyrusLoginFailure

	courierConnect
	courierLogin
	courierLoginFailure
	courierUnknownRecipient
	courierArrival
	courierDelivery

	stalwartConnect
	stalwartLogin
	stalwartLoginFailure
	stalwartMessage
	stalwartUnknownRecipient

	saslauthdFailure
	saslauthdPAM

	nginxConnect
	nginxLogin
	nginxLoginFailure

	roundcubeLogin
	roundcubeLoginFailure

	sogoLogin
	sogoLoginFailure
	sogoDAVFailure

	rspamdVerdict
	amavisVerdict
	clamavInfected

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
		postfixMilterReject:     "postfix-milter-reject",

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

		openSMTPDConnect:          "opensmtpd-connect",
		openSMTPDLogin:            "opensmtpd-login",
		openSMTPDMessage:          "opensmtpd-message",
		openSMTPDUnknownRecipient: "opensmtpd-unknown-recipient",

		sendmailConnect:          "sendmail-connect",
		sendmailLogin:            "sendmail-login",
		sendmailAuthFailure:      "sendmail-auth-failure",
		sendmailMessage:          "sendmail-message",
		sendmailUnknownRecipient: "sendmail-unknown-recipient",
		sendmailAttack:           "sendmail-attack",
		sendmailNoMail:           "sendmail-no-mail",

		cyrusLogin:        "cyrus-login",
		cyrusLoginFailure: "cyrus-login-failure",

		courierConnect:          "courier-connect",
		courierLogin:            "courier-login",
		courierLoginFailure:     "courier-login-failure",
		courierUnknownRecipient: "courier-unknown-recipient",
		courierArrival:          "courier-arrival",
		courierDelivery:         "courier-delivery",

		stalwartConnect:          "stalwart-connect",
		stalwartLogin:            "stalwart-login",
		stalwartLoginFailure:     "stalwart-login-failure",
		stalwartMessage:          "stalwart-message",
		stalwartUnknownRecipient: "stalwart-unknown-recipient",

		saslauthdFailure: "saslauthd-failure",
		saslauthdPAM:     "saslauthd-pam",

		nginxConnect:      "nginx-connect",
		nginxLogin:        "nginx-login",
		nginxLoginFailure: "nginx-login-failure",

		roundcubeLogin:        "roundcube-login",
		roundcubeLoginFailure: "roundcube-login-failure",

		sogoLogin:        "sogo-login",
		sogoLoginFailure: "sogo-login-failure",
		sogoDAVFailure:   "sogo-dav-failure",

		rspamdVerdict:  "rspamd-verdict",
		amavisVerdict:  "amavis-verdict",
		clamavInfected: "clamav-infected",
	}[k]
}
