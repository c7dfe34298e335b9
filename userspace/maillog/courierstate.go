package maillog

// courierState is what is known from one line of Courier's to the next.
type courierState struct {
	Torn       table[bool]  // programs whose last line was torn, by host and program
	Trouble    table[int64] // when authdaemond was in trouble, by host
	Deliveries deliveries
}

func newCourierState() courierState {
	return courierState{Torn: newTable[bool](maxHosts), Trouble: newTable[int64](maxHosts), Deliveries: newDeliveries()}
}
