// Package lists reads lists of prefixes that the operator supplies as files,
// and notices when they change. It may know the words of package policy and
// nothing else of weir: what becomes of a list is the agent's business.
//
// A list has one prefix a line, in any of these forms, also mixed:
//
//	192.0.2.0/24                      # a comment
//	2001:db8::/32 ; SBL123456         Spamhaus DROP, as text
//	{"cidr":"192.0.2.0/24","sblid":"SBL123456","rir":"arin"}
//	                                  Spamhaus DROP, as NDJSON; a line without
//	                                  "cidr" is about the list itself
//
// Lines that are empty or begin with # or ; are comments. A list is taken
// whole or not at all: half a list in force is worse than the one from before.
package lists
