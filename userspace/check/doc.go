// Package check examines a host for what keeps weir from working, or from
// working well: one file a field. What is examined was gathered before, by the
// functions that begin with Look or by the agent's package; judging it is pure,
// so that the same facts give the same findings. Nothing is changed on the host.
package check
