// Package protect finds who must never be shut out: the host itself, its
// gateways, and the administrators who are logged in. It asks the kernel and
// systemd-logind, and knows nothing of decisions.
package protect
