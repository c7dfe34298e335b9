// Package store keeps decisions, pins and the agent's checkpoint, so that a
// restart, a crash or a full disk forgets nothing that was promised.
//
// It knows the words of policy and nothing else of weir. All stands in one file,
// but what a checkpoint counts; see WriteCounts. The file is a bbolt database;
// what stands in it is weir's own: every record carries a version and a checksum
// over its bucket, key and value, and each bucket carries the number and the sum of
// its records, so that a flipped bit, a truncated file and a part that went missing
// are all noticed when the file is opened. A damaged file is set aside and its
// readable records are carried over; see Open.
package store
