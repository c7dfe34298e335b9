#!/bin/bash
# Prints the Debian changelog of a version: what was committed since the last
# tag, the newest fifty of that at most.
#
#   packaging/changelog.sh VERSION MAINTAINER SECONDS
cd "$(dirname "$0")/.." || exit 1
tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD~1 2>/dev/null || true)
printf 'weir (%s) unstable; urgency=medium\n\n' "$1"
git log --no-merges --format=%s -n 50 "${tag:+$tag..}HEAD" | while read -r subject; do
	fold -s -w 74 <<<"$subject" | sed 's/ *$//; 1s/^/  * /; 1!s/^/    /'
done
printf '\n -- %s  %s\n' "$2" "$(LC_ALL=C date -u -R -d "@$3")"
