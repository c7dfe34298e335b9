// SPDX-License-Identifier: GPL-2.0
/*
 * Tries whether a driver takes frames that native XDP sends: one program sends
 * them by BPF_PROG_TEST_RUN, the other sees what the driver says of them.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* The interface: its index, and the network namespace where it has that. */
const volatile __u32 trial_interface;
const volatile __u64 trial_netns;
volatile __u32 trial_taken; /* frames */

/* As much of the kernel's as is read; the loader finds where it lies. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net;
};
#pragma clang attribute pop

SEC("xdp")
int trial_send(struct xdp_md *ctx)
{
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

/* TP_PROTO(from, to, sent, drops, err), include/trace/events/xdp.h */
SEC("tp_btf/xdp_devmap_xmit")
int trial_watch(__u64 *args)
{
	const struct net_device *to = (void *)args[1];
	int sent = args[2];

	if ((__u32)to->ifindex == trial_interface && to->nd_net.net->net_cookie == trial_netns && sent > 0)
		__sync_fetch_and_add(&trial_taken, sent);
	return 0;
}

const char licence[] SEC("license") = "GPL";
