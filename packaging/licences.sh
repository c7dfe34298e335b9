#!/bin/sh
# Prints the licences of the modules that are linked into weir, which ask to be
# handed on with it. Takes the go command.
cd "$(dirname "$0")/.." || exit 1
echo "The Go standard library, $("$1" env GOVERSION)"
echo
cat "$("$1" env GOROOT)/LICENSE"
"$1" list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/weir | sort -u |
	while read -r path version dir; do
		printf '\n\n%s %s\n\n' "$path" "$version"
		cat "$dir"/LICENSE* "$dir"/COPYING* "$dir"/NOTICE* 2>/dev/null
	done
