//! Which connections are to be forgotten: [`CtMatch`], its text, and doing it.

use super::{CtControl, CtEntry, CtTuple};
use crate::error::DpifError;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one direction of a connection must be; what is not said may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct CtEnds {
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    pub src_port: u16,
    pub dst_port: u16,
    pub icmp_id: u16,
    pub icmp_type: u8,
    pub icmp_code: u8,
}

/// What a connection must be. The default is every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CtMatch {
    /// IP protocol; 0 for any.
    pub proto: u8,
    /// Address family.
    pub v6: Option<bool>,
    /// The direction of the first packet.
    pub orig: CtEnds,
    /// The other one.
    pub reply: CtEnds,
}

const fn is_icmp(proto: u8) -> bool {
    proto == 1 || proto == 58
}

fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let n = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    n.ok().and_then(|n| T::try_from(n).ok())
}

impl CtEnds {
    fn is_nothing(&self, proto: u8) -> bool {
        let ports = is_icmp(proto) || self.src_port == 0 && self.dst_port == 0;
        self.src.is_none() && self.dst.is_none() && ports
    }

    /// Everything is said.
    fn is_whole(&self, proto: u8) -> bool {
        let ports = is_icmp(proto) || self.src_port != 0 && self.dst_port != 0;
        self.src.is_some() && self.dst.is_some() && ports
    }

    fn matches(&self, t: &CtTuple, proto: u8) -> bool {
        let addr = |want: Option<IpAddr>, have| want.is_none_or(|w| w == have);
        let port = |want, have| want == 0 || want == have;
        addr(self.src, t.src)
            && addr(self.dst, t.dst)
            && if is_icmp(proto) {
                self.icmp_id == t.sport && (self.icmp_type, self.icmp_code) == t.icmp
            } else {
                port(self.src_port, t.sport) && port(self.dst_port, t.dport)
            }
    }

    fn format(&self, out: &mut String, proto: u8, v6: Option<bool>) {
        let (src, dst) = if v6 == Some(false) {
            ("ct_nw_src=", ",ct_nw_dst=")
        } else {
            ("ct_ipv6_src=", ",ct_ipv6_dst=")
        };
        for (name, addr) in [(src, self.src), (dst, self.dst)] {
            out.push_str(name);
            let addr = addr.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
            write!(out, "{addr}").expect("a string takes everything");
        }
        if is_icmp(proto) {
            let (id, kind, code) = (self.icmp_id, self.icmp_type, self.icmp_code);
            write!(out, ",icmp_id={id},icmp_type={kind},icmp_code={code}")
        } else {
            let (src, dst) = (self.src_port, self.dst_port);
            write!(out, ",ct_tp_src={src},ct_tp_dst={dst}")
        }
        .expect("a string takes everything");
    }
}

impl CtMatch {
    /// It says nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let ends = |e: &CtEnds| e.is_nothing(self.proto);
        self.proto == 0 && self.v6.is_none() && ends(&self.orig) && ends(&self.reply)
    }

    /// True for connections that are meant.
    #[must_use]
    pub fn matches(&self, e: &CtEntry) -> bool {
        self.v6.is_none_or(|v6| v6 == e.orig.src.is_ipv6())
            && (self.proto == 0 || self.proto == e.orig.proto)
            && self.orig.matches(&e.orig, self.proto)
            && self.reply.matches(&e.reply, self.proto)
    }

    /// Reads one direction, `ct_nw_src=...,ct_nw_proto=...`.
    ///
    /// # Errors
    /// What is wrong, as commands say it.
    pub fn parse_ends(&mut self, reply: bool, text: &str) -> Result<(), String> {
        for part in text.split([',', ' ', '\t']).filter(|p| !p.is_empty()) {
            let (key, value) = part.split_once(['=', ':']).unwrap_or((part, ""));
            if value.is_empty() {
                return Err(format!("field {key} missing value"));
            }
            self.parse_field(reply, key, value)?;
        }
        let ends = if reply { &self.reply } else { &self.orig };
        if self.proto == 0 && (ends.src_port != 0 || ends.dst_port != 0) {
            return Err("port is set without protocol".to_owned());
        }
        Ok(())
    }

    fn parse_field(&mut self, reply: bool, key: &str, value: &str) -> Result<(), String> {
        let malformed = || format!("failed to parse field {key}");
        let icmp = is_icmp(self.proto);
        let ends = if reply {
            &mut self.reply
        } else {
            &mut self.orig
        };
        match key {
            "ct_nw_src" | "ct_nw_dst" | "ct_ipv6_src" | "ct_ipv6_dst" => {
                let v6 = key.contains("ipv6");
                if self.v6.is_some_and(|had| had != v6) {
                    return Err(format!("the L3 protocol does not match {value}"));
                }
                let addr = if key.ends_with("src") {
                    &mut ends.src
                } else {
                    &mut ends.dst
                };
                if addr.is_some() {
                    return Err(format!("{key} is set multiple times"));
                }
                let ip = if v6 {
                    value.parse::<Ipv6Addr>().map(IpAddr::V6)
                } else {
                    value.parse::<Ipv4Addr>().map(IpAddr::V4)
                };
                let ip = ip.map_err(|_| malformed())?;
                *addr = (!ip.is_unspecified()).then_some(ip);
                self.v6 = Some(v6);
            }
            "ct_nw_proto" => self.proto = number(value).ok_or_else(malformed)?,
            "ct_tp_src" => ends.src_port = number(value).ok_or_else(malformed)?,
            "ct_tp_dst" => ends.dst_port = number(value).ok_or_else(malformed)?,
            "icmp_type" | "icmp_code" | "icmp_id" if !icmp => {
                return Err("invalid L4 fields".to_owned());
            }
            "icmp_type" => ends.icmp_type = number(value).ok_or_else(malformed)?,
            "icmp_code" => ends.icmp_code = number(value).ok_or_else(malformed)?,
            "icmp_id" => ends.icmp_id = number(value).ok_or_else(malformed)?,
            _ => return Err(format!("invalid conntrack tuple field: {key}")),
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut out = String::from("'");
        self.orig.format(&mut out, self.proto, self.v6);
        write!(out, ",ct_nw_proto={}' '", self.proto).expect("a string takes everything");
        self.reply.format(&mut out, self.proto, self.v6);
        out.push('\'');
        out
    }

    /// The one connection that is meant, by its original direction.
    fn single(&self) -> Option<CtTuple> {
        let o = &self.orig;
        (o.is_whole(self.proto) && self.reply.is_nothing(self.proto)).then_some(())?;
        let icmp = is_icmp(self.proto);
        Some(CtTuple {
            src: o.src?,
            dst: o.dst?,
            proto: self.proto,
            sport: if icmp { o.icmp_id } else { o.src_port },
            dport: if icmp { 0 } else { o.dst_port },
            icmp: (o.icmp_type, o.icmp_code),
        })
    }
}

/// Forgets connections of a zone, or of all; `name` is the datapath's, with its type.
///
/// # Errors
/// NoEntry, when a single connection is meant and it is not there.
pub fn flush_matching(
    ct: &dyn CtControl,
    name: &str,
    zone: Option<u16>,
    wanted: &CtMatch,
) -> Result<(), DpifError> {
    if wanted.is_nothing() {
        match zone {
            Some(zone) => tracing::debug!(target: "ct_dpif", "{name}: ct_flush: zone {zone}"),
            None => tracing::debug!(target: "ct_dpif", "{name}: ct_flush: <all>"),
        }
        ct.flush(zone);
        return Ok(());
    }
    tracing::debug!(target: "ct_dpif", "{name}: ct_flush: zone={} {}", zone.unwrap_or(0), wanted.text());
    if let Some(tuple) = wanted.single() {
        return ct.flush_tuple(&tuple, zone.unwrap_or(0));
    }
    let mut dump = ct.dump(zone);
    let mut some = Vec::new();
    loop {
        let more = dump.next(&mut some);
        for e in some.drain(..).filter(|e| wanted.matches(e)) {
            // One that is gone by now is what was wanted.
            let _ = ct.flush_tuple(&e.orig, e.zone);
        }
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<CtMatch, String> {
        let mut m = CtMatch::default();
        m.parse_ends(false, text).map(|()| m)
    }

    #[test]
    fn texts_of_tuples() {
        let m =
            parsed("ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2,ct_nw_proto=17,ct_tp_src=1,ct_tp_dst=2");
        let m = m.unwrap();
        assert_eq!(m.v6, Some(false));
        assert!(m.single().is_some() && !m.is_nothing());
        assert_eq!(
            m.text(),
            "'ct_nw_src=10.1.1.1,ct_nw_dst=10.1.1.2,ct_tp_src=1,ct_tp_dst=2,ct_nw_proto=17' 'ct_nw_src=::,ct_nw_dst=::,ct_tp_src=0,ct_tp_dst=0'"
        );
        for (text, error) in [
            ("ct_nw_src", "field ct_nw_src missing value"),
            ("ct_nw_src=1", "failed to parse field ct_nw_src"),
            ("ct_tp_src=1", "port is set without protocol"),
            ("icmp_id=1", "invalid L4 fields"),
            ("ct_tp_src=65536", "failed to parse field ct_tp_src"),
            ("a=1", "invalid conntrack tuple field: a"),
            (
                "ct_nw_src=1.1.1.1,ct_nw_src=1.1.1.1",
                "ct_nw_src is set multiple times",
            ),
            (
                "ct_nw_src=1.1.1.1,ct_ipv6_src=::1",
                "the L3 protocol does not match ::1",
            ),
        ] {
            assert_eq!(parsed(text), Err(error.to_owned()), "{text}");
        }
    }
}
