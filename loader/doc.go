// Package loader is weir's side of the kernel: it loads the XDP program,
// keeps its maps and links pinned so that enforcement outlives the process,
// attaches it to interfaces and follows them, and gives the verdict tables
// and counters Go types. It also closes established sockets.
//
// It knows prefixes, ports and interfaces. It does not know why a source is
// flagged, and it imports nothing of weir.
//
// The kernel must be Linux 5.18 or newer: XDP over several buffers
// (xdp.frags) and bpf_xdp_get_buff_len are that young. Older ones are refused
// by Open with [ErrUnsupported].
package loader

//go:generate go tool bpf2go -target bpfel,bpfeb -strip llvm-strip -type action -type ports_of -type way_out -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" datapath ../bpf/weir.bpf.c
//go:generate go tool bpf2go -target bpfel,bpfeb -strip llvm-strip -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" trial ../bpf/trial.bpf.c
