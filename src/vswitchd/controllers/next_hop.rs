//! The way from this host to its controllers: the Ethernet address of the next hop to each, by the kernel's routes and
//! neighbours (`/proc/net/route`, `/proc/net/arp`).
//!
//! Looked up again after 10 s, or after 1 s while one of them is not known, as Open vSwitch does.

use base::clock::Nanos;
use base::log_rl;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use wire::EthAddr;

/// Milliseconds between looks: while something is not known, and otherwise.
const REFRESH_MS: (u64, u64) = (1000, 10_000);
/// Flags: a route that is up (`RTF_UP`), an entry that is complete (`ATF_COM`).
const ROUTE_UP: u32 = 1;
const ARP_COMPLETE: u32 = 2;

static LIMIT: base::log::RateLimit = base::log::RateLimit::new(60, 60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct NextHops {
    /// By remote; `None` while it is not known.
    known: BTreeMap<Ipv4Addr, Option<EthAddr>>,
    due: Nanos,
}

impl NextHops {
    /// Looks again if it is time to, or if the remotes are others; gives the addresses that are known.
    pub(super) fn refresh(
        &mut self,
        remotes: &BTreeSet<Ipv4Addr>,
        bridge: &str,
        now: Nanos,
    ) -> BTreeSet<EthAddr> {
        self.refresh_from(remotes, bridge, now, || {
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            (read("/proc/net/route"), read("/proc/net/arp"))
        })
    }

    /// As [`NextHops::refresh`]; `tables` reads the routes and the neighbours.
    fn refresh_from(
        &mut self,
        remotes: &BTreeSet<Ipv4Addr>,
        bridge: &str,
        now: Nanos,
        tables: impl FnOnce() -> (String, String),
    ) -> BTreeSet<EthAddr> {
        let same = remotes.iter().eq(self.known.keys());
        if !same || now >= self.due && !remotes.is_empty() {
            let (routes, neighbours) = tables();
            let find = |ip: &Ipv4Addr| (*ip, look_up(*ip, &routes, &neighbours, bridge));
            self.known = remotes.iter().map(find).collect();
            let complete = self.known.values().all(Option::is_some);
            let pause = if complete { REFRESH_MS.1 } else { REFRESH_MS.0 };
            self.due = now.plus_millis(pause);
        }
        self.known.values().flatten().copied().collect()
    }
}

fn look_up(remote: Ipv4Addr, routes: &str, neighbours: &str, bridge: &str) -> Option<EthAddr> {
    let Some((device, gateway)) = route(routes, remote) else {
        log_rl!(
            LIMIT,
            WARN,
            "in_band",
            "{bridge}: cannot find route for controller ({remote}): No such device or address"
        );
        return None;
    };
    let hop = gateway.unwrap_or(remote);
    let mac = neighbour(neighbours, hop, device);
    if mac.is_none() {
        log_rl!(
            LIMIT,
            DEBUG,
            "in_band",
            "{bridge}: cannot look up remote MAC address ({hop}): No such device or address"
        );
    }
    mac
}

/// Addresses stand there as the kernel has them in memory: in network order, read as a number of this machine.
fn address(hex: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(hex, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

/// The device and the gateway, if one is needed, of the route with the longest prefix that fits, and among such of the
/// one with the lowest metric. (Open vSwitch takes the first that fits, which is often the default route.)
fn route(table: &str, remote: Ipv4Addr) -> Option<(&str, Option<Ipv4Addr>)> {
    let fitting = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [device, to, gateway, flags, _, _, metric, mask, ..] = fields.as_slice() else {
            return None;
        };
        let up = u32::from_str_radix(flags, 16).ok()? & ROUTE_UP != 0;
        let mask = u32::from(address(mask)?);
        let fits = u32::from(address(to)?) & mask == u32::from(remote) & mask;
        let gateway = Some(address(gateway)?).filter(|g| !g.is_unspecified());
        let rank = (mask, Reverse(metric.parse::<u32>().ok()?));
        (up && fits).then_some((rank, (*device, gateway)))
    });
    fitting
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, found)| found)
}

fn neighbour(table: &str, ip: Ipv4Addr, device: &str) -> Option<EthAddr> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [of, _, flags, mac, _, on] = fields.as_slice() else {
            return None;
        };
        let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
        let fits = of.parse() == Ok(ip) && *on == device && flags & ARP_COMPLETE != 0;
        mac.parse().ok().filter(|m| fits && *m != EthAddr::ZERO)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
br0\t00000000\t010000C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
br0\t000000C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
    const NEIGHBOURS: &str = "\
IP address       HW type     Flags       HW address            Mask     Device
192.0.0.1        0x1         0x2         02:00:00:00:00:09     *        br0
192.0.0.7        0x1         0x0         00:00:00:00:00:00     *        br0
";

    #[cfg(target_endian = "little")]
    #[test]
    fn near_and_far() {
        let at = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        assert_eq!(route(ROUTES, at("192.0.0.7")), Some(("br0", None)));
        assert_eq!(
            route(ROUTES, at("10.0.0.7")),
            Some(("br0", Some(at("192.0.0.1"))))
        );
        assert_eq!(
            route(ROUTES, at("0.0.0.0")),
            Some(("br0", Some(at("192.0.0.1"))))
        );
        assert_eq!(route("", at("10.0.0.7")), None);
        let mac = Some(EthAddr([2, 0, 0, 0, 0, 9]));
        assert_eq!(look_up(at("10.0.0.7"), ROUTES, NEIGHBOURS, "br0"), mac);
        assert_eq!(look_up(at("192.0.0.7"), ROUTES, NEIGHBOURS, "br0"), None);
        assert_eq!(neighbour(NEIGHBOURS, at("192.0.0.1"), "eth0"), None);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn looked_up_again_soon_while_unknown() {
        let mut hops = NextHops::default();
        let t = Nanos::from_millis;
        let mut at = |ips: &[&str], ms| {
            let remotes = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            let tables = || (ROUTES.to_owned(), NEIGHBOURS.to_owned());
            let known = hops.refresh_from(&remotes, "br0", t(ms), tables);
            (known.len(), hops.due)
        };
        // A neighbour that does not answer yet.
        assert_eq!(at(&["192.0.0.7"], 0), (0, t(1000)));
        assert_eq!(at(&["192.0.0.7"], 999), (0, t(1000)));
        assert_eq!(at(&["192.0.0.7"], 1000), (0, t(2000)));
        // Other remotes: at once, and behind a gateway that is known.
        assert_eq!(at(&["10.0.0.7"], 1001), (1, t(11_001)));
        assert_eq!(at(&["10.0.0.7", "192.0.0.7"], 1002), (1, t(2002)));
        assert_eq!(at(&[], 1003), (0, t(11_003)));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(a: String, b: String) {
            look_up(Ipv4Addr::LOCALHOST, &a, &b, "br0");
        }
    }
}
