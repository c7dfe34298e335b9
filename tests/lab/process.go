package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a program that the lab runs in a namespace.
type Process struct {
	Name   string
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it ended; read after exited
}

// Start runs cmd in the namespace, in a process group of its own so that an
// interrupt from the terminal reaches the lab alone, which then ends it in
// order. Output that cmd does not redirect goes to name.out in the lab.
func (l *Lab) Start(n *Namespace, name string, cmd *exec.Cmd) (*Process, error) {
	if cmd.Stdout == nil && cmd.Stderr == nil {
		out, err := os.OpenFile(l.Path(name+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{Name: name, cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	l.defer_("stop "+name, p.Stop)
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode waits for the end and returns the exit status, -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends s; a process that has ended is no error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Stop asks the process to end, insists after a while, and waits for it.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(Patience):
	}
	if err := p.Kill(); err != nil {
		return err
	}
	return fmt.Errorf("%s did not end within %s after SIGTERM and was killed", p.Name, Patience)
}

// Kill ends the process at once and waits for it.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Output returns what a process started without redirection has written.
func (l *Lab) Output(name string) string {
	text, err := os.ReadFile(l.Path(name + ".out"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
