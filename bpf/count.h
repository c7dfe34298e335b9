/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counting what the slots of the verdict tables do: see struct slot_counts.
 */
#ifndef WEIR_COUNT_H
#define WEIR_COUNT_H

#include "abi.h"
#include "maps.h"

/* For how many packets this one is counted: 0, 1 or COUNT_SAMPLE. */
static __always_inline __u32 weigh(struct recent *r, __u64 now)
{
	if (r->tick != now) {
		r->tick = now;
		r->random += now;
		r->each = COUNT_EACH;
	}
	if (r->each) {
		r->each--;
		return 1;
	}
	if (r->skip) {
		r->skip--;
		return 0;
	}
	/* D. Knuth's generator for MMIX; its upper bits are the good ones. */
	r->random = r->random * 6364136223846793005ULL + 1442695040888963407ULL;
	r->skip = (r->random >> 32) * (2 * COUNT_SAMPLE - 1) >> 32;
	return COUNT_SAMPLE;
}

/* Counts a packet in its slot for so many. */
static __always_inline void count(_Bool ipv4, __u32 slot, _Bool opening, _Bool dropped, __u32 weight)
{
	struct slot_counts *c;
	__u64 seen;

	if (!weight)
		return;
	if (ipv4)
		c = bpf_map_lookup_elem(&counts4, &slot);
	else
		c = bpf_map_lookup_elem(&counts6, &slot);
	if (!c)
		return;
	seen = *(volatile __u64 *)&c->both;
	if ((__u32)seen < COUNT_MAX && seen >> 32 < COUNT_MAX)
		__sync_fetch_and_add(&c->both, (opening ? (__u64)weight << 32 : 0) | (dropped ? weight : 0));
}

#endif
