//! [`Routes`]: which device leads to an address, with which source address and by which gateway.
//!
//! Addresses of both families are 128-bit numbers here, IPv4 mapped into IPv6. A route counts only for packets
//! with its mark. The longest prefix wins. Routes are few and looked up by people and once per translation of a
//! tunnel: a list is searched.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

/// Routes at most.
pub const ROUTES_MAX: usize = 4096;

/// A prefix: bits beyond the length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    bits: u128,
    /// 0 to 128; IPv4's is 96 longer than written.
    len: u8,
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn shown(ip: Ipv6Addr) -> String {
    match ip.to_ipv4_mapped() {
        Some(v4) => v4.to_string(),
        None => ip.to_string(),
    }
}

const fn mask(len: u8) -> u128 {
    match len {
        0 => 0,
        n => u128::MAX << (128 - n as u32),
    }
}

impl Prefix {
    /// The prefix of `len` bits of an address; `None` when the address has not so many.
    #[must_use]
    pub fn new(ip: IpAddr, len: u8) -> Option<Self> {
        let (most, more) = match ip {
            IpAddr::V4(_) => (32, 96),
            IpAddr::V6(_) => (128, 0),
        };
        if len > most {
            return None;
        }
        let len = len + more;
        Some(Self {
            bits: u128::from(mapped(ip)) & mask(len),
            len,
        })
    }
    /// Written as `address/length`, or as an address, which is all of it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, len) = match text.split_once('/') {
            Some((ip, len)) => (ip.parse().ok()?, Some(len.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let whole = if matches!(ip, IpAddr::V4(_)) { 32 } else { 128 };
        Self::new(ip, len.unwrap_or(whole))
    }
    /// The address, when the prefix is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        (self.len == 128).then(|| Ipv6Addr::from(self.bits).to_canonical())
    }
    fn holds(&self, ip: u128) -> bool {
        ip & mask(self.len) == self.bits
    }
    fn text(&self) -> String {
        let ip = Ipv6Addr::from(self.bits);
        let len = match ip.to_ipv4_mapped() {
            Some(_) => self.len.saturating_sub(96),
            None => self.len,
        };
        format!("{}/{len}", shown(ip))
    }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// Device.
    pub device: String,
    /// Gateway; `None` when the device reaches the destination itself.
    pub gateway: Option<IpAddr>,
    /// Source address of packets that take it.
    pub source: IpAddr,
}

impl NextHop {
    /// The text of `ovs/route/lookup`.
    #[must_use]
    pub fn show(&self) -> String {
        let gateway = self.gateway.map_or(Ipv6Addr::UNSPECIFIED, mapped);
        format!(
            "src {}\ngateway {}\ndev {}\n",
            shown(mapped(self.source)),
            shown(gateway),
            self.device
        )
    }
}

/// The table, of routes that people added.
#[derive(Debug, Clone, Default)]
pub struct Routes(Vec<(u32, Prefix, NextHop)>);

impl Routes {
    /// Adds a route for packets of a mark, in place of an old one. False when the table is full.
    pub fn add(&mut self, mark: u32, prefix: Prefix, hop: NextHop) -> bool {
        self.del(mark, prefix);
        if self.0.len() >= ROUTES_MAX {
            return false;
        }
        self.0.push((mark, prefix, hop));
        true
    }
    /// Removes a route; false when there is none.
    pub fn del(&mut self, mark: u32, prefix: Prefix) -> bool {
        let before = self.0.len();
        self.0.retain(|(m, p, _)| (*m, *p) != (mark, prefix));
        self.0.len() < before
    }
    /// The route to an address.
    #[must_use]
    pub fn lookup(&self, mark: u32, to: IpAddr) -> Option<&NextHop> {
        let to = u128::from(mapped(to));
        let fits = self.0.iter().filter(|(m, p, _)| *m == mark && p.holds(to));
        fits.max_by_key(|(_, p, _)| p.len).map(|(_, _, hop)| hop)
    }
    /// The text of `ovs/route/show`.
    #[must_use]
    pub fn show(&self) -> String {
        let mut out = String::from("Route Table:\n");
        for (mark, prefix, hop) in &self.0 {
            let mut line = format!("User: {}", prefix.text());
            let mut put = |args: std::fmt::Arguments<'_>| {
                line.write_fmt(args).expect("a string takes everything")
            };
            if *mark != 0 {
                put(format_args!(" MARK {mark}"));
            }
            put(format_args!(" dev {}", hop.device));
            if let Some(gateway) = hop.gateway {
                put(format_args!(" GW {}", shown(mapped(gateway))));
            }
            put(format_args!(" SRC {}\n", shown(mapped(hop.source))));
            out.push_str(&line);
        }
        out
    }
}

/// The address, of those of a device, from which packets to the first of `to` that any network of the device holds
/// are sent: that of the longest network.
#[must_use]
pub fn source_for(addresses: &[(IpAddr, u8)], to: &[IpAddr]) -> Option<IpAddr> {
    to.iter().find_map(|to| {
        let wanted = u128::from(mapped(*to));
        let fits = addresses.iter().filter_map(|(ip, len)| {
            let network = Prefix::new(*ip, *len)?;
            (ip.is_ipv4() == to.is_ipv4() && network.holds(wanted)).then_some((network.len, *ip))
        });
        fits.max_by_key(|(len, _)| *len).map(|(_, ip)| ip)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
    fn hop(source: &str, gateway: Option<&str>) -> NextHop {
        NextHop {
            device: "br0".into(),
            gateway: gateway.map(ip),
            source: ip(source),
        }
    }

    #[test]
    fn the_longest_prefix_of_the_mark_wins() {
        let mut t = Routes::default();
        let p = |text| Prefix::parse(text).unwrap();
        assert!(t.add(
            0,
            p("198.51.100.0/24"),
            hop("192.0.2.1", Some("192.0.2.254"))
        ));
        assert!(t.add(7, p("198.51.100.200/24"), hop("192.0.2.1", None)));
        assert!(t.add(0, p("::/0"), hop("2001:db8::1", None)));
        let to = ip("198.51.100.1");
        assert_eq!(
            t.lookup(0, to).unwrap().show(),
            "src 192.0.2.1\ngateway 192.0.2.254\ndev br0\n"
        );
        assert_eq!(
            t.lookup(7, to).unwrap().show(),
            "src 192.0.2.1\ngateway ::\ndev br0\n"
        );
        assert!(t.lookup(7, ip("198.51.101.1")).is_none());
        assert_eq!(t.lookup(0, ip("::5")), Some(&hop("2001:db8::1", None)));
        assert_eq!(
            t.show(),
            "Route Table:\nUser: 198.51.100.0/24 dev br0 GW 192.0.2.254 SRC 192.0.2.1\n\
             User: 198.51.100.0/24 MARK 7 dev br0 SRC 192.0.2.1\nUser: ::/0 dev br0 SRC 2001:db8::1\n"
        );
        assert!(t.del(7, p("198.51.100.0/24")) && !t.del(7, p("198.51.100.0/24")));
        assert_eq!(Prefix::parse("1.2.3.4/33"), None);
        assert_eq!(p("1.2.3.4").address(), Some(ip("1.2.3.4")));
    }

    #[test]
    fn sources_come_from_the_closest_network() {
        let own = [
            (ip("10.0.0.1"), 8),
            (ip("10.1.0.1"), 16),
            (ip("2001:db8::1"), 64),
        ];
        assert_eq!(source_for(&own, &[ip("10.1.2.3")]), Some(ip("10.1.0.1")));
        assert_eq!(
            source_for(&own, &[ip("9.9.9.9"), ip("10.9.9.9")]),
            Some(ip("10.0.0.1"))
        );
        assert_eq!(source_for(&own, &[ip("2001:db9::1")]), None);
    }
}
