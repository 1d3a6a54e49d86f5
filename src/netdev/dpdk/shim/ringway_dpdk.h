/* SPDX-License-Identifier: Apache-2.0
 *
 * What libringway_dpdk.so offers to the switch: one table of flat functions, found under one name.
 *
 * The switch never links DPDK and mirrors none of its structures; this header is the whole border. Its twin is
 * src/netdev/dpdk/library.rs: whoever changes one changes the other, and RW_DPDK_ABI.
 * Functions return 0 (or a count) when they succeed and a negative errno when they do not. */
#ifndef RINGWAY_DPDK_H
#define RINGWAY_DPDK_H

#include <stddef.h>
#include <stdint.h>

#define RW_DPDK_ABI 2

/* A packet as the switch has it, the twin of src/packet/frame.rs. Frames of mbufs carry the mbuf as their token. */
struct rw_frame {
    void *base;
    void *token;
    const void *pool; /* whose token it is */
    uint32_t capacity;
    uint32_t start;
    uint32_t len;
    uint32_t hash;
    uint32_t mark;
    uint32_t priority;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t gso_size;
    uint8_t gso;
    uint8_t flags;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct rw_frame) == 64, "a frame is one cache line");
#define RW_FRAME_CSUM_PARTIAL 1u /* the checksum is to be completed before the packet leaves */
#define RW_FRAME_CSUM_GOOD 2u    /* the device vouches for the L4 checksum */
#define RW_FRAME_HASH_VALID 4u   /* `hash` was computed by the device */
#define RW_FRAME_GSO 8u          /* to be cut before it leaves */

/* Bytes to be sent. */
struct rw_bytes {
    const void *data;
    uint64_t len;
};

/* What became of a burst. */
struct rw_sent {
    uint64_t bytes;
    uint32_t sent;
    uint32_t full;   /* the device took no more */
    uint32_t no_mem; /* no mbuf for a copy */
    uint32_t reserved;
};

struct rw_info {
    char driver[64];
    char bus[128];
    uint8_t mac[6];
    uint16_t mtu;
    uint16_t min_mtu;
    uint16_t max_mtu;
    uint16_t max_rxq;
    uint16_t max_txq;
    uint32_t min_rx_bufsize;
    uint32_t max_rx_pktlen;
    uint32_t max_mac_addrs;
    uint32_t max_hash_mac_addrs;
    uint16_t max_vfs;
    uint16_t max_vmdq_pools;
    uint16_t rxd_min, rxd_max, rxd_align;
    uint16_t txd_min, txd_max, txd_align;
    int32_t socket;
    uint32_t rx_checksum; /* 1: can check L3 and L4 checksums */
};

struct rw_config {
    void *pool;
    uint16_t n_rxq, n_txq; /* in: wanted; out: had */
    uint16_t rxd, txd;
    uint16_t mtu;
    uint16_t lsc;
    uint16_t rx_checksum;
    uint16_t scatter;
    int32_t socket;
    uint32_t mtu_fixed; /* out: the device does not let its MTU be set */
};
/* Where rw_ops.configure failed. */
enum rw_step { RW_STEP_NONE, RW_STEP_CONFIGURE, RW_STEP_MTU, RW_STEP_TXQ, RW_STEP_RXQ, RW_STEP_START };

struct rw_link {
    uint32_t speed_mbps; /* UINT32_MAX: unknown */
    uint16_t up;
    uint16_t full_duplex;
};

struct rw_stats {
    uint64_t ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf;
};

/* A line that DPDK logs; levels are RTE_LOG_* (1 emergency .. 8 debug). */
typedef void rw_log_fn(uint32_t level, const char *text, size_t len);
/* Something happened to a port: it is gone (1), wants a reset (2), its link changed (3). */
typedef void rw_event_fn(uint16_t port, uint32_t what);
typedef void rw_xstat_fn(void *aux, const char *name, uint64_t value);

enum rw_dump { RW_DUMP_LCORES, RW_DUMP_LOG, RW_DUMP_MALLOC, RW_DUMP_POOLS, RW_DUMP_POOL };

struct rw_ops {
    uint32_t abi;
    uint32_t size;
    /* The library. */
    const char *(*version)(void);
    int (*init)(int argc, char **argv, rw_log_fn *log, rw_event_fn *event);
    const char *(*strerror)(int error);
    int (*thread_attach)(void); /* lcore, or negative */
    void (*thread_detach)(void);
    /* To be freed by text_free; NULL: no memory. The pool is for RW_DUMP_POOL only. */
    char *(*dump)(uint32_t what, void *pool);
    void (*text_free)(char *text);
    int (*log_set)(const char *pattern, uint32_t level);
    /* Memory. */
    void *(*pool_create)(const char *name, uint32_t n, uint32_t room, int socket, int *error);
    int (*pool_idle)(void *pool); /* 1: every mbuf is at home */
    void (*pool_free)(void *pool);
    void (*release)(void *const *mbufs, uint32_t n);
    /* Ports. */
    int (*find)(const char *devargs, uint16_t *port);
    int (*probe)(const char *devargs);
    int (*detach)(uint16_t port, uint32_t remove);
    int (*same_device)(uint16_t a, uint16_t b);
    int (*info)(uint16_t port, struct rw_info *info);
    int (*configure)(uint16_t port, struct rw_config *config, uint32_t *step);
    int (*stop)(uint16_t port);
    int (*set_link)(uint16_t port, uint32_t up);
    int (*promiscuous)(uint16_t port, uint32_t on);
    int (*set_mac)(uint16_t port, const uint8_t *mac);
    int (*link)(uint16_t port, struct rw_link *link);
    int (*stats)(uint16_t port, struct rw_stats *stats);
    int (*xstats)(uint16_t port, rw_xstat_fn *each, void *aux);
    /* Packets. One caller per queue at a time. */
    /* Receives into at most n (32 at most) places for frames, as frames of `pool`. */
    uint32_t (*rx)(uint16_t port, uint16_t queue, const void *pool, struct rw_frame *out, uint32_t n, uint64_t *malformed);
    /* Sends at most 32 frames, whose mbufs change hands: 1. Or does nothing, because not all of them are of `pool`, of
     * at most `limit` bytes, and finished: 0. */
    int (*tx)(uint16_t port, uint16_t queue, const void *pool, uint32_t limit, const struct rw_frame *in, uint32_t n,
              struct rw_sent *sent);
    /* Sends copies, in mbufs out of `mempool`. */
    void (*tx_bytes)(uint16_t port, uint16_t queue, void *mempool, const struct rw_bytes *in, uint32_t n,
                     struct rw_sent *sent);
};

extern __attribute__((visibility("default"))) const struct rw_ops ringway_dpdk_ops;

/* The parts of the table, by file. */
int rw_init(int argc, char **argv, rw_log_fn *log, rw_event_fn *event);
const char *rw_strerror(int error);
int rw_thread_attach(void);
void rw_thread_detach(void);
char *rw_dump(uint32_t what, void *pool);
int rw_log_set(const char *pattern, uint32_t level);
void *rw_pool_create(const char *name, uint32_t n, uint32_t room, int socket, int *error);
int rw_pool_idle(void *pool);
void rw_pool_free(void *pool);
void rw_release(void *const *mbufs, uint32_t n);
int rw_find(const char *devargs, uint16_t *port);
int rw_probe(const char *devargs);
int rw_detach(uint16_t port, uint32_t remove);
int rw_same_device(uint16_t a, uint16_t b);
int rw_info(uint16_t port, struct rw_info *info);
int rw_configure(uint16_t port, struct rw_config *config, uint32_t *step);
int rw_stop(uint16_t port);
int rw_set_link(uint16_t port, uint32_t up);
int rw_promiscuous(uint16_t port, uint32_t on);
int rw_set_mac(uint16_t port, const uint8_t *mac);
int rw_link(uint16_t port, struct rw_link *link);
int rw_stats(uint16_t port, struct rw_stats *stats);
int rw_xstats(uint16_t port, rw_xstat_fn *each, void *aux);
uint32_t rw_rx(uint16_t port, uint16_t queue, const void *pool, struct rw_frame *out, uint32_t n, uint64_t *malformed);
int rw_tx(uint16_t port, uint16_t queue, const void *pool, uint32_t limit, const struct rw_frame *in, uint32_t n,
          struct rw_sent *sent);
void rw_tx_bytes(uint16_t port, uint16_t queue, void *mempool, const struct rw_bytes *in, uint32_t n, struct rw_sent *sent);
extern rw_event_fn *rw_on_event;

#endif
