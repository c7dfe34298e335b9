package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strings"
	"time"

	"weir/policy"
)

// Bounds of a bulk request.
const (
	MaxReason = 500       // bytes of a reason
	MaxLine   = 1024      // bytes of a line, its end included
	MaxBody   = 256 << 20 // bytes of a request: 1,000,000 lines of any length seen in feeds, several times over
)

// Terms are what the pins of one request have in common.
type Terms struct {
	Action policy.Action `json:"action"`           // allow, limit, tarpit or drop
	Rate   string        `json:"rate,omitempty"`   // for limit: as policy.ParseRate reads it
	Burst  int           `json:"burst,omitempty"`  // for limit with a rate: openings allowed at once; 0: one
	Bytes  string        `json:"bytes,omitempty"`  // for limit: as policy.ParseBytes reads it
	For    string        `json:"for,omitempty"`    // as policy.ParseDuration reads it; empty: until unpinned
	Reason string        `json:"reason,omitempty"` // for those that bring no comment of their own

	Recipients []string `json:"recipients,omitempty"` // for quota, which users alone have: as policy.ParseQuotaSpan reads them, or "any"
	Messages   []string `json:"messages,omitempty"`   // likewise
}

// MaxBurst is the largest burst that a limit may have.
const MaxBurst = 100_000

// Blocks reports whether nothing passes of what is pinned under t.
func (t *Terms) Blocks() bool { return t.Action == policy.Drop || t.Action == policy.Tarpit }

// Decision returns what a pin under t is, all but its prefix. The error
// wraps ErrInvalid.
func (t *Terms) Decision(now time.Time, by string) (policy.Decision, error) {
	d := policy.Decision{Action: t.Action, Since: now, Reason: t.Reason, Pinned: true, By: by}
	if len(t.Recipients)+len(t.Messages) > 0 {
		return d, invalidf("quotas are for users: weir user set")
	}
	switch t.Action {
	case policy.Allow, policy.Tarpit, policy.Drop:
		if t.Rate != "" || t.Burst != 0 || t.Bytes != "" {
			return d, invalidf("rate, burst and bytes belong to action limit, not %v", t.Action)
		}
	case policy.Limit:
		var err error
		if d.Rate, err = t.limit(); err != nil {
			return d, err
		}
	case 0:
		return d, invalidf("a pin needs an action: allow, limit, tarpit or drop")
	default:
		return d, invalidf("a source cannot be pinned to %v: want allow, limit, tarpit or drop", t.Action)
	}
	if t.For != "" {
		length, err := policy.ParseDuration(t.For)
		if err != nil {
			return d, invalidf("%v", err)
		}
		d.Until = now.Add(length)
	}
	if err := checkText(t.Reason, MaxReason); err != nil {
		return d, invalidf("bad reason: %v", err)
	}
	return d, nil
}

// limit returns the rate of action limit.
func (t *Terms) limit() (rate policy.Rate, err error) {
	if t.Rate == "" && t.Bytes == "" {
		return rate, invalidf("action limit needs a rate of connections, such as 6/m, or of bytes, such as 64K/s, or both")
	}
	if t.Burst < 0 || t.Burst > MaxBurst {
		return rate, invalidf("bad burst %d: want 1 to %d", t.Burst, MaxBurst)
	}
	if t.Rate == "" && t.Burst != 0 {
		return rate, invalidf("a burst of %d belongs to a rate of connections", t.Burst)
	}
	if t.Rate != "" {
		if rate, err = policy.ParseRate(t.Rate); err != nil {
			return rate, invalidf("%v", err)
		}
		rate.Burst = max(t.Burst, 1)
	}
	if t.Bytes != "" {
		if rate.Bytes, err = policy.ParseBytes(t.Bytes); err != nil {
			return rate, invalidf("%v", err)
		}
	}
	return rate, nil
}

// Line is one "PREFIX [# comment]" of a bulk request, its prefix in the form
// in which it is judged.
type Line struct {
	Number  int // from 1
	Prefix  netip.Prefix
	Comment string
}

// ParseLine reads one line. A line that is empty or a comment alone gives an
// invalid Prefix and no error.
func ParseLine(text string) (Line, error) {
	prefix, comment, _ := strings.Cut(text, "#")
	prefix, comment = strings.TrimSpace(prefix), strings.TrimSpace(comment)
	if prefix == "" {
		return Line{}, nil
	}
	p, err := ParsePrefix(prefix)
	if err != nil {
		return Line{}, err
	}
	if err := checkText(comment, MaxReason); err != nil {
		return Line{}, invalidf("bad comment: %v", err)
	}
	return Line{Prefix: p, Comment: comment}, nil
}

// Lines reads the pins of a list, skipping what is empty or a comment alone.
// An error tells the line and wraps ErrInvalid if the line is at fault; the
// caller may go on to the lines after it, but not after another error. r must
// buffer at least MaxLine bytes.
func Lines(r *bufio.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for number := 1; ; number++ {
			text, err := readLine(r)
			var line Line
			switch {
			case err == nil:
				line, err = ParseLine(text)
			case errors.Is(err, io.EOF):
				return
			}
			if err != nil {
				err = &lineError{line: number, err: err}
			} else if !line.Prefix.IsValid() {
				continue
			}
			line.Number = number
			if !yield(line, err) || err != nil && !errors.Is(err, ErrInvalid) {
				return
			}
		}
	}
}

// readLine returns the next line without its end; io.EOF after the last. A
// line beyond MaxLine is skipped whole and gives ErrInvalid.
func readLine(r *bufio.Reader) (string, error) {
	text, err := r.ReadSlice('\n')
	if len(text) > MaxLine || errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read line: %w", err)
		}
		return "", invalidf("longer than %d bytes", MaxLine)
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(text) == 0) {
		return "", err
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// Progress is how far a bulk request is.
type Progress struct {
	Done    int      `json:"done"`              // pins that stand, or are lifted
	Missing int      `json:"missing,omitempty"` // of an unpin: how many were not pinned
	Sample  []string `json:"sample,omitempty"`  // the first of those missing
	Final   bool     `json:"final,omitempty"`   // nothing follows
	Error   *Problem `json:"error,omitempty"`   // why it ended early; what is done stays done
}
