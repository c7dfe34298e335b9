/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What becomes of a packet to a protected port. It is given a parsed packet
 * and the time, so that every attach point shares it and tests can set the
 * clock.
 *
 * The entry of the source itself comes first and concerns every packet. Wider
 * entries concern connection openings alone: a trie costs more than a hash,
 * and the sessions that were open when the entry came are closed by other
 * means. The longest entry still in force decides, so a longer allow beats a
 * shorter drop; an expired one never hides a shorter one.
 */
#ifndef WEIR_VERDICT_H
#define WEIR_VERDICT_H

#include "abi.h"
#include "bucket.h"
#include "maps.h"
#include "packet.h"

static __always_inline _Bool in_force(const struct entry *e, __u64 now)
{
	return e->expires_ns == 0 || now < e->expires_ns;
}

static __always_inline struct entry *find_source(const struct packet *p, __u64 now)
{
	struct entry *e;

	if (p->family == 4)
		e = bpf_map_lookup_elem(&sources4, &p->source4);
	else
		e = bpf_map_lookup_elem(&sources6, &p->source6);
	return e && in_force(e, now) ? e : 0;
}

/*
 * key_bits is the first member of the trie's key, its length. Each round looks
 * for a shorter prefix than the expired one before. There are no more rounds
 * than lengths, so nothing can be hidden.
 */
static __always_inline struct entry *longest(void *trie, __u32 *key_bits, int lengths, __u64 now)
{
	for (int i = 0; i <= lengths; i++) {
		struct entry *e = bpf_map_lookup_elem(trie, key_bits);

		if (!e || in_force(e, now))
			return e;
		if (e->bits == 0)
			return 0;
		*key_bits = e->bits - 1;
	}
	return 0;
}

static __always_inline struct entry *find_prefix(const struct packet *p, __u64 now)
{
	struct prefix4 key4 = { .bits = 32 };
	struct prefix6 key6 = { .bits = 64 };

	if (p->family == 4) {
		__builtin_memcpy(key4.addr, p->source4.addr, sizeof(key4.addr));
		return longest(&prefixes4, &key4.bits, 32, now);
	}
	__builtin_memcpy(key6.net, p->source6.net, sizeof(key6.net));
	return longest(&prefixes6, &key6.bits, 64, now);
}

static __always_inline _Bool is_protected(__u16 port)
{
	__u32 zero = 0;
	struct port_set *set = bpf_map_lookup_elem(&ports, &zero);

	return set && set->word[port / 64] >> (port % 64) & 1;
}

static __always_inline enum exit_reason verdict(const struct packet *p, __u64 now)
{
	struct entry *e = find_source(p, now);

	if (!e && p->opening)
		e = find_prefix(p, now);
	if (!e)
		return EXIT_UNFLAGGED;
	if (p->opening)
		__sync_fetch_and_add(&e->attempts, 1);

	switch (e->action) {
	case ACTION_DROP:
		__sync_fetch_and_add(&e->dropped, 1);
		return EXIT_DROPPED;
	case ACTION_LIMIT:
		if (!p->opening || bucket_take(e, now))
			return EXIT_WITHIN_LIMIT;
		__sync_fetch_and_add(&e->dropped, 1);
		return EXIT_OVER_LIMIT;
	default:
		return EXIT_ALLOWED;
	}
}

#endif
