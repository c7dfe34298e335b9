package scenarios

import (
	"errors"
	"fmt"
	"time"
)

// Mix is which servers a site has.
type Mix uint8

const (
	MixPostfix Mix = iota // Postfix alone: who reads mail is not in the log
	MixDovecot            // Postfix and Dovecot
	MixExim               // Exim and Dovecot
	MixAll                // hosts of every kind
	mixCount
)

var mixNames = [mixCount]string{"Postfix", "Postfix and Dovecot", "Exim and Dovecot", "all of them"}

func (m Mix) String() string { return mixNames[m] }

// Options say which scenario to make. The same options give the same bytes.
type Options struct {
	Seed  uint64
	Days  int // length of the log
	Users int
	Mix   Mix

	// Cold has the attacks begin with the log, before anybody can be known.
	// Else they begin after some hours to a day.
	Cold bool

	// Attacks, if not empty, names the attacks to take part. Quiet leaves all
	// of them out.
	Attacks []string
	Quiet   bool
}

// OptionsOf returns the scenario of a seed, of full size: the seed decides all
// that may vary.
func OptionsOf(seed uint64) Options {
	return Options{Seed: seed, Days: 2 + int(seed/2%2), Users: 3000, Mix: Mix(seed % uint64(mixCount)), Cold: seed/uint64(mixCount)%3 == 1}
}

// Seeds that rules are tuned on, and seeds that results are reported of.
// Whoever tunes must not look at the latter's.
var (
	TrainingSeeds = []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	ReportSeeds   = []uint64{1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008}
)

// Bounds of Options.
const (
	minUsers = 120
	maxUsers = 100_000
	maxDays  = 31
)

// Validate reports all that is wrong with o.
func (o Options) Validate() error {
	var errs []error
	if o.Days < 1 || o.Days > maxDays {
		errs = append(errs, fmt.Errorf("%d days are not within 1 and %d", o.Days, maxDays))
	}
	if o.Users < minUsers || o.Users > maxUsers {
		errs = append(errs, fmt.Errorf("%d users are not within %d and %d", o.Users, minUsers, maxUsers))
	}
	if o.Mix >= mixCount {
		errs = append(errs, fmt.Errorf("there is no server mix %d", o.Mix))
	}
	for _, name := range o.Attacks {
		if indexOf(attacks, name) < 0 {
			errs = append(errs, fmt.Errorf("there is no attack %q", name))
		}
	}
	return errors.Join(errs...)
}

func (o Options) length() time.Duration { return time.Duration(o.Days) * day }

const day = 24 * time.Hour
