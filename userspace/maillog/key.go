package maillog

// Keys of tables. Each begins with the host, so that a log server's hosts do
// not get into each other's way.

func hostKey(r *record) uint64 { return uint64(newHash.bytes(r.host)) }

// programKey is that of a program, whichever process of it speaks.
func programKey(r *record) uint64 { return uint64(newHash.bytes(r.host).bytes(r.program)) }

// sessionKey is that of a process, of which most servers have one a session.
func sessionKey(r *record) uint64 {
	return uint64(newHash.bytes(r.host).bytes(r.program).uint(r.pid))
}

// idKey is that of what the server has given an ID to: a message, a session.
func idKey(r *record, id []byte) uint64 { return uint64(newHash.bytes(r.host).bytes(id)) }
