package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unique"

	"weir/policy"
)

// maxSample is how many of the missing an unpin names.
const maxSample = 10

// pins makes the pins of a bulk request stand, chunk by chunk.
func (s *Server) pins(w http.ResponseWriter, r *http.Request, from peer) error {
	body := s.body(w, r)
	terms, err := readTerms(body)
	if err != nil {
		return err
	}
	model, err := terms.Decision(s.Now(), from.name())
	if err != nil {
		return err
	}
	attrs := termsAttrs(&model)
	done := s.bulk(w, r, body, func(ctx context.Context, chunk []Line, _ *Progress) error {
		pins := make([]policy.Decision, len(chunk))
		for i, line := range chunk {
			pins[i] = model
			pins[i].Prefix = line.Prefix
			if line.Comment != "" {
				pins[i].Reason = unique.Make(line.Comment).Value() // lists repeat theirs
			}
		}
		err := s.backend.Pin(ctx, pins)
		s.audit("pinned", from, err, targets(chunk), attrs...)
		return err
	})
	s.logBulk("pinned", from, &done, attrs...)
	return nil
}

// termsAttrs say in a log what holds for a target, and why.
func termsAttrs(d *policy.Decision) []any {
	attrs := []any{"action", d.Action, "reason", d.Reason}
	if d.Action == policy.Limit {
		attrs = append(attrs, "rate", d.Rate, "burst", d.Rate.Burst) // rate tells its bytes
	}
	if !d.Until.IsZero() {
		attrs = append(attrs, "until", d.Until)
	}
	return attrs
}

// unpins lifts the pins of a bulk request, chunk by chunk.
func (s *Server) unpins(w http.ResponseWriter, r *http.Request, from peer) error {
	reason, err := reasonOf(r)
	if err != nil {
		return err
	}
	body := s.body(w, r)
	done := s.bulk(w, r, body, func(ctx context.Context, chunk []Line, p *Progress) error {
		asked := make([]policy.Target, len(chunk))
		for i, line := range chunk {
			asked[i].Prefix = line.Prefix
		}
		missing, err := s.backend.Unpin(ctx, asked)
		p.Missing += len(missing)
		p.Done -= len(missing)
		for _, t := range missing[:min(len(missing), maxSample-len(p.Sample))] {
			p.Sample = append(p.Sample, t.String())
		}
		s.audit("unpinned", from, err, targets(chunk), "missing", len(missing), "reason", reason)
		return err
	})
	s.logBulk("unpinned", from, &done, "missing", done.Missing, "reason", reason)
	return nil
}

// targets names what a chunk is about, as it was written.
func targets(chunk []Line) []string {
	named := make([]string, len(chunk))
	for i, line := range chunk {
		if named[i] = policy.PrefixString(line.Prefix); line.Comment != "" {
			named[i] += " # " + line.Comment
		}
	}
	return named
}

// outcome is what a bulk request came to.
type outcome struct {
	Progress
	first string // target, for the log
}

// logBulk tells the log, in one record, who changed what; the audit has been
// told of each chunk, with all its targets.
func (s *Server) logBulk(what string, from peer, o *outcome, attrs ...any) {
	count := "targets"
	if o.Error != nil && o.first == "" && !errors.Is(o.Error, ErrInvalid) { // it went away before anything was tried
		s.Logger.Debug(what, from.attrs(o.Error, attrs)...)
		return
	}
	var err error
	if o.Error != nil { // a fault may also come after everything was done: what does not get stored is in force
		what, count, err = what+", but not all of it is confirmed", "confirmed", o.Error
	}
	s.log(what, err, from.attrs(err, append(attrs, count, o.Done, "first", o.first)))
}

// bulk reads lines from body and hands them to apply in chunks, telling the
// client after each. The first fault ends it; the chunk that holds the fault
// is not applied.
func (s *Server) bulk(w http.ResponseWriter, r *http.Request, body *bufio.Reader,
	apply func(ctx context.Context, chunk []Line, p *Progress) error) outcome {
	var o outcome
	out := s.stream(w)
	chunk := make([]Line, 0, MaxChunk)
	step := func() error {
		if len(chunk) == 0 {
			return nil
		}
		if o.first == "" {
			o.first = policy.PrefixString(chunk[0].Prefix)
		}
		next := o.Progress
		next.Done += len(chunk)
		if err := apply(r.Context(), chunk, &next); err != nil {
			return err
		}
		o.Progress, chunk = next, chunk[:0]
		return nil
	}
	err := func() error {
		for line, err := range Lines(body) {
			if err != nil {
				return err
			}
			if chunk = append(chunk, line); len(chunk) < MaxChunk {
				continue
			}
			if err := step(); err != nil {
				return err
			}
			if !out.line(&o.Progress) || !out.flush() {
				return errors.New("the client went away")
			}
		}
		return step()
	}()
	if err != nil {
		p, _ := problemOf(err)
		o.Error = &p
	}
	o.Final = true
	if out.line(&o.Progress) && out.flush() && err != nil {
		// A client that is still sending would miss the answer if the
		// connection were closed on it.
		_, _ = io.Copy(io.Discard, body)
	}
	return o
}

// body returns the request's bytes, bounded in all and in the time between
// them, readable while the answer is being written.
func (s *Server) body(w http.ResponseWriter, r *http.Request) *bufio.Reader {
	c := http.NewResponseController(w)
	return bufio.NewReaderSize(&patientReader{http.MaxBytesReader(w, r.Body, MaxBody), c, s.Patience}, 64<<10)
}

// patientReader gives the client a new deadline with every read.
type patientReader struct {
	io.Reader
	control  *http.ResponseController
	patience time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.control.SetReadDeadline(time.Now().Add(p.patience)); err != nil {
		return 0, err
	}
	n, err := p.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		_ = p.control.SetReadDeadline(time.Time{}) // what follows is the server's work, not the client's
	}
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		err = invalidf("request is larger than %d MiB: split it", MaxBody>>20)
	}
	return n, err
}

// readTerms reads the first line of a pin request.
func readTerms(body *bufio.Reader) (Terms, error) {
	text, err := readLine(body)
	if err != nil {
		return Terms{}, fmt.Errorf("read terms: %w", err)
	}
	return parseTerms(text)
}

// parseTerms reads Terms strictly: what is misspelt must not be ignored.
func parseTerms(text string) (Terms, error) {
	var t Terms
	if err := decodeStrict(text, &t); err != nil {
		return t, invalidf("bad terms on line 1: %v", err)
	}
	return t, nil
}

func decodeStrict(text string, v any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}
