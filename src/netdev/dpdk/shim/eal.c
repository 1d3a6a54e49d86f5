/* SPDX-License-Identifier: Apache-2.0
 *
 * The library as a whole: start, log, threads, dumps; and the table itself. */
#define _GNU_SOURCE
#include "ringway_dpdk.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_version.h>

static rw_log_fn *on_log;
rw_event_fn *rw_on_event;

static ssize_t log_write(void *aux, const char *text, size_t len)
{
    (void) aux;
    int level = rte_log_cur_msg_loglevel();
    on_log(level > 0 ? (uint32_t) level : RTE_LOG_INFO, text, len);
    return len;
}

int rw_init(int argc, char **argv, rw_log_fn *log, rw_event_fn *event)
{
    on_log = log;
    rw_on_event = event;
    cookie_io_functions_t to_us = { .write = log_write };
    FILE *stream = fopencookie(NULL, "w+", to_us);
    if (!stream) {
        return -errno;
    }
    setbuf(stream, NULL);
    rte_openlog_stream(stream);

    /* EAL pins its caller to the main lcore; the caller has other things to do. */
    cpu_set_t before;
    int kept = pthread_getaffinity_np(pthread_self(), sizeof before, &before);
    int result = rte_eal_init(argc, argv);
    int error = rte_errno;
    if (!kept) {
        pthread_setaffinity_np(pthread_self(), sizeof before, &before);
    }
    if (result < 0) {
        return error ? -error : -EINVAL;
    }
    /* Registered threads and secondary processes exclude each other. */
    if (!rte_mp_disable()) {
        rte_eal_cleanup();
        return -EBUSY;
    }
    /* The caller is a control thread: it has no part in per-lcore caches. */
    RTE_PER_LCORE(_lcore_id) = LCORE_ID_ANY;
    return 0;
}

const char *rw_strerror(int error)
{
    return rte_strerror(error < 0 ? -error : error);
}

int rw_thread_attach(void)
{
    if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() < 0) {
        return rte_errno ? -rte_errno : -ENOMEM;
    }
    return rte_lcore_id();
}

void rw_thread_detach(void)
{
    rte_thread_unregister();
}

char *rw_dump(uint32_t what, void *pool)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    if (!stream) {
        return NULL;
    }
    switch (what) {
    case RW_DUMP_LCORES: rte_lcore_dump(stream); break;
    case RW_DUMP_LOG: rte_log_dump(stream); break;
    case RW_DUMP_MALLOC: rte_malloc_dump_stats(stream, NULL); break;
    case RW_DUMP_POOLS: rte_mempool_list_dump(stream); break;
    case RW_DUMP_POOL:
        rte_mempool_dump(stream, pool);
        fprintf(stream, "    count: avail (%u), in use (%u)\n", rte_mempool_avail_count(pool),
                rte_mempool_in_use_count(pool));
        break;
    }
    fclose(stream);
    return text;
}

static void text_free(char *text)
{
    free(text);
}

int rw_log_set(const char *pattern, uint32_t level)
{
    return rte_log_set_level_pattern(pattern, level);
}

const struct rw_ops ringway_dpdk_ops = {
    .abi = RW_DPDK_ABI,
    .size = sizeof(struct rw_ops),
    .version = rte_version,
    .init = rw_init,
    .strerror = rw_strerror,
    .thread_attach = rw_thread_attach,
    .thread_detach = rw_thread_detach,
    .dump = rw_dump,
    .text_free = text_free,
    .log_set = rw_log_set,
    .pool_create = rw_pool_create,
    .pool_idle = rw_pool_idle,
    .pool_free = rw_pool_free,
    .release = rw_release,
    .find = rw_find,
    .probe = rw_probe,
    .detach = rw_detach,
    .same_device = rw_same_device,
    .info = rw_info,
    .configure = rw_configure,
    .stop = rw_stop,
    .set_link = rw_set_link,
    .promiscuous = rw_promiscuous,
    .set_mac = rw_set_mac,
    .link = rw_link,
    .stats = rw_stats,
    .xstats = rw_xstats,
    .rx = rw_rx,
    .tx = rw_tx,
    .tx_bytes = rw_tx_bytes,
};
