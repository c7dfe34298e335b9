/* SPDX-License-Identifier: GPL-2.0 */
/*
 * GCRA, the leaky bucket as a virtual schedule (ITU-T I.371, annex A): one
 * number, the time at which the next opening, or byte, is due if the source
 * keeps exactly to its rate. It may come early by the tolerance.
 */
#ifndef WEIR_BUCKET_H
#define WEIR_BUCKET_H

#include <linux/types.h>

#include "abi.h"

/* Lost races before something counts as too much. */
#define BUCKET_TRIES 8

/*
 * Takes what costs so many ns from the bucket whose state is at tat; false: it
 * comes too early. What costs more than the tolerance is let through all the
 * same if it is due, and those after it wait the longer: the rate holds, and
 * no frame is too large to pass ever.
 */
static __always_inline _Bool bucket_take(__u64 *tat, __u64 now, __u64 cost, __u64 tolerance)
{
	__u64 seen = *(volatile __u64 *)tat;

	for (int i = 0; i < BUCKET_TRIES; i++) {
		__u64 due = seen > now ? seen : now;
		__u64 held;

		if (due - now > tolerance)
			return 0;
		held = __sync_val_compare_and_swap(tat, seen, due + cost);
		if (held == seen)
			return 1;
		seen = held;
	}
	return 0;
}

static __always_inline _Bool take_opening(struct entry *e, __u64 now)
{
	return !e->every_ns || bucket_take(&e->tat_ns, now, e->every_ns, e->tolerance_ns);
}

static __always_inline _Bool take_bytes(struct entry *e, __u64 now, __u32 bytes)
{
	return !e->byte_cost || !bytes ||
	       bucket_take(&e->byte_tat_ns, now, bytes * e->byte_cost >> BYTE_SHIFT, e->byte_slack_ns);
}

#endif
