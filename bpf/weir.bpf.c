// SPDX-License-Identifier: GPL-2.0
/*
 * weir in the kernel: drops, limits or tarpits TCP to protected ports by its
 * source.
 *
 * Whatever is not understood passes. Every packet leaves through leave(),
 * which counts it under a named reason.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "ceiling.h"
#include "maps.h"
#include "packet.h"
#include "tarpit.h"
#include "verdict.h"

/*
 * Tests set the clock. Constant before loading: in production the verifier
 * finds the branch dead and removes it.
 */
const volatile _Bool simulated_time;
volatile __u64 simulated_now;

/*
 * CLOCK_MONOTONIC at the last tick, without a call: ticks since the start,
 * which the loader has found to be tick_ns long and to have begun at boot_ns.
 */
const volatile __u64 tick_ns;
const volatile __u64 boot_ns;

static __always_inline __u64 clock_now(void)
{
	return simulated_time ? simulated_now : bpf_jiffies64() * tick_ns + boot_ns;
}

/*
 * Which of WIDE_TARPIT and WIDE_BYTES may stand in the tries: without any,
 * only openings pay for them.
 */
volatile __u32 wide;

/*
 * Global functions, so that the verifier walks through them once and not again
 * for each way that leads there.
 *
 * Whether a packet may be of a connection that the tarpit holds for a prefix.
 */
__noinline int is_held_xdp(struct xdp_md *ctx)
{
	return is_held((void *)(long)ctx->data, (void *)(long)ctx->data_end);
}

/* What wider entries say of a packet that is no opening. */
__noinline int judge_wide(const struct packet *p, int held)
{
	__u64 now = clock_now();
	struct entry *e;

	if (!p || (!held && (!(wide & WIDE_BYTES) || !p->payload)))
		return EXIT_UNFLAGGED;
	e = find_prefix(p, now);
	if (e && (e->action == ACTION_LIMIT || (held && e->action == ACTION_TARPIT)))
		return verdict_of(e, p, now, 1);
	return EXIT_UNFLAGGED;
}

static __always_inline enum exit_reason judge(enum exit_reason parsed, const struct packet *p)
{
	enum exit_reason why;
	__u64 now;

	if (parsed != EXIT_UNFLAGGED)
		return parsed;
	if (!is_in(PORTS_PROTECTED, p->port))
		return EXIT_OTHER_PORT;
	now = clock_now();
	why = verdict(p, now);
	if (why == EXIT_UNFLAGGED && p->opening && ceiling_every && !below_ceiling(p, now))
		return EXIT_OVER_CEILING;
	return why;
}

static __always_inline enum way_out way_out_of(__u32 interface)
{
	enum way_out *way = bpf_map_lookup_elem(&ways_out, &interface);

	return way ? *way : 0;
}

/* The one exit: counts, and says whether the packet passes. */
static __always_inline _Bool leave(enum exit_reason why, __u64 bytes)
{
	struct counter *c = bpf_map_lookup_elem(&counters, &why);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
	return why < EXIT_OVER_LIMIT;
}

/* Frames that are cut to their answer keep what Ethernet pads to. */
#define FRAME_LEAST ETH_ZLEN

/* What marks an answer on its way from XDP to weir_send, set by the loader. */
const volatile __u64 answer_mark;

/*
 * Makes the frame, len bytes long, its own answer, and returns the way it is to
 * take; 0: there is none, and it is swallowed.
 */
__noinline int answer_xdp(struct xdp_md *ctx, __u32 len)
{
	enum way_out way = way_out_of(ctx->ingress_ifindex);
	__u32 size;

	if (!way)
		return 0;
	size = tarpit_answer((void *)(long)ctx->data, (void *)(long)ctx->data_end, way);
	if (!size)
		return 0;
	if (size < FRAME_LEAST)
		size = FRAME_LEAST;
	if (len > size && bpf_xdp_adjust_tail(ctx, (int)(size - len)))
		return 0;
	if (way == WAY_MARKED) {
		__u64 *mark;

		if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*mark)))
			return 0;
		mark = (void *)(long)ctx->data_meta;
		if ((void *)(mark + 1) > (void *)(long)ctx->data)
			return 0;
		*mark = answer_mark;
	}
	return way;
}

SEC("xdp.frags")
int weir_xdp(struct xdp_md *ctx)
{
	void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 len = end - at;
	struct packet p = {};
	enum exit_reason why;
	enum way_out way = 0;

	if (len > ETH_FRAME_LEN) /* there may be more buffers than the first */
		len = bpf_xdp_get_buff_len(ctx);
	why = judge(parse_frame(at, end, 0, &p), &p);
	if (why == EXIT_UNFLAGGED && wide && !p.opening)
		why = judge_wide(&p, wide & WIDE_TARPIT && is_held_xdp(ctx));
	if (why == EXIT_TARPITTED) {
		way = answer_xdp(ctx, len);
		if (way)
			why = EXIT_ANSWERED;
	}
	if (leave(why, len) || way == WAY_MARKED)
		return XDP_PASS;
	return way ? bpf_redirect(ctx->ingress_ifindex, 0) : XDP_DROP;
}

/* Sends the answers that XDP has marked, where XDP cannot do so itself. */
SEC("tc")
int weir_send(struct __sk_buff *skb)
{
	__u64 *mark = (void *)(long)skb->data_meta;

	if ((void *)(mark + 1) > (void *)(long)skb->data || *mark != answer_mark)
		return TC_ACT_UNSPEC; /* what stands behind us goes on */
	return bpf_redirect(skb->ifindex, 0);
}

/*
 * The same in traffic control, behind the kernel's own packet structure: for
 * interfaces where XDP cannot be, or where another program is. The outermost
 * VLAN tag has been taken off the frame by then (skb_vlan_untag). Global
 * functions, so that the verifier walks through each once, though it is
 * called twice.
 */
__noinline int judge_frame(struct __sk_buff *skb)
{
	void *at = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct packet p = {};

	enum exit_reason why = judge(parse_frame(at, end, skb->vlan_present ? 1 : 0, &p), &p);

	if (why == EXIT_UNFLAGGED && wide && !p.opening)
		why = judge_wide(&p, wide & WIDE_TARPIT && is_held(at, end));
	return why;
}

/* An interface without a link layer: the packet begins with its IP header. */
__noinline int judge_bare(struct __sk_buff *skb)
{
	struct cursor c = { .at = (void *)(long)skb->data, .end = (void *)(long)skb->data_end, .left = ~0U };
	struct packet p = {};

	enum exit_reason why = judge(parse_network(&c, skb->protocol, &p), &p);

	if (why == EXIT_UNFLAGGED && wide && !p.opening)
		why = judge_wide(&p, 0); /* without a link layer, the tarpit answers nobody */
	return why;
}

/* As much as the headers of a packet may need: six extension headers of 2 KiB. */
#define HEADERS_MOST 0x4000

/*
 * Only the first part of a packet can be read directly. Whether what looks
 * malformed is just longer than that: makes it readable, and says so.
 */
static __always_inline _Bool gather(struct __sk_buff *skb)
{
	__u32 readable = skb->data_end - skb->data;

	return skb->len > readable && !bpf_skb_pull_data(skb, skb->len < HEADERS_MOST ? skb->len : HEADERS_MOST);
}

/* Segments that were joined on the way (GRO) are one packet of their length. */
static __always_inline int leave_skb(const struct __sk_buff *skb, enum exit_reason why)
{
	return leave(why, skb->len) ? TC_ACT_UNSPEC : TC_ACT_SHOT; /* what stands behind us goes on */
}

/* Makes the packet its own answer; 0: there is none, and it is swallowed. */
__noinline int answer_tc(struct __sk_buff *skb)
{
	__u32 size;

	if (way_out_of(skb->ifindex) != WAY_PACKET)
		return 0;
	size = tarpit_answer((void *)(long)skb->data, (void *)(long)skb->data_end, WAY_PACKET);
	return size && (skb->len <= size || !bpf_skb_change_tail(skb, size, 0));
}

SEC("tc")
int weir_tc(struct __sk_buff *skb)
{
	enum exit_reason why = judge_frame(skb);

	if (why == EXIT_MALFORMED && gather(skb))
		why = judge_frame(skb);
	if (why == EXIT_TARPITTED && answer_tc(skb)) {
		leave(EXIT_ANSWERED, skb->len);
		return bpf_redirect(skb->ifindex, 0);
	}
	return leave_skb(skb, why);
}

SEC("tc")
int weir_tc_bare(struct __sk_buff *skb)
{
	enum exit_reason why = judge_bare(skb);

	if (why == EXIT_MALFORMED && gather(skb))
		why = judge_bare(skb);
	return leave_skb(skb, why);
}

/* Writes ticks and time into the packet, for the loader to find boot_ns. */
SEC("xdp")
int weir_clock(struct xdp_md *ctx)
{
	__u64 *clocks = (void *)(long)ctx->data;

	if ((void *)(clocks + 2) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	clocks[0] = bpf_jiffies64();
	clocks[1] = bpf_ktime_get_coarse_ns();
	return XDP_DROP;
}

const char licence[] SEC("license") = "GPL";
