package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"weir/policy"
)

// The first byte of every decision as it is stored. A change of the layout
// below takes a new number; old ones stay readable. The least that says all
// is written, so that an older weir can read what it knows.
const (
	recordVersion      = 1
	recordVersionBytes = 2 // with Rate.Bytes after Rate.Burst
	recordVersionQuota = 3 // and with Quota after that
)

// checksumSize is what seal adds to a value.
const checksumSize = 4

var (
	errChecksum = errors.New("checksum does not match")
	errShort    = errors.New("record ends too early")
)

// castagnoli is made once: a million records would each look whether it is there.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is CRC-32C (RFC 9260 appendix A) over the bucket, the key and the
// value, so that a value that ended up under another key is noticed as well.
func checksum(bucket bucketID, key, value []byte) uint32 {
	sum := ^uint32(0)
	for _, b := range [...]byte{byte(bucket), byte(len(key)), byte(len(key) >> 8)} {
		sum = castagnoli[byte(sum)^b] ^ sum>>8 // as Update, which would have them on the heap
	}
	return crc32.Update(crc32.Update(^sum, castagnoli, key), castagnoli, value)
}

// seal appends the checksum to value.
func seal(bucket bucketID, key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(value, checksum(bucket, key, value))
}

// unseal checks what seal wrote and returns the value and its checksum.
func unseal(bucket bucketID, key, sealed []byte) ([]byte, uint32, error) {
	if len(sealed) < checksumSize {
		return nil, 0, errShort
	}
	value := sealed[:len(sealed)-checksumSize]
	sum := binary.BigEndian.Uint32(sealed[len(value):])
	if sum != checksum(bucket, key, value) {
		return nil, 0, errChecksum
	}
	return value, sum, nil
}

// Keys are one letter for the kind of target, then the target: 'p', the
// address and the prefix length; or 'u' and the user's name. Prefixes
// therefore stand in the order of their addresses.

// maxUser bounds a user name in a key, in bytes (RFC 5321 section 4.5.3.1
// allows a mailbox 256).
const maxUser = 4096

func appendKey(b []byte, t policy.Target) ([]byte, error) {
	switch {
	case t.User != "" && t.Prefix.IsValid():
		return nil, fmt.Errorf("target %q names both a user and a prefix", t.User)
	case len(t.User) > maxUser:
		return nil, fmt.Errorf("user name of %d bytes is too long: at most %d", len(t.User), maxUser)
	case t.User != "":
		return append(append(b, 'u'), t.User...), nil
	case !t.Prefix.IsValid():
		return nil, errors.New("target is empty")
	}
	b = append(b, 'p')
	b = append(b, t.Prefix.Addr().AsSlice()...)
	return append(b, byte(t.Prefix.Bits())), nil
}

func parseKey(key []byte) (policy.Target, error) {
	if len(key) < 2 {
		return policy.Target{}, errShort
	}
	switch key[0] {
	case 'u':
		return policy.Target{User: string(key[1:])}, nil
	case 'p':
		addr, ok := netip.AddrFromSlice(key[1 : len(key)-1])
		if !ok {
			return policy.Target{}, fmt.Errorf("address of %d bytes", len(key)-2)
		}
		prefix := netip.PrefixFrom(addr, int(key[len(key)-1]))
		if !prefix.IsValid() {
			return policy.Target{}, fmt.Errorf("prefix length %d of %v", key[len(key)-1], addr)
		}
		return policy.Target{Prefix: prefix}, nil
	}
	return policy.Target{}, fmt.Errorf("unknown kind of target %q", key[0])
}

// appendDecision writes d without its target, which is the key. Numbers are
// varints; actions and kinds are written by name, so that the order of Go's
// constants is not part of the file.
func appendDecision(b []byte, d *policy.Decision) []byte {
	version := byte(recordVersion)
	switch {
	case d.Quota != nil:
		version = recordVersionQuota
	case d.Rate.Bytes != 0:
		version = recordVersionBytes
	}
	b = append(b, version)
	b = appendString(b, d.Action.String())
	b = binary.AppendVarint(b, int64(d.Rate.Every))
	b = binary.AppendVarint(b, int64(d.Rate.Burst))
	if version >= recordVersionBytes {
		b = binary.AppendVarint(b, d.Rate.Bytes)
	}
	if version >= recordVersionQuota {
		b = appendSpans(appendSpans(b, d.Quota.Recipients), d.Quota.Messages)
	}
	b = appendTime(b, d.Since)
	b = appendTime(b, d.Until)
	b = appendString(b, d.Rule)
	b = appendString(b, d.Reason)
	b = binary.AppendVarint(b, int64(d.Offence))
	b = appendString(b, d.By)
	b = binary.AppendVarint(b, int64(d.Evidence.Count))
	b = binary.AppendUvarint(b, d.Evidence.FirstLine)
	b = binary.AppendUvarint(b, d.Evidence.LastLine)
	b = binary.AppendUvarint(b, uint64(len(d.Evidence.Sample)))
	for i := range d.Evidence.Sample {
		b = appendObservation(b, &d.Evidence.Sample[i])
	}
	return b
}

// appendSpans writes one list of a quota: 0 if it is nil, else its length and
// one.
func appendSpans(b []byte, spans []policy.QuotaSpan) []byte {
	if spans == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(spans))+1)
	for _, s := range spans {
		b = binary.AppendVarint(b, int64(s.Count))
		b = binary.AppendVarint(b, int64(s.Within))
		b = binary.AppendVarint(b, int64(s.Burst))
	}
	return b
}

func appendObservation(b []byte, o *policy.Observation) []byte {
	b = appendTime(b, o.Time)
	kind := ""
	if o.Kind != 0 {
		kind = o.Kind.String()
	}
	b = appendString(b, kind)
	b = appendString(b, string(o.Source.AsSlice()))
	b = appendString(b, o.User)
	b = appendString(b, o.Service)
	b = appendString(b, o.Server)
	b = binary.AppendVarint(b, int64(o.Recipients))
	b = binary.AppendUvarint(b, o.Line)
	return appendString(b, o.Text)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

// decoder reads what appendDecision wrote. The first error sticks. It keeps
// the last strings it made: a million pins of one import share theirs.
type decoder struct {
	b    []byte
	err  error
	seen map[string]string

	last       policy.Action // that was read, and its name
	lastAction []byte
}

// maxSeen bounds decoder.seen.
const maxSeen = 1024

func newDecoder() *decoder { return &decoder{seen: make(map[string]string)} }

// sealed is decision for a record as it stands in the file.
func (r *decoder) sealed(d *policy.Decision, bucket bucketID, key, sealed []byte) error {
	value, _, err := unseal(bucket, key, sealed)
	if err != nil {
		return err
	}
	return r.decision(d, bucket, key, value)
}

// decision reads the record of one bucket into d, but for the sample of its
// evidence, which is left in r.
func (r *decoder) decision(d *policy.Decision, bucket bucketID, key, value []byte) error {
	target, err := parseKey(key)
	if err != nil {
		return err
	}
	r.b, r.err = value, nil
	version := r.byte()
	if r.err == nil && (version < recordVersion || version > recordVersionQuota) {
		return fmt.Errorf("record version %d is unknown: written by a newer weir?", version)
	}
	*d = policy.Decision{Target: target, Pinned: bucket == bucketPins, Action: r.action()}
	d.Rate.Every = time.Duration(r.varint())
	d.Rate.Burst = int(r.varint())
	if version >= recordVersionBytes {
		d.Rate.Bytes = r.varint()
	}
	if version >= recordVersionQuota {
		d.Quota = &policy.Quota{Recipients: r.spans(), Messages: r.spans()}
	}
	d.Since, d.Until = r.time(), r.time()
	d.Rule, d.Reason = r.string(), r.string()
	d.Offence = int(r.varint())
	d.By = r.string()
	d.Evidence.Count = int(r.varint())
	d.Evidence.FirstLine, d.Evidence.LastLine = r.uvarint(), r.uvarint()
	return r.err
}

// rest reads the sample that decision has left.
func (r *decoder) rest() (sample []policy.Observation, err error) {
	if n := r.uvarint(); n > 0 {
		sample = make([]policy.Observation, 0, min(n, uint64(len(r.b))/leastObservation))
		for ; n > 0 && r.err == nil; n-- {
			sample = append(sample, r.observation())
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.b))
	}
	return sample, r.err
}

// leastObservation is how many bytes an observation takes at least: one for
// each of its fields, two for the time.
const leastObservation = 9

func (r *decoder) spans() []policy.QuotaSpan {
	n := r.uvarint()
	if n == 0 || r.err != nil {
		return nil
	}
	spans := []policy.QuotaSpan{}
	for ; n > 1 && r.err == nil; n-- {
		spans = append(spans, policy.QuotaSpan{Count: int(r.varint()), Within: time.Duration(r.varint()), Burst: int(r.varint())})
	}
	if err := (&policy.Quota{Recipients: spans}).Validate(); err != nil && r.err == nil {
		r.fail(err)
	}
	return spans
}

func (r *decoder) observation() policy.Observation {
	o := policy.Observation{Time: r.time()}
	if kind := r.bytes(); len(kind) > 0 && r.err == nil {
		if err := o.Kind.UnmarshalText(kind); err != nil {
			r.fail(err)
		}
	}
	o.Source, _ = netip.AddrFromSlice(r.bytes())
	o.User, o.Service, o.Server = r.string(), r.string(), r.string()
	o.Recipients, o.Line = int(r.varint()), r.uvarint()
	o.Text = string(r.bytes())
	return o
}

func (r *decoder) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *decoder) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *decoder) varint() int64 {
	if len(r.b) > 0 && r.b[0] < 0x80 { // most of them
		v := r.b[0]
		r.b = r.b[1:]
		return int64(v>>1) ^ -int64(v&1)
	}
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *decoder) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 { // nearly all of them
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *decoder) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *decoder) string() string {
	b := r.bytes()
	if len(b) == 0 {
		return ""
	}
	if s, ok := r.seen[string(b)]; ok {
		return s
	}
	if len(r.seen) >= maxSeen {
		clear(r.seen)
	}
	s := string(b)
	r.seen[s] = s
	return s
}

// action is the same as before nearly always.
func (r *decoder) action() policy.Action {
	name := r.bytes()
	if r.err != nil || len(name) > 0 && bytes.Equal(name, r.lastAction) {
		return r.last
	}
	var action policy.Action
	if err := action.UnmarshalText(name); err != nil {
		r.fail(err)
		return action
	}
	r.last, r.lastAction = action, append(r.lastAction[:0], name...)
	return action
}

// time returns UTC; the zero time comes back as the zero time.
func (r *decoder) time() time.Time {
	sec, nsec := r.varint(), r.uvarint()
	if nsec >= uint64(time.Second) {
		r.fail(fmt.Errorf("time with %d ns", nsec))
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}
