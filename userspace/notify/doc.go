// Package notify tells people that a user was flagged: the administrator, and
// the user if so configured, by mail, by a webhook, or by a command.
//
// One attack gives one notice. A user is told of once in a while, so many
// notices go out in an hour, and what is beyond is gathered into one digest.
// Before it is sent a notice waits a little, so that it can tell what was
// stopped.
//
// It may know nothing else of weir. What there is to tell stands behind
// Describe, which the agent implements. Who is told may be slow or not there:
// deliveries have queues and times of their own, and what does not get through
// is logged and counted, and forgotten.
package notify
