package check

import (
	"path"
	"slices"
	"strings"

	"weir/userspace/mailconf"
)

func postfix(f *Facts, b *book) {
	if len(f.Servers.Postfix) == 0 {
		b.ok("installed", "no")
		return
	}
	asks := false
	for _, p := range f.Servers.Postfix {
		services(p, b)
		asks = policy(p, &f.Settings, b) || asks
	}
	f.Servers.hidden(b, mailconf.PostfixDir)
	if on := f.Settings.PolicyListen; len(on) > 0 && !asks && !eximAsks(f) {
		b.add(Warning, "policy", "docs/policy-server.md has the line for main.cf: smtpd_data_restrictions = check_policy_service …",
			"weir listens for policy requests at %s, and no mail server asks there", listed(on))
	}
}

// submissionWords are those by which weir knows a service from its name in the
// log (README.md).
func submissionWords() []string { return []string{"submission", "smtps", "587", "465"} }

// services: those that users submit to should be told from port 25 in the log.
func services(p *mailconf.Postfix, b *book) {
	wrong, right := []string{}, []string{}
	for i := range p.Services {
		s := &p.Services[i]
		if s.Command != "smtpd" || s.Type != "inet" {
			continue
		}
		auth, _ := p.Value(s, "smtpd_sasl_auth_enable")
		if port := s.Port(); port != 465 && port != 587 && (auth != "yes" || port == 25) {
			continue
		}
		name, _ := p.Value(s, "syslog_name")
		if slices.ContainsFunc(submissionWords(), func(word string) bool { return strings.Contains(name, word) }) {
			right = append(right, s.Name)
			continue
		}
		wrong = append(wrong, s.Name)
		b.add(Warning, s.Name, "postconf -P "+s.Name+"/inet/syslog_name=postfix/submission, and postfix reload",
			"%s/master.cf: its lines in the log look like those of port 25, as its syslog_name is %q", p.Dir, name)
	}
	if len(wrong) == 0 && len(right) > 0 {
		b.ok("services", "%s: the log tells %s from port 25", p.Dir, listed(right))
	}
}

// asked is a check_policy_service, of a service of master.cf or, where that
// says nothing of its own, of all.
type asked struct {
	text   string // "unix:weir/policy.sock"
	key    string // smtpd_data_restrictions
	harm   bool   // where nobody answers, mail is deferred
	chroot bool
	by     []string // services
}

// policy compares what Postfix asks with what weir answers. It returns whether
// it asks weir.
func policy(p *mailconf.Postfix, s *Settings, b *book) (asks bool) {
	queue := p.Settings["queue_directory"]
	if queue == "" {
		queue = "/var/spool/postfix"
	}
	counts, harm := false, false
	for _, q := range together(policyRequests(p)) {
		to, isWeirs := q.weirs(queue, s)
		switch {
		case to == "":
			continue
		case isWeirs:
			asks = true
			harm = harm || q.harm
			counts = counts || q.key == "smtpd_data_restrictions" || q.key == "smtpd_end_of_data_restrictions"
			continue
		}
		severity, then := Warning, "mail passes, and weir is not asked"
		if q.harm {
			severity, then = Error, "all mail that comes there is deferred"
		}
		if listens(s.PolicyListen, strings.TrimPrefix(q.text, "unix:")) {
			b.add(severity, "policy", "docs/policy-server.md: let weir listen at unix:"+queue+"/weir/policy.sock, and Postfix ask unix:weir/policy.sock; or take the service out of its chroot",
				"%s: smtpd asks %s, but runs in a chroot, where that is %s: nobody answers there, and %s", listed(q.by), q.text, to, then)
			continue
		}
		b.add(severity, "policy", `add to [postfix_policy]: listen = ["`+listenFor(to)+`"], or take the line out of `+p.Dir,
			"%s: smtpd asks %s (%s), and weir does not listen there: %s", listed(q.by), q.text, q.key, then)
	}
	if !asks {
		return false
	}
	b.ok("policy", "%s: weir is asked", p.Dir)
	if harm {
		b.add(Warning, "policy", "write check_policy_service { …, default_action=DUNNO }", "%s: when weir is down, mail is deferred", p.Dir)
	}
	if !counts {
		b.add(Note, "policy", "ask in smtpd_data_restrictions", "%s asks before DATA only: how many recipients a message has is not known then, and quotas count none", p.Dir)
	}
	return true
}

// policyRequests lists what the smtpd services of an instance ask.
func policyRequests(p *mailconf.Postfix) (all []asked) {
	fallback, _ := p.Value(nil, "smtpd_policy_service_default_action")
	for i := range p.Services {
		s := &p.Services[i]
		if s.Command != "smtpd" {
			continue
		}
		for _, key := range []string{
			"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions",
			"smtpd_recipient_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions", "smtpd_etrn_restrictions",
		} {
			value, _ := p.Value(s, key)
			next := false
			for _, word := range mailconf.Words(value) {
				if next {
					inner := mailconf.Words(strings.Trim(word, "{}"))
					if len(inner) == 0 {
						continue
					}
					passes := func(action string) bool {
						return strings.EqualFold(action, "DUNNO") || strings.EqualFold(action, "OK")
					}
					q := asked{text: inner[0], key: key, harm: !passes(fallback), chroot: s.Chroot, by: []string{s.Name}}
					for _, attribute := range inner[1:] {
						if action, ok := strings.CutPrefix(attribute, "default_action="); ok {
							q.harm = !passes(action)
						}
					}
					all = append(all, q)
				}
				next = word == "check_policy_service"
			}
		}
	}
	return all
}

// together joins services that ask the same in the same way.
func together(all []asked) (out []asked) {
	for _, q := range all {
		i := slices.IndexFunc(out, func(o asked) bool {
			return o.text == q.text && o.key == q.key && o.harm == q.harm && o.chroot == q.chroot
		})
		if i < 0 {
			out = append(out, q)
		} else {
			out[i].by = append(out[i].by, q.by...)
		}
	}
	return out
}

// weirs returns which socket is asked, and whether weir listens there. A socket
// that is no business of weir's is "".
func (q *asked) weirs(queue string, s *Settings) (to string, listening bool) {
	if host, ok := strings.CutPrefix(q.text, "inet:"); ok {
		to = "tcp:" + strings.Replace(host, "localhost:", "127.0.0.1:", 1)
		if slices.Contains(s.PolicyListen, to) {
			return to, true
		}
		return "", false
	}
	name, ok := strings.CutPrefix(q.text, "unix:")
	if !ok {
		return "", false
	}
	to = name
	if !path.IsAbs(name) || q.chroot {
		to = path.Join(queue, name)
	}
	switch {
	case listens(s.PolicyListen, to):
		return to, true
	case listens(s.PolicyListen, name), strings.Contains(name, "weir"):
		return to, false
	}
	return "", false
}

func listenFor(to string) string {
	if strings.HasPrefix(to, "tcp:") {
		return to
	}
	return "unix:" + to
}
