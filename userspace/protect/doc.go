// Package protect finds who must never be shut out: the host itself, its
// gateways, the administrators who are logged in, and the proxies that mail
// servers trust. It asks the kernel, systemd-logind and the servers'
// configuration, and knows nothing of decisions.
package protect
