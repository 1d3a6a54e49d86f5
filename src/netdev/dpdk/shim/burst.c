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

uint32_t rw_rx(uint16_t port, uint16_t queue, struct rw_rx *out, uint32_t n, uint64_t *malformed)
{
    struct rte_mbuf *mbufs[BURST_MAX];
    uint32_t got = rte_eth_rx_burst(port, queue, mbufs, n < BURST_MAX ? n : BURST_MAX);
    uint32_t good = 0;

    for (uint32_t i = 0; i < got; i++) {
        struct rte_mbuf *m = mbufs[i];
        if (unlikely(!is_good(m))) {
            rte_pktmbuf_free(m);
            ++*malformed;
            continue;
        }
        rte_prefetch0(rte_pktmbuf_mtod(m, void *));
        struct rw_rx *o = &out[good++];
        uint64_t flags = m->ol_flags;
        o->base = m->buf_addr;
        o->mbuf = m;
        o->capacity = m->buf_len;
        o->start = m->data_off;
        o->len = m->data_len;
        o->hash = m->hash.rss;
        o->flags = (flags & RTE_MBUF_F_RX_RSS_HASH ? RW_RX_HASH : 0)
                 | ((flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD ? RW_RX_CSUM_GOOD : 0);
    }
    return good;
}

static struct rte_mbuf *copy(struct rte_mempool *pool, const struct rw_tx *t)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    if (!m) {
        return NULL;
    }
    char *room = t->len <= UINT16_MAX ? rte_pktmbuf_append(m, t->len) : NULL;
    if (!room) {
        rte_pktmbuf_free(m);
        return NULL;
    }
    memcpy(room, t->data, t->len);
    return m;
}

static void send_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint32_t n, struct rw_sent *sent)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        bytes += mbufs[i]->data_len;
    }
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

void rw_tx(uint16_t port, uint16_t queue, void *pool, const struct rw_tx *in, uint32_t n, struct rw_sent *sent)
{
    struct rte_mbuf *mbufs[BURST_MAX];
    memset(sent, 0, sizeof *sent);
    while (n) {
        uint32_t chunk = n < BURST_MAX ? n : BURST_MAX;
        uint32_t ready = 0;
        for (uint32_t i = 0; i < chunk; i++) {
            struct rte_mbuf *m = in[i].mbuf;
            if (likely(m)) {
                m->data_off = in[i].start;
                m->data_len = in[i].len;
                m->pkt_len = in[i].len;
            } else if (unlikely(!(m = copy(pool, &in[i])))) {
                sent->no_mem++;
                continue;
            }
            mbufs[ready++] = m;
        }
        send_burst(port, queue, mbufs, ready, sent);
        in += chunk;
        n -= chunk;
    }
}
