#!/bin/busybox sh
# The first process of a guest: lays memory over the files of this machine,
# which it shares read-only, and goes on with guest.sh from there.
/bin/busybox --install -s /bin
export PATH=/bin
fail() { echo "guest: $*" >/dev/ttyS1; poweroff -f; }
argument() { sed "s/.*weir\.$1=\([^ ]*\).*/\1/" /proc/cmdline; }

mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do # numbered, as one needs another
	[ ! -e "$module" ] || insmod "$module" || fail "cannot load $module"
done
mount -t virtiofs -o ro files /files || fail "cannot mount the files of the machine"
mount -t tmpfs -o size=75% memory /memory
mkdir /memory/changed /memory/work
mount -t overlay -o lowerdir=/files,upperdir=/memory/changed,workdir=/memory/work overlay /root ||
	fail "cannot lay memory over the files of the machine"
mkdir -p /root/lib/modules
mount -o bind "/root$(argument modules)" /root/lib/modules || fail "the kernel has no modules"
exec switch_root /root "$(argument run)"/guest.sh
