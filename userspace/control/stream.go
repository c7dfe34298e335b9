package control

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"
)

// stream writes JSON lines to a client for as long as it takes them.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
	linger  time.Duration
	buffer  *bufio.Writer
	encoder *json.Encoder
}

func (s *Server) stream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &stream{ResponseWriter: w, control: http.NewResponseController(w), linger: s.Linger}
	out.buffer = bufio.NewWriterSize(out, 64<<10)
	out.encoder = json.NewEncoder(out.buffer)
	return out
}

// line adds a line and reports whether the client is still there.
func (s *stream) line(v any) bool { return s.encoder.Encode(v) == nil }

// flush sends what was written and reports whether the client is still there.
func (s *stream) flush() bool { return s.buffer.Flush() == nil && s.control.Flush() == nil }

// Write gives the client a new deadline for every buffer that is full.
func (s *stream) Write(b []byte) (int, error) {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.linger)); err != nil {
		return 0, err
	}
	return s.ResponseWriter.Write(b)
}

// answer writes the whole answer of a request. A client that has gone is
// nobody to tell.
func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	out := s.stream(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if out.line(v) {
		out.flush()
	}
}
