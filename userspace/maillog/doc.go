// Package maillog turns bytes of mail server logs into policy events.
//
// A line is read in two steps: its header (who wrote it, and when) is found
// by position, and the program's name alone chooses the reader of the text
// behind it. There is one file a server. Lines of other programs cost a few
// compared bytes, and a time is computed only for lines that say something.
//
// Attackers write parts of these lines: user names, HELO and reverse names,
// mail addresses, SASL mechanisms, passwords. So every pattern is anchored
// at text that only the server writes, and the source is always taken from
// the place where the server puts the address of its own socket. Where a
// line allows two readings and nothing decides, it gives no event. One thing
// no reader can mend: nginx and SOGo write line feeds in a user name as they
// are, so that in their own files a client can begin a line.
//
// Servers tell some things in several lines. The parser joins them by queue
// ID, process, session and source, in tables of fixed size whose oldest entries
// go first, by the time in the log and never by a clock: the same log gives the
// same events, whenever it is read, and whether the parser was stopped in
// between (MarshalBinary) or not. Tables and names together take up less than
// 64 MiB, whatever a log contains; those of an ordinary host, a few.
//
// The package may import policy and the standard library. It does no I/O.
package maillog
