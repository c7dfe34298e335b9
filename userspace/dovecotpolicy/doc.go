// Package dovecotpolicy answers Dovecot's auth policy requests: HTTP and JSON,
// before and after each login. A report becomes a policy.Event, at once and
// with a hash of the password that was tried, which no log has; an allow is
// answered from what is known of the client and the user.
//
// It may know the words of package policy and nothing else of weir. Who is
// refused, trusted or suspicious stands behind Judge, which the agent
// implements.
//
// Whatever goes wrong here, Dovecot lets the login go on: it takes an answer
// that is no answer, an HTTP error or silence for status 0, after two seconds
// at the latest (auth_policy_server_timeout_msecs; since 2.4
// http_client_request_absolute_timeout), unless auth_policy_reject_on_fail
// says otherwise. So trouble is told by HTTP errors, which Dovecot logs.
//
// The protocol is that of Dovecot's src/auth/auth-policy.c, 2.2.27 to 2.4.
package dovecotpolicy
