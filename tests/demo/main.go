// Command demo shows weir at work on a safe stage: a real mail host in a
// network namespace, a good user who keeps sending mail, two hundred sources
// that guess passwords, and a stolen account that sends from many addresses.
//
// It ends with 0 if weir kept its promise: every attacker dropped at XDP,
// every good message delivered. Whatever happens, it leaves nothing behind.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"weir/tests/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo WEIR (the binary; make demo builds it)")
		os.Exit(2)
	}
	err := run(ctx, os.Args[1], newScreen(os.Stdout))
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\ninterrupted; everything is cleaned up")
		os.Exit(130)
	default:
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		os.Exit(1)
	}
}

// Mailboxes of the good user, and of the one whose password is stolen.
const (
	goodUser   = "alice"
	stolenUser = "bob"
)

// run sets the stage, plays the two attacks, tells what came of them and
// clears the stage.
func run(ctx context.Context, binary string, s *screen) (err error) {
	binary, err = filepath.Abs(binary)
	if err != nil {
		return fmt.Errorf("find weir: %w", err)
	}
	s.title("weir: a mail host under attack, and what the good user notices of it")
	s.say("A safe stage: two network namespaces on this machine, joined by a veth pair;")
	s.say("documentation addresses only; nothing leaves it, and it is gone at the end.")
	s.say("")

	done := s.step("Postfix and Dovecot start in namespace \"mail\"")
	l, err := lab.New(ctx, lab.Options{Users: []string{goodUser, stolenUser}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clear(l, s)) }()
	done(lab.Domain + ", ports 25 465 587 143 993")

	done = s.step("weir starts with its default rules")
	w, err := l.Weir(binary, "enforce", "")
	if err != nil {
		return err
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	attached, err := attachment(ctx, w)
	if err != nil {
		return err
	}
	done(attached)

	p := &play{lab: l, weir: w, screen: s, good: startGoodUser(ctx, l), still: watchStillness()}
	defer p.good.stop()
	s.step(fmt.Sprintf("%s sends mail by IPv4 and IPv6, and reads it by IMAP, all the time", goodUser))("")
	if err := p.guessing(ctx); err != nil {
		return err
	}
	if err := p.stolen(ctx); err != nil {
		return err
	}
	return p.closing(ctx)
}

// attachment waits until weir is on the interface, and tells how.
func attachment(ctx context.Context, w *lab.Weir) (text string, err error) {
	err = lab.Poll(ctx, lab.Patience, "weir to attach to "+lab.Interface, func() bool {
		status, err := w.Status(ctx)
		if err != nil || len(status.Interfaces) != 1 || status.Interfaces[0].Mode == "none" {
			return false
		}
		text = fmt.Sprintf("XDP on %s, %s mode", status.Interfaces[0].Name, status.Interfaces[0].Mode)
		return true
	})
	return text, err
}

// clear takes the stage down and says so.
func clear(l *lab.Lab, s *screen) error {
	s.say("")
	done := s.step("the stage is cleared")
	if err := l.Close(); err != nil {
		return err
	}
	done("no process, namespace, pin or file is left")
	return nil
}
