package loader

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Commands and sizes of linux/ethtool.h.
const (
	ethtoolStrings     = 0x1b
	ethtoolStringsInfo = 0x37
	ethtoolFeatures    = 0x3a
	ethtoolChannels    = 0x3c

	featureNames   = 4  // ETH_SS_FEATURES
	featureNameLen = 32 // ETH_GSTRING_LEN
)

// ethtoolSocket is any socket: the kernel asks the driver whatever its family
// is, and the unit allows no Internet ones.
func ethtoolSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
}

// driver names an interface's driver as ethtool -i does, "" if it does not
// tell.
func driver(l netlink.Link) string {
	fd, err := ethtoolSocket()
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, l.Attrs().Name)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.Driver[:])
}

// ethtool hands a command to the driver of an interface.
func ethtool(name string, command []byte) error {
	fd, err := ethtoolSocket()
	if err != nil {
		return fmt.Errorf("ethtool %s: %w", name, err)
	}
	defer unix.Close(fd)
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}{data: unsafe.Pointer(&command[0])}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("ethtool %s: %w", name, errno)
	}
	return nil
}

// command is the beginning of a command, and room for so many words behind it.
func command(room int, words ...uint32) []byte {
	b := make([]byte, 0, 4*(len(words)+room))
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b[:cap(b)]
}

func word(b []byte, i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }

// channels are the queues of an interface, as ethtool -l shows them.
type channels struct {
	maxRX, maxTX, maxCombined int
	rx, tx, combined          int
}

// channelsOf returns zeros for an interface that does not tell.
func channelsOf(name string) (c channels) {
	b := command(8, ethtoolChannels)
	if ethtool(name, b) != nil {
		return c
	}
	at := func(i int) int { return int(word(b, i)) }
	return channels{maxRX: at(1), maxTX: at(2), maxCombined: at(4), rx: at(5), tx: at(6), combined: at(8)}
}

// feature is one of those that ethtool -k shows.
type feature struct{ on, fixed bool }

// featuresOf returns an interface's features, by the names that ethtool -k
// gives those without an alias ("rx-lro", "rx-gro-hw"); none if it does not
// tell.
func featuresOf(name string) map[string]feature {
	// struct ethtool_sset_info: command, reserved, mask of 64 bits, sizes.
	info := command(1, ethtoolStringsInfo, 0, 1<<featureNames, 0)
	if ethtool(name, info) != nil {
		return nil
	}
	n := int(word(info, 4))
	names := command(n*featureNameLen/4, ethtoolStrings, featureNames, uint32(n))
	blocks := (n + 31) / 32
	// For each 32 features four words: available, requested, active, never changed.
	values := command(4*blocks, ethtoolFeatures, uint32(blocks))
	if n == 0 || ethtool(name, names) != nil || ethtool(name, values) != nil {
		return nil
	}
	features := make(map[string]feature)
	for i := range n {
		at := func(k int) bool { return word(values, 2+4*(i/32)+k)>>(i%32)&1 != 0 }
		features[unix.ByteSliceToString(names[12+i*featureNameLen:][:featureNameLen])] = feature{on: at(2), fixed: !at(0) || at(3)}
	}
	return features
}
