/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything the kernel program and Go share. Go's side is generated from the
 * BTF of these types, names of enum values included; nothing is mirrored by
 * hand. The loader derives the identity of pinned maps from the same BTF, so
 * a change of layout makes new maps. A change of meaning must therefore
 * rename the member whose meaning changed.
 */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H

#include <linux/types.h>

/* What an entry does to the packets of its source. Fits into three bits. */
enum action {
	ACTION_ALLOW = 1, /* pass, whatever a wider entry says */
	ACTION_LIMIT,	  /* connection openings, bytes on connections, or both at a rate */
	ACTION_DROP,	  /* nothing passes */
	ACTION_TARPIT,	  /* nothing passes; openings are answered and held without service */
};

/*
 * Every way out of the program. The index of the counters map; its names are
 * the names of the counters. Those from OVER_LIMIT on do not pass.
 */
enum exit_reason {
	EXIT_UNFLAGGED,	   /* protected port, nothing in force against the source */
	EXIT_NOT_IP,	   /* neither IPv4 nor IPv6 below at most two VLAN tags */
	EXIT_MALFORMED,	   /* a header contradicts itself or does not fit the packet */
	EXIT_FRAGMENT,	   /* a fragment that is not the first: it has no ports */
	EXIT_DEEP_HEADERS, /* more IPv6 extension headers than are followed */
	EXIT_NOT_TCP,	   /* IP, but not TCP */
	EXIT_OTHER_PORT,   /* TCP to a port that is not protected */
	EXIT_ALLOWED,	   /* an allow entry */
	EXIT_WITHIN_LIMIT, /* a limit entry: what its rates permit, or is not theirs */
	EXIT_OVER_LIMIT,   /* a limit entry: dropped opening beyond the rate */
	EXIT_OVER_BYTES,   /* a limit entry: dropped data beyond the bytes a second */
	EXIT_OVER_CEILING, /* no entry: dropped opening beyond what any source may open */
	EXIT_DROPPED,	   /* a drop entry */
	EXIT_TARPITTED,	   /* a tarpit entry: swallowed without an answer */
	EXIT_ANSWERED,	   /* a tarpit entry: turned into the tarpit's answer and sent back */
	EXIT_REASONS,	   /* how many there are */
};

/* One exit's traffic on one CPU. */
struct counter {
	__u64 packets;
	__u64 bytes; /* whole frames, as long as they came */
};
_Static_assert(sizeof(struct counter) == 16, "counter");

/* Keys of the ports map. */
enum ports_of {
	PORTS_PROTECTED, /* all that the program looks at */
	PORTS_CEILING,	 /* those of them where the ceiling holds */
	PORT_SETS,
};

/* A set of ports: bit (port % 64) of word (port / 64). */
struct port_set {
	__u64 word[65536 / 64];
};
_Static_assert(sizeof(struct port_set) == 8192, "port_set");

/* Keys. Addresses stand in network byte order. */
struct source4 {
	__u8 addr[4];
};
_Static_assert(sizeof(struct source4) == 4, "source4");

struct source6 {
	__u8 net[8]; /* the upper half of the address: its /64 */
};
_Static_assert(sizeof(struct source6) == 8, "source6");

struct prefix4 {
	__u32 bits; /* 0 to 32 */
	__u8 addr[4];
};
_Static_assert(sizeof(struct prefix4) == 8, "prefix4");

struct prefix6 {
	__u32 bits; /* 0 to 64 */
	__u8 net[8];
};
_Static_assert(sizeof(struct prefix6) == 12, "prefix6");

/*
 * A slot of the verdict table: one source, and what is in force for it, a
 * word with the action in its lowest bits. The others are the end, a time of
 * CLOCK_MONOTONIC in units of 2^VERDICT_END_SHIFT ns (a quarter of a second),
 * rounded up; 0 is without end. A word of 0 is a free slot. ACTION_LIMIT means
 * that an entry among the sources says all.
 *
 * Userspace alone sets slots, with plain stores; the word comes last, so that
 * a slot is never half there. The kernel adds to counts: openings seen in the
 * upper half, packets dropped in the lower, up to COUNT_MAX.
 */
#define VERDICT_ACTION_BITS 3
#define VERDICT_END_SHIFT   28

struct slot4 {
	__u64 head; /* verdict in the upper half, address as it lies in memory in the lower */
	__u64 counts;
};
_Static_assert(sizeof(struct slot4) == 16, "slot4");

struct slot6 {
	__u64 net; /* as it lies in memory */
	__u64 verdict;
	__u64 counts;
};
_Static_assert(sizeof(struct slot6) == 24, "slot6");

/*
 * Sources that hash to the same place share a bucket, one cache line, or two
 * that lie together. Where all slots are taken, a source that is not in them
 * may stand among the sources.
 */
#define SLOTS4 4
#define SLOTS6 5

struct bucket4 {
	struct slot4 slots[SLOTS4];
};
_Static_assert(sizeof(struct bucket4) == 64, "bucket4");

struct bucket6 {
	struct slot6 slots[SLOTS6];
	__u64 unused;
};
_Static_assert(sizeof(struct bucket6) == 128, "bucket6");

/*
 * How a source finds its bucket: multiplied by a secret odd number, the upper
 * bits count (Dietzfelbinger and others, 1997). The secret lives as long as
 * the table.
 */
struct table_key {
	__u64 factor4;
	__u64 factor6;
	__u64 tarpit0; /* the tarpit's secret (tarpit.h): connections that it holds */
	__u64 tarpit1; /* outlast the program */
};
_Static_assert(sizeof(struct table_key) == 32, "table_key");

/*
 * How an answer gets out of the interface that a frame came in by. The key is
 * the interface's index; without a value there is no way, and the tarpit
 * swallows.
 */
enum way_out {
	WAY_FRAME = 1, /* the frame itself, redirected: native XDP */
	WAY_PACKET,    /* the packet the kernel has made of it: generic XDP, tc */
	WAY_MARKED,    /* marked and passed to weir_send, which sends the packet: native XDP */
};

/* What is in force for a source or a prefix. Times are CLOCK_MONOTONIC, ns. */
struct entry {
	__u64 expires_ns;   /* in force before this time; 0: without end */
	__u64 every_ns;	    /* limit: time between openings (emission interval); 0: any number */
	__u64 tolerance_ns; /* limit: (burst - 1) * every_ns */
	__u64 tat_ns;	    /* limit: theoretical arrival time, the bucket's state */
	__u64 bytes;	    /* limit: bytes of data a second on connections; 0: any number */
	__u64 byte_cost;    /* limit: time between bytes, in 2^-BYTE_SHIFT ns */
	__u64 byte_slack_ns; /* limit: tolerance of bytes */
	__u64 byte_tat_ns;  /* limit: as tat_ns, of bytes */
	__u64 attempts;	    /* connection openings seen */
	__u64 dropped;	    /* packets dropped */
	enum action action;
	__u32 bits;	    /* length of the prefix this entry stands for */
};
_Static_assert(sizeof(struct entry) == 88, "entry");

/*
 * Slots of sources under the ceiling: the lower half names the source, the
 * upper is the theoretical arrival time of its next opening, in units of
 * 2^CEILING_SHIFT ns (66 µs), which come round after 78 hours.
 */
#define CEILING_LINES_LOG 13
#define CEILING_SLOTS	  8
#define CEILING_SHIFT	  16

struct ceiling_line {
	__u64 slots[CEILING_SLOTS];
};
_Static_assert(sizeof(struct ceiling_line) == 64, "ceiling_line");

/* A byte at 1 B/s costs 2^46, so that 128 KiB in one frame stay below 2^64. */
#define BYTE_SHIFT 16

/* What wider entries there are that concern more than openings. */
#define WIDE_TARPIT 1
#define WIDE_BYTES  2

#endif
