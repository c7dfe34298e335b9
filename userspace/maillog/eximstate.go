package maillog

// eximState is what is known from one line of Exim's to the next.
type eximState struct {
	helo       heloPolicy
	mail       table[eximMessage] // messages whose deliveries are followed, by ID
	recipients table[bool]        // theirs that have been seen
	copies     table[eximCopy]    // the newest refusal of each process
	parts      eximParts
}

// Bounds of eximState, as those of Parser.
const (
	maxEximMail       = 1 << 13
	maxEximRecipients = 1 << 15
	maxEximCopies     = 1 << 10
)

func newEximState() eximState {
	return eximState{
		mail:       newTable[eximMessage](maxEximMail),
		recipients: newTable[bool](maxEximRecipients),
		copies:     newTable[eximCopy](maxEximCopies),
	}
}

// eximSaved is eximState as it is saved.
type eximSaved struct {
	HELO       heloPolicy
	Mail       tableState[eximMessage]
	Recipients tableState[bool]
	Copies     tableState[eximCopy]
	Parts      eximParts
}

func (s *eximState) save() eximSaved {
	return eximSaved{s.helo, s.mail.state(), s.recipients.state(), s.copies.state(), s.parts}
}

// restore builds the state that was saved.
func (s *eximSaved) restore() (eximState, bool) {
	mail, ok1 := s.Mail.table(maxEximMail)
	recipients, ok2 := s.Recipients.table(maxEximRecipients)
	copies, ok3 := s.Copies.table(maxEximCopies)
	ok := ok1 && ok2 && ok3 && s.HELO <= heloJunk && len(s.Parts.Text) <= maxEximText
	return eximState{s.HELO, mail, recipients, copies, s.Parts}, ok
}
