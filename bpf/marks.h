/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Looking into the set: see abi.h. In a flood from a million sources this is one
 * line that the processor has, where the tables are two that it has not.
 */
#ifndef WEIR_MARKS_H
#define WEIR_MARKS_H

#include "abi.h"
#include "maps.h"
#include "packet.h"

/* Set by the loader, constants to the verifier: see struct table_key. */
const volatile __u64 factor4;
const volatile __u64 factor6;
const volatile __u64 rest6;
const volatile __u32 homes4;
const volatile __u32 homes6;

/* What the set says of a source. */
enum mark {
	MARK_NONE, /* it has no verdict */
	MARK_ASK,  /* the tables say */
	MARK_DROP, /* it is dropped */
};

/* Upside down, no address looks like its neighbours; one to one. */
static __always_inline __u32 permute(const struct source4 *source)
{
	__u32 addr;

	__builtin_memcpy(&addr, source->addr, sizeof(addr));
	addr *= (__u32)factor4;
	addr ^= addr >> 16;
	return addr * ((__u32)(factor4 >> 32) | 1);
}

static __always_inline __u64 hash6(const struct source6 *source)
{
	__u64 net;

	__builtin_memcpy(&net, source->net, sizeof(net));
	return net * factor6;
}

/* What a mark has of a /64's hash. */
static __always_inline __u32 rest_of(__u64 hash)
{
	return (hash ^ hash >> 32) * rest6 >> (64 - MARK_REST6);
}

/* The upper half of a hash as a fraction of so many. */
static __always_inline __u32 share_of(__u32 upper, __u32 of)
{
	return (__u64)upper * of >> 32;
}

/* The bits that a source has in a sieve. */
static __always_inline __u32 sieve_bits(__u32 rest)
{
	return 1U << (rest & 31) | 1U << (rest >> 5 & 31) | 1U << (rest >> 10 & 31);
}

/* Whether a bucket may have something of a source. */
static __always_inline _Bool may_have(void *sieve, __u32 bucket, __u32 bits)
{
	__u32 pair = bucket / 2;
	struct sieve *s = bpf_map_lookup_elem(sieve, &pair);

	return !s || (*(volatile __u32 *)&s->buckets[bucket & 1] & bits) == bits;
}

/* The lowest bit of each mark. */
#define EACH4 0x0001000100010001ULL
#define EACH6 0x0000000100000001ULL

/* Not 0 if one of the marks is. */
static __always_inline __u64 zeros(__u64 marks, __u64 each, int width)
{
	return (marks - each) & ~marks & each << (width - 1);
}

/* What a source has whose mark is not found: moves was read before. */
static __always_inline enum mark unfound(void *unmarked, __u32 home, const struct belief *b, __u64 moves)
{
	__u32 group = home / HOMES, word = group / 64;
	struct unmarked *u = bpf_map_lookup_elem(unmarked, &word);

	if (!u || *(volatile __u64 *)&u->groups >> (group % 64) & 1)
		return MARK_ASK;
	return *(volatile __u64 *)&b->moves == moves ? MARK_NONE : MARK_ASK;
}

static __always_inline enum mark drop_if_believed(const struct belief *b, __u64 now)
{
	return now < *(volatile __u64 *)&b->until_ns ? MARK_DROP : MARK_ASK;
}

static __always_inline enum mark find_mark4(__u32 hash, __u64 now)
{
	__u32 zero = 0, home = share_of(hash, homes4);
	__u64 mark = (hash & ((1U << MARK_REST4) - 1)) | (home & (HOMES - 1)) << MARK_REST4;
	struct belief *b = bpf_map_lookup_elem(&belief4, &zero);
	__u64 moves;

	if (!mark || !b)
		return MARK_ASK;
	mark *= EACH4;
	moves = *(volatile __u64 *)&b->moves;
	for (int i = 0; i < HOMES; i++) {
		__u32 index = (home & ~(HOMES - 1)) | ((home + i) & (HOMES - 1));
		struct home4 *h = bpf_map_lookup_elem(&marks4, &index);
		__u64 marks;

		if (!h)
			return MARK_ASK;
		marks = *(volatile __u64 *)&h->drops;
		if (zeros(marks ^ mark, EACH4, 16))
			return drop_if_believed(b, now);
		if (zeros(marks, EACH4, 16))
			break;
	}
	return unfound(&unmarked4, home, b, moves);
}

static __always_inline enum mark find_mark6(__u64 hash, __u32 rest, __u64 now)
{
	__u32 zero = 0, home = share_of(hash >> 32, homes6);
	__u64 mark = rest | (__u64)(home & (HOMES - 1)) << MARK_REST6;
	struct belief *b = bpf_map_lookup_elem(&belief6, &zero);
	__u64 moves;

	if (!mark || !b)
		return MARK_ASK;
	mark *= EACH6;
	moves = *(volatile __u64 *)&b->moves;
	for (int i = 0; i < HOMES; i++) {
		__u32 index = (home & ~(HOMES - 1)) | ((home + i) & (HOMES - 1));
		struct home6 *h = bpf_map_lookup_elem(&marks6, &index);
		__u64 one, two;

		if (!h)
			return MARK_ASK;
		one = *(volatile __u64 *)&h->drops[0];
		two = *(volatile __u64 *)&h->drops[1];
		if (zeros(one ^ mark, EACH6, 32) | zeros(two ^ mark, EACH6, 32))
			return drop_if_believed(b, now);
		if (zeros(one, EACH6, 32) | zeros(two, EACH6, 32))
			break;
	}
	return unfound(&unmarked6, home, b, moves);
}

#endif
