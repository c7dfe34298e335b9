package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Reasons for losses of the journal.
const (
	lostVacuumed   = "journal no longer holds the entry read last; what followed it may be gone as well"
	lostSuppressed = "messages suppressed by journald, being over RateLimitBurst in journald.conf(5)"
	lostMalformed  = "journal entry not understood"
)

// suppressedID is the MESSAGE_ID by which journald tells that it dropped
// messages of a service, SD_MESSAGE_JOURNAL_DROPPED in sd-messages.h.
const suppressedID = "a596d6fe7bfa4994828e72309e95d61e"

// firstUser is the lowest id of ordinary users, UID_MIN in login.defs(5).
const firstUser = 1000

// journalReader turns what journalctl writes into records.
type journalReader struct {
	o     JournalOptions
	m     *meter
	sink  Sink
	last  Position
	lines uint64

	split  *splitter
	parser entryParser
	names  names
	batch  []Record
	resume []byte // cursor of the entry to pass over, being known
	past   bool   // read what there is, and end
	most   int    // entries of the past, the last ones; 0: all
	own    []byte // machine whose entries are wanted; nil: all
}

func newJournalReader(o JournalOptions, m *meter, from Position, sink Sink) *journalReader {
	r := &journalReader{
		o: o, m: m, sink: sink, last: from, lines: from.Lines,
		// An escaped byte takes six.
		split: newSplitter(6 * o.MaxLine), names: newNames(),
	}
	if o.Directory == "" {
		if id, err := os.ReadFile("/etc/machine-id"); err == nil {
			r.own = bytes.TrimSpace(id)
		}
	}
	return r
}

// sinkError tells errors of the sink from those of the child.
type sinkError struct{ error }

// args are those of journalctl. It starts with the entry that was read last,
// not after it, because journalctl(1) does not say whether that still exists.
// Without --merge it would pass over all that was written before the last
// reboot, whatever the cursor; with it, it also reads what other hosts sent.
func (r *journalReader) args() []string {
	a := []string{"--follow", "--no-tail"}
	switch {
	case r.past && r.most > 0:
		a = []string{fmt.Sprintf("--lines=%d", r.most)}
	case r.past:
		a = nil
	}
	a = append(a, "--merge", "--no-pager", "--all", "--output=json", "--output-fields="+journalFields)
	switch {
	case r.last.Cursor != "":
		a = append(a, "--cursor="+r.last.Cursor)
	case !r.o.FromStart && !r.last.Time.IsZero() && r.most == 0:
		us := r.last.Time.UnixMicro()
		a = append(a, fmt.Sprintf("--since=@%d.%06d", us/1e6, us%1e6))
	}
	if r.o.Directory != "" {
		a = append(a, "--directory="+r.o.Directory)
	}
	for _, u := range r.o.Units {
		a = append(a, "--unit="+u)
	}
	return append(a, r.o.Matches...)
}

// settled is how long a child must have lived without a complaint for the end
// of the one before it to be forgotten.
const settled = 2 * time.Second

// follow starts journalctl and delivers what it writes until it ends.
func (r *journalReader) follow(ctx context.Context, command string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, r.args()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	complaint := &lastWords{m: r.m}
	cmd.Stderr = complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.m.state(StateFollowing)
	healed := time.AfterFunc(settled, func() {
		if complaint.String() == "" {
			r.m.trouble(nil)
		}
	})
	defer healed.Stop()
	r.split.reset()
	r.resume = []byte(r.last.Cursor)
	err = r.read(out)
	if err != nil || !r.past { // else it is about to end by itself
		cancel()
	}
	waited := cmd.Wait()
	switch text := complaint.String(); {
	case err != nil:
		return err
	case text != "":
		return errors.New(text)
	case waited != nil:
		return waited
	}
	return io.ErrUnexpectedEOF
}

// read delivers the entries in out, a batch for each piece that comes.
func (r *journalReader) read(out io.Reader) error {
	for {
		n, err := out.Read(r.split.space())
		r.split.wrote(n)
		if err := r.deliver(); err != nil {
			return sinkError{err}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// deliver hands over the whole lines that are there.
func (r *journalReader) deliver() error {
	r.batch = r.batch[:0]
	r.parser.reset()
	var size uint64
	var cursor []byte
	var newest time.Time
	now := time.Now()
	for {
		line, _, ok := r.split.next()
		if !ok {
			break
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, err := r.parser.parse(line)
		if err != nil {
			r.m.lost(lostMalformed, 1, now)
			r.m.log.Debug("journal entry not understood", "entry", string(line[:min(len(line), 200)]))
			continue
		}
		if len(r.resume) > 0 {
			known := bytes.Equal(e.cursor, r.resume)
			r.resume = nil
			if known {
				continue
			}
			r.m.lost(lostVacuumed, 1, now)
		}
		cursor = e.cursor
		r.add(e, now)
		size += uint64(len(e.message))
		newest = time.UnixMicro(e.received)
	}
	if cursor == nil {
		return nil
	}
	r.last = Position{Cursor: string(cursor), Time: now, Lines: r.lines}
	if err := r.sink(r.batch, r.last); err != nil {
		return err
	}
	r.m.delivered(len(r.batch), size, now)
	r.m.lag(now.Sub(newest), 0)
	return nil
}

func (r *journalReader) add(e *entry, now time.Time) {
	if string(e.messageID) == suppressedID && e.uid == 0 {
		r.m.lost(lostSuppressed, uint64(e.dropped), now)
	}
	if r.own != nil && len(e.machine) > 0 && !bytes.Equal(e.machine, r.own) || e.fromSession() {
		r.m.ignored()
		return
	}
	message := e.message
	if len(message) > r.o.MaxLine {
		message = message[:r.o.MaxLine]
		r.m.cut()
	}
	host := ""
	if r.own == nil { // a folder may hold the journals of several
		host = r.names.get(e.host)
	}
	r.lines++
	r.batch = append(r.batch, Record{
		Line: message, Time: e.time(), Host: host, Program: r.names.get(e.program()), Unit: r.names.get(e.unit),
		PID: e.process(), Number: r.lines,
	})
}

// fromSession says whether an ordinary user wrote the entry from a session.
// Anybody may call himself postfix/smtpd in the journal, by logger(1), and
// would have others thrown out; mail servers are services and have other ids.
func (e *entry) fromSession() bool {
	return e.uid >= firstUser &&
		(bytes.HasPrefix(e.unit, []byte("session-")) || bytes.HasPrefix(e.unit, []byte("user@")))
}

// lastWords keeps the last line that a child wrote to standard error, and
// shows it as the present trouble.
type lastWords struct {
	m    *meter
	mu   sync.Mutex
	text string
}

func (w *lastWords) Write(p []byte) (int, error) {
	lines := strings.Split(strings.TrimSpace(string(p[max(0, len(p)-1024):])), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		w.mu.Lock()
		w.text = last
		w.mu.Unlock()
		w.m.trouble(errors.New(last))
	}
	return len(p), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text
}
