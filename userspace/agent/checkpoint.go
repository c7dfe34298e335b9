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

const (
	checkpointVersion = "weir checkpoint 1\n"
	checkpointParts   = 5
	checkpointLeast   = 3 // parts that every one has
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

	text [][]byte // once it is encoded
}

// newCheckpoint must run in the core loop.
func newCheckpoint(positions map[string]intake.Position, p *pipeline, j *postfixpolicy.Judge) (*checkpoint, error) {
	where, err := json.Marshal(positions)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return &checkpoint{positions: where, parser: p.parser.Save(), told: p.told.save(), flow: j.Save(), engine: p.engine.Save()}, nil
}

// stepSize is how many sources are written at once.
const stepSize = 64

// step writes a little, and reports whether that was all. It must run in the
// core loop.
func (c *checkpoint) step() (done bool) {
	if !c.counted {
		c.counted = c.flow.Step()
		return false
	}
	return c.engine.Step(stepSize)
}

// encode returns the parts of one text, as policy.Saver.Parts does, once step
// has reported that it is done.
func (c *checkpoint) encode() ([][]byte, error) {
	if c.text != nil {
		return c.text, nil
	}
	parser, err := c.parser.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	told, err := c.told.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	c.text = [][]byte{[]byte(checkpointVersion)}
	for _, part := range [checkpointParts][][]byte{{c.positions}, {parser}, c.engine.Parts(), c.flow.Parts(), {told}} {
		length := 0
		for _, piece := range part {
			length += len(piece)
		}
		c.text = append(append(c.text, binary.AppendUvarint(nil, uint64(length))), part...)
	}
	return c.text, nil
}

// restoreCheckpoint sets what b says, as far as it can be read; the error
// tells what could not.
func restoreCheckpoint(b []byte, positions map[string]intake.Position, p *pipeline, j *postfixpolicy.Judge) error {
	rest, ok := bytes.CutPrefix(b, []byte(checkpointVersion))
	if !ok {
		return fmt.Errorf("%w: another version of weir wrote it", errCheckpoint)
	}
	var parts [checkpointParts][]byte
	for i := range parts {
		if i >= checkpointLeast && len(rest) == 0 {
			break
		}
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return fmt.Errorf("%w: it ends too early", errCheckpoint)
		}
		parts[i], rest = rest[size:size+int(n)], rest[size+int(n):]
	}
	var where map[string]intake.Position
	if err := json.Unmarshal(parts[0], &where); err != nil {
		return fmt.Errorf("%w: positions: %w", errCheckpoint, err)
	}
	maps.Copy(positions, where)
	err := errors.Join(p.parser.UnmarshalBinary(parts[1]), p.engine.UnmarshalBinary(parts[2]))
	if parts[3] != nil {
		err = errors.Join(err, j.UnmarshalBinary(parts[3]))
	}
	if parts[4] != nil {
		err = errors.Join(err, p.told.UnmarshalBinary(parts[4]))
	}
	return err
}
