package maillog

import (
	"bytes"
	"time"
)

// clock reads the stamps of a log. Traditional ones have no year: the first
// gets the newest year that does not lie behind the reference, and each later
// one the year that brings it nearest to the day before it in the log, so
// that December follows January as well as January December.
type clock struct {
	location  *time.Location
	reference int64 // Unix seconds

	day  [6]byte // "Nov 22" of the newest traditional stamp; zero: none yet
	noon int64   // of that day, UTC, Unix seconds
	year int     // of that day

	hour     civilHour // the hour that begins at hourUnix
	hourUnix int64
}

// civilHour is an hour as clocks on the wall show it.
type civilHour struct {
	year        int
	month       time.Month
	day, oclock int
}

// follow takes note of the day of a stamp. It is called for every line,
// whatever its program, so that a year never turns unseen.
func (c *clock) follow(stamp []byte) {
	if len(stamp) < 6 || stamp[3] != ' ' || [6]byte(stamp) == c.day {
		return
	}
	month, day, ok := monthAndDay(stamp)
	if !ok {
		return
	}
	c.year = c.yearOf(month, day)
	c.noon = time.Date(c.year, month, day, 12, 0, 0, 0, time.UTC).Unix()
	copy(c.day[:], stamp)
}

// yearOf returns the year of a day that carries none.
func (c *clock) yearOf(month time.Month, day int) int {
	noon := func(year int) int64 { return time.Date(year, month, day, 12, 0, 0, 0, time.UTC).Unix() }
	if c.day == [6]byte{} {
		const slack = 36 * 60 * 60 // zones, and a reference taken a little early
		year := time.Unix(c.reference, 0).UTC().Year() + 1
		for year > 1970 && noon(year) > c.reference+slack {
			year--
		}
		return year
	}
	best := c.year
	for _, year := range [...]int{c.year - 1, c.year + 1} {
		if distance(noon(year), c.noon) < distance(noon(best), c.noon) {
			best = year
		}
	}
	return best
}

func distance(a, b int64) int64 {
	if a < b {
		return b - a
	}
	return a - b
}

// parse reads a stamp that stampLen has found.
func (c *clock) parse(stamp []byte) (time.Time, bool) {
	if stamp[3] == ' ' {
		month, day, ok := monthAndDay(stamp)
		if !ok {
			return time.Time{}, false
		}
		return c.parseTime(civilHour{year: c.year, month: month, day: day}, stamp[bytes.IndexByte(stamp, ':')-2:])
	}
	if stamp[2] == '-' {
		return c.parseDMY(stamp)
	}
	return c.parseISO(stamp)
}

// parseDMY reads "22-Nov-2026 00:20:01.547326 +0000", PHP's "d-M-Y H:i:s O";
// the fraction may be missing.
func (c *clock) parseDMY(stamp []byte) (time.Time, bool) {
	if len(stamp) < len("22-Nov-2026 00:20:01 +0000") {
		return time.Time{}, false
	}
	day, ok1 := digits(stamp[0:2])
	month, ok2 := monthNamed(stamp[3:6])
	year, ok3 := digits(stamp[7:11])
	if !ok1 || !ok2 || !ok3 {
		return time.Time{}, false
	}
	return c.parseTime(civilHour{year: year, month: month, day: day}, stamp[12:])
}

// parseISO reads "2026-11-22T00:20:01.547326+01:00" (RFC 3339 section 5.6);
// the fraction and the offset may be missing. journalctl(1) of
// systemd 252 writes "+0100", and Exim " +0100".
func (c *clock) parseISO(stamp []byte) (time.Time, bool) {
	year, ok1 := digits(stamp[0:4])
	month, ok2 := digits(stamp[5:7])
	day, ok3 := digits(stamp[8:10])
	if !ok1 || !ok2 || !ok3 {
		return time.Time{}, false
	}
	return c.parseTime(civilHour{year: year, month: time.Month(month), day: day}, stamp[11:])
}

// parseTime reads "00:20:01", a fraction and a zone on the given day.
func (c *clock) parseTime(at civilHour, b []byte) (time.Time, bool) {
	h, m, s, ok := timeOfDay(b[:8])
	if !ok || at.month < 1 || at.month > 12 || at.day < 1 || at.day > 31 {
		return time.Time{}, false
	}
	at.oclock = h
	rest := b[8:]
	var nsec int64
	if len(rest) > 0 && (rest[0] == '.' || rest[0] == ',') {
		n := 1
		for unit := int64(1e8); n < len(rest) && isDigit(rest[n]); n++ {
			nsec += unit * int64(rest[n]-'0')
			unit /= 10
		}
		rest = rest[n:]
	}
	var unix int64
	switch {
	case len(rest) == 0:
		unix = c.local(at)
	case len(rest) == 1 && (rest[0] == 'Z' || rest[0] == 'z'):
		unix = at.utc()
	default:
		offset, ok := zoneOffset(trimStart(rest))
		if !ok {
			return time.Time{}, false
		}
		unix = at.utc() - offset
	}
	return time.Unix(unix+int64(60*m+s), nsec).UTC(), true
}

// zoneOffset reads "+01:00" or "+0100" and returns it in seconds.
func zoneOffset(b []byte) (int64, bool) {
	if len(b) < len("+0100") || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	hours, minutes := b[1:3], b[3:]
	minutes, _ = skipWord(minutes, ":")
	h, ok1 := digits(hours)
	m, ok2 := digits(minutes)
	if !ok1 || !ok2 || len(minutes) != 2 {
		return 0, false
	}
	offset := int64(3600*h + 60*m)
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// local returns when the hour began in the clock's zone. Neighbouring lines
// share it, so the newest is kept.
func (c *clock) local(at civilHour) int64 {
	if c.hour != at {
		c.hour = at
		c.hourUnix = time.Date(at.year, at.month, at.day, at.oclock, 0, 0, 0, c.location).Unix()
	}
	return c.hourUnix
}

// utc returns when the hour began in UTC.
func (at civilHour) utc() int64 {
	return time.Date(at.year, at.month, at.day, at.oclock, 0, 0, 0, time.UTC).Unix()
}

// monthAndDay reads "Nov 22", "Nov  2", "Nov 02" or "Nov 2".
func monthAndDay(stamp []byte) (time.Month, int, bool) {
	month, ok := monthNamed(stamp[:3])
	if !ok {
		return 0, 0, false
	}
	day := 0
	for _, c := range stamp[4:6] {
		switch {
		case isDigit(c):
			day = 10*day + int(c-'0')
		case c != ' ':
			return 0, 0, false
		}
	}
	return month, day, day >= 1 && day <= 31
}

// monthNamed reads "Nov".
func monthNamed(b []byte) (month time.Month, ok bool) {
	switch string(b) {
	case "Jan":
		month = time.January
	case "Feb":
		month = time.February
	case "Mar":
		month = time.March
	case "Apr":
		month = time.April
	case "May":
		month = time.May
	case "Jun":
		month = time.June
	case "Jul":
		month = time.July
	case "Aug":
		month = time.August
	case "Sep":
		month = time.September
	case "Oct":
		month = time.October
	case "Nov":
		month = time.November
	case "Dec":
		month = time.December
	}
	return month, month != 0
}

// timeOfDay reads "00:20:01"; a leap second is allowed.
func timeOfDay(b []byte) (h, m, s int, ok bool) {
	h, ok1 := digits(b[0:2])
	m, ok2 := digits(b[3:5])
	s, ok3 := digits(b[6:8])
	return h, m, s, ok1 && ok2 && ok3 && b[2] == ':' && b[5] == ':' && h < 24 && m < 60 && s <= 60
}
