#!/bin/bash
# fuzz.sh GO TIME: runs every fuzz test of the module for TIME.
#
# The go command may report that time is up as a failure ("context deadline
# exceeded") when it ends while an input is being tried. Where no failing input
# was written, that is none.
set -euo pipefail
cd "$(dirname "$0")/.."
go=$1 time=$2
out=$(mktemp)
trap 'rm -f "$out"' EXIT

"$go" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./... |
	while read -r package dir; do
		for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go); do
			echo "fuzz: $name in $package for $time"
			if "$go" test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 1x "$package" >"$out" 2>&1; then
				cat "$out"
			elif grep -q '^    context deadline exceeded$' "$out" && ! grep -q 'Failing input written' "$out"; then
				cat "$out"
				echo "fuzz: time was up while an input was tried; nothing failed"
			else
				cat "$out"
				exit 1
			fi
		done
	done
