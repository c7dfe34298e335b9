//go:build manual

// With this tag the program is another one: it writes the manual pages that the
// packages carry, made from the commands and from the configuration file.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra/doc"
)

// main takes the folder to write to, weir.toml, the version, and the date of the
// pages in seconds since 1970.
func main() {
	seconds, err := strconv.ParseInt(os.Args[4], 10, 64)
	if err == nil {
		err = writeManual(os.Args[1], os.Args[2], os.Args[3], time.Unix(seconds, 0).UTC())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "write manual pages:", err)
		os.Exit(1)
	}
}

func writeManual(folder, configuration, version string, date time.Time) error {
	root := newRoot(env{})
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "weir " + version, Manual: "weir"}
	if err := doc.GenManTree(root, header, folder); err != nil {
		return err
	}
	text, err := os.ReadFile(configuration)
	if err != nil {
		return err
	}
	page := md2man.Render([]byte(configurationPage(string(text), date.Format("Jan 2006"), version)))
	return os.WriteFile(filepath.Join(folder, "weir.toml.5"), page, 0o644)
}

// configurationPage makes a page of the configuration file that is installed:
// its comments are the text, and what may be written stands between them.
func configurationPage(text, date, version string) string {
	var page strings.Builder
	fmt.Fprintf(&page, `%% "weir.toml" "5" "%s" "weir %s" "weir"
# NAME
weir.toml - configuration of weir

# SYNOPSIS
/etc/weir/weir.toml

# DESCRIPTION
`, date, version)
	code := false
	fence := func(wanted bool) {
		if wanted != code {
			page.WriteString("\n```\n")
		}
		code = wanted
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		bare := strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
		switch {
		case line == "" || line == "#":
			fence(false)
			page.WriteString("\n")
		case isTOML(bare) || code && strings.HasPrefix(bare, " "):
			fence(true)
			page.WriteString(bare + "\n")
		default:
			fence(false)
			page.WriteString(escape(bare) + "\n")
		}
	}
	fence(false)
	page.WriteString("\n# SEE ALSO\n**weir(1)**, **weir-run(1)**\n")
	return page.String()
}

// isTOML reports whether a line, without the sign of a comment, is a table or a
// key, or what is to be typed: it is shown as it stands.
func isTOML(line string) bool {
	if strings.HasPrefix(line, "[") || strings.HasPrefix(line, "  ") {
		return true
	}
	key, _, found := strings.Cut(line, " = ")
	return found && strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// escape keeps Markdown from seeing more in text than text.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "[", `\[`, "`", "\\`", "<", `\<`).Replace(text)
}
