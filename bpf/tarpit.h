/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tarpit: openings are answered as by a server that is slow to take
 * anything, and nothing is remembered. Everything an answer needs is in the
 * packet that asks for it:
 *
 *	SYN			SYN-ACK with a window of a few bytes
 *	data, window probe	ACK of the client's SYN and nothing after it, with
 *				no window (RFC 9293, section 3.8.6.1): the
 *				client has to go on asking
 *	all else		nothing, FIN and RST among it
 *
 * Our sequence number is a keyed hash of addresses and ports, plus the client's
 * own first sequence number, as in a SYN cookie (RFC 4987, section 3.6). What
 * the client acknowledges thus tells whether we answered its SYN, and how that
 * was numbered: nothing past it is ever acknowledged, so that all its segments
 * begin within the window of the SYN-ACK.
 *
 * Works on a frame in place, whoever holds it. A frame whose headers are not
 * plain (IPv4 options, IPv6 extension headers) or that was sent to many is
 * swallowed.
 */
#ifndef WEIR_TARPIT_H
#define WEIR_TARPIT_H

#include "packet.h"

#define TARPIT_WINDOW 5
#define TARPIT_HOPS   64

/* Set by the loader, constants to the verifier: see struct table_key. */
const volatile __u64 tarpit0;
const volatile __u64 tarpit1;

/* Where the headers of a plain TCP packet lie. */
struct plain {
	struct ethhdr *eth;
	union {
		void *ip;
		struct iphdr *ip4;
		struct ipv6hdr *ip6;
	};
	struct tcphdr *tcp;
	__u32 payload;
	__u8 family; /* 4 or 6 */
};

static __always_inline _Bool find_plain(void *at, void *end, struct plain *h)
{
	struct vlan_tag *tag;
	__be16 proto;

	h->eth = at;
	if ((void *)(h->eth + 1) > end)
		return 0;
	proto = h->eth->h_proto;
	at = h->eth + 1;
	for (int i = 0; i < VLAN_TAGS && is_vlan(proto); i++) {
		tag = at;
		if ((void *)(tag + 1) > end)
			return 0;
		proto = tag->proto;
		at = tag + 1;
	}
	h->ip = at;
	if (proto == bpf_htons(ETH_P_IP)) {
		h->family = 4;
		h->tcp = (void *)(h->ip4 + 1);
		if ((void *)(h->tcp + 1) > end)
			return 0;
		h->payload = bpf_ntohs(h->ip4->tot_len) - sizeof(*h->ip4) - h->tcp->doff * 4;
		return h->ip4->ihl == sizeof(*h->ip4) / 4 && h->ip4->protocol == IPPROTO_TCP &&
		       !(h->ip4->frag_off & bpf_htons(IP_MORE | IP_OFFSET));
	}
	if (proto != bpf_htons(ETH_P_IPV6))
		return 0;
	h->family = 6;
	h->tcp = (void *)(h->ip6 + 1);
	if ((void *)(h->tcp + 1) > end)
		return 0;
	h->payload = bpf_ntohs(h->ip6->payload_len) - h->tcp->doff * 4;
	return h->ip6->nexthdr == IPPROTO_TCP;
}

#define ROTATE(x, b) ((x) << (b) | (x) >> (64 - (b)))

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = ROTATE(s->v1, 13) ^ s->v0;
	s->v0 = ROTATE(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = ROTATE(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = ROTATE(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = ROTATE(s->v1, 17) ^ s->v2;
	s->v2 = ROTATE(s->v2, 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012), as the kernel has it for tables. */
static __always_inline __u32 sip_hash(const __u64 *words, int n)
{
	struct sip s = {
		.v0 = tarpit0 ^ 0x736f6d6570736575ULL,
		.v1 = tarpit1 ^ 0x646f72616e646f6dULL,
		.v2 = tarpit0 ^ 0x6c7967656e657261ULL,
		.v3 = tarpit1 ^ 0x7465646279746573ULL,
	};
	__u64 length = (__u64)n * sizeof(*words) << 56;

	for (int i = 0; i < n; i++) {
		s.v3 ^= words[i];
		sip_round(&s);
		s.v0 ^= words[i];
	}
	s.v3 ^= length;
	sip_round(&s);
	s.v0 ^= length;
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The hash of what stays the same in all that a client sends on a connection. */
static __always_inline __u32 connection_hash(const struct plain *h)
{
	__u64 words[5] = {};

	__builtin_memcpy(&words[0], &h->tcp->source, 4); /* both ports */
	if (h->family == 4) {
		__builtin_memcpy(&words[1], &h->ip4->saddr, 8); /* both addresses */
		return sip_hash(words, 2);
	}
	__builtin_memcpy(&words[1], &h->ip6->saddr, 32);
	return sip_hash(words, 5);
}

/* The client's first sequence number, if it says that we answered its SYN. */
static __always_inline _Bool was_answered(const struct plain *h, __u32 *first)
{
	if (!h->tcp->ack || h->tcp->syn)
		return 0;
	*first = bpf_ntohl(h->tcp->ack_seq) - 1 - connection_hash(h);
	return bpf_ntohl(h->tcp->seq) - *first <= 1 + TARPIT_WINDOW;
}

/* Whether a packet belongs to a connection that the tarpit holds. */
static __always_inline _Bool is_held(void *at, void *end)
{
	struct plain h;
	__u32 first;

	return find_plain(at, end, &h) && was_answered(&h, &first);
}

/* Of 16-bit words in network byte order, the sum that RFC 1071 complements. */
static __always_inline __u64 add_words(__u64 sum, const void *at, int bytes)
{
	const __u16 *word = at;

	for (int i = 0; i < bytes / 2; i++)
		sum += word[i];
	return sum;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u64 pseudo_header(const struct plain *h, __u32 length)
{
	__u64 sum = bpf_htons(IPPROTO_TCP) + (__u64)bpf_htons(length);

	if (h->family == 4)
		return add_words(sum, &h->ip4->saddr, 8);
	return add_words(sum, &h->ip6->saddr, 32);
}

/*
 * Whether the checksum is left to whoever sends the packet on (CHECKSUM_PARTIAL
 * in the kernel), as virtual machines and veth pairs do among themselves: then
 * it holds the sum of the pseudo header so far, and so must the answer's.
 */
static __always_inline _Bool is_partial(const struct plain *h)
{
	return h->tcp->check == fold(pseudo_header(h, h->tcp->doff * 4 + h->payload));
}

/* Turns the IP header round. */
static __always_inline void answer_ip(struct plain *h)
{
	if (h->family == 4) {
		struct iphdr *ip = h->ip4;
		__be32 source = ip->saddr;

		ip->tos = 0;
		ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*h->tcp));
		ip->id = 0;
		ip->frag_off = bpf_htons(0x4000); /* do not fragment */
		ip->ttl = TARPIT_HOPS;
		ip->saddr = ip->daddr;
		ip->daddr = source;
		ip->check = 0;
		ip->check = ~fold(add_words(0, ip, sizeof(*ip)));
	} else {
		struct ipv6hdr *ip = h->ip6;
		struct in6_addr source = ip->saddr;

		ip->priority = 0;
		__builtin_memset(ip->flow_lbl, 0, sizeof(ip->flow_lbl));
		ip->payload_len = bpf_htons(sizeof(*h->tcp));
		ip->hop_limit = TARPIT_HOPS;
		ip->saddr = ip->daddr;
		ip->daddr = source;
	}
}

/* Turns the TCP header round, whose addresses are the answer's already. */
static __always_inline void answer_tcp(const struct plain *h, __u32 seq, __u32 ack, _Bool opening, _Bool partial)
{
	struct tcphdr *tcp = h->tcp;
	__be16 source = tcp->source;

	tcp->source = tcp->dest;
	tcp->dest = source;
	tcp->seq = bpf_htonl(seq);
	tcp->ack_seq = bpf_htonl(ack);
	/* Length 5 words, flags ACK, and SYN if it is to be one. */
	((__u8 *)tcp)[12] = sizeof(*tcp) / 4 << 4;
	((__u8 *)tcp)[13] = opening ? 0x12 : 0x10;
	tcp->window = opening ? bpf_htons(TARPIT_WINDOW) : 0;
	tcp->urg_ptr = 0;
	tcp->check = 0;
	tcp->check = partial ? fold(pseudo_header(h, sizeof(*tcp)))
			     : ~fold(add_words(pseudo_header(h, sizeof(*tcp)), tcp, sizeof(*tcp)));
}

/*
 * Turns a packet from a tarpitted client into the answer to it, and returns how
 * many bytes of the frame that is; 0 if there is none. way tells who sends it.
 */
static __always_inline __u32 tarpit_answer(void *at, void *end, enum way_out way)
{
	__u8 mac[ETH_ALEN];
	struct plain h;
	__u32 first, hash;
	_Bool opening, partial;

	if (!find_plain(at, end, &h) || h.eth->h_dest[0] & 1)
		return 0;
	if (h.tcp->fin || h.tcp->rst)
		return 0;
	hash = connection_hash(&h);
	opening = h.tcp->syn && !h.tcp->ack;
	if (opening)
		first = bpf_ntohl(h.tcp->seq);
	else if (!was_answered(&h, &first))
		return 0;
	else if (!h.payload && bpf_ntohl(h.tcp->seq) != first)
		return 0; /* no probe: answers to it would be answered, without end */
	partial = way != WAY_FRAME && is_partial(&h);

	__builtin_memcpy(mac, h.eth->h_source, sizeof(mac));
	__builtin_memcpy(h.eth->h_source, h.eth->h_dest, sizeof(mac));
	__builtin_memcpy(h.eth->h_dest, mac, sizeof(mac));
	answer_ip(&h);
	answer_tcp(&h, opening ? first + hash : first + hash + 1, first + 1, opening, partial);
	return (void *)(h.tcp + 1) - at;
}

#endif
