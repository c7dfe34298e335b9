package policy

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// telephones tells of forgotten telephones of an office whose server names
// nobody that fails, each with a rhythm of its own, as long as the office is not
// shut out; from nine to six its people come. It returns for how long they were
// shut out on each day.
func telephones(s *story, days int, rhythms ...time.Duration) (out []time.Duration) {
	const office = "192.0.2.1"
	s.t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	next := make([]time.Duration, len(rhythms))
	shut := func(at time.Duration) bool {
		for _, d := range s.out {
			if at < d.Until.Sub(dawn) {
				return true
			}
		}
		return false
	}
	for at := time.Duration(0); at < time.Duration(days)*day; at += time.Second {
		if at%day == 0 {
			out = append(out, 0)
		}
		for i, every := range rhythms {
			if at >= next[i] {
				next[i] += every + time.Duration(rng.Int64N(int64(every/50))) - every/100
				if !shut(at) {
					s.tell(at, AuthFailure, office, "", 0)
				}
			}
		}
		if at%time.Minute != 0 {
			continue
		}
		minute := int(at / time.Minute)
		s.tell(at, AuthSuccess, townHome(minute*7%600), townsman(minute*7%600), 0)
		if hour := at % day; hour < 9*time.Hour || hour >= 18*time.Hour {
			continue
		}
		if shut(at) {
			out[len(out)-1] += time.Minute
		} else {
			s.tell(at, AuthSuccess, office, "member"+strconv.Itoa(minute%100), 0)
		}
	}
	return out
}

// TestTelephonesWithoutNames: weir begins at night. Of two telephones in an
// office it cannot tell the one from the other, and yet that they are no guesser.
func TestTelephonesWithoutNames(t *testing.T) {
	for _, rhythms := range [][]time.Duration{{54 * time.Second, 88 * time.Second}, {50 * time.Second, 170 * time.Second}} {
		s := newDefaultStory(t)
		telephones(s, 1, rhythms...)
		s.quiet()
	}
}

// TestOfficeIsShutOutForOneMorning: four telephones are more than weir can tell
// from a guesser. Whoever was judged so at night is not judged more harshly for
// it, and has shown what it is by noon.
func TestOfficeIsShutOutForOneMorning(t *testing.T) {
	s := newDefaultStory(t)
	out := telephones(s, 4, 45*time.Second, 61*time.Second, 100*time.Second, 170*time.Second)
	if n, _ := s.flagged(); n == 0 {
		t.Error("never flagged: this tests nothing")
	}
	if out[0] > 4*time.Hour || out[1]+out[2]+out[3] > 0 {
		t.Errorf("the office is shut out for %s", out)
	}
}

// TestGuesserWithoutNames: who fails now and then, be it rarely or often, is no
// pair of telephones.
func TestGuesserWithoutNames(t *testing.T) {
	for _, mean := range []time.Duration{4, 20, 45, 60, 200} {
		for seed := range uint64(20) {
			s := newDefaultStory(t)
			rng := rand.New(rand.NewPCG(seed, 3))
			at := time.Duration(0)
			for range 60 {
				at += mean*time.Second/2 + time.Duration(rng.Int64N(int64(mean*time.Second)))
				s.tell(at, AuthFailure, "203.0.113.1", "", 0)
			}
			if n, _ := s.flagged(); n == 0 {
				t.Errorf("a guesser with a try every %d s or so, seed %d, is never flagged", mean, seed)
			}
		}
	}
}

// TestRhythm: which intervals between failures are those of devices, and for how
// many failures they last.
func TestRhythm(t *testing.T) {
	for name, test := range map[string]struct {
		seconds []int // of failures, the latest first, before which they lie
		want    int
		row     int
	}{
		"one device":               {[]int{0, 600, 1190, 1800}, 600, 4},
		"one that has just begun":  {[]int{0, 600, 1190, 1800, 2000, 2600, 3200, 3800}, 600, 4},
		"one for hours":            {[]int{0, 600, 1190, 1800, 2400, 3010, 3600, 4200, 4795, 5400, 6000, 6600, 7200, 7800}, 600, 12},
		"too few":                  {[]int{0, 600, 1200}, 0, 0},
		"a tenth more":             {[]int{0, 600, 1260, 1860}, 0, 0},
		"too fast":                 {[]int{0, 30, 60, 90}, 0, 0},
		"two devices":              {[]int{0, 27, 81, 89, 134, 177, 188, 242, 265, 295}, 89, 10},
		"two, and a typing error":  {[]int{0, 27, 81, 89, 134, 150, 177, 188, 242, 265, 295}, 89, 11},
		"two, and two more tries":  {[]int{0, 27, 81, 89, 134, 150, 177, 188, 242, 250, 265, 295}, 0, 0},
		"two, of which one pauses": {[]int{0, 54, 89, 134, 177, 188, 242, 265, 295}, 0, 0},
	} {
		var b beats
		for i := range test.seconds {
			b.note(int64(10*time.Hour) - int64(test.seconds[len(test.seconds)-1-i])*int64(time.Second))
		}
		if every, row := b.every(true); every != int64(test.want)*int64(time.Second) || row != test.row {
			t.Errorf("%s: %d failures at a rhythm of %s, want %d, %d s", name, row, time.Duration(every), test.row, test.want)
		}
	}
}
