package control

import (
	"encoding/binary"
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

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that fits a sockaddr_un together with
// the suffix under which the socket is prepared (unix(7): 108 bytes with a
// terminating zero).
const maxSocketPath = 107 - len(newSuffix)

const newSuffix = ".new"

// listen makes the socket, for the agent's user, o.Operators and, by an access
// control list (acl(5)), o.Readers, and returns who may do what there.
//
// The socket is prepared beside path and moved there when its owner and mode
// are right, so that nobody ever meets it with others. What a dead agent
// left at path is replaced; a living one gives ErrInUse.
func listen(o *Options) (*net.UnixListener, roles, error) {
	path, who := o.Socket, roles{self: uint32(os.Geteuid()), operators: -1, readers: -1}
	if len(path) > maxSocketPath {
		return nil, who, fmt.Errorf("control socket %s: path is longer than %d bytes: choose a shorter control_socket", path, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, who, fmt.Errorf("control socket %s: make its folder: %w", path, err)
	}
	if err := checkFree(path); err != nil {
		return nil, who, err
	}
	prepared := path + newSuffix
	if err := os.Remove(prepared); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, who, fmt.Errorf("control socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: prepared, Net: "unix"})
	if err != nil {
		return nil, who, fmt.Errorf("control socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	who.find(o)
	if err := handOver(prepared, path, &who, o.Logger); err != nil {
		return nil, who, errors.Join(fmt.Errorf("control socket %s: %w", path, err), l.Close(), os.Remove(prepared))
	}
	return l, who, nil
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

// find looks the groups up. Without a group of operators there is only root; one
// of readers need not be.
func (r *roles) find(o *Options) {
	var err error
	if r.operators, err = groupID(o.Operators); err != nil {
		o.Logger.Warn("only root may use the control socket: create the group and restart to let others", "group", o.Operators, "error", err)
	}
	if r.readers, err = groupID(o.Readers); err != nil {
		o.Logger.Debug("nobody may only look", "group", o.Readers, "error", err)
	}
}

// groupID finds the number of a group; without one it is -1.
func groupID(group string) (int, error) {
	g, err := user.LookupGroup(group)
	if err != nil {
		return -1, err
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1, err
	}
	return gid, nil
}

// handOver gives the prepared socket its groups and mode and moves it to its
// place.
func handOver(prepared, path string, who *roles, log *slog.Logger) error {
	if who.operators >= 0 && who.operators != os.Getegid() {
		if err := os.Chown(prepared, -1, who.operators); err != nil {
			log.Warn("only root and the agent's own user may use the control socket: its group cannot be set", "gid", who.operators, "error", err)
		}
	}
	if err := os.Chmod(prepared, 0o660); err != nil {
		return err
	}
	if who.readers >= 0 {
		if err := unix.Setxattr(prepared, "system.posix_acl_access", aclWith(uint32(who.readers)), 0); err != nil {
			log.Warn("who may only look cannot reach the control socket: its access control list cannot be set", "gid", who.readers, "error", err)
		}
	}
	return os.Rename(prepared, path)
}

// aclWith returns an access control list that lets a group read and write,
// besides the owner and the file's own group, as the kernel wants it
// (linux/posix_acl_xattr.h).
func aclWith(gid uint32) []byte {
	const (
		version             = 2
		user, group         = 0x01, 0x04
		namedGroup          = 0x08
		mask, others        = 0x10, 0x20
		rw           uint16 = 6
		nobody       uint32 = 1<<32 - 1
	)
	b := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range []struct {
		tag, may uint16
		id       uint32
	}{{user, rw, nobody}, {group, rw, nobody}, {namedGroup, rw, gid}, {mask, rw, nobody}, {others, 0, nobody}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.may)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}
