// Package control is how an operator's commands reach the running agent:
// HTTP and JSON over a unix socket that only root, the agent's own user and
// the members of two groups may speak to: operators, and readers, who may only
// look (GET).
//
// It may know the words of package policy and nothing else of weir. What the
// commands do stands behind Backend, which the agent implements. Anything may
// connect to the socket, so every byte read here is bounded and checked, and
// a client that hangs or sends garbage costs a connection and no more.
//
// The protocol, version 1 (every path starts with /v1):
//
//	GET  /v1/status                     Status
//	GET  /v1/decisions?action=&rule=&pinned=&prefix=&begins=
//	                                    one Row a line; {"error": Problem}
//	                                    on the last if it ends early
//	GET  /v1/explanation?target=        Explanation
//	POST /v1/pins                       Terms on the first line, then one
//	                                    "PREFIX [# comment]" a line;
//	                                    answered with one Progress a line
//	POST /v1/unpins                     one "PREFIX [# comment]" a line;
//	                                    answered with one Progress a line
//	POST /v1/release?target=            ReleaseResult
//	GET  /v1/users                      one User a line, ended as decisions
//	GET  /v1/user?name=                 User
//	POST /v1/user/set?name=             Terms; answered with the Row
//	POST /v1/user/reset?name=           UserReset
//	POST /v1/panic                      Panic
//	POST /v1/panic/lift                 Panic
//	POST /v1/confirm?again=             Confirmation
//
// Every POST may say why: ?reason=. Terms have a reason of their own.
//
// Requests and answers carry the header Weir-Protocol with the version, and
// answers Weir-Version with the agent's. A request without the header is
// taken as it is, so that curl --unix-socket works. Errors are a Problem
// with a 4xx or 5xx status.
package control

// Protocol is the version of the control protocol spoken here.
const Protocol = "1"

const (
	headerProtocol = "Weir-Protocol"  // version of the protocol, on requests and answers
	headerVersion  = "Weir-Version"   // version of the program, on requests and answers
	headerSudoUser = "Weir-Sudo-User" // who became root to ask, as root says (SUDO_USER, sudo(8))
)
