package loader

import (
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// headBytes is what a hash takes for each of its heads, of which it has as many as
// entries, rounded up to a power of two (struct bucket in kernel/bpf/hashtab.c).
const headBytes = 16

// MemoryAtOnce returns how many bytes the kernel's tables take as soon as they are
// made with a capacity (see Options), before anything is in them.
func MemoryAtOnce(capacity int) (bytes int64, err error) {
	spec, err := loadDatapath()
	if err != nil {
		return 0, err
	}
	sizeMaps(spec, capacity)
	for _, m := range spec.Maps {
		bytes += atOnce(m)
	}
	return bytes, nil
}

// atOnce is what one map takes. An array holds its elements from the start, a hash
// its heads, and its elements if they are preallocated; a trie nothing.
func atOnce(m *ebpf.MapSpec) int64 {
	entries, value := int64(m.MaxEntries), int64(m.ValueSize+7)&^7
	switch m.Type {
	case ebpf.Array:
		return entries * value
	case ebpf.PerCPUArray:
		return entries * value * int64(runtime.NumCPU())
	case ebpf.Hash:
		heads := int64(1)
		for heads < entries {
			heads *= 2
		}
		bytes := heads * headBytes
		if m.Flags&unix.BPF_F_NO_PREALLOC == 0 {
			const element = 48 // struct htab_elem
			bytes += entries * (element + int64(m.KeySize+7)&^7 + value)
		}
		return bytes
	}
	return 0
}
