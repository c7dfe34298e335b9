package main

import "weir/tests/machine"

// nics are the guest's NICs, for tests/kernels/guest, which finds them by
// their addresses. Two of them are joined, each with one queue; the others lead
// nowhere.
func nics() []string {
	return append(machine.Joined(),
		// Two queue pairs for two CPUs: native XDP wants as many again.
		"-netdev", "tap,id=few,script=no,downscript=no,queues=2", "-device", "virtio-net-pci,netdev=few,mac=52:54:00:00:00:03,mq=on,vectors=6",
		// Four: enough.
		"-netdev", "tap,id=many,script=no,downscript=no,queues=4", "-device", "virtio-net-pci,netdev=many,mac=52:54:00:00:00:04,mq=on,vectors=10",
		// The host merges packets and the guest cannot ask it not to: native XDP
		// is refused.
		"-netdev", "tap,id=merged,script=no,downscript=no", "-device", "virtio-net-pci,netdev=merged,mac=52:54:00:00:00:05,ctrl_guest_offloads=off")
}
