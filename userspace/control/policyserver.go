package control

// PolicyServer is what the server of mail servers' policy requests has seen
// since the agent began.
type PolicyServer struct {
	Listeners []PolicyListener `json:"listeners"`
	Messages  uint64           `json:"messages"` // that were counted
	OverQuota uint64           `json:"over_quota"`
	Limited   uint64           `json:"limited"`
	Deferred  uint64           `json:"deferred"`
	Strangers uint64           `json:"strangers"`      // requests of guarded users from where they have not sent before
	Lost      uint64           `json:"lost,omitempty"` // events that the agent was too busy to judge
}

// PolicyListener is one address of it.
type PolicyListener struct {
	Address     string `json:"address"`
	Open        int    `json:"open"` // connections now
	Connections uint64 `json:"connections"`
	Requests    uint64 `json:"requests"`            // that were answered
	Malformed   uint64 `json:"malformed,omitempty"` // that were not understood
	Oversized   uint64 `json:"oversized,omitempty"` // that were too long
	Late        uint64 `json:"late,omitempty"`      // that were not there, or whose answers were not taken, in time
	Refused     uint64 `json:"refused,omitempty"`   // connections beyond the bound, or of those who may not ask
	Error       string `json:"error,omitempty"`     // why nothing is answered here
}
