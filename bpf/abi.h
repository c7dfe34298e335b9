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

/* What an entry does to the packets of its source. Fits into VERDICT_ACTION_BITS. */
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
 * A verdict is what is in force for a source, in 32 bits: the action, whether
 * userspace wants it kept when there is no more room, and the end, a time of
 * CLOCK_MONOTONIC in units of 2^VERDICT_END_SHIFT ns (about a second), rounded
 * up; 0 is without end. A verdict of 0 is none: the slot is free. ACTION_LIMIT
 * means that an entry among the sources says all.
 */
#define VERDICT_ACTION_BITS 3
#define VERDICT_KEEP	    (1 << VERDICT_ACTION_BITS)
#define VERDICT_END_BITS    28
#define VERDICT_END_SHIFT   30

/*
 * Sources that hash to the same place share a bucket of the verdict table, one
 * cache line. Where all its slots are taken, a source that is not in them may
 * stand among the sources.
 *
 * Userspace alone writes buckets, with plain stores; the verdict comes last, so
 * that a slot is never half there. The kernel only reads them, so that they can
 * lie in the caches of all CPUs.
 */
#define SLOTS4 8
#define SLOTS6 5

struct bucket4 {
	__u64 slots[SLOTS4]; /* verdict in the upper half, address as it lies in memory in the lower */
};
_Static_assert(sizeof(struct bucket4) == 64, "bucket4");

struct bucket6 {
	__u64 nets[SLOTS6]; /* as they lie in memory */
	__u32 verdicts[SLOTS6];
	__u32 unused;
};
_Static_assert(sizeof(struct bucket6) == 64, "bucket6");

/*
 * What one slot has counted, under the slot's number: its place in its bucket
 * behind the slots of all buckets before. Both counts end at COUNT_MAX.
 *
 * These are lines of their own, and in a flood from very many sources each
 * would have to come from memory. So a CPU counts the first COUNT_EACH packets
 * of a tick, and of those that follow one in COUNT_SAMPLE for as many, at
 * random distances: without bias, and for n such packets of a source with a
 * standard error of at most the root of (COUNT_SAMPLE - 1) n.
 */
struct slot_counts {
	__u64 both; /* openings in the upper half, packets dropped in the lower */
};
_Static_assert(sizeof(struct slot_counts) == 8, "slot_counts");

#define COUNT_MAX    0xffff0000U /* far enough from the carry for every CPU at once */
#define COUNT_EACH   64
#define COUNT_SAMPLE 128

/*
 * The set: who is dropped and nothing else is to be done, in so few bytes that those
 * of a million sources lie in a processor's own caches. Each such source has a mark
 * in it: which home of its group it belongs to (two bits), and what its hash has
 * besides its home's number. A mark of 0 is none.
 *
 * A source looks for its mark in its home first, and goes on to the next of the
 * group's four homes, half a cache line or a whole one, only where all four marks
 * of a home are others'. So whoever is not found before the first free place has
 * no mark. It may have a verdict all the same, another one, or one that its group
 * has no room for: where there is such a source the group is said to have unmarked
 * ones, and the tables have to be asked; so they have for a source whose mark would
 * be 0.
 *
 * An IPv4 address is permuted by a secret: its share of 2^32 is its home, and the
 * lower MARK_REST4 bits stand in its mark. There are never fewer than 2^(32 -
 * MARK_REST4) homes, so no two addresses of a home have the same ones: a mark is of
 * one address alone. The mark of a /64 has MARK_REST6 bits of a hash: another one has
 * the same home and mark by chance, three times in 10^9 in a full table.
 *
 * Userspace alone writes, with plain stores of whole words.
 */
#define MARK_REST4 14
#define MARK_REST6 30
#define HOMES	   4 /* of a group */

struct home4 {
	__u64 drops; /* four marks of 16 bits */
};
_Static_assert(sizeof(struct home4) == 8, "home4");

struct home6 {
	__u64 drops[2]; /* four marks of 32 bits */
};
_Static_assert(sizeof(struct home6) == 16, "home6");

/* Which groups have unmarked sources, a bit each. */
struct unmarked {
	__u64 groups;
};
_Static_assert(sizeof(struct unmarked) == 8, "unmarked");

/*
 * What a family's set needs besides. Marks have no end: they may be believed
 * before the soonest of them ends, then the tables are asked, which know. And a
 * mark that moves to another home is copied, counted, and cleared in its old
 * place; one that comes to a source which had none, counted before the group has
 * no unmarked ones any more: who has found neither finds another count.
 */
struct belief {
	__u64 until_ns; /* CLOCK_MONOTONIC */
	__u64 moves;
};
_Static_assert(sizeof(struct belief) == 16, "belief");

/*
 * What sources a bucket may have, wherever they stand: SIEVE_BITS bits of each
 * one's hash are set, so one whose bits are not all set has no verdict. It is a
 * fifth of the set, for those who are not in it. (Values of arrays are padded to
 * eight bytes: hence two.)
 */
#define SIEVE_BITS 3

struct sieve {
	__u32 buckets[2];
};
_Static_assert(sizeof(struct sieve) == 8, "sieve");

/* What a CPU remembers from packet to packet. */
struct recent {
	__u64 tick;
	__u64 random;
	__u16 each;    /* packets of this tick that are still counted one by one */
	__u16 skip;    /* packets until the next that is counted */
	__u32 dropped; /* whether the last packet to a protected port was */
};
_Static_assert(sizeof(struct recent) == 24, "recent");

/*
 * How a source finds its bucket, and its home: multiplied by a secret odd number,
 * the upper bits count (Dietzfelbinger and others, 1997): as a fraction of all
 * buckets. The secret lives as long as the table.
 */
struct table_key {
	__u64 factor4; /* two halves: see permute() */
	__u64 factor6;
	__u64 rest6; /* for the bits that stand in a mark */
	__u64 tarpit0; /* the tarpit's secret (tarpit.h): connections that it holds */
	__u64 tarpit1; /* outlast the program */
};
_Static_assert(sizeof(struct table_key) == 40, "table_key");

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

/*
 * What is in force for a source or a prefix. Times are CLOCK_MONOTONIC, ns.
 * An opening needs what comes first: in a hash's element, two cache lines.
 */
struct entry {
	__u64 expires_ns;   /* in force before this time; 0: without end */
	enum action action;
	__u16 bits;	    /* length of the prefix this entry stands for */
	__u16 keep;	    /* not 0: userspace wants it kept when there is no more room */
	__u64 every_ns;	    /* limit: time between openings (emission interval); 0: any number */
	__u64 tolerance_ns; /* limit: (burst - 1) * every_ns */
	__u64 tat_ns;	    /* limit: theoretical arrival time, the bucket's state */
	__u64 attempts;	    /* connection openings seen */
	__u64 dropped;	    /* packets dropped */
	__u64 bytes;	    /* limit: bytes of data a second on connections; 0: any number */
	__u64 byte_cost;    /* limit: time between bytes, in 2^-BYTE_SHIFT ns */
	__u64 byte_slack_ns; /* limit: tolerance of bytes */
	__u64 byte_tat_ns;  /* limit: as tat_ns, of bytes */
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
