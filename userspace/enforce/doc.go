// Package enforce brings the kernel's verdict tables in line with what the
// policy ledger says is in force, and closes the established sessions of
// sources that are newly dropped.
//
// It is the only place that turns a decision into a table entry: it knows the
// words of policy and of loader, and nothing else of weir. It decides nothing.
package enforce
