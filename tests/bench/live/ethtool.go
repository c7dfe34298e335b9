package live

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands and sizes of ethtool (linux/ethtool.h).
const (
	ethtoolSetGRO      = 0x2c
	ethtoolStrings     = 0x1b
	ethtoolStatistics  = 0x1d
	ethtoolSetChannels = 0x3d
	ethtoolStringsInfo = 0x37

	statisticNames = 1  // ETH_SS_STATS
	nameLen        = 32 // ETH_GSTRING_LEN
)

// ethtool hands a command to the driver of an interface.
func ethtool(name string, command []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}{name: ifname(name), data: unsafe.Pointer(&command[0])}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("ethtool %s: %w", name, errno)
	}
	return nil
}

// words is the beginning of a command, and room behind it.
func words(room int, values ...uint32) []byte {
	b := make([]byte, 0, 4*len(values)+room)
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b[:cap(b)]
}

// enableGRO does what "ethtool -K NAME gro on" does.
func enableGRO(name string) error { return ethtool(name, words(0, ethtoolSetGRO, 1)) }

// setQueues does what "ethtool -L NAME rx N tx N" does (struct
// ethtool_channels: maxima, which are not set, then what is).
func setQueues(name string, n uint32) error {
	return ethtool(name, words(0, ethtoolSetChannels, 0, 0, 0, 0, n, n, 0, 0))
}

// eachStatistic gives what "ethtool -S NAME" shows.
func eachStatistic(name string, see func(name string, value uint64)) error {
	// struct ethtool_sset_info: command, reserved, mask, then the sizes.
	info := words(4, ethtoolStringsInfo, 0, 1<<statisticNames, 0)
	if err := ethtool(name, info); err != nil {
		return err
	}
	n := int(binary.NativeEndian.Uint32(info[16:]))
	names := words(n*nameLen, ethtoolStrings, statisticNames, uint32(n))
	if err := ethtool(name, names); err != nil {
		return err
	}
	values := words(n*8, ethtoolStatistics, uint32(n))
	if err := ethtool(name, values); err != nil {
		return err
	}
	for i := range n {
		see(unix.ByteSliceToString(names[12+i*nameLen:][:nameLen]), binary.NativeEndian.Uint64(values[8+i*8:]))
	}
	return nil
}
