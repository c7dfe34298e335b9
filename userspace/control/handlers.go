package control

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"weir/policy"
)

// handler answers one request of a peer that may ask. An error it returns
// becomes the answer, so it must not have begun another.
type handler func(w http.ResponseWriter, r *http.Request, from peer) error

// guard lets through to h who may ask in a version of the protocol that is
// spoken here.
func (s *Server) guard(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, ok := r.Context().Value(guestKey{}).(*guest); ok {
			defer s.listener.asks(g)()
		}
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()            // or answering would wait for a body that may never come
		_ = control.SetWriteDeadline(time.Time{}) // that of the last answer on this connection
		w.Header().Set(headerProtocol, Protocol)
		w.Header().Set(headerVersion, s.Version)
		w.Header().Set("Cache-Control", "no-store")
		from, known := peerFrom(r.Context())
		if from.uid == 0 { // root could say so in other ways
			from.sudoer = r.Header.Get(headerSudoUser)
		}
		err := s.admit(r, from, known)
		if err == nil {
			err = h(w, r, from)
		}
		if err != nil {
			p, status := problemOf(err)
			s.Logger.Debug("control request failed", "path", r.URL.Path, "error", err, "uid", from.uid, "pid", from.pid)
			s.answer(w, status, &p)
		}
	})
}

// admit decides whether r is answered at all.
func (s *Server) admit(r *http.Request, from peer, known bool) error {
	looks := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case known && from.role == operator, known && from.role == reader && looks:
	case known && from.role == reader:
		s.Logger.Warn("control client refused", from.attrs(nil, []any{"path", r.URL.Path})...)
		return &sayError{fmt.Sprintf("%s may look and change nothing: run the command as root, or join group %s (usermod -aG %[2]s %[1]s) and log in again",
			from.name(), s.Operators), ErrForbidden}
	default:
		s.Logger.Warn("control client refused", from.attrs(nil, []any{"path", r.URL.Path})...)
		return &sayError{fmt.Sprintf("%s may not speak to weir: run the command as root, or join group %s (usermod -aG %[2]s %[1]s) and log in again; members of %[3]s may look",
			from.name(), s.Operators, s.Readers), ErrForbidden}
	}
	if spoken := r.Header.Get(headerProtocol); spoken != "" && spoken != Protocol {
		return &sayError{fmt.Sprintf("this command is weir %s and speaks control protocol %s, the agent is weir %s and speaks %s: use the command of the agent's version, or restart the agent (systemctl restart weir)",
			orUnknown(r.Header.Get(headerVersion)), spoken, orUnknown(s.Version), Protocol), ErrProtocol}
	}
	return nil
}

func orUnknown(version string) string {
	if version == "" {
		return "of unknown version"
	}
	return version
}

func (s *Server) status(w http.ResponseWriter, r *http.Request, _ peer) error {
	st, err := s.backend.Status(r.Context())
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, st)
	return nil
}

func (s *Server) explanation(w http.ResponseWriter, r *http.Request, _ peer) error {
	target, err := ParseTarget(r.URL.Query().Get("target"))
	if err != nil {
		return err
	}
	e, err := s.backend.Explain(r.Context(), target)
	if err != nil {
		return aboutTarget(err, target)
	}
	s.answer(w, http.StatusOK, e)
	return nil
}

func (s *Server) release(w http.ResponseWriter, r *http.Request, from peer) error {
	target, err := ParseTarget(r.URL.Query().Get("target"))
	if err != nil {
		return err
	}
	reason, err := reasonOf(r)
	if err != nil {
		return err
	}
	result, err := s.backend.Release(r.Context(), target)
	if !errors.Is(err, ErrNotFound) {
		s.changed("released", from, err, "target", target.String(), "reason", reason)
	}
	if err != nil {
		return aboutTarget(err, target)
	}
	s.answer(w, http.StatusOK, result)
	return nil
}

// aboutTarget names target in err.
func aboutTarget(err error, target policy.Target) error {
	return fmt.Errorf("%v: %w", target, err)
}

// decisions streams what the filter selects, one Row a line. What fails in
// the middle becomes a last line with an error in it.
func (s *Server) decisions(w http.ResponseWriter, r *http.Request, _ peer) error {
	f, err := filterFrom(r.URL.Query())
	if err != nil {
		return err
	}
	out := s.stream(w)
	for row, err := range s.backend.Decisions(r.Context(), f) {
		if err != nil {
			p, _ := problemOf(err)
			out.line(&lastWords{Error: &p})
			break
		}
		if !out.line(&row) {
			return nil // the client went away or does not read
		}
	}
	out.flush()
	return nil
}

// lastWords are the last line of a decisions stream that ends early. No Row
// begins as they do.
type lastWords struct {
	Error *Problem `json:"error"`
}

const lastWordsBegin = `{"error":`

// query writes f as filterFrom reads it.
func (f *Filter) query() url.Values {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.Action != 0 {
		set("action", f.Action.String())
	}
	set("rule", f.Rule)
	if f.Pinned != nil {
		set("pinned", strconv.FormatBool(*f.Pinned))
	}
	if f.Prefix.IsValid() {
		set("prefix", f.Prefix.String())
	}
	set("begins", f.Begins)
	return q
}

// filterFrom reads a filter; its errors wrap ErrInvalid. Keys it does not
// know are errors, because a filter that is ignored gives a wrong answer.
func filterFrom(q url.Values) (Filter, error) {
	f := Filter{Rule: q.Get("rule"), Begins: q.Get("begins")}
	for key := range q {
		value := q.Get(key)
		switch key {
		case "rule", "begins":
		case "action":
			if err := f.Action.UnmarshalText([]byte(value)); err != nil {
				return f, invalidf("%v", err)
			}
		case "pinned":
			pinned, err := strconv.ParseBool(value)
			if err != nil {
				return f, invalidf("bad pinned %q: want true or false", value)
			}
			f.Pinned = &pinned
		case "prefix":
			prefix, err := ParsePrefix(value)
			if err != nil {
				return f, err
			}
			f.Prefix = prefix
		default:
			return f, invalidf("unknown filter %q (known: action, rule, pinned, prefix, begins)", key)
		}
	}
	return f, nil
}
