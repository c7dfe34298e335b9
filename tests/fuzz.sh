#!/bin/bash
# fuzz.sh GO TIME: runs every fuzz test of the module for TIME.
set -euo pipefail
cd "$(dirname "$0")/.."
go=$1 time=$2

"$go" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./... |
	while read -r package dir; do
		for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go); do
			echo "fuzz: $name in $package for $time"
			"$go" test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package"
		done
	done
