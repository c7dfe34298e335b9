package policy

import "time"

// drips reports whether h may be a drop of many: strangers send far more than
// is normal here, all users taken together, and h is not from where many of the
// site's people are.
func (e *Engine) drips(h *happening) bool {
	return !e.site.popular(h.source) && e.site.mail.on(e.now, e.site.users)
}

// bulky reports whether the messages that p counts of a user, h with them, go to
// many each. People write to one or two; who may send little without being
// found sends it to many at once. What comes together is one message: some
// servers tell of each delivery.
func (e *Engine) bulky(u *userState, p *plan, h *happening) bool {
	amount, messages := h.amount, uint32(1)
	if u.block != 0 {
		w := &e.byUser.windows(u.block)[p.window]
		amount += w.amount
		if amount < uint32(p.rule.Threshold)/dripFactor {
			return false // it does not matter
		}
		for i := w.first; i != 0; {
			o, next := e.seen.at(i), h.at
			if i = o.next; i != 0 {
				next = e.seen.at(i).at
			}
			if next-o.at > int64(together) {
				messages++
			}
		}
	}
	return amount >= bulk*messages
}

// bulk is how many recipients are many for an ordinary message, and together
// is how close to each other its deliveries are.
const (
	bulk     = 5
	together = 10 * time.Second
)

// dripFactor is how much more strictly strangers are judged then.
const dripFactor = 2
