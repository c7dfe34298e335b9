// Package live makes traffic at the full rate of a core, from sources that are
// known beforehand, on a link of its own: a veth pair between two network
// namespaces that nobody else sees and that end with the process.
//
// The frames come from a BPF program that writes each one anew and redirects
// it into the link, run by BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES
// (Documentation/bpf/bpf_prog_run.rst). What becomes of them at the other end
// happens on the same core, between two batches of the generator: so the rate
// is that of both together, and nothing is lost on the way.
package live
