// Package postfixpolicy answers Postfix's SMTPD access policy delegation
// (SMTPD_POLICY_README), and whatever else speaks that protocol, such as an
// ACL of Exim's: may this message pass?
//
// It may know package policy and nothing else of weir. The server and its
// parser know the protocol; Judge knows what to answer. It never waits for
// anybody: what it learns is handed over through a bounded queue, and what
// does not fit there is counted.
//
// In trouble it says nothing and closes the connection. Postfix then asks
// again on a new one, and if that fails does what default_action says, which
// the administrator has set to DUNNO: weir broken must never mean mail
// stopped.
package postfixpolicy
