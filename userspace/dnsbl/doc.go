// Package dnsbl asks DNS lists (RFC 5782) about sources. It is optional and
// decides nothing: that a list names a source is a signal among others.
//
// It may know the words of package policy and nothing else of weir. Look-ups
// wait in a bounded queue, a few are under way at once, and every answer is
// remembered for a while; what has no room is not asked about, and counted.
package dnsbl
