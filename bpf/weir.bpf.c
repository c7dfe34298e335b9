// SPDX-License-Identifier: GPL-2.0
/*
 * weir in the kernel: drops or limits TCP to protected ports by its source.
 *
 * Whatever is not understood passes. Every packet leaves through leave(),
 * which counts it under a named reason.
 */
#include <linux/bpf.h>
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


static __always_inline enum exit_reason judge(void *at, void *end)
{
	struct packet p = {};
	enum exit_reason why = parse(at, end, &p);

	if (why != EXIT_UNFLAGGED)
		return why;
	if (!is_protected(p.port))
		return EXIT_OTHER_PORT;
	return verdict(&p, clock_now());
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

	if (len > ETH_FRAME_LEN) /* there may be more buffers than the first */
		len = bpf_xdp_get_buff_len(ctx);
	return leave(judge(at, end), len) ? XDP_DROP : XDP_PASS;
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
