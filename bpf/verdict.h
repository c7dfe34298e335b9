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
#include "count.h"
#include "maps.h"
#include "packet.h"

static __always_inline _Bool in_force(const struct entry *e, __u64 now)
{
	return e->expires_ns == 0 || now < e->expires_ns;
}

/* Set by the loader, constants to the verifier: see struct table_key. */
const volatile __u64 factor4;
const volatile __u64 factor6;
const volatile __u32 buckets4;
const volatile __u32 buckets6;

/* The verdict of a full bucket about a source that is not in it. */
#define VERDICT_ELSEWHERE ACTION_LIMIT

static __always_inline __u32 bucket_of(__u64 hash, __u32 buckets)
{
	return (hash >> 32) * buckets >> 32;
}

/* As many fields of so many bits, each with a one. */
#define FIELDS4 0x0002040810204081ULL
#define FIELDS6 0x0001001001001001ULL

/*
 * Whether a bucket may have something of a key: whether one of the prints in
 * the bucket's word is that of its hash (the test for a field of zero is exact
 * as to whether there is any), or a source of the bucket stands outside of it.
 */
static __always_inline _Bool may_have(const struct prints *p, __u64 hash, __u64 fields, __u32 bits)
{
	__u64 word, print = hash >> PRINT_FROM & ((1U << bits) - 1);

	if (!p)
		return 1;
	word = *(volatile __u64 *)&p->word;
	if (word & PRINT_OUTSIDE)
		return 1;
	word ^= print * fields;
	return ((word - fields) & ~word & fields << (bits - 1)) != 0;
}

/*
 * What the verdict table says of a source, 0 if nothing, and the number of its
 * slot. Loads are volatile because userspace stores meanwhile.
 *
 * What is probably flagged is looked for in the bucket at once, and what is
 * probably not, among the prints before: each costs one line from memory, not
 * two.
 */
static __always_inline __u32 find_verdict4(const struct source4 *source, _Bool flagged, __u32 *slot)
{
	struct bucket4 *bucket;
	_Bool full = 1;
	__u32 addr, index;
	__u64 hash;

	__builtin_memcpy(&addr, source->addr, sizeof(addr));
	hash = addr * factor4;
	index = bucket_of(hash, buckets4);
	if (!flagged && !may_have(bpf_map_lookup_elem(&prints4, &index), hash, FIELDS4, PRINT_BITS4))
		return 0;
	bucket = bpf_map_lookup_elem(&verdicts4, &index);
	if (!bucket)
		return 0;
	for (int i = 0; i < SLOTS4; i++) {
		__u64 head = *(volatile __u64 *)&bucket->slots[i];

		if ((__u32)head == addr) {
			*slot = index * SLOTS4 + i;
			return head >> 32;
		}
		full &= head != 0;
	}
	return full ? VERDICT_ELSEWHERE : 0;
}

static __always_inline __u32 find_verdict6(const struct source6 *source, _Bool flagged, __u32 *slot)
{
	struct bucket6 *bucket;
	_Bool full = 1;
	__u64 net, hash;
	__u32 index;

	__builtin_memcpy(&net, source->net, sizeof(net));
	hash = net * factor6;
	index = bucket_of(hash, buckets6);
	if (!flagged && !may_have(bpf_map_lookup_elem(&prints6, &index), hash, FIELDS6, PRINT_BITS6))
		return 0;
	bucket = bpf_map_lookup_elem(&verdicts6, &index);
	if (!bucket)
		return 0;
	for (int i = 0; i < SLOTS6; i++) {
		__u32 word = *(volatile __u32 *)&bucket->verdicts[i];

		if (word && *(volatile __u64 *)&bucket->nets[i] == net) {
			*slot = index * SLOTS6 + i;
			return word;
		}
		full &= word != 0;
	}
	return full ? VERDICT_ELSEWHERE : 0;
}

static __always_inline enum action action_of(__u32 word)
{
	return word & ((1 << VERDICT_ACTION_BITS) - 1);
}

static __always_inline _Bool has_ended(__u32 word, __u64 now)
{
	__u32 end = word >> (32 - VERDICT_END_BITS);

	return end && now >> VERDICT_END_SHIFT >= end;
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

static __always_inline _Bool is_in(enum ports_of which, __u16 port)
{
	struct port_set *set = bpf_map_lookup_elem(&ports, &which);

	return set && set->word[port / 64] >> (port % 64) & 1;
}

/* What follows from an entry that stands in a hash or a trie. */
static __always_inline enum exit_reason verdict_of(struct entry *e, const struct packet *p, __u64 now)
{
	enum exit_reason why;

	if (p->opening)
		__sync_fetch_and_add(&e->attempts, 1);
	switch (e->action) {
	case ACTION_DROP:
		why = EXIT_DROPPED;
		break;
	case ACTION_TARPIT:
		why = EXIT_TARPITTED;
		break;
	case ACTION_LIMIT:
		if (p->opening ? take_opening(e, now) : take_bytes(e, now, p->payload))
			return EXIT_WITHIN_LIMIT;
		why = p->opening ? EXIT_OVER_LIMIT : EXIT_OVER_BYTES;
		break;
	default:
		return EXIT_ALLOWED;
	}
	__sync_fetch_and_add(&e->dropped, 1);
	return why;
}

static __always_inline enum exit_reason judge_source(const struct packet *p, struct recent *r, __u64 now)
{
	_Bool ipv4 = p->family == 4;
	struct entry *e = 0;
	__u32 word, slot = 0;

	if (ipv4)
		word = find_verdict4(&p->source4, r->dropped, &slot);
	else
		word = find_verdict6(&p->source6, r->dropped, &slot);
	if (action_of(word) == ACTION_LIMIT) {
		e = find_source(p, now);
	} else if (word && !has_ended(word, now)) {
		enum action action = action_of(word);

		if (action != ACTION_ALLOW || p->opening)
			count(r, ipv4, slot, p->opening, action != ACTION_ALLOW, now);
		return action == ACTION_ALLOW ? EXIT_ALLOWED : action == ACTION_DROP ? EXIT_DROPPED : EXIT_TARPITTED;
	}
	if (!e && p->opening)
		e = find_prefix(p, now);
	return e ? verdict_of(e, p, now) : EXIT_UNFLAGGED;
}

/* In a flood, what came before tells best what comes now. */
static __always_inline enum exit_reason verdict(const struct packet *p, __u64 now)
{
	__u32 zero = 0;
	struct recent *r = bpf_map_lookup_elem(&recent, &zero);
	enum exit_reason why;
	_Bool dropped;

	if (!r)
		return EXIT_UNFLAGGED; /* never: the map has it */
	why = judge_source(p, r, now);
	dropped = why >= EXIT_OVER_LIMIT;
	if (dropped != r->dropped)
		r->dropped = dropped;
	return why;
}

#endif
