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

#include "abi.h"

#define VLAN_TAGS     2 /* 802.1Q, or 802.1ad around it */
#define IPV6_HEADERS  6 /* one of each kind RFC 8200, section 4.1, lists before TCP */
#define IP_MORE	      0x2000
#define IP_OFFSET     0x1fff
#define IPV6_OFFSET   0xfff8
#define TCP_PORTS_LEN 4

struct packet {
	union {
		struct source4 source4;
		struct source6 source6;
	};
	__u8 family; /* 4 or 6 */
	__u8 opening;
	__u16 port; /* destination, host byte order */
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

/* The common start of hop-by-hop, routing, destination options and AH. */
struct extension {
	__u8 next;
	__u8 len;
	__u8 rest[6];
};

struct fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* The next size bytes, or NULL if there are not as many. Does not move. */
static __always_inline void *peek(struct cursor *c, __u32 size)
{
	if (c->left < size || c->at + size > c->end)
		return 0;
	return c->at;
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
	struct tcphdr *tcp = peek(c, sizeof(*tcp));

	if (tcp) {
		if (tcp->doff < sizeof(*tcp) / 4)
			return EXIT_MALFORMED;
		p->port = bpf_ntohs(tcp->dest);
		p->opening = tcp->syn && !tcp->ack;
		return EXIT_UNFLAGGED;
	}
	/*
	 * A first fragment so short that its flags come in the next one (RFC
	 * 1858): the stack would put it together, so it is judged by the ports
	 * it shows, as an opening.
	 */
	tcp = peek(c, TCP_PORTS_LEN);
	if (!tcp || !fragmented)
		return EXIT_MALFORMED;
	p->port = bpf_ntohs(tcp->dest);
	p->opening = 1;
	return EXIT_UNFLAGGED;
}

static __always_inline enum exit_reason parse_ipv4(struct cursor *c, struct packet *p)
{
	struct iphdr *ip = peek(c, sizeof(*ip));
	__u32 header, total;
	__u16 fragment;

	if (!ip || ip->version != 4)
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
	struct ipv6hdr *ip = peek(c, sizeof(*ip));
	_Bool fragmented = 0;
	__u8 next;

	if (!ip || ip->version != 6)
		return EXIT_MALFORMED;
	p->family = 6;
	__builtin_memcpy(&p->source6, &ip->saddr, sizeof(p->source6));
	next = ip->nexthdr;
	c->left = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	advance(c, sizeof(*ip));

	for (int i = 0; i <= IPV6_HEADERS; i++) {
		struct extension *ext;
		struct fragment *frag;

		switch (next) {
		case IPPROTO_TCP:
			return parse_tcp(c, p, fragmented);
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_AH:
			ext = peek(c, sizeof(*ext));
			if (!ext)
				return EXIT_MALFORMED;
			/* AH alone counts in units of 4 bytes, less 2 (RFC 4302, 2.2). */
			__u32 size = next == IPPROTO_AH ? (ext->len + 2) * 4 : (ext->len + 1) * 8;
			next = ext->next;
			if (size > c->left)
				return EXIT_MALFORMED;
			advance(c, size);
			break;
		case IPPROTO_FRAGMENT:
			frag = peek(c, sizeof(*frag));
			if (!frag)
				return EXIT_MALFORMED;
			if (frag->offset & bpf_htons(IPV6_OFFSET))
				return EXIT_FRAGMENT;
			fragmented = 1;
			next = frag->next;
			advance(c, sizeof(*frag));
			break;
		default:
			return EXIT_NOT_TCP;
		}
	}
	return EXIT_DEEP_HEADERS;
}

/* Fills p and returns EXIT_UNFLAGGED, or returns why there is nothing to judge. */
static __always_inline enum exit_reason parse(void *at, void *end, struct packet *p)
{
	struct cursor c = { .at = at, .end = end, .left = ~0U };
	struct ethhdr *eth = peek(&c, sizeof(*eth));
	__be16 proto;

	if (!eth)
		return EXIT_MALFORMED;
	proto = eth->h_proto;
	advance(&c, sizeof(*eth));
	for (int i = 0; i < VLAN_TAGS && is_vlan(proto); i++) {
		struct vlan_tag *tag = peek(&c, sizeof(*tag));

		if (!tag)
			return EXIT_MALFORMED;
		proto = tag->proto;
		advance(&c, sizeof(*tag));
	}
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(&c, p);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(&c, p);
	return EXIT_NOT_IP;
}

#endif
