// Package agent joins the concerns of userspace into the running agent:
// records come from intake, become events in maillog and decisions in policy,
// and reach the kernel by enforce and the disk by store; operators reach it
// by control.
//
// Everything that decides happens in the core, which one goroutine at a time
// touches, in the order in which records come. That makes decisions
// reproducible: Replay reads old logs through the same pipeline, and after a
// crash the records since the last checkpoint are read again and give the same
// decisions.
//
// Nothing slow happens in a turn of the core: a writer goroutine commits to the
// store in groups, sessions are closed beside it, and a disk that is full or
// an interface that is missing stops neither deciding nor enforcing.
package agent
