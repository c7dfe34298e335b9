package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"weir/userspace/config"
	"weir/userspace/control"
)

// socketOf returns the control socket that the configuration at path names.
//
// It looks at nothing else in the file: a mistake in a rule must not keep
// the operator from the agent that runs without it. A default configuration
// that is missing, or not for this user to read, means the default socket.
func socketOf(path string, isDefault bool) (string, error) {
	data, err := os.ReadFile(path)
	if isDefault && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return control.DefaultSocket, nil
	}
	if err != nil {
		return "", config.Errors{{File: path, Problem: fmt.Sprintf("cannot be read (%v)", errors.Unwrap(err)), Remedy: "name another file with --config"}}
	}
	var file struct {
		Socket string `toml:"control_socket"`
	}
	if err := toml.Unmarshal(data, &file); err != nil {
		line := 0
		if at := (*toml.DecodeError)(nil); errors.As(err, &at) {
			line, _ = at.Position()
		}
		return "", config.Errors{{File: path, Line: line, Problem: strings.TrimPrefix(err.Error(), "toml: "), Remedy: "mend the file"}}
	}
	if file.Socket == "" {
		return control.DefaultSocket, nil
	}
	return file.Socket, nil
}
