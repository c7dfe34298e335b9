/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How many connections any source may open, so that a flood is blunted before
 * somebody has read a line about it. Of sources that no entry concerns only,
 * and of their openings only.
 *
 * The buckets stand in a table of fixed size. One that has no debt says nothing
 * and is free, so that sources that come once, forged ones for instance, take
 * no room for longer than the time between two openings. Where room is short
 * all the same, the one with the least debt goes: whoever floods is the last to
 * be forgotten.
 */
#ifndef WEIR_CEILING_H
#define WEIR_CEILING_H

#include "bucket.h"
#include "maps.h"
#include "packet.h"
#include "verdict.h"

/*
 * The rate of each source, in units of 2^CEILING_SHIFT ns: time between
 * openings and tolerance. 0: there is no ceiling.
 */
volatile __u32 ceiling_every;
volatile __u32 ceiling_tolerance;

/*
 * Of what is left of the product, as of struct table_key, the upper bits find
 * the line and the 32 behind them stand for the source: another source has the
 * same only by chance, once in 2^32 of those that share a line.
 */
#define CEILING_INDEX_SHIFT (64 - CEILING_LINES_LOG)

/* Takes one opening of a source that may not have opened too many. */
__noinline int below_ceiling(const struct packet *p, __u64 now)
{
	__u32 every = ceiling_every, tolerance = ceiling_tolerance, most = tolerance + every;
	__u32 clock = now >> CEILING_SHIFT, least = ~0U, place = 0, index, name;
	struct ceiling_line *line;
	__u64 key = 0, seen = 0;

	if (!p || !is_in(PORTS_CEILING, p->port))
		return 1;
	if (p->family == 4) {
		__builtin_memcpy(&key, p->source4.addr, sizeof(p->source4.addr));
		key *= factor4;
	} else {
		__builtin_memcpy(&key, p->source6.net, sizeof(p->source6.net));
		key *= factor6;
	}
	index = key >> CEILING_INDEX_SHIFT;
	name = key >> (CEILING_INDEX_SHIFT - 32);
	line = bpf_map_lookup_elem(&ceiling, &index);
	if (!line)
		return 1;
	for (int i = 0; i < CEILING_SLOTS; i++) {
		__u64 slot = *(volatile __u64 *)&line->slots[i];
		__u32 debt = (slot >> 32) - clock;

		if (debt > most) /* paid, or from before the clock came round */
			debt = 0;
		if ((__u32)slot == name) {
			if (debt > tolerance)
				return 0;
			place = i;
			seen = slot;
			least = debt;
			break;
		}
		if (debt < least) {
			place = i;
			seen = slot;
			least = debt;
		}
	}
	if ((__u32)seen != name)
		least = 0;
	/* A race that is lost lets one opening through for nothing. */
	__sync_val_compare_and_swap(&line->slots[place & (CEILING_SLOTS - 1)], seen,
				    (__u64)(clock + least + every) << 32 | name);
	return 1;
}

#endif
