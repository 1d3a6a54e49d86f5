/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets in and out, and the pools they live in. One call per burst. */
#include "ringway_dpdk.h"

#include <string.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#define BURST_MAX 32
#define CACHE 512

void *rw_pool_create(const char *name, uint32_t n, uint32_t room, int socket, int *error)
{
    struct rte_mempool *pool = rte_pktmbuf_pool_create(name, n, CACHE, 0, room, socket);
    *error = pool ? 0 : rte_errno;
    return pool;
}

int rw_pool_idle(void *pool)
{
    return rte_mempool_full(pool);
}

void rw_pool_free(void *pool)
{
    rte_mempool_free(pool);
}

void rw_release(void *const *mbufs, uint32_t n)
{
    rte_pktmbuf_free_bulk((struct rte_mbuf **) (uintptr_t) mbufs, n);
}

/* A packet of several buffers becomes one of one buffer; one that cannot, or has no Ethernet header, is no good. */
static int is_good(struct rte_mbuf *m)
{
    return (m->nb_segs == 1 || rte_pktmbuf_linearize(m) == 0) && m->data_len >= RTE_ETHER_HDR_LEN;
}

uint32_t rw_rx(uint16_t port, uint16_t queue, const void *pool, struct rw_frame *out, uint32_t n, uint64_t *malformed)
{
    struct rte_mbuf *mbufs[BURST_MAX];
    uint32_t got = rte_eth_rx_burst(port, queue, mbufs, n < BURST_MAX ? n : BURST_MAX);
    struct rw_frame *o = out;

    for (uint32_t i = 0; i < got; i++) {
        struct rte_mbuf *m = mbufs[i];
        if (unlikely(!is_good(m))) {
            rte_pktmbuf_free(m);
            ++*malformed;
            continue;
        }
        rte_prefetch0(rte_pktmbuf_mtod(m, void *));
        uint64_t flags = m->ol_flags;
        *o = (struct rw_frame) {
            .base = m->buf_addr,
            .token = m,
            .pool = pool,
            .capacity = m->buf_len,
            .start = m->data_off,
            .len = m->data_len,
            .hash = m->hash.rss,
        };
        if (unlikely(flags & (RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_L4_CKSUM_MASK))) {
            o->flags = (flags & RTE_MBUF_F_RX_RSS_HASH ? RW_FRAME_HASH_VALID : 0)
                     | ((flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD ? RW_FRAME_CSUM_GOOD : 0);
        }
        o++;
    }
    return (uint32_t) (o - out);
}

/* Sends mbufs of `bytes` bytes in all; those that the device does not take are freed. */
static void send_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint32_t n, uint64_t bytes,
                       struct rw_sent *sent)
{
    uint32_t done = 0;
    while (done < n) {
        uint32_t took = rte_eth_tx_burst(port, queue, mbufs + done, n - done);
        if (!took) {
            break;
        }
        done += took;
    }
    if (unlikely(done < n)) {
        for (uint32_t i = done; i < n; i++) {
            bytes -= mbufs[i]->data_len;
        }
        rte_pktmbuf_free_bulk(mbufs + done, n - done);
        sent->full += n - done;
    }
    sent->sent += done;
    sent->bytes += bytes;
}

int rw_tx(uint16_t port, uint16_t queue, const void *pool, uint32_t limit, const struct rw_frame *in, uint32_t n,
          struct rw_sent *sent)
{
    struct rte_mbuf *mbufs[BURST_MAX];
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct rw_frame *f = &in[i];
        if (unlikely(f->pool != pool || f->len > limit || f->flags & (RW_FRAME_CSUM_PARTIAL | RW_FRAME_GSO))) {
            return 0;
        }
        struct rte_mbuf *m = f->token;
        /* Most packets leave as they came: what is not written need not be fetched for writing. */
        if (unlikely(m->data_off != f->start)) {
            m->data_off = f->start;
        }
        if (unlikely(m->data_len != f->len)) {
            m->data_len = f->len;
            m->pkt_len = f->len;
        }
        mbufs[i] = m;
        bytes += f->len;
    }
    memset(sent, 0, sizeof *sent);
    send_burst(port, queue, mbufs, n, bytes, sent);
    return 1;
}

static struct rte_mbuf *copy(struct rte_mempool *pool, const struct rw_bytes *b)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    if (!m) {
        return NULL;
    }
    char *room = b->len <= UINT16_MAX ? rte_pktmbuf_append(m, b->len) : NULL;
    if (!room) {
        rte_pktmbuf_free(m);
        return NULL;
    }
    memcpy(room, b->data, b->len);
    return m;
}

void rw_tx_bytes(uint16_t port, uint16_t queue, void *mempool, const struct rw_bytes *in, uint32_t n, struct rw_sent *sent)
{
    memset(sent, 0, sizeof *sent);
    while (n) {
        struct rte_mbuf *mbufs[BURST_MAX];
        uint32_t chunk = n < BURST_MAX ? n : BURST_MAX;
        uint32_t ready = 0;
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < chunk; i++) {
            struct rte_mbuf *m = copy(mempool, &in[i]);
            if (unlikely(!m)) {
                sent->no_mem++;
                continue;
            }
            bytes += in[i].len;
            mbufs[ready++] = m;
        }
        send_burst(port, queue, mbufs, ready, bytes, sent);
        in += chunk;
        n -= chunk;
    }
}
