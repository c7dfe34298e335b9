// Package scenarios makes mail logs in which it is known who attacks and who
// does not, and scores decisions against that.
//
// A scenario is a site of some thousand users for two or three days, with all
// attacks that weir is to stop (attacks*.go) and all people that it is to
// leave alone (people*.go). Rates, sizes, addresses, servers and habits differ
// with the seed. What the servers write of it is package mixlog's part.
//
// The log's items are judged one by one (item.go, judge.go): a failed login, a
// login, a message, a recipient that does not exist, a connection without any
// of these. Each belongs to a party. The score is the share of each party's
// items that decisions refuse (score.go), once as if nothing changed by that,
// and once with the engine blind for what was refused.
//
// The truth comes from what was done, never from a reading of the lines.
package scenarios
