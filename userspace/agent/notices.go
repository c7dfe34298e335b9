package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weir/policy"
	"weir/userspace/config"
	"weir/userspace/control"
	"weir/userspace/notify"
)

// noticeService tells people of flagged users.
func (a *Agent) noticeService() *service {
	return &service{
		name: "telling people of flagged users",
		wants: func(c *config.Config) (any, error) {
			if !c.Notify.Anybody() {
				return nil, nil
			}
			secret, err := webhookSecret(&c.Notify)
			return []any{c.Notify, secret}, err
		},
		start: a.startNotices,
	}
}

func (a *Agent) startNotices(c *config.Config) (stop func(), err error) {
	o := notify.DefaultOptions()
	o.Describe, o.Gather, o.Once, o.Most, o.Now, o.Logger = a.describe, c.Notify.Wait, c.Notify.Once, c.Notify.Most, a.o.Now, a.log
	o.Mode = func() string { return string(a.current().Mode) }
	if o.Host, err = os.Hostname(); err != nil {
		o.Host = "localhost"
	}
	if o.Channels, err = a.channels(&c.Notify, o.Host); err != nil {
		return nil, err
	}
	notifier, err := notify.New(o)
	if err != nil {
		return nil, err
	}
	end := background(notifier.Run)
	a.notices.Store(notifier)
	return func() {
		a.notices.Store(nil)
		end()
	}, nil
}

// commandTime is how long a command that tells somebody may take.
const commandTime = 30 * time.Second

// channels are the ways by which people are told.
func (a *Agent) channels(n *config.Notify, host string) (all []notify.Channel, err error) {
	if len(n.Mail) > 0 || n.Users {
		templates, err := notify.LoadTemplates(n.Templates, n.Language, n.UserLanguage)
		if err != nil {
			return nil, err
		}
		m := &notify.Mail{
			From: n.From, To: n.Mail, Users: n.Users, Domains: n.UserDomains, Templates: templates,
			Language: n.Language, UserLanguage: n.UserLanguage, Host: host, Now: a.o.Now,
		}
		if m.From == "" {
			m.From = "weir@" + host
		}
		m.Sendmail, m.SMTP = mailer(n)
		all = append(all, m)
	}
	if n.Webhook != "" {
		secret, err := webhookSecret(n)
		if err != nil {
			return nil, err
		}
		all = append(all, notify.NewWebhook(n.Webhook, secret))
	}
	if len(n.Command) > 0 {
		all = append(all, &notify.Command{Args: n.Command, Timeout: commandTime})
	}
	return all, nil
}

// mailer chooses between sendmail and SMTP. Postfix's sendmail hands mail to a
// program that is setgid; where the agent may gain no privileges, as in its
// systemd unit (NoNewPrivileges), that would wait for ever, so the mail server
// is spoken to over loopback.
func mailer(n *config.Notify) (sendmail []string, smtp string) {
	if address, found := strings.CutPrefix(n.Mailer, "smtp:"); found {
		return nil, address
	}
	confined, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if n.Mailer == config.Auto && err == nil && confined == 1 {
		return nil, "127.0.0.1:25"
	}
	return n.Sendmail, ""
}

func webhookSecret(n *config.Notify) (string, error) {
	if n.WebhookSecretFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(n.WebhookSecretFile)
	if err != nil {
		return "", fmt.Errorf("webhook_secret_file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", errors.New("webhook_secret_file " + n.WebhookSecretFile + " is empty")
	}
	return secret, nil
}

// flagged has people told of a decision on a user.
func (a *Agent) flagged(d *policy.Decision) {
	notifier := a.notices.Load()
	if notifier == nil || d.User == "" {
		return
	}
	switch d.Action {
	case policy.Guard, policy.Defer, policy.Limit:
		notifier.Flagged(d.User)
	}
}

// maxNotified bounds the sources and the lines that a notice names.
const maxNotified = 10

// describe tells of a user what there is to tell now.
func (a *Agent) describe(ctx context.Context, user string) (n notify.Notice, flagged bool) {
	e, err := a.Explain(ctx, policy.Target{User: user})
	if err != nil {
		return n, false
	}
	for i := range e.Decisions {
		j := &e.Decisions[i]
		switch {
		case j.User == "":
			n.Stopped.Sources++
			n.Stopped.Attempts += j.Attempts
			n.Stopped.Packets += j.Dropped
			if len(n.Sources) == maxNotified {
				n.More++
				continue
			}
			n.Sources = append(n.Sources, notify.Source{
				Source: j.Source, Action: j.ActionText(), Attempts: j.Attempts, Dropped: j.Dropped,
			})
		case !flagged:
			flagged = true
			n.User, n.Action, n.Rule, n.Reason = j.User, j.Action.String(), j.Rule, j.Reason
			n.Since, n.Until, n.Offence = j.Since, j.Until, j.Offence
			n.Evidence = linesOf(j.Evidence)
		}
	}
	name := shellWord(user)
	n.Release, n.Explain = "weir release "+name, "weir explain "+name
	if len(n.Sources) == 0 { // those that were seen, then
		for _, l := range n.Evidence {
			if !slices.ContainsFunc(n.Sources, func(s notify.Source) bool { return s.Source == l.Source }) && l.Source != "" {
				n.Sources = append(n.Sources, notify.Source{Source: l.Source})
			}
		}
	}
	return n, flagged
}

func linesOf(e *control.Evidence) (lines []notify.Line) {
	if e == nil {
		return nil
	}
	for _, o := range e.Sample[:min(len(e.Sample), maxNotified)] {
		l := notify.Line{Time: o.Time, Kind: o.Kind.String(), Service: o.Service, Recipients: o.Recipients, Text: o.Text}
		if o.Source.IsValid() {
			l.Source = o.Source.String()
		}
		lines = append(lines, l)
	}
	return lines
}

// shellWord writes a name, which an attacker may have chosen, so that it can be
// copied into a shell.
func shellWord(s string) string {
	plain := s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("@._+-", r)
	})
	if plain {
		return s
	}
	return "-- '" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (a *Agent) noticeNote() (string, bool) {
	notifier := a.notices.Load()
	if notifier == nil {
		return "", false
	}
	s := notifier.Stats()
	note := fmt.Sprintf("notices: %d sent", s.Reports)
	if s.Repeated > 0 {
		note += fmt.Sprintf(", %d not repeated", s.Repeated)
	}
	if s.Undelivered > 0 {
		note += fmt.Sprintf(", %d NOT DELIVERED", s.Undelivered)
	}
	return note, true
}

// serviceNotes tell how the services fare, for status.
func (a *Agent) serviceNotes() (notes []string) {
	for _, note := range []func() (string, bool){a.dovecotNote, a.dnsblNote, a.noticeNote} {
		if text, there := note(); there {
			notes = append(notes, text)
		}
	}
	return append(notes, a.listNotes()...)
}
