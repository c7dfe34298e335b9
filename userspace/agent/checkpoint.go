package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"weir/policy"
	"weir/userspace/intake"
	"weir/userspace/maillog"
	"weir/userspace/postfixpolicy"
	"weir/userspace/store"
)

// A checkpoint is how far every input was read, and what the parser and the
// engine had made of it by then: after a crash, reading on from there gives
// what reading without a crash would have given. It is written together with
// every decision made before it.
//
// It is a line that names the version, then five parts, each after its
// length: the positions in JSON, the parser's state, the engine's, what was
// counted against quotas, and who has told of which logins. Older ones do not
// have the last one or two.
//
// The engine's and the quotas', which are nearly all of it, are empty there: these
// two stand apart, each after its length, as the store's counts. Older ones have
// them in their place.

const (
	checkpointVersion = "weir checkpoint 1\n"
	checkpointParts   = 5
	checkpointLeast   = 3 // parts that every one has
	partEngine        = 2
	partQuotas        = 3
)

var errCheckpoint = errors.New("checkpoint cannot be read")

// checkpoint is one that is being taken. What changes least is copied when it
// begins; the engine and the judge write their states in steps. What comes out is
// of the moment at which it began.
type checkpoint struct {
	positions []byte
	parser    *maillog.Saved
	told      *tellings
	flow      *postfixpolicy.Saver
	engine    *policy.Saver
	counted   bool // flow is done

	head, counts [][]byte // once it is encoded
}

// newCheckpoint must run in a turn of the core.
func newCheckpoint(positions map[string]intake.Position, p *pipeline, j *postfixpolicy.Judge) (*checkpoint, error) {
	where, err := json.Marshal(positions)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return &checkpoint{positions: where, parser: p.parser.Save(), told: p.told.save(), flow: j.Save(), engine: p.engine.Save()}, nil
}

// stepSize is how many sources are written at once.
const stepSize = 64

// step writes a little, and reports whether that was all. It must run in a
// turn of the core.
func (c *checkpoint) step() (done bool) {
	if !c.counted {
		c.counted = c.flow.Step()
		return false
	}
	return c.engine.Step(stepSize)
}

// encode makes head and counts, as policy.Saver.Parts does, once step has
// reported that it is done.
func (c *checkpoint) encode() error {
	if c.head != nil {
		return nil
	}
	parser, err := c.parser.MarshalBinary()
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	told, err := c.told.MarshalBinary()
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	c.head = [][]byte{[]byte(checkpointVersion)}
	for _, part := range [checkpointParts][]byte{c.positions, parser, partEngine: nil, partQuotas: nil, 4: told} {
		c.head = appendPart(c.head, part)
	}
	c.counts = appendPart(appendPart(nil, c.engine.Parts()...), c.flow.Parts()...)
	c.engine, c.flow = nil, nil
	return nil
}

// appendPart appends a part that comes in pieces, after its length.
func appendPart(text [][]byte, pieces ...[]byte) [][]byte {
	length := 0
	for _, piece := range pieces {
		length += len(piece)
	}
	return append(append(text, binary.AppendUvarint(nil, uint64(length))), pieces...)
}

// cutPart returns what appendPart wrote, and what follows it.
func cutPart(text []byte) (part, rest []byte, err error) {
	n, size := binary.Uvarint(text)
	if size <= 0 || n > uint64(len(text)-size) {
		return nil, nil, fmt.Errorf("%w: it ends too early", errCheckpoint)
	}
	return text[size : size+int(n)], text[size+int(n):], nil
}

// resume has everything go on from the checkpoint in s, as far as that can be read.
func (a *Agent) resume(s *store.Store) error {
	head, err := s.Checkpoint()
	if err != nil || len(head) == 0 {
		return err
	}
	counts, err := s.Counts()
	say := a.log.Warn // another version wrote it
	if errors.Is(err, store.ErrCounts) {
		say = a.log.Error
	} else if err != nil {
		return err
	}
	if err = errors.Join(err, restoreCheckpoint(head, counts, a.core.positions, a.core.pipeline, a.judge)); err != nil {
		say("counts start anew; decisions and pins are not concerned", "error", err)
	}
	return nil
}

// restoreCheckpoint sets what head and counts say, as far as they can be read; the
// error tells what could not. counts is nil where there are none apart.
func restoreCheckpoint(head, counts []byte, positions map[string]intake.Position, p *pipeline, j *postfixpolicy.Judge) (err error) {
	rest, ok := bytes.CutPrefix(head, []byte(checkpointVersion))
	if !ok {
		return fmt.Errorf("%w: another version of weir wrote it", errCheckpoint)
	}
	var parts [checkpointParts][]byte
	for i := range parts {
		if i >= checkpointLeast && len(rest) == 0 {
			break
		}
		if parts[i], rest, err = cutPart(rest); err != nil {
			return err
		}
	}
	var where map[string]intake.Position
	if err := json.Unmarshal(parts[0], &where); err != nil {
		return fmt.Errorf("%w: positions: %w", errCheckpoint, err)
	}
	maps.Copy(positions, where)
	if counts != nil {
		for _, i := range []int{partEngine, partQuotas} {
			if parts[i], counts, err = cutPart(counts); err != nil {
				break
			}
		}
	}
	err = errors.Join(err, p.parser.UnmarshalBinary(parts[1]), p.engine.UnmarshalBinary(parts[partEngine]))
	if parts[partQuotas] != nil {
		err = errors.Join(err, j.UnmarshalBinary(parts[partQuotas]))
	}
	if parts[4] != nil {
		err = errors.Join(err, p.told.UnmarshalBinary(parts[4]))
	}
	return err
}
