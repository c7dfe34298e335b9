package postfixpolicy

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrInUse: somebody listens on that socket.
var ErrInUse = errors.New("another process is listening there")

const newSuffix = ".new"

// maxSocketPath is the longest path that fits a sockaddr_un (unix(7)) together
// with newSuffix.
const maxSocketPath = 107 - len(newSuffix)

// listen makes the socket.
func (s *Server) listen() (err error) {
	network, address, _ := strings.Cut(s.o.Address, ":")
	switch network {
	case "tcp":
		s.listener, err = net.Listen("tcp", address)
		return err
	case "unix":
		s.users = uids(s.o.Users)
		return s.listenUnix(address)
	}
	return errors.New(`the address must begin with "unix:" or "tcp:"`)
}

func uids(names []string) map[uint32]bool {
	found := make(map[uint32]bool)
	for _, name := range names {
		if u, err := user.Lookup(name); err == nil {
			if id, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
				found[uint32(id)] = true
			}
		}
	}
	return found
}

// listenUnix makes the socket beside its place and moves it there when its
// mode is right. Everybody may connect to it; who may ask is seen then
// (stranger), because Postfix's users differ from host to host and a group of
// theirs is nothing that the agent could join.
func (s *Server) listenUnix(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("the path is longer than %d bytes", maxSocketPath)
	}
	if err := checkFree(path); err != nil {
		return err
	}
	prepared := path + newSuffix
	if err := os.Remove(prepared); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: prepared, Net: "unix"})
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: make its folder, where Postfix can reach it", err)
		}
		return err
	}
	l.SetUnlinkOnClose(false)
	s.listener = l
	err = os.Chmod(prepared, 0o666)
	if err == nil {
		s.made, err = os.Lstat(prepared)
	}
	if err == nil {
		err = os.Rename(prepared, path)
	}
	if err != nil {
		return errors.Join(err, l.Close(), os.Remove(prepared))
	}
	return nil
}

// checkFree makes sure that nobody listens at path, and that nothing but a
// socket is there.
func checkFree(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("something else is there (%v): move it away", info.Mode())
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close() // nothing was said
		return ErrInUse
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeSocket takes the socket away unless somebody put another one there.
func (s *Server) removeSocket() error {
	if s.made == nil {
		return nil
	}
	_, path, _ := strings.Cut(s.o.Address, ":")
	info, err := os.Lstat(path)
	if err != nil || !os.SameFile(info, s.made) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
