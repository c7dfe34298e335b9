#!/bin/sh
# Prints the version of the tree: that of the newest tag vX.Y.Z, and what has
# come since: 1.2.3, or 1.2.3+5.gabc1234 five commits later, which every package
# manager holds for newer. Without a tag it counts from 0.0.0, and without git
# it is that.
cd "$(dirname "$0")/.." || exit 1
if tag=$(git describe --tags --long --match 'v[0-9]*' --dirty=.dirty 2>/dev/null); then
	echo "$tag" | sed 's/^v//; s/-0-g[0-9a-f]*$//; s/-\([0-9]*\)-g\([0-9a-f]*\)/+\1.g\2/'
elif commits=$(git rev-list --count HEAD 2>/dev/null); then
	echo "0.0.0+$commits.g$(git describe --always --exclude '*' --dirty=.dirty)"
else
	echo 0.0.0
fi
