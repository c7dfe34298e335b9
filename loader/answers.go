package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the tarpit answers leaves by the interface that the question came in
// by. Generic XDP sends it as the kernel sends any packet. Native XDP hands a
// bare frame to the driver, and not every driver, nor every veth, takes one.
// So it is tried with a frame to nobody, and the driver has to say that it
// took it. Where it does not, native XDP lets the answer pass with a mark, and
// a program behind it, in traffic control, sends the packet that the kernel
// has made of it. Where that cannot be (before Linux 6.6), the tarpit swallows
// what it would answer.

// allowAnswers finds out how the tarpit's answers can leave by an interface
// that carries the program in this mode, and tells the program. It returns
// what is worth to know of it; the error says why they cannot.
func (d *Datapath) allowAnswers(l netlink.Link, mode string) (how string, err error) {
	index := l.Attrs().Index
	if isBare(l) {
		return "", errors.New("its packets have no link layer to turn round")
	}
	way := datapathWayOutWAY_PACKET
	if mode == ModeNative {
		way = datapathWayOutWAY_FRAME
		if refusal := proveFrames(index); refusal != nil {
			way, how = datapathWayOutWAY_MARKED, fmt.Sprintf("tarpit answers by tcx, as %v", refusal)
			if err := d.attachSend(index); err != nil {
				return "", errors.Join(fmt.Errorf("%w, and tcx cannot answer either: %w", refusal, bare(err)), d.refuseAnswers(index))
			}
		}
	}
	if way != datapathWayOutWAY_MARKED {
		if err := d.detachSend(index); err != nil {
			return "", err
		}
	}
	if err := d.objects.WaysOut.Put(uint32(index), way); err != nil {
		return "", fmt.Errorf("note that answers can leave: %w", err)
	}
	return how, nil
}

// refuseAnswers has the tarpit swallow what comes in by an interface, whatever
// was before. It is the first step when the program is taken off it, since an
// answer that nobody sends would pass.
func (d *Datapath) refuseAnswers(index int) error {
	if err := d.objects.WaysOut.Delete(uint32(index)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("note that answers cannot leave: %w", err)
	}
	return d.detachSend(index)
}

// attachSend attaches weir_send to an interface, or replaces the one that an
// earlier run left there.
func (d *Datapath) attachSend(index int) error {
	path := d.pins.sendPath(index)
	l, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		defer l.Close()
		if info, err := l.Info(); err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == index {
			return l.Update(d.objects.WeirSend)
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err = link.AttachTCX(link.TCXOptions{Program: d.objects.WeirSend, Attach: ebpf.AttachTCXIngress, Interface: index})
	if err != nil {
		return err
	}
	return errors.Join(l.Pin(path), l.Close())
}

// detachSend takes weir_send off an interface, if it is there.
func (d *Datapath) detachSend(index int) error {
	err := os.Remove(d.pins.sendPath(index))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("detach the program that sends answers: %w", err)
	}
	return nil
}

// proveFrames sends a frame out of an interface as native XDP does: of a type
// for local experiments (IEEE 802, 0x88b5), from the interface to itself, so
// that whoever is on the link drops it.
func proveFrames(index int) error {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("look at the interface: %w", err)
	}
	frame := make([]byte, 60)
	copy(frame[0:6], l.Attrs().HardwareAddr)
	copy(frame[6:12], l.Attrs().HardwareAddr)
	binary.BigEndian.PutUint16(frame[12:], 0x88b5)

	netns, err := netnsCookie()
	if err != nil {
		return err
	}
	spec, err := loadTrial()
	if err != nil {
		return err
	}
	err = errors.Join(spec.Variables[trialVarTrialInterface].Set(uint32(index)), spec.Variables[trialVarTrialNetns].Set(netns))
	if err != nil {
		return fmt.Errorf("set the interface of the trial: %w", err)
	}
	var objects trialObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return fmt.Errorf("try to send a frame: %w", explain(err))
	}
	defer objects.Close()
	watch, err := link.AttachTracing(link.TracingOptions{Program: objects.TrialWatch})
	if err != nil {
		return fmt.Errorf("watch what becomes of a frame: %w", explain(err))
	}
	defer watch.Close()

	// struct xdp_md
	context := struct{ Data, DataEnd, DataMeta, IngressIfindex, RxQueueIndex, EgressIfindex uint32 }{
		DataEnd: uint32(len(frame)), IngressIfindex: uint32(index),
	}
	_, err = objects.TrialSend.Run(&ebpf.RunOptions{Data: frame, Context: context, Repeat: 1, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
	if err != nil {
		return fmt.Errorf("send a frame: %w", explain(err))
	}
	var taken uint32
	if err := objects.TrialTaken.Get(&taken); err != nil {
		return fmt.Errorf("read the result of the trial: %w", err)
	}
	if taken == 0 {
		return errors.New("the driver takes no frames from native XDP")
	}
	return nil
}

// netnsCookie identifies the network namespace of the thread, by a socket of a
// family that weir.service allows.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace: %w", err)
	}
	return cookie, nil
}
