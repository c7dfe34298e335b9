#!/bin/busybox sh
# The first process of a guest. Without a disk, lays memory over the files of
# this machine, which it shares read-only, and goes on with guest.sh from there.
# With one, its own init is next; it has what is shared below /mnt, and what is
# in the folder "root" beside guest.sh as files of its own.
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
if grep -q ' weir\.disk' /proc/cmdline; then
	next=/sbin/init
	mount -t ext4 /dev/vda /root || fail "cannot mount the disk"
	mount -o bind /files /root/mnt
	[ ! -d "/files$(argument run)/root" ] || cp -a "/files$(argument run)/root/." /root/
else
	next=$(argument run)/guest.sh
	mount -t tmpfs -o size=75% memory /memory
	mkdir /memory/changed /memory/work
	mount -t overlay -o lowerdir=/files,upperdir=/memory/changed,workdir=/memory/work overlay /root ||
		fail "cannot lay memory over the files of the machine"
fi
mkdir -p /root/usr/lib/modules
mount -o bind "/files$(argument modules)" /root/usr/lib/modules || fail "the kernel has no modules"
exec switch_root /root "$next"
