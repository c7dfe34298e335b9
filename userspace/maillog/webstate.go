package maillog

// webState is what is known from one line of a webmail's to the next,
// and of Stalwart's.
type webState struct {
	roundcube table[roundcubeTold] // by host and client
	sessions  table[bool]          // hosts whose Roundcube names sessions in front
	sogo      table[sogoRequest]   // by process
	stalwart  table[string]        // users, by session
}

// Bounds of webState, as those of Parser.
const maxWeb = 1 << 12

func newWebState() webState {
	return webState{
		roundcube: newTable[roundcubeTold](maxWeb),
		sessions:  newTable[bool](maxHosts),
		sogo:      newTable[sogoRequest](maxWeb),
		stalwart:  newTable[string](maxWeb),
	}
}

// webSaved is webState as it is saved.
type webSaved struct {
	Roundcube tableState[roundcubeTold]
	Sessions  tableState[bool]
	SOGo      tableState[sogoRequest]
	Stalwart  tableState[string]
}

func (s *webState) save() webSaved {
	return webSaved{s.roundcube.state(), s.sessions.state(), s.sogo.state(), s.stalwart.state()}
}

// restore builds the state that was saved.
func (s *webSaved) restore() (webState, bool) {
	roundcube, ok1 := s.Roundcube.table(maxWeb)
	sessions, ok2 := s.Sessions.table(maxHosts)
	sogo, ok3 := s.SOGo.table(maxWeb)
	stalwart, ok4 := s.Stalwart.table(maxWeb)
	return webState{roundcube, sessions, sogo, stalwart}, ok1 && ok2 && ok3 && ok4
}
