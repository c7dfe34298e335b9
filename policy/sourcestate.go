package policy

import "time"

// sourceState is what is known of a source beside its windows.
type sourceState struct {
	source   Source
	familiar familiarity
	until    int64 // end of the latest decision, 0 for none
	tally
	failed   uint32 // a bit for each user that may have counted here; see bit
	users    uint32 // a bit for each user that succeeded; see met
	grace    uint32 // end of the time after a release, in seconds since 1970
	knocked  uint32 // time of the latest connection, and the interval before it; see knock
	gap      uint32
	tried    [4]uint32 // the latest users with their passwords, hashed
	offences uint16
	accepted uint16 // messages
	action   Action // of the latest decision
	steady   uint8  // intervals between connections that were alike
	flags    uint8
	by       uint8 // number of the rule of the latest decision
	blamed   uint8 // users that it brought under a decision without being flagged
}

// Flags of a source.
const (
	onProbation uint8 = 1 << iota // has offended for the first time, and is waited for
	unredeemed                    // has offended, and nothing else since
	netted                        // counts against its neighbourhood
	strayed                       // has come to a guarded user
	climbing                      // is under a step of its rule, before the last
	rash                          // its latest decision was a rash one, see rashly
)

// graced reports whether the operator has lately released the source.
func (s *sourceState) graced(at int64) bool { return at < s.graceEnd() }

func (s *sourceState) graceEnd() int64 { return int64(s.grace) * int64(time.Second) }

// paroled reports whether an offence is remembered and nobody has succeeded
// since. One that was judged rashly is not held against the source.
func (s *sourceState) paroled(at int64, r *Rule) bool {
	return s.offences > 0 && s.flags&rash == 0 && at-s.until <= int64(r.forget()) && !s.familiar.fresh(at)
}

// happening is an event on its way through the engine.
type happening struct {
	observation
	source   Source
	password uint32
	tried    uint32     // hash of user and password
	face     uint32     // a bit for the user, the same in every engine; see met
	success  bool       // of a user
	guess    bool       // by a guesser, it seems
	doubtful bool       // or perhaps
	subject  *userState // the user if it has a state; nil until it is observed
	known    bool       // the user has ever succeeded here
	own      bool       // and from this source
	guarded  bool       // the user is under guard
	foreign  bool       // nobody is known to succeed from its network
	under    Action     // that its source was under before it
	intruder bool       // it is strange to a user who is at home elsewhere
}

// bit returns the bit of a user's number in sourceState.failed.
func bit(user uint32) uint32 { return 1 << (user * 0x9e3779b9 >> 27) }

// under reports the action that the source is under at a time, 0 for none.
func (s *sourceState) under(at int64) Action {
	if at < s.until {
		return s.action
	}
	return 0
}
