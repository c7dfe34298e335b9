// Package peers sets up programs that do a part of what weir does, so that
// they can be measured beside it. They are unpacked Debian packages, as
// `tests/setup.sh bench` fetches them; nothing is installed.
package peers

import (
	"os"
	"path/filepath"
	"strings"
)

// Version returns the version of an unpacked package, or why it is missing.
// packages is the folder that `tests/setup.sh bench` names; empty if there is
// none.
func Version(packages, name string) (version, missing string) {
	if packages == "" {
		return "", "run tests/setup.sh bench and name its folder with -peers"
	}
	text, err := os.ReadFile(filepath.Join(packages, "."+name))
	if err != nil {
		return "", "package " + name + " is not there: run tests/setup.sh bench"
	}
	return strings.TrimSpace(string(text)), ""
}
