package policy

import "time"

// volume is what a user sends on a day, in recipients, from sources that are
// not strange to it: an exponential average over about a week of days on which
// it sent anything.
type volume struct {
	daily float32
	today uint32
	day   int32  // since 1970, of today
	lead  uint32 // by how much the main network is ahead
	main  Source // network that most is sent from (Boyer and Moore's vote)
}

// vote notes that so many recipients were sent to from a source.
func (v *volume) vote(source Source, recipients uint32) {
	switch network := source.network(); {
	case network == v.main:
		v.lead = min(v.lead+recipients, 1<<31)
	case recipients > v.lead:
		v.main, v.lead = network, recipients-v.lead
	default:
		v.lead -= recipients
	}
}

func (v *volume) add(at int64, recipients uint32) {
	if day := int32(at / int64(24*time.Hour)); day > v.day {
		if v.daily == 0 {
			v.daily = float32(v.today)
		} else {
			v.daily += (float32(v.today) - v.daily) / 7
		}
		v.today, v.day = 0, day
	}
	v.today += recipients
}

// usual returns recipients a day. The present day counts as soon as it is more
// than the average.
func (v *volume) usual() float64 { return max(float64(v.daily), float64(v.today)) }

// baseline returns what the threshold of a rule is measured by. What a user
// sends today from where it is at home says something of what strangers may
// send in its name, and nothing of what it may send itself.
func (v *volume) baseline(r *Rule) float64 {
	if r.Settled != 0 {
		return v.usual()
	}
	return float64(v.daily)
}
