package dovecotpolicy

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
	"strings"
	"sync"
	"syscall"
	"time"
)

// listen takes a socket: "unix:PATH" or "tcp:ADDRESS:PORT".
func listen(where, group string, log *slog.Logger) (net.Listener, error) {
	network, address, _ := strings.Cut(where, ":")
	if network != "unix" {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, fmt.Errorf("dovecot policy server: %w: is another program there? change listen below [dovecot_policy]", err)
		}
		return l, nil
	}
	if err := makeRoom(address); err != nil {
		return nil, fmt.Errorf("dovecot policy server: %s: %w", address, err)
	}
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, fmt.Errorf("dovecot policy server: %w", err)
	}
	if g, err := user.LookupGroup(group); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil && gid != os.Getegid() {
			err = os.Chown(address, -1, gid)
			if err != nil {
				log.Warn("only root may use this socket: its group cannot be set", "socket", address, "error", err)
			}
		}
	}
	if err := os.Chmod(address, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("dovecot policy server: %w", err), l.Close())
	}
	return l, nil
}

// makeRoom removes the socket that a dead server left at path.
func makeRoom(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something else is there: move it away, or change listen below [dovecot_policy]")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = conn.Close() // nothing was written
		return errors.New("another program listens there: change listen below [dovecot_policy]")
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// slotListener takes a connection when there is a slot for it. More wait in
// the kernel's queue, and Dovecot's patience decides how long.
type slotListener struct {
	net.Listener
	slots chan struct{}
}

func (l *slotListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{Conn: conn, slots: l.slots}, nil
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *slotConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}

const minKey = 16 // characters

// ReadKey reads the API key: the first line of a file that only weir and
// Dovecot may read.
func ReadKey(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("api_key_file: %w: write a random key into it, such as `openssl rand -hex 32` makes, and give Dovecot the same", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("api_key_file %s: everybody may read it: chmod 640", path)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("api_key_file: %w: give it to the agent's group (chgrp weir %s)", err, path)
	}
	if err != nil {
		return "", fmt.Errorf("api_key_file: %w", err)
	}
	key, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if key = strings.TrimSpace(key); len(key) < minKey {
		return "", fmt.Errorf("api_key_file %s: its first line has %d characters: at least %d are needed", path, len(key), minKey)
	}
	return key, nil
}
