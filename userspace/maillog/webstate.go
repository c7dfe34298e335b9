package maillog

// webState is what is known from one line of a webmail's to the next,
// and of Stalwart's.
type webState struct {
	Roundcube table[roundcubeTold] // by host and client
	Sessions  table[bool]          // hosts whose Roundcube names sessions in front
	SOGo      table[sogoRequest]   // by process
	Stalwart  table[string]        // users, by session
}

func newWebState() webState {
	return webState{
		Roundcube: newTable[roundcubeTold](maxWeb),
		Sessions:  newTable[bool](maxHosts),
		SOGo:      newTable[sogoRequest](maxWeb),
		Stalwart:  newTable[string](maxWeb),
	}
}
