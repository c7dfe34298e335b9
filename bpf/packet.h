/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From a frame to what a verdict needs: who, to which port, and whether a
 * connection is being opened. Nothing is read before it is known to lie in
 * the frame and in the IP packet's own length, so that padding behind a short
 * packet is never taken for TCP.
 */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

#define VLAN_TAGS     2 /* 802.1Q, or 802.1ad around it */
#define IPV6_HEADERS  6 /* one of each kind RFC 8200, section 4.1, lists before TCP */
#define IP_MORE	      0x2000
#define IP_OFFSET     0x1fff
#define IPV6_OFFSET   0xfff8
#define IPV6_MORE     0x0001
#define TCP_PORTS_LEN 4

struct packet {
	union {
		struct source4 source4;
		struct source6 source6;
	};
	__u8 family; /* 4 or 6 */
	__u8 opening;
	__u16 port;    /* destination, host byte order */
	__u32 payload; /* bytes of TCP data, by the lengths in the headers */
};

/* Where reading stands: [at, end) is the frame's rest, left the IP packet's. */
struct cursor {
	void *at;
	void *end;
	__u32 left;
};

struct vlan_tag {
	__be16 control;
	__be16 proto;
};

/* Any IPv6 extension header: the shortest there is, and its fields. */
struct extension {
	__u8 next;
	__u8 len;	 /* in units that depend on the kind */
	__be16 fragment; /* fragment header: offset, 2 bits, whether more come */
	__u8 rest[4];
};

/*
 * The extension headers that are followed, with the unit of their length
 * (RFC 8200, section 4; AH: RFC 4302, section 2.2; a fragment header has
 * none). A table and not a switch, because the verifier follows each branch
 * of a switch separately, in every round of the loop. The verifier of Linux
 * 6.1 forgets the bounds of a product, and learns them from EXTENSION_MAX, a
 * mask that no header reaches.
 */
#define EXTENSION      0x80
#define EXTENSION_UNIT 0x0f
#define EXTENSION_MAX  0xfff
static const __u8 ipv6_extensions[256] = {
	[IPPROTO_HOPOPTS] = EXTENSION | 8,  [IPPROTO_ROUTING] = EXTENSION | 8,
	[IPPROTO_FRAGMENT] = EXTENSION | 0, [IPPROTO_AH] = EXTENSION | 4,
	[IPPROTO_DSTOPTS] = EXTENSION | 8,
};

/* Whether the next size bytes can be read. */
static __always_inline _Bool has(const struct cursor *c, __u32 size)
{
	return c->left >= size && c->at + size <= c->end;
}

static __always_inline void advance(struct cursor *c, __u32 size)
{
	c->at += size;
	c->left -= size;
}

static __always_inline _Bool is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

static __always_inline enum exit_reason parse_tcp(struct cursor *c, struct packet *p, _Bool fragmented)
{
	struct tcphdr *tcp = c->at;

	if (has(c, sizeof(*tcp))) {
		if (tcp->doff < sizeof(*tcp) / 4)
			return EXIT_MALFORMED;
		p->port = bpf_ntohs(tcp->dest);
		p->opening = tcp->syn && !tcp->ack;
		p->payload = c->left > tcp->doff * 4U ? c->left - tcp->doff * 4U : 0;
		return EXIT_UNFLAGGED;
	}
	/*
	 * A first fragment so short that its flags come in the next one (RFC
	 * 1858): the stack would put it together, so it is judged by the ports
	 * it shows, as an opening.
	 */
	if (!fragmented || !has(c, TCP_PORTS_LEN))
		return EXIT_MALFORMED;
	p->port = bpf_ntohs(tcp->dest);
	p->opening = 1;
	return EXIT_UNFLAGGED;
}

static __always_inline enum exit_reason parse_ipv4(struct cursor *c, struct packet *p)
{
	struct iphdr *ip = c->at;
	__u32 header, total;
	__u16 fragment;

	if (!has(c, sizeof(*ip)) || ip->version != 4)
		return EXIT_MALFORMED;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (header < sizeof(*ip) || total < header)
		return EXIT_MALFORMED;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & IP_OFFSET)
		return EXIT_FRAGMENT;
	if (ip->protocol != IPPROTO_TCP)
		return EXIT_NOT_TCP;
	p->family = 4;
	__builtin_memcpy(&p->source4, &ip->saddr, sizeof(p->source4));
	c->left = total;
	advance(c, header);
	return parse_tcp(c, p, fragment & IP_MORE);
}

static __always_inline enum exit_reason parse_ipv6(struct cursor *c, struct packet *p)
{
	struct ipv6hdr *ip = c->at;
	_Bool fragmented = 0;
	__u8 next;

	if (!has(c, sizeof(*ip)) || ip->version != 6)
		return EXIT_MALFORMED;
	p->family = 6;
	__builtin_memcpy(&p->source6, &ip->saddr, sizeof(p->source6));
	next = ip->nexthdr;
	c->left = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	advance(c, sizeof(*ip));

	for (int i = 0; i <= IPV6_HEADERS; i++) {
		struct extension *ext = c->at;
		__u8 kind = ipv6_extensions[next];
		__u32 size;

		if (next == IPPROTO_TCP)
			return parse_tcp(c, p, fragmented);
		if (!kind)
			return EXIT_NOT_TCP;
		if (!has(c, sizeof(*ext)))
			return EXIT_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			if (ext->fragment & bpf_htons(IPV6_OFFSET))
				return EXIT_FRAGMENT;
			fragmented = ext->fragment & bpf_htons(IPV6_MORE);
		}
		size = sizeof(*ext) + ext->len * (kind & EXTENSION_UNIT);
		barrier_var(size); /* keeps the compiler from dropping the mask as idle */
		size &= EXTENSION_MAX;
		if (size > c->left)
			return EXIT_MALFORMED;
		next = ext->next;
		advance(c, size);
	}
	return EXIT_DEEP_HEADERS;
}

/*
 * What comes behind the link layer. Fills p and returns EXIT_UNFLAGGED, or
 * returns why there is nothing to judge.
 */
static __always_inline enum exit_reason parse_network(struct cursor *c, __be16 proto, struct packet *p)
{
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(c, p);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(c, p);
	return EXIT_NOT_IP;
}

/* The same for an Ethernet frame, of which so many tags were taken off before. */
static __always_inline enum exit_reason parse_frame(void *at, void *end, int tags, struct packet *p)
{
	struct cursor c = { .at = at, .end = end, .left = ~0U };
	struct ethhdr *eth = at;
	__be16 proto;

	if (!has(&c, sizeof(*eth)))
		return EXIT_MALFORMED;
	proto = eth->h_proto;
	advance(&c, sizeof(*eth));
	for (int i = tags; i < VLAN_TAGS && is_vlan(proto); i++) {
		struct vlan_tag *tag = c.at;

		if (!has(&c, sizeof(*tag)))
			return EXIT_MALFORMED;
		proto = tag->proto;
		advance(&c, sizeof(*tag));
	}
	return parse_network(&c, proto, p);
}

#endif
