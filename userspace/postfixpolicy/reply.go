package postfixpolicy

import (
	"fmt"
	"strconv"
	"time"

	"weir/policy"
)

// Reply is the kind of answer that a message gets which is not to pass.
type Reply uint8

const (
	Defer  Reply = iota // the client is told to come again, and when
	Reject              // for good
	Hold                // it goes into the hold queue, where the postmaster finds it
	Slow                // it passes after a pause
)

var replyNames = [...]string{Defer: "defer", Reject: "reject", Hold: "hold", Slow: "slow"}

// String returns the name used in configuration.
func (r Reply) String() string {
	if int(r) < len(replyNames) {
		return replyNames[r]
	}
	return fmt.Sprintf("reply(%d)", uint8(r))
}

// UnmarshalText reads a name as String writes it.
func (r *Reply) UnmarshalText(text []byte) error {
	for i, name := range replyNames {
		if name == string(text) {
			*r = Reply(i)
			return nil
		}
	}
	return fmt.Errorf("unknown reply %q (known: defer, reject, hold, slow)", text)
}

const dunno = "action=DUNNO\n\n"

// appendReply writes the answer to a message (access(5)). Nothing that a
// client has chosen is in it.
func (s *Settings) appendReply(out []byte, a *policy.FlowAnswer) []byte {
	kind := s.replyTo(a)
	out = append(out, "action="...)
	switch kind {
	case Hold:
		out = append(out, "HOLD weir: "...)
	case Slow:
		out = append(out, "sleep "...)
		out = strconv.AppendInt(out, int64(max(s.Pause/time.Second, 1)), 10)
		return append(out, "\n\n"...)
	case Reject:
		out = append(out, "REJECT 5.7.1 "...)
	default:
		out = append(out, "DEFER_IF_PERMIT 4.7.1 "...)
	}
	out = appendWhy(out, a)
	if kind != Reject && !a.Until.IsZero() {
		out = append(out, "; send again after "...)
		out = a.Until.Add(time.Second-1).In(s.Location).AppendFormat(out, "2006-01-02 15:04:05 MST")
	}
	return append(out, "\n\n"...)
}

// replyTo returns the kind of answer to a message that is not to pass.
func (s *Settings) replyTo(a *policy.FlowAnswer) Reply {
	kind := s.Over
	if a.Action == policy.FlowStranger || a.Action == policy.FlowDeferred {
		kind = s.Guarded
	}
	if a.Never && kind == Defer {
		kind = Reject // to come again would not help
	}
	return kind
}

func appendWhy(out []byte, a *policy.FlowAnswer) []byte {
	switch a.Action {
	case policy.FlowOver:
		what := " recipients in "
		if a.Use.Measure == policy.MeasureEvents {
			what = " messages in "
		}
		if a.Never {
			out = append(out, "One message has more recipients than the limit of "...)
		} else {
			out = append(out, "The limit of "...)
		}
		out = strconv.AppendInt(out, int64(a.Use.Span.Count), 10)
		out = append(out, what...)
		out = append(out, policy.FormatDuration(a.Use.Span.Within)...)
		if a.Never {
			return append(out, "; send it to fewer at a time"...)
		}
		return append(out, " is reached"...)
	case policy.FlowLimited:
		if a.Never {
			return append(out, "The mail of this account is limited for now; send it to fewer at a time"...)
		}
		return append(out, "The mail of this account is limited for now"...)
	case policy.FlowStranger:
		return append(out, "This account may send only from where it has sent before, for now"...)
	}
	return append(out, "This account may not send for now"...)
}
