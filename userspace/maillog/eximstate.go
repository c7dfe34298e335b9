package maillog

// eximState is what is known from one line of Exim's to the next.
type eximState struct {
	HELO       heloPolicy
	Deliveries deliveries
	Copies     table[eximCopy] // the newest refusal of each process
	Parts      eximParts
}

func newEximState() eximState {
	return eximState{Deliveries: newDeliveries(), Copies: newTable[eximCopy](maxEximCopies)}
}
