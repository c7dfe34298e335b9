package control

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// maxSocketPath is the longest path that fits a sockaddr_un together with
// the suffix under which the socket is prepared (unix(7): 108 bytes with a
// terminating zero).
const maxSocketPath = 107 - len(newSuffix)

const newSuffix = ".new"

// listen makes the socket at path, owned root:group with mode 0660, and
// returns its group's number, or -1 if the group does not exist.
//
// The socket is prepared beside path and moved there when its owner and mode
// are right, so that nobody ever meets it with others. What a dead agent
// left at path is replaced; a living one gives ErrInUse.
func listen(path, group string, log *slog.Logger) (*net.UnixListener, int, error) {
	if len(path) > maxSocketPath {
		return nil, 0, fmt.Errorf("control socket %s: path is longer than %d bytes: choose a shorter control_socket", path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, 0, fmt.Errorf("control socket %s: make its folder: %w", path, err)
	}
	if err := checkFree(path); err != nil {
		return nil, 0, err
	}
	prepared := path + newSuffix
	if err := os.Remove(prepared); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("control socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: prepared, Net: "unix"})
	if err != nil {
		return nil, 0, fmt.Errorf("control socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	gid := groupID(group, log)
	if err := handOver(prepared, path, gid, log); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("control socket %s: %w", path, err), l.Close(), os.Remove(prepared))
	}
	return l, gid, nil
}

// checkFree makes sure that nobody listens at path and that nothing but a
// socket is there.
func checkFree(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("control socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("control socket %s: something else is there (%v): move it away or change control_socket", path, info.Mode())
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close() // nothing was written
		return fmt.Errorf("control socket %s: %w: stop it first (systemctl stop weir) or give this one a control_socket of its own", path, ErrInUse)
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("control socket %s: is another weir listening? %w", path, err)
}

// groupID finds the number of the group that may use the socket, -1 if none.
func groupID(group string, log *slog.Logger) int {
	g, err := user.LookupGroup(group)
	if err != nil {
		log.Warn("only root may use the control socket: create the group and restart to let others", "group", group, "error", err)
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		log.Warn("only root may use the control socket: its group has no number", "group", group, "gid", g.Gid)
		return -1
	}
	return gid
}

// handOver gives the prepared socket its group and mode and moves it to its
// place.
func handOver(prepared, path string, gid int, log *slog.Logger) error {
	if gid >= 0 {
		if err := os.Chown(prepared, -1, gid); err != nil {
			log.Warn("only root and the agent's own user may use the control socket: its group cannot be set", "gid", gid, "error", err)
		}
	}
	if err := os.Chmod(prepared, 0o660); err != nil {
		return err
	}
	return os.Rename(prepared, path)
}
