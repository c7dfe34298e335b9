package mixlog

import "net/netip"

// kind is which servers a host runs.
type kind uint8

const (
	postfixHost kind = iota
	eximHost
	openSMTPDHost
	nginxHost
	sendmailHost
	stalwartHost
	webHost
	cyrusHost
	courierHost

	kindCount
)

// host writes a part of the log.
type host struct {
	name string
	kind kind
	lip4 netip.Addr
	lip6 netip.Addr

	mta     server
	mailbox server

	// How its servers are set up, and which versions they are.
	postfixUser bool // Postfix 3.7.11 and later name the user of a failure
	longIDs     bool // enable_long_queue_ids
	screen      bool // postscreen stands before smtpd
	filter      bool // mail goes through amavis and comes back
	authVerbose bool // Dovecot's auth process tells of refusals
	authWorker  bool // its database is asked by a worker
	dovecot24   bool
	saslauthd   bool // Postfix asks it for passwords, instead of Dovecot
	recipients  bool // log_selector = +received_recipients

	heloRefused bool  // a name that is none
	authDown    int64 // until when the authentication server is down

	count     int // of connections
	nextPID   int
	processes map[string][]process
	busyPIDs  [pidMax]bool
	slots     []int64 // queue files, and when each is free again
	slot      int
	own       daemons
}

// daemons are processes that stay.
type daemons struct{ qmgr, anvil, screen, rspamd, opendkim, exim, cron int }

// process serves one session after the other.
type process struct {
	pid  int
	used int
	free int64 // when its session ends
}

const (
	pidMin = 300
	pidMax = 32768 // the kernel's default on small hosts; then IDs come again

	maxUse  = 100          // sessions of a process; Postfix's max_use
	maxIdle = 100 * second // likewise max_idle
)

func newHosts() []*host {
	hosts := []*host{
		{name: "mx1", kind: postfixHost, mta: postfix{}, mailbox: dovecot{}, postfixUser: true, screen: true, authVerbose: true},
		{name: "mx2", kind: postfixHost, mta: postfix{}, mailbox: dovecot{}, filter: true},
		{name: "mx3.example.net", kind: postfixHost, mta: postfix{}, mailbox: dovecot{}, postfixUser: true, longIDs: true, screen: true, authVerbose: true, authWorker: true, dovecot24: true},
		{name: "relay", kind: eximHost, mta: exim{}, mailbox: dovecot{}, authVerbose: true, authWorker: true},
		{name: "relay2", kind: eximHost, mta: exim{}, mailbox: dovecot{}, recipients: true},
		{name: "puffy", kind: openSMTPDHost, mta: openSMTPD{}, mailbox: dovecot{}, authVerbose: true},
		{name: "classic", kind: sendmailHost, mta: sendmail{}, mailbox: dovecot{}},
		{name: "stal", kind: stalwartHost, mta: stalwart{}, mailbox: stalwart{}},
		{name: "webmail", kind: webHost, mta: roundcube{}, mailbox: roundcube{}},
		{name: "groupware", kind: webHost, mta: sogo{}, mailbox: sogo{}},
		{name: "cyr", kind: cyrusHost, mta: postfix{}, mailbox: cyrus{}, postfixUser: true, saslauthd: true},
		{name: "cour", kind: courierHost, mta: postfix{}, mailbox: courier{}, postfixUser: true},
		{name: "edge", kind: nginxHost, mta: nginx{}, mailbox: nginx{}},
	}
	for i, h := range hosts {
		h.begin(i)
	}
	return hosts
}

// begin starts the daemons of host number i.
func (h *host) begin(i int) {
	h.lip4 = netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)})
	h.lip6 = addressV6(0, uint64(1+i))
	h.nextPID = pidMin + 977*i
	h.processes = make(map[string][]process)
	h.own = daemons{h.newPID(), h.newPID(), h.newPID(), h.newPID(), h.newPID(), h.newPID(), h.newPID()}
}

// lip is the host's own address that a client has connected to.
func (h *host) lip(p *peer) netip.Addr {
	if p.addr.Is4() {
		return h.lip4
	}
	return h.lip6
}

func (h *host) newPID() int {
	for {
		if h.nextPID++; h.nextPID >= pidMax {
			h.nextPID = pidMin
		}
		if !h.busyPIDs[h.nextPID] {
			h.busyPIDs[h.nextPID] = true
			return h.nextPID
		}
	}
}

// serve takes a process of a program that is free at a time, or starts one.
// It is busy until done says otherwise. The one that was used last comes
// first, as Postfix's master has it.
func (h *host) serve(program string, at int64) (pid int) {
	const never = 1 << 62
	list := h.processes[program]
	kept, found := list[:0], -1
	for _, p := range list {
		if p.free <= at && (p.used >= maxUse || at-p.free > maxIdle) {
			h.busyPIDs[p.pid] = false
			continue
		}
		if p.free <= at {
			found = len(kept)
		}
		kept = append(kept, p)
	}
	if found < 0 {
		found = len(kept)
		kept = append(kept, process{pid: h.newPID()})
	}
	h.processes[program] = kept
	kept[found].used++
	kept[found].free = never
	return kept[found].pid
}

// done says when a process that serve gave is free again.
func (h *host) done(program string, pid int, at int64) {
	list := h.processes[program]
	for i := range list {
		if list[i].pid == pid {
			list[i].free = at
			return
		}
	}
}

// once returns the ID of a process that serves one session and ends: nothing
// keeps it, so it comes again when the numbers have gone round.
func (h *host) once() int {
	for range pidMax {
		if h.nextPID++; h.nextPID >= pidMax {
			h.nextPID = pidMin
		}
		if !h.busyPIDs[h.nextPID] {
			break
		}
	}
	return h.nextPID
}

// queueSlot takes a queue file that is free at a time. A file system gives
// inodes out again, so that queue IDs come again.
func (h *host) queueSlot(at int64) int {
	for range min(16, len(h.slots)) {
		if h.slot++; h.slot >= len(h.slots) {
			h.slot = 0
		}
		if h.slots[h.slot] <= at {
			return h.slot
		}
	}
	h.slots = append(h.slots, 0)
	return len(h.slots) - 1
}

// counted numbers a connection.
func (h *host) counted() int {
	h.count++
	return h.count
}
