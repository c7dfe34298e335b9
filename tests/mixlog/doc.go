// Package mixlog writes the log of a mail site that never was, and the truth
// beside it: for each line the events that a reader must find in it, no more
// and no fewer. The same options give the same bytes.
//
// Scenarios say what clients do (visit.go, scenario*.go): office and roaming
// users, servers that bring mail, typing errors, telephones that know only
// the old password, brute force, botnets, stolen accounts, harvesters. One
// file a server says how that server logs it, and with which of its lines an
// event becomes known. So the truth comes from what was done, not from a
// reading of the lines.
//
// A script, instead, is a list of sessions that somebody else has thought of
// (script.go); package scenarios makes such lists.
//
// Several hosts write into one log, as a log server gathers it. Sessions
// overlap; processes serve one after the other and end; process and queue IDs
// come again. Memory is bounded: at most a thousand seconds of sessions are
// under way, however long the log.
//
// # Proportions
//
// Most lines are not about clients. What one message costs follows from the
// servers' own code, for each program writes its line once: a message from
// outside to one mailbox is 2 lines of postscreen, 4 of smtpd, 1 of cleanup,
// 2 of the milters, 1 of lmtp, 2 of qmgr and 3 of Dovecot's LMTP server,
// three of which say something about a client. A mailbox session is one line
// at its beginning and one at its end.
//
// How often what happens is taken from the sample report of postfix-logwatch
// (1,601 messages accepted, 763 rejected: one third for DNS block lists, one
// quarter for unknown recipients; 704 of 1,673 connections lost), and, for
// mailboxes, from clients that look every few minutes or hold some
// connections open. Failed logins are set to a few for each hundred
// sessions, with bursts: hosts on the Internet see anything from that to many
// times as much. Weights can change all of it.
package mixlog
