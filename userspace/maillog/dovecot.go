package maillog

import "weir/policy"

const dovecotServer = "dovecot"

func (p *Parser) dovecot(r *record, out []policy.Event) []policy.Event { return out }
