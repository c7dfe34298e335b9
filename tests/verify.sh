#!/bin/bash
# verify.sh GO: generates the BPF objects and their Go side again and fails
# if they differ from the tree. Compilers differ in their output: the tree
# holds that of Debian 12's clang (14).
set -euo pipefail
cd "$(dirname "$0")/.."
go=$1

if ! command -v clang >/dev/null || ! command -v llvm-strip >/dev/null; then
	[ "${CI:-}" != true ] || { echo "verify: clang or llvm-strip is missing, run tests/setup.sh test"; exit 1; }
	echo "verify: SKIPPED, clang or llvm-strip is missing (tests/setup.sh test installs them)"
	exit 0
fi
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
cp loader/*_bpf* "$before"
"$go" generate ./...
for file in loader/*_bpf*; do
	if ! cmp -s "$file" "$before/${file##*/}"; then
		echo "verify: $file was not up to date; commit what make generate wrote"
		failed=yes
	fi
done
[ -z "${failed:-}" ] || exit 1
echo "verify: the generated files are up to date"
