package policy

// Engine judges events by rules. The zero Engine is not usable; see NewEngine.
type Engine struct{}

// NewEngine returns an engine without history. It fails if a rule or a limit
// is not valid.
func NewEngine(rules []Rule, limits Limits) (*Engine, error) { return &Engine{}, nil }

// Observe takes one event and appends the decisions that follow from it.
func (e *Engine) Observe(ev *Event, out []Decision) []Decision { return out }

// SetRules replaces the rules and keeps the state of those that did not change.
func (e *Engine) SetRules(rules []Rule) error { return ValidateRules(rules) }

// Release forgets what counts against a target: an operator has lifted it.
func (e *Engine) Release(t Target) {}

// MarshalBinary writes the engine's whole state.
func (e *Engine) MarshalBinary() ([]byte, error) { return nil, nil }

// UnmarshalBinary replaces the engine's state by what MarshalBinary wrote.
func (e *Engine) UnmarshalBinary(data []byte) error { return nil }
