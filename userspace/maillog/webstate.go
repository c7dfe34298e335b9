package maillog

// webState is what is known from one line of a webmail's to the next.
type webState struct {
	roundcube table[roundcubeTold] // by host and client
	sogo      table[sogoRequest]   // by process
}

// Bounds of webState, as those of Parser.
const maxWeb = 1 << 12

func newWebState() webState {
	return webState{newTable[roundcubeTold](maxWeb), newTable[sogoRequest](maxWeb)}
}

// webSaved is webState as it is saved.
type webSaved struct {
	Roundcube tableState[roundcubeTold]
	SOGo      tableState[sogoRequest]
}

func (s *webState) save() webSaved { return webSaved{s.roundcube.state(), s.sogo.state()} }

// restore builds the state that was saved.
func (s *webSaved) restore() (webState, bool) {
	roundcube, ok1 := s.Roundcube.table(maxWeb)
	sogo, ok2 := s.SOGo.table(maxWeb)
	return webState{roundcube, sogo}, ok1 && ok2
}
