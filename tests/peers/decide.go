package peers

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The programs that ask the peers for decisions.
var (
	//go:embed crowdsec_decisions.py
	CrowdSecRecipe string
	//go:embed fail2ban_by_record_time.py
	Fail2banRecipe string
)

// Decide has CrowdSec read a log by the log's own time, and writes what it
// decided as `weir replay --output jsonl` writes decisions.
func (c *CrowdSec) Decide(ctx context.Context, log string, out io.Writer) error {
	if err := run(exec.CommandContext(ctx, c.Binary, "-c", c.Config, "-type", "syslog", "-dsn", "file://"+log), nil, io.Discard); err != nil {
		return fmt.Errorf("crowdsec: %w", err)
	}
	database := filepath.Join(filepath.Dir(c.Config), "data", "crowdsec.db")
	if err := run(exec.CommandContext(ctx, "python3", "-c", CrowdSecRecipe, database), nil, out); err != nil {
		return fmt.Errorf("crowdsec's decisions: %w", err)
	}
	return nil
}

// Fail2ban has fail2ban read a log by the log's own time, under its shipped
// configuration for the services that are named, and writes what it decided as
// `weir replay --output jsonl` writes decisions.
func Fail2ban(ctx context.Context, packages string, services []string, log string, out io.Writer) error {
	in, err := os.Open(log)
	if err != nil {
		return err
	}
	defer in.Close()
	args := append([]string{"-c", Fail2banRecipe, filepath.Join(packages, "etc/fail2ban")}, services...)
	cmd := exec.CommandContext(ctx, "python3", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+filepath.Join(packages, "usr/lib/python3/dist-packages"))
	if err := run(cmd, in, out); err != nil {
		return fmt.Errorf("fail2ban: %w", err)
	}
	return nil
}

// run runs a command; what it complains of is in the error.
func run(cmd *exec.Cmd, in io.Reader, out io.Writer) error {
	var said strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &said
	if err := cmd.Run(); err != nil {
		text := said.String()
		return fmt.Errorf("%w: %s", err, text[max(0, len(text)-500):])
	}
	return nil
}
