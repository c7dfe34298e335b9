package intake

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestEntry(t *testing.T) {
	tests := map[string]struct {
		in      string
		message string
		bad     bool
	}{
		"plain":           {`{"__CURSOR":"c","MESSAGE":"m"}`, "m", false},
		"spaces":          {" { \"__CURSOR\" : \"c\" , \"MESSAGE\" : \"m\" } ", "m", false},
		"escapes":         {`{"__CURSOR":"c","MESSAGE":"\"\\\/\b\f\n\r\t\u0041\u00e9"}`, "\"\\/\b\f\n\r\tAé", false},
		"surrogates":      {`{"__CURSOR":"c","MESSAGE":"\ud83d\ude00"}`, "😀", false},
		"lone surrogate":  {`{"__CURSOR":"c","MESSAGE":"\ud83dx"}`, "\uFFFDx", false},
		"two surrogates":  {`{"__CURSOR":"c","MESSAGE":"\ud83d\ud83d\ude00"}`, "\uFFFD😀", false},
		"bytes":           {`{"__CURSOR":"c","MESSAGE":[109, 0,255]}`, "m\x00\xff", false},
		"null":            {`{"__CURSOR":"c","MESSAGE":null}`, "", false},
		"repeated":        {`{"__CURSOR":"c","MESSAGE":["first","second"]}`, "first", false},
		"repeated, bytes": {`{"__CURSOR":"c","MESSAGE":[[102,105],"second",null]}`, "fi", false},
		"other fields":    {`{"X":["a",null,[1,2]],"Y":null,"__CURSOR":"c","MESSAGE":"m"}`, "m", false},
		"no cursor":       {`{"MESSAGE":"m"}`, "", true},
		"empty":           {``, "", true},
		"empty object":    {`{}`, "", true},
		"cut":             {`{"__CURSOR":"c","MESSAGE":"m`, "", true},
		"cut in bytes":    {`{"__CURSOR":"c","MESSAGE":[1,`, "", true},
		"cut in escape":   {`{"__CURSOR":"c","MESSAGE":"\u00`, "", true},
		"no such escape":  {`{"__CURSOR":"c","MESSAGE":"\x"}`, "", true},
		"no byte":         {`{"__CURSOR":"c","MESSAGE":[256]}`, "", true},
		"more after it":   {`{"__CURSOR":"c"}{`, "", true},
		"nested deeper":   {`{"__CURSOR":"c","MESSAGE":[["a"]]}`, "", true},
		"not an object":   {`"__CURSOR"`, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var p entryParser
			e, err := p.parse([]byte(tt.in))
			if (err != nil) != tt.bad {
				t.Fatalf("error %v", err)
			}
			if err == nil && string(e.message) != tt.message {
				t.Errorf("message %q, want %q", e.message, tt.message)
			}
		})
	}
}

// FuzzEntry compares the parser with that of the standard library on what both
// accept; what only one accepts must not be a journal entry.
func FuzzEntry(f *testing.F) {
	for _, s := range []string{
		`{"__CURSOR":"c","MESSAGE":"m","_PID":"12","SYSLOG_IDENTIFIER":"postfix/smtpd","_UID":"0"}`,
		`{"__CURSOR":"c","MESSAGE":[109,0,255],"__REALTIME_TIMESTAMP":"1795300000000000"}`,
		`{"__CURSOR":"c","MESSAGE":["a","b"],"N_DROPPED":"7"}`,
		`{"__CURSOR":"\ud83d\ude00","MESSAGE":null}`, `{"MESSAGE":"\ud83d`, `[`, `{"`, "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var p entryParser
		e, err := p.parse(in)
		var want map[string]any
		if json.Unmarshal(in, &want) != nil || !utf8.Valid(in) {
			return
		}
		cursor, isText := want["__CURSOR"].(string)
		if err != nil {
			// Only what journalctl never writes may be refused.
			for _, v := range want {
				if _, ok := v.(string); !ok {
					return
				}
			}
			if isText && cursor != "" && !repeats(in, want) {
				t.Fatalf("refused %q", in)
			}
			return
		}
		if repeats(in, want) {
			return
		}
		if isText && string(e.cursor) != cursor {
			t.Errorf("cursor %q, want %q", e.cursor, cursor)
		}
		if m, ok := want["MESSAGE"].(string); ok && string(e.message) != m {
			t.Errorf("message %q, want %q", e.message, m)
		}
	})
}

// repeats says whether a key stands twice in the object, which the standard
// library hides.
func repeats(in []byte, object map[string]any) bool {
	var p entryParser
	p.in = in
	if !p.take('{') {
		return true
	}
	n := 0
	for {
		if _, ok := p.text(); !ok || !p.take(':') {
			return true
		}
		if _, ok := p.value(0); !ok {
			return true
		}
		n++
		if !p.take(',') {
			return n != len(object)
		}
	}
}
