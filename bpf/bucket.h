/* SPDX-License-Identifier: GPL-2.0 */
/*
 * GCRA, the leaky bucket as a virtual schedule (ITU-T I.371, annex A): one
 * number, the time at which the next opening is due if the source keeps
 * exactly to its rate. An opening may come early by the tolerance.
 */
#ifndef WEIR_BUCKET_H
#define WEIR_BUCKET_H

#include <linux/types.h>

#include "abi.h"

/* Lost races before an opening counts as one too many. */
#define BUCKET_TRIES 8

/* Takes one opening from the bucket of e; false: none is left. */
static __always_inline _Bool bucket_take(struct entry *e, __u64 now)
{
	__u64 seen = *(volatile __u64 *)&e->tat_ns;

	for (int i = 0; i < BUCKET_TRIES; i++) {
		__u64 due = seen > now ? seen : now;
		__u64 held;

		if (due - now > e->tolerance_ns)
			return 0;
		held = __sync_val_compare_and_swap(&e->tat_ns, seen, due + e->every_ns);
		if (held == seen)
			return 1;
		seen = held;
	}
	return 0;
}

#endif
