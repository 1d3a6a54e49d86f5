// SPDX-License-Identifier: Apache-2.0
/* Ringway's XDP program: hands every packet of a device queue to the AF_XDP socket of that queue.
 *
 * A queue without a socket falls through to the kernel's stack, so that a switch that is starting,
 * stopping or dead never swallows traffic. The kernel refuses a redirect into another queue's socket,
 * so there is nothing to choose here; choosing is the switch's work.
 *
 * "xdp.frags": the device may carry packets of several buffers. The socket refuses those that do not
 * fit a frame and counts them; without the section the program could not attach to a large-MTU device.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define QUEUES_MAX 64

enum counter {
    COUNTER_REDIRECTED, /* Handed to a socket (which may still find its ring full and count that). */
    COUNTER_PASSED,     /* No socket on the queue: left to the kernel. */
    COUNTER_N,
};

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, QUEUES_MAX);
    __type(key, __u32);
    __type(value, __u32);
} xsks SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, COUNTER_N);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 which)
{
    __u64 *n = bpf_map_lookup_elem(&counters, &which);

    if (n)
        *n += 1;
}

SEC("xdp.frags")
int ringway_xsk(struct xdp_md *ctx)
{
    int verdict = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);

    count(verdict == XDP_REDIRECT ? COUNTER_REDIRECTED : COUNTER_PASSED);
    return verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
