package dnsbl

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// answering is a connection to a server of the DNS that answers with whatever the
// fuzzer wrote, behind the query's number, and hangs up.
func answering(answer []byte) net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		var size [2]byte
		if _, err := io.ReadFull(theirs, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(theirs, query); err != nil || len(query) < 12 {
			return
		}
		reply := append(query[:2:2], answer...)
		if len(answer) == 0 || answer[0] == 0 { // a header that fits, and the question as it was asked
			reply = append(query[:2:2], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0)
			if answer = answer[min(1, len(answer)):]; len(answer) > 0 {
				reply[7], answer = answer[0], answer[1:]
			}
			question := query[12:] // and what it says of EDNS
			if end := bytes.IndexByte(question, 0); end >= 0 && end+5 <= len(question) {
				question = question[:end+5]
			}
			reply = append(append(reply, question...), answer...)
		}
		_, _ = theirs.Write(binary.BigEndian.AppendUint16(nil, uint16(len(reply))))
		_, _ = theirs.Write(reply)
	}()
	return ours
}

// FuzzAnswer has a list answer anything: a source is listed only where the answer
// can have an address of 127.0.0.0/8 in it.
func FuzzAnswer(f *testing.F) {
	record := func(kind byte, data ...byte) []byte {
		return append([]byte{0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, byte(len(data))}, data...)
	}
	for _, records := range [][]byte{
		record(1, 127, 0, 0, 2), record(1, 127, 255, 255, 254), record(1, 192, 0, 2, 1), record(28, make([]byte, 16)...),
		record(5, 0xc0, 12), append(record(1, 127, 0, 0, 4), record(1, 127, 0, 0, 11)...), record(1, 127),
	} {
		f.Add(append([]byte{0, byte(max(1, len(records)/16))}, records...))
	}
	f.Add([]byte{0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0})
	addr := netip.MustParseAddr("192.0.2.9")
	f.Fuzz(func(t *testing.T, answer []byte) {
		if len(answer) > 4096 {
			return
		}
		o := DefaultOptions()
		o.Timeout = time.Minute // the server hangs up
		o.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return answering(answer), nil }}
		listed, err := (&Lookup{o: o}).lookup(t.Context(), addr, "bad.example")
		if listed && (err != nil || !bytes.Contains(answer, []byte{127})) {
			t.Errorf("listed, %v", err)
		}
	})
}
