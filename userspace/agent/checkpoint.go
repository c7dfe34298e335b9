package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"weir/userspace/intake"
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

// encodeCheckpoint must run in the core loop. What it returns are parts of one
// text, as Engine.Snapshot's.
func encodeCheckpoint(positions map[string]intake.Position, p *pipeline, j *postfixpolicy.Judge) ([][]byte, error) {
	where, err := json.Marshal(positions)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	parser, err := p.parser.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	flow, err := j.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	told, err := p.told.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	text := [][]byte{[]byte(checkpointVersion)}
	for _, part := range [checkpointParts][][]byte{{where}, {parser}, p.engine.Snapshot(), {flow}, {told}} {
		length := 0
		for _, piece := range part {
			length += len(piece)
		}
		text = append(append(text, binary.AppendUvarint(nil, uint64(length))), part...)
	}
	return text, nil
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
