/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How many connections any source may open, so that a flood is blunted before
 * somebody has read a line about it. Of sources that no entry concerns only,
 * and of their openings only.
 */
#ifndef WEIR_CEILING_H
#define WEIR_CEILING_H

#include "bucket.h"
#include "maps.h"
#include "packet.h"
#include "verdict.h"

/* The rate of each source, as in struct entry; 0: there is no ceiling. */
volatile __u64 ceiling_every_ns;
volatile __u64 ceiling_tolerance_ns;

static __always_inline _Bool below(void *map, const void *source, __u64 now, __u64 every)
{
	__u64 *tat = bpf_map_lookup_elem(map, source);
	__u64 first = now + every;

	if (tat)
		return bucket_take(tat, now, every, ceiling_tolerance_ns);
	bpf_map_update_elem(map, source, &first, BPF_ANY);
	return 1;
}

/* Takes one opening of a source that may not have opened too many. */
static __always_inline _Bool below_ceiling(const struct packet *p, __u64 now)
{
	__u64 every = ceiling_every_ns;

	if (!every || !is_in(PORTS_CEILING, p->port))
		return 1;
	if (p->family == 4)
		return below(&ceiling4, &p->source4, now, every);
	return below(&ceiling6, &p->source6, now, every);
}

#endif
