package mixlog

import (
	"net/netip"
	"strconv"
	"time"

	"weir/policy"
)

// line writes the text of the line under way. Its methods append.
type line struct {
	b    *bucket
	cast *cast // nil: there is no script
}

// line begins a line that a process writes at a time. What is not after the
// generator's present belongs to it.
func (g *Generator) line(at int64, h *host, program string, pid int) *line {
	at = max(g.within(at), g.now*second)
	b := g.bucket(at / second)
	if b.stamp == "" {
		layout := "2006-01-02T15:04:05"
		if g.options.Traditional {
			layout = time.Stamp
		}
		b.stamp = g.options.Start.Add(time.Duration(at/second) * time.Second).Format(layout)
	}
	from, micro := len(b.text), uint32(at%second)
	b.text = append(b.text, b.stamp...)
	if !g.options.Traditional {
		b.text = append(b.text, '.',
			byte('0'+micro/100000), byte('0'+micro/10000%10), byte('0'+micro/1000%10), byte('0'+micro/100%10), byte('0'+micro/10%10), byte('0'+micro%10))
		b.text = append(b.text, g.zone...)
	}
	b.text = append(b.text, ' ')
	b.text = append(b.text, h.name...)
	b.text = append(b.text, ' ')
	b.text = append(b.text, program...)
	if pid > 0 {
		b.text = append(b.text, '[')
		b.text = strconv.AppendUint(b.text, uint64(pid), 10)
		b.text = append(b.text, ']')
	}
	b.text = append(b.text, ':', ' ')
	b.lines = append(b.lines, planned{
		from: uint32(from), body: uint32(len(b.text)), event: uint32(len(b.events)),
		micro: micro, host: h.name, program: program, pid: uint32(pid),
	})
	g.writing.b = b
	return &g.writing
}

// event says that the line tells of e. Its time and number come with the line.
func (l *line) event(e policy.Event) {
	l.b.events = append(l.b.events, e)
	if l.cast != nil {
		l.b.origin = append(l.b.origin, l.cast.of(e.Kind))
	}
}

// further says that the line tells of e, more of a message that was told of.
func (l *line) further(e policy.Event, of Origin) {
	l.b.events = append(l.b.events, e)
	if l.cast != nil {
		l.b.origin = append(l.b.origin, of)
	}
}

// told returns the origin of the latest event of the line.
func (l *line) told() (o Origin) {
	if l.cast != nil {
		o = l.b.origin[len(l.b.origin)-1]
	}
	return o
}

func (l *line) str(s string) *line {
	l.b.text = append(l.b.text, s...)
	return l
}

func (l *line) num(n int) *line {
	l.b.text = strconv.AppendInt(l.b.text, int64(n), 10)
	return l
}

func (l *line) addr(a netip.Addr) *line {
	l.b.text = a.AppendTo(l.b.text)
	return l
}

// seconds writes microseconds as Postfix writes delays: with two digits that count.
func (l *line) seconds(micro int64) *line {
	switch {
	case micro < 10*millisecond:
		l.b.text = append(l.b.text, '0')
	case micro < second:
		l.b.text = append(l.b.text, '0', '.', byte('0'+micro/(100*millisecond)), byte('0'+micro/(10*millisecond)%10))
	default:
		l.b.text = strconv.AppendInt(l.b.text, micro/second, 10)
	}
	return l
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// opaque writes n digits of base 64 that stand for id.
func (l *line) opaque(id uint64, n int) *line {
	r := random{id}
	bits := r.next()
	for i := range n {
		if i%10 == 9 {
			bits = r.next()
		}
		l.b.text = append(l.b.text, base64Digits[bits&63])
		bits >>= 6
	}
	return l
}

// hex writes n digits that stand for id.
func (l *line) hex(id uint64, n int) *line {
	for range n {
		l.b.text = append(l.b.text, "0123456789abcdef"[id>>60])
		id <<= 4
	}
	return l
}
