package loader

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// layoutID names the layout of the maps that are pinned: two programs with
// the same identity can use the same maps. It covers each map's type and
// sizes, and the names, offsets and types of everything in keys and values,
// so that nobody has to remember to count a version up.
func layoutID(spec *ebpf.CollectionSpec) string {
	var names []string
	for name := range spec.Maps {
		if isPinned(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)

	h := sha256.New()
	for _, name := range names {
		m := spec.Maps[name]
		fmt.Fprintf(h, "map %s %s %d %d %d %d\n", name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
		describeType(h, m.Key)
		describeType(h, m.Value)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// isPinned tells the maps that outlive the process from those the compiler
// makes for variables (".rodata", ".bss"), which belong to one program.
func isPinned(name string) bool { return !strings.HasPrefix(name, ".") }

func describeType(w io.Writer, t btf.Type) {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		fmt.Fprintf(w, "struct %s %d\n", t.Name, t.Size)
		for _, m := range t.Members {
			fmt.Fprintf(w, "%s at %d\n", m.Name, m.Offset)
			describeType(w, m.Type)
		}
	case *btf.Enum:
		fmt.Fprintf(w, "enum %s %d\n", t.Name, t.Size)
		for _, v := range t.Values {
			fmt.Fprintf(w, "%s = %d\n", v.Name, v.Value)
		}
	case *btf.Array:
		fmt.Fprintf(w, "array %d\n", t.Nelems)
		describeType(w, t.Type)
	case *btf.Int:
		fmt.Fprintf(w, "int %d %d\n", t.Size, t.Encoding)
	default:
		fmt.Fprintf(w, "%v\n", t)
	}
}
