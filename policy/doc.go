// Package policy decides who is flagged: events go in, decisions come out.
//
// It is pure. It has no clock (every event carries its own time), does no
// I/O, starts no goroutine and keeps bounded memory, so that reading an old
// log again gives the decisions that live reading gave. It may import the
// standard library and a prefix trie, and nothing of weir.
package policy
