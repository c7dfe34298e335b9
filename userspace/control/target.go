package control

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/policy"
)

// MaxUser is how many bytes of a user name are taken.
const MaxUser = 512

// ParsePrefix is policy.ParsePrefix with an error for who wrote s, which wraps
// ErrInvalid.
func ParsePrefix(s string) (netip.Prefix, error) {
	if prefix, err := policy.ParsePrefix(s); err == nil {
		return prefix, nil
	}
	return netip.Prefix{}, invalidf("bad source %q: want an address or a prefix, such as 203.0.113.9, 203.0.113.0/24 or 2001:db8:1:2::/64", s)
}

// ParseTarget reads what an operator calls a source or a user: what looks
// like an address or a prefix must be one, all else is a user. The error
// wraps ErrInvalid.
func ParseTarget(s string) (policy.Target, error) {
	prefix, err := ParsePrefix(s)
	if err == nil {
		return policy.Target{Prefix: prefix}, nil
	}
	if looksNumeric(s) {
		return policy.Target{}, err
	}
	if err := checkText(s, MaxUser); err != nil || s == "" {
		return policy.Target{}, invalidf("bad user %q: want 1 to %d bytes of printable text", s, MaxUser)
	}
	return policy.Target{User: policy.FoldUser(s)}, nil
}

// looksNumeric reports whether s was meant as an address or a prefix.
func looksNumeric(s string) bool {
	digits := strings.Trim(s, "0123456789./") == "" && strings.ContainsAny(s, "./")
	s, _, _ = strings.Cut(s, "%") // a zone, which no source has
	hex := strings.Trim(s, "0123456789abcdefABCDEF:./") == "" && strings.Contains(s, ":")
	return digits || hex
}

// checkText refuses what has no place in a name or a reason: what is too
// long, not UTF-8, or would move the cursor of the terminal it is shown on.
func checkText(s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("longer than %d bytes", limit)
	case !utf8.ValidString(s):
		return errors.New("not UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("has characters that are not printable")
	}
	return nil
}
