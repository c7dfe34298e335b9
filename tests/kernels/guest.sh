#!/bin/bash
# Runs the tests of the file "plan" beside it and ends the guest. A line of the
# plan names a package, its folder, and the command to be run there. What is
# printed between "guest: begin" and "guest: end" is one package's.
mount -t devtmpfs dev /dev
exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 raw
cd "${0%/*}"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true WEIR_GUEST=1 WEIR_BINARY=${PWD%/*}/weir

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
hostname guest
ip link set lo up
modprobe -a virtio_net virtio_rng tun 2>/dev/null

while read -r package folder command; do
	echo "guest: begin $package"
	(cd "$folder" && exec $command)
	echo "guest: end $package $?"
done <plan
echo "guest: done"
echo o >/proc/sysrq-trigger
sleep 60
