package control

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// changed tells the log and the audit who changed what. err is what went wrong;
// some of it may be in force then all the same.
func (s *Server) changed(what string, from peer, err error, attrs ...any) {
	attrs = from.attrs(err, attrs)
	s.log(what, err, attrs)
	s.Audit.Info(what, attrs...)
}

// audit is changed for many targets, which are too many for the log.
func (s *Server) audit(what string, from peer, err error, targets []string, attrs ...any) {
	s.Audit.Info(what, append(from.attrs(err, attrs), "targets", targets)...)
}

// log tells the log alone; attrs say who and what already.
func (s *Server) log(what string, err error, attrs []any) {
	level := slog.LevelInfo
	if err != nil && !errors.Is(err, ErrInvalid) { // that is the client's fault, and it was told
		level = slog.LevelWarn
	}
	s.Logger.Log(context.Background(), level, what, attrs...)
}

// attrs puts who p is before what else a record says, and an error behind it.
func (p *peer) attrs(err error, more []any) []any {
	attrs := []any{"by", p.name(), "uid", p.uid, "pid", p.pid}
	if p.sudoer != "" {
		attrs = append(attrs, "sudo_user", p.sudoer)
	}
	attrs = append(attrs, more...)
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	return attrs
}

// reasonOf returns why a change is asked for, which need not be said.
func reasonOf(r *http.Request) (string, error) {
	reason := r.URL.Query().Get("reason")
	if err := checkText(reason, MaxReason); err != nil {
		return "", invalidf("bad reason: %v", err)
	}
	return reason, nil
}
