package maillog

// courierState is what is known from one line of Courier's to the next.
type courierState struct {
	torn       table[bool]        // programs whose last line was torn, by host and program
	trouble    table[int64]       // when authdaemond was in trouble, by host
	mail       table[courierMail] // messages whose deliveries are followed, by ID
	recipients table[bool]        // theirs that have been seen
}

// Bounds of courierState, as those of Parser.
const (
	maxCourierMail       = 1 << 13
	maxCourierRecipients = 1 << 15
)

func newCourierState() courierState {
	return courierState{
		torn:       newTable[bool](maxHosts),
		trouble:    newTable[int64](maxHosts),
		mail:       newTable[courierMail](maxCourierMail),
		recipients: newTable[bool](maxCourierRecipients),
	}
}

// courierSaved is courierState as it is saved.
type courierSaved struct {
	Torn       tableState[bool]
	Trouble    tableState[int64]
	Mail       tableState[courierMail]
	Recipients tableState[bool]
}

func (s *courierState) save() courierSaved {
	return courierSaved{s.torn.state(), s.trouble.state(), s.mail.state(), s.recipients.state()}
}

// restore builds the state that was saved.
func (s *courierSaved) restore() (courierState, bool) {
	torn, ok1 := s.Torn.table(maxHosts)
	trouble, ok2 := s.Trouble.table(maxHosts)
	mail, ok3 := s.Mail.table(maxCourierMail)
	recipients, ok4 := s.Recipients.table(maxCourierRecipients)
	return courierState{torn, trouble, mail, recipients}, ok1 && ok2 && ok3 && ok4
}
