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
#include "marks.h"
#include "packet.h"

static __always_inline _Bool in_force(const struct entry *e, __u64 now)
{
	return e->expires_ns == 0 || now < e->expires_ns;
}

/* Set by the loader, constants to the verifier. */
const volatile __u32 buckets4;
const volatile __u32 buckets6;

/* The verdict of a full bucket about a source that is not in it. */
#define VERDICT_ELSEWHERE ACTION_LIMIT

/*
 * What the verdict table says of a source, 0 if nothing, and the number of its
 * slot. Loads are volatile because userspace stores meanwhile.
 */
static __always_inline __u32 find_verdict4(const struct source4 *source, __u32 index, __u32 *slot)
{
	__u32 addr;
	struct bucket4 *bucket = bpf_map_lookup_elem(&verdicts4, &index);
	_Bool full = 1;

	if (!bucket)
		return 0;
	__builtin_memcpy(&addr, source->addr, sizeof(addr));
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

static __always_inline __u32 find_verdict6(const struct source6 *source, __u32 index, __u32 *slot)
{
	struct bucket6 *bucket = bpf_map_lookup_elem(&verdicts6, &index);
	_Bool full = 1;
	__u64 net;

	if (!bucket)
		return 0;
	__builtin_memcpy(&net, source->net, sizeof(net));
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

/* What follows from an entry that stands in a hash or a trie, for a packet that is counted for so many. */
static __always_inline enum exit_reason verdict_of(struct entry *e, const struct packet *p, __u64 now, __u32 weight)
{
	enum exit_reason why;

	if (p->opening)
		__sync_fetch_and_add(&e->attempts, weight);
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
	__sync_fetch_and_add(&e->dropped, weight);
	return why;
}

/*
 * What the set says of a source, and what bucket is its. The set costs one line
 * of many that must be in a cache, the sieve one of fewer. So what is probably
 * flagged is looked for in the set at once, what is probably not, in the sieve
 * before.
 */
static __always_inline enum mark mark_of(const struct packet *p, _Bool flagged, __u32 *bucket, __u64 now)
{
	if (p->family == 4) {
		__u32 hash = permute(&p->source4);

		*bucket = share_of(hash, buckets4);
		if (!flagged && !may_have(&sieve4, *bucket, sieve_bits(hash)))
			return MARK_NONE;
		return find_mark4(hash, now);
	} else {
		__u64 hash = hash6(&p->source6);
		__u32 rest = rest_of(hash);

		*bucket = share_of(hash >> 32, buckets6);
		if (!flagged && !may_have(&sieve6, *bucket, sieve_bits(rest)))
			return MARK_NONE;
		return find_mark6(hash, rest, now);
	}
}

static __always_inline enum exit_reason judge_source(const struct packet *p, struct recent *r, __u64 now)
{
	_Bool ipv4 = p->family == 4;
	__u32 bucket, word, slot = 0, weight = 0;
	enum mark mark = mark_of(p, r->dropped, &bucket, now);
	struct entry *e = 0;

	if (mark == MARK_DROP) {
		weight = weigh(r, now);
		if (!weight)
			return EXIT_DROPPED;
	}
	if (mark != MARK_NONE) {
		word = ipv4 ? find_verdict4(&p->source4, bucket, &slot) : find_verdict6(&p->source6, bucket, &slot);
		if (action_of(word) == ACTION_LIMIT) {
			e = find_source(p, now);
		} else if (word && !has_ended(word, now)) {
			enum action action = action_of(word);

			if (!weight && (action != ACTION_ALLOW || p->opening))
				weight = weigh(r, now);
			count(ipv4, slot, p->opening, action != ACTION_ALLOW, weight);
			return action == ACTION_ALLOW ? EXIT_ALLOWED : action == ACTION_DROP ? EXIT_DROPPED : EXIT_TARPITTED;
		}
	}
	if (!e && p->opening) {
		e = find_prefix(p, now);
		weight = 0;
	}
	return e ? verdict_of(e, p, now, weight ? weight : 1) : EXIT_UNFLAGGED;
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
