package lists

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"weir/policy"
)

// Row is one line of a list.
type Row struct {
	Prefix netip.Prefix // in judged form
	Line   int          // from 1
	Note   string       // what the line says behind the prefix; may be empty
}

// Bounds of a list.
const (
	MaxBytes = 256 << 20
	maxTold  = 10  // bad lines that an error names
	maxNote  = 200 // bytes
	// What is wider than this is a slip of somebody's pen, or needs a pin.
	widest4, widest6 = 8, 16
)

// Read reads a list from text, which is in a file called name. The error names
// the first bad lines, each as "NAME:LINE: problem: remedy".
func Read(name, text string) ([]Row, error) {
	rows := make([]Row, 0, strings.Count(text, "\n")+1)
	var bad []error
	more := 0
	number := 0
	for line := range strings.Lines(text) {
		number++
		prefix, note, err := readLine(strings.TrimSpace(line))
		switch {
		case err != nil && len(bad) == maxTold:
			more++
		case err != nil:
			bad = append(bad, fmt.Errorf("%s:%d: %w", name, number, err))
		case prefix.IsValid():
			rows = append(rows, Row{Prefix: prefix, Line: number, Note: note[:min(len(note), maxNote)]})
		}
	}
	if more > 0 {
		bad = append(bad, fmt.Errorf("%s: bad lines that are not shown: %d", name, more))
	}
	return rows, errors.Join(bad...)
}

// readLine reads a line without the blanks around it. A comment gives neither
// a prefix nor an error.
func readLine(line string) (prefix netip.Prefix, note string, err error) {
	if line == "" || line[0] == '#' || line[0] == ';' {
		return netip.Prefix{}, "", nil
	}
	named := line
	if line[0] == '{' {
		var object struct {
			CIDR  *string `json:"cidr"`
			SBLID string  `json:"sblid"`
		}
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			return netip.Prefix{}, "", fmt.Errorf("is no JSON object of one line (%w): write {\"cidr\":\"192.0.2.0/24\"}", err)
		}
		if object.CIDR == nil {
			return netip.Prefix{}, "", nil
		}
		named, note = *object.CIDR, object.SBLID
	} else if i := strings.IndexAny(line, ";#"); i >= 0 {
		named, note = strings.TrimSpace(line[:i]), strings.TrimSpace(line[i+1:])
	}
	if prefix, err = policy.ParsePrefix(named); err != nil {
		return netip.Prefix{}, "", fmt.Errorf("%q is no prefix: write such as 192.0.2.0/24 or 2001:db8::/32, and what else there is to say behind a #", clip(named))
	}
	widest := widest6
	if prefix.Addr().Is4() {
		widest = widest4
	}
	if prefix.Bits() < widest {
		return netip.Prefix{}, "", fmt.Errorf("%v is wider than /%d: if it is meant, pin it by hand (weir pin)", prefix, widest)
	}
	return prefix, note, nil
}

func clip(s string) string { return s[:min(len(s), 60)] }
