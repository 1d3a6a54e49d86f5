/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports: found or attached by their device arguments, configured, asked, closed. */
#include "ringway_dpdk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#define RSS (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP)

int rw_find(const char *devargs, uint16_t *port)
{
    if (!strncmp(devargs, "class=eth,mac=", 14)) {
        struct rte_ether_addr mac;
        if (rte_ether_unformat_addr(devargs + 14, &mac)) {
            return -EINVAL;
        }
        uint16_t id;
        RTE_ETH_FOREACH_DEV(id) {
            struct rte_ether_addr have;
            if (!rte_eth_macaddr_get(id, &have) && rte_is_same_ether_addr(&have, &mac)) {
                *port = id;
                return 0;
            }
        }
        return -ENODEV;
    }
    char name[RTE_ETH_NAME_MAX_LEN];
    size_t len = strcspn(devargs, ",");
    if (!len || len >= sizeof name) {
        return -EINVAL;
    }
    memcpy(name, devargs, len);
    name[len] = '\0';
    return rte_eth_dev_get_port_by_name(name, port) ? -ENODEV : 0;
}

int rw_probe(const char *devargs)
{
    int error = rte_dev_probe(devargs);
    return error < 0 ? error : 0;
}

static int event(uint16_t port, enum rte_eth_event_type type, void *aux, void *ret)
{
    (void) aux, (void) ret;
    uint32_t what = type == RTE_ETH_EVENT_INTR_RMV ? 1 : type == RTE_ETH_EVENT_INTR_RESET ? 2 : 3;
    rw_on_event(port, what);
    return 0;
}

static const enum rte_eth_event_type EVENTS[] = {
    RTE_ETH_EVENT_INTR_RMV, RTE_ETH_EVENT_INTR_RESET, RTE_ETH_EVENT_INTR_LSC,
};

static void watch(uint16_t port, int on)
{
    for (size_t i = 0; i < sizeof EVENTS / sizeof EVENTS[0]; i++) {
        /* Registering twice has no effect. */
        if (on) {
            rte_eth_dev_callback_register(port, EVENTS[i], event, NULL);
        } else {
            rte_eth_dev_callback_unregister(port, EVENTS[i], event, NULL);
        }
    }
}

int rw_detach(uint16_t port, uint32_t remove)
{
    struct rte_eth_dev_info info;
    struct rte_device *device = rte_eth_dev_info_get(port, &info) ? NULL : info.device;
    watch(port, 0);
    rte_eth_dev_stop(port);
    int error = rte_eth_dev_close(port);
    if (error || !remove || !device) {
        return error;
    }
    /* Other ports of the same device keep it. */
    uint16_t sibling;
    RTE_ETH_FOREACH_DEV(sibling) {
        struct rte_eth_dev_info other;
        if (!rte_eth_dev_info_get(sibling, &other) && other.device == device) {
            return 0;
        }
    }
    return rte_dev_remove(device);
}

int rw_same_device(uint16_t a, uint16_t b)
{
    struct rte_eth_dev_info of_a, of_b;
    return !rte_eth_dev_info_get(a, &of_a) && !rte_eth_dev_info_get(b, &of_b) && of_a.device == of_b.device;
}

int rw_info(uint16_t port, struct rw_info *out)
{
    struct rte_eth_dev_info info;
    struct rte_ether_addr mac = { { 0 } };
    uint16_t mtu = 0;
    memset(out, 0, sizeof *out);
    int error = rte_eth_dev_info_get(port, &info);
    if (error) {
        return error;
    }
    rte_eth_macaddr_get(port, &mac);
    rte_eth_dev_get_mtu(port, &mtu);
    snprintf(out->driver, sizeof out->driver, "%s", info.driver_name ? info.driver_name : "");
    const char *more = rte_dev_bus_info(info.device);
    const struct rte_bus *bus = rte_dev_bus(info.device);
    snprintf(out->bus, sizeof out->bus, "bus_name=%s%s%s", bus ? rte_bus_name(bus) : "", more ? ", " : "",
             more ? more : "");
    memcpy(out->mac, mac.addr_bytes, sizeof out->mac);
    out->mtu = mtu;
    out->min_mtu = info.min_mtu;
    out->max_mtu = info.max_mtu;
    out->max_rxq = info.max_rx_queues;
    out->max_txq = info.max_tx_queues;
    out->min_rx_bufsize = info.min_rx_bufsize;
    out->max_rx_pktlen = info.max_rx_pktlen;
    out->max_mac_addrs = info.max_mac_addrs;
    out->max_hash_mac_addrs = info.max_hash_mac_addrs;
    out->max_vfs = info.max_vfs;
    out->max_vmdq_pools = info.max_vmdq_pools;
    out->rxd_min = info.rx_desc_lim.nb_min;
    out->rxd_max = info.rx_desc_lim.nb_max;
    out->rxd_align = info.rx_desc_lim.nb_align;
    out->txd_min = info.tx_desc_lim.nb_min;
    out->txd_max = info.tx_desc_lim.nb_max;
    out->txd_align = info.tx_desc_lim.nb_align;
    out->socket = rte_eth_dev_socket_id(port);
    out->rx_checksum = (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM) == RTE_ETH_RX_OFFLOAD_CHECKSUM;
    return 0;
}

/* Sets up tx, then rx queues; returns how many there are of the kind that ran short, or -1. */
static int queues(uint16_t port, struct rw_config *c, uint32_t *step, int *error)
{
    for (uint16_t i = 0; i < c->n_txq; i++) {
        *error = rte_eth_tx_queue_setup(port, i, c->txd, c->socket, NULL);
        if (*error) {
            *step = RW_STEP_TXQ;
            return i;
        }
    }
    for (uint16_t i = 0; i < c->n_rxq; i++) {
        *error = rte_eth_rx_queue_setup(port, i, c->rxd, c->socket, NULL, c->pool);
        if (*error) {
            *step = RW_STEP_RXQ;
            return i;
        }
    }
    return -1;
}

int rw_configure(uint16_t port, struct rw_config *c, uint32_t *step)
{
    struct rte_eth_dev_info info;
    int error = rte_eth_dev_info_get(port, &info);
    *step = RW_STEP_CONFIGURE;
    if (error) {
        return error;
    }
    struct rte_eth_conf conf = {
        .rx_adv_conf.rss_conf.rss_hf = RSS & info.flow_type_rss_offloads,
        .intr_conf.lsc = c->lsc,
    };
    conf.rxmode.mq_mode = conf.rx_adv_conf.rss_conf.rss_hf ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
    if (c->rx_checksum) {
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_CHECKSUM;
    }
    if (c->scatter && (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER)) {
        conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
    }
    while (c->n_rxq && c->n_txq) {
        *step = RW_STEP_CONFIGURE;
        error = rte_eth_dev_configure(port, c->n_rxq, c->n_txq, &conf);
        if (error) {
            return error;
        }
        error = rte_eth_dev_set_mtu(port, c->mtu);
        c->mtu_fixed = error == -ENOTSUP;
        if (error && !c->mtu_fixed) {
            *step = RW_STEP_MTU;
            return error;
        }
        int short_of = queues(port, c, step, &error);
        if (short_of < 0) {
            *step = RW_STEP_START;
            error = rte_eth_dev_start(port);
            watch(port, 1);
            return error;
        }
        /* The device has fewer queues than it says: take what there is. */
        if (*step == RW_STEP_TXQ) {
            c->n_txq = short_of;
        } else {
            c->n_rxq = short_of;
        }
    }
    return error ? error : -EINVAL;
}

int rw_stop(uint16_t port)
{
    return rte_eth_dev_stop(port);
}

int rw_set_link(uint16_t port, uint32_t up)
{
    return up ? rte_eth_dev_set_link_up(port) : rte_eth_dev_set_link_down(port);
}

int rw_promiscuous(uint16_t port, uint32_t on)
{
    return on ? rte_eth_promiscuous_enable(port) : rte_eth_promiscuous_disable(port);
}

int rw_set_mac(uint16_t port, const uint8_t *mac)
{
    struct rte_ether_addr addr;
    memcpy(addr.addr_bytes, mac, sizeof addr.addr_bytes);
    return rte_eth_dev_default_mac_addr_set(port, &addr);
}

int rw_link(uint16_t port, struct rw_link *out)
{
    struct rte_eth_link link;
    int error = rte_eth_link_get_nowait(port, &link);
    if (!error) {
        out->speed_mbps = link.link_speed;
        out->up = link.link_status == RTE_ETH_LINK_UP;
        out->full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
    }
    return error;
}

int rw_stats(uint16_t port, struct rw_stats *out)
{
    struct rte_eth_stats s;
    int error = rte_eth_stats_get(port, &s);
    if (!error) {
        *out = (struct rw_stats) { s.ipackets, s.opackets, s.ibytes, s.obytes, s.imissed, s.ierrors, s.oerrors,
                                   s.rx_nombuf };
    }
    return error;
}

int rw_xstats(uint16_t port, rw_xstat_fn *each, void *aux)
{
    int n = rte_eth_xstats_get_names(port, NULL, 0);
    if (n <= 0) {
        return n;
    }
    struct rte_eth_xstat_name *names = calloc(n, sizeof *names);
    struct rte_eth_xstat *values = calloc(n, sizeof *values);
    int error = -ENOMEM;
    if (names && values) {
        error = 0;
        int named = rte_eth_xstats_get_names(port, names, n);
        int have = rte_eth_xstats_get(port, values, n);
        for (int i = 0; i < have && have <= n; i++) {
            if (named <= n && values[i].id < (uint64_t) named) {
                each(aux, names[values[i].id].name, values[i].value);
            }
        }
    }
    free(names);
    free(values);
    return error;
}
