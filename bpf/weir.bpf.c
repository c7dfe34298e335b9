// SPDX-License-Identifier: GPL-2.0
/*
 * weir in the kernel: drops or limits TCP to protected ports by its source.
 *
 * Whatever is not understood passes. Every packet leaves through leave(),
 * which counts it under a named reason.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "maps.h"
#include "packet.h"
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

static __always_inline enum exit_reason judge(enum exit_reason parsed, const struct packet *p)
{
	if (parsed != EXIT_UNFLAGGED)
		return parsed;
	if (!is_protected(p->port))
		return EXIT_OTHER_PORT;
	return verdict(p, clock_now());
}

/* The one exit: counts, and says whether the packet is dropped. */
static __always_inline _Bool leave(enum exit_reason why, __u64 bytes)
{
	struct counter *c = bpf_map_lookup_elem(&counters, &why);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
	return why == EXIT_OVER_LIMIT || why == EXIT_DROPPED;
}

SEC("xdp.frags")
int weir_xdp(struct xdp_md *ctx)
{
	void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 len = end - at;
	struct packet p = {};
	enum exit_reason why;

	if (len > ETH_FRAME_LEN) /* there may be more buffers than the first */
		len = bpf_xdp_get_buff_len(ctx);
	why = judge(parse_frame(at, end, 0, &p), &p);
	return leave(why, len) ? XDP_DROP : XDP_PASS;
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

	return judge(parse_frame(at, end, skb->vlan_present ? 1 : 0, &p), &p);
}

/* An interface without a link layer: the packet begins with its IP header. */
__noinline int judge_bare(struct __sk_buff *skb)
{
	struct cursor c = { .at = (void *)(long)skb->data, .end = (void *)(long)skb->data_end, .left = ~0U };
	struct packet p = {};

	return judge(parse_network(&c, skb->protocol, &p), &p);
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
	return leave(why, skb->len) ? TC_ACT_SHOT : TC_ACT_UNSPEC; /* what stands behind us goes on */
}

SEC("tc")
int weir_tc(struct __sk_buff *skb)
{
	enum exit_reason why = judge_frame(skb);

	if (why == EXIT_MALFORMED && gather(skb))
		why = judge_frame(skb);
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
