package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// Modes of an [Attachment], the best first.
const (
	ModeNative  = "native"  // XDP in the driver, before the packet costs anything
	ModeGeneric = "generic" // XDP in the stack, for any interface with a link layer
	ModeTCX     = "tcx"     // traffic control by a link, beside other programs (Linux 6.6)
	ModeClsact  = "clsact"  // traffic control by a filter, for older kernels
	ModeNone    = "none"    // not attached
)

// Attachment is what became of one interface of the selection.
type Attachment struct {
	Interface string // its name, or the pattern that matches nothing
	Index     int    // 0: there is no such interface
	Mode      string
	Reason    string // why this mode, in plain words, with a remedy where there is one

	// Tarpit tells that clients are answered by the tarpit here. Otherwise
	// it drops their packets, and Reason says why.
	Tarpit bool
}

// attachment is an interface that carries the program.
type attachment struct {
	hook
	where   place
	program ebpf.ProgramID // that stands there
	why     []string       // what was in the way of better places, if we were there
	stale   error          // why the hook could not be given this program

	answers   bool   // the tarpit's answers can leave
	answerHow string // by an uncommon way
	noAnswer  error  // why not, when it was tried
}

// attach puts the program on an interface, or replaces the one an earlier run
// left there. It returns what came of it.
func (d *Datapath) attach(l netlink.Link) Attachment {
	attrs := l.Attrs()
	a, err := d.adopt(l)
	if err == nil {
		a, err = d.climb(l, a)
	}
	if err != nil {
		return Attachment{Interface: attrs.Name, Index: attrs.Index, Mode: ModeNone, Reason: "cannot attach: " + err.Error()}
	}
	d.attached[attrs.Index] = a
	return d.describe(l)
}

// adopt takes over what an earlier run hung up on an interface, and gives it
// this program. Of several places, which a run leaves that dies between two
// steps, the best one stays.
func (d *Datapath) adopt(l netlink.Link) (adopted *attachment, err error) {
	index := l.Attrs().Index
	for _, where := range places() {
		h, err := d.open(where, index)
		if h == nil && err == nil {
			continue
		}
		var id ebpf.ProgramID
		if err == nil {
			id, err = h.holds(l)
		}
		switch {
		case err != nil && adopted == nil:
			return nil, err
		case err != nil:
			d.logError("look for what was left", l.Attrs().Name, err)
		case id == 0 || adopted != nil && adopted.stale == nil:
			d.logError("remove what was left", l.Attrs().Name, h.remove())
		case adopted != nil: // the next start finds it again
			d.logError("let go of what was left", l.Attrs().Name, h.release())
		default:
			adopted = &attachment{hook: h, where: where, program: id}
			d.renew(adopted, l)
		}
	}
	return adopted, nil
}

// renew gives an attachment this program.
func (d *Datapath) renew(a *attachment, l netlink.Link) {
	program := d.programFor(a.where, l)
	if a.stale = a.replace(program); a.stale == nil {
		a.program = idOf(program)
	}
}

func idOf(p *ebpf.Program) ebpf.ProgramID {
	info, err := p.Info()
	if err != nil {
		return 0
	}
	id, _ := info.ID()
	return id
}

// rung is one way of attaching.
type rung struct {
	mode  string
	where place
	flags link.XDPAttachFlags
}

// ladder returns the ways of attaching in modes, the best first.
func ladder(modes []string) (rungs []rung) {
	for _, r := range []rung{
		{ModeNative, placeXDP, link.XDPDriverMode},
		{ModeGeneric, placeXDP, link.XDPGenericMode},
		{ModeTCX, placeTCX, 0},
		{ModeClsact, placeClsact, 0},
	} {
		if slices.Contains(modes, r.mode) {
			rungs = append(rungs, r)
		}
	}
	return rungs
}

// climb attaches in the best place there is, better than where the program is
// already. Whoever climbs stands in both places for a moment, and leaves no
// gap. It happens when the agent starts, not while it runs: who gave up the
// better place may be about to come back.
func (d *Datapath) climb(l netlink.Link, from *attachment) (*attachment, error) {
	var why []string
	var last error
	for _, r := range d.rungs {
		if from != nil && r.where == from.where {
			break
		}
		if obstacle := r.obstacle(l); obstacle != "" {
			if !slices.Contains(why, obstacle) {
				why = append(why, obstacle)
			}
			continue
		}
		h, err := d.hang(r, l)
		if err != nil {
			why, last = append(why, d.refused(r, l, err)), err
			continue
		}
		if from != nil {
			d.logError("leave the old place", l.Attrs().Name, from.remove())
		}
		return &attachment{hook: h, where: r.where, program: idOf(d.programFor(r.where, l)), why: why}, nil
	}
	switch text := strings.Join(why, "; "); {
	case from != nil:
		from.why = why
		return from, nil
	case last == nil:
		return nil, errors.New(text)
	default:
		return nil, fmt.Errorf("%s: %w", text, explain(last))
	}
}

// refused says in words why there was no attaching on a rung.
func (d *Datapath) refused(r rung, l netlink.Link, err error) string {
	switch {
	case r.mode == ModeNative:
		f := factsOf(l, bare(err), driverWords(l, d.objects.WeirXdp))
		return strings.Join(f.words(), "; ")
	case r.mode == ModeTCX && errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Sprintf("TCX needs Linux 6.6, this is %s", release())
	case r.mode == ModeClsact && (&clsactHook{index: l.Attrs().Index}).isTaken():
		return fmt.Sprintf("another filter has preference %d of %[2]s, which weir needs to decide first: give it a higher number (tc filter show dev %[2]s ingress)", filterFirst, l.Attrs().Name)
	}
	return fmt.Sprintf("%s refused: %v", modeWords(r.mode), bare(err))
}

func modeWords(mode string) string {
	switch mode {
	case ModeNative, ModeGeneric:
		return mode + " XDP"
	case ModeTCX:
		return "TCX"
	}
	return mode
}

// describe says how the program stands on an interface that carries it.
func (d *Datapath) describe(l netlink.Link) Attachment {
	attrs, a := l.Attrs(), d.attached[l.Attrs().Index]
	out := Attachment{Interface: attrs.Name, Index: attrs.Index}
	// What was read before attaching does not tell.
	now, err := netlink.LinkByIndex(attrs.Index)
	if err != nil {
		out.Mode, out.Reason = ModeNone, fmt.Sprintf("interface vanished: %v", err)
		return out
	}
	reason := slices.Clone(a.why)
	switch {
	case a.where == placeTCX:
		out.Mode = ModeTCX
		if first := tcxPrograms(attrs.Index); len(first) > 0 && first[0] != a.program {
			reason = append(reason, fmt.Sprintf("another program (%s) has been put before it and decides first", programName(uint32(first[0]))))
		}
	case a.where == placeClsact:
		out.Mode = ModeClsact
		if h, ok := a.hook.(*clsactHook); ok {
			if _, behind, _ := h.ours(); behind {
				reason = append(reason, fmt.Sprintf("another filter stands before it and decides first (tc filter show dev %s ingress)", attrs.Name))
			}
		}
	case now.Attrs().Xdp != nil && now.Attrs().Xdp.AttachMode == nl.XDP_ATTACHED_SKB:
		out.Mode = ModeGeneric
		if len(reason) == 0 {
			reason = append(reason, "generic XDP kept since an earlier start")
		}
	default:
		out.Mode = ModeNative
		if len(reason) == 0 {
			reason = append(reason, facts{name: attrs.Name, driver: driver(l)}.who()+" supports native XDP")
		}
	}
	if out.Mode != ModeNone && !a.answers {
		a.answerHow, a.noAnswer = d.allowAnswers(l, out.Mode)
		a.answers = a.noAnswer == nil
	}
	out.Tarpit = a.answers
	switch {
	case a.noAnswer != nil:
		reason = append(reason, fmt.Sprintf("tarpit can only drop here: %v", a.noAnswer))
	case a.answerHow != "":
		reason = append(reason, a.answerHow)
	}
	reason = append(reason, neighbours(now)...)
	if a.stale != nil {
		reason = append(reason, fmt.Sprintf("the program of an earlier start is still in force, replacing it failed: %v", a.stale))
	}
	out.Reason = strings.Join(reason, "; ")
	return out
}

// detach takes the program off an interface, or just the pin away if the
// interface is gone.
func (d *Datapath) detach(index int) error {
	a := d.attached[index]
	delete(d.attached, index)
	return errors.Join(d.refuseAnswers(index), a.remove())
}

// detachPinned does the same for what an earlier run left.
func (d *Datapath) detachPinned(p pinnedHook) error {
	h, err := d.open(p.where, p.index)
	if err != nil || h == nil {
		return err
	}
	return errors.Join(d.refuseAnswers(p.index), h.remove())
}
