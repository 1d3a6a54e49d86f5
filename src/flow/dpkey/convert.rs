//! Whole keys from text: the list of attributes, and what it must and may contain.

use super::{Attr, OdpNames, OdpTextError};
use crate::extract::vlan_limit;
use crate::key::{Flow, Mask, Vlan};
use packet::OdpPort;
use wire::ethernet::{
    ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_MIN, ETH_TYPE_MPLS, ETH_TYPE_NSH,
    ETH_TYPE_RARP, is_mpls_type, is_vlan_type,
};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};
use wire::mpls::LSE_BOS;

/// Between the attributes of a list.
const DELIMITERS: [char; 5] = [',', ' ', '\t', '\r', '\n'];

/// How well a key has what its own types and protocols call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// All of it and nothing else.
    Perfect,
    /// Attributes that do not belong there.
    TooMuch,
    /// An attribute is missing.
    TooLittle,
}

/// A datapath key and its mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OdpKey {
    /// The flow. Without `in_port(...)` its port is [`OdpPort::NONE`].
    pub flow: Flow,
    /// The mask that the text gives: parts without one are exact, attributes that are not there do not
    /// matter.
    pub mask: Mask,
}

/// One tag: EtherType, TCI.
type Tag = (u16, Option<(u16, u16)>);

/// What was seen on one level of `encap(...)`.
#[derive(Default, Clone, Copy)]
struct Level {
    present: u32,
    eth_type: Option<(u16, u16)>,
    tci: Option<(u16, u16)>,
}

impl Level {
    fn has(&self, attr: Attr) -> bool {
        self.present & attr.bit() != 0
    }
}

impl OdpKey {
    /// Nothing, to read attributes into.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            flow: Flow::zero(),
            mask: Mask::empty(),
        }
    }

    /// Reads a key. A `ufid:...` in front is skipped.
    ///
    /// # Errors
    /// [`OdpTextError::Syntax`], or what makes the key or its mask impossible.
    pub fn parse(text: &str, names: &dyn OdpNames) -> Result<(Self, Fitness), OdpTextError> {
        let mut key = Self::empty();
        let mut levels = vec![Level::default()];
        let rest = list(text, &mut key, names, &mut levels)?;
        if !rest.is_empty() {
            return Err(OdpTextError::Syntax { at: rest.into() });
        }
        let fitness = finish(&mut key, &levels)?;
        Ok((key, fitness))
    }
}

fn skip_ufid(text: &str) -> Option<&str> {
    const UUID_LEN: usize = 36;
    match text.strip_prefix("ufid:") {
        None => Some(text),
        Some(rest) => {
            let digits = rest.get(..UUID_LEN)?;
            let ok = digits.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
            ok.then(|| rest[UUID_LEN..].trim_start_matches(DELIMITERS))
        }
    }
}

/// Attributes up to `)` or the end; gives what follows.
fn list<'a>(
    text: &'a str,
    key: &mut OdpKey,
    names: &dyn OdpNames,
    levels: &mut Vec<Level>,
) -> Result<&'a str, OdpTextError> {
    // Deeper than any packet's tags; keeps hostile text from nesting for ever.
    const NESTED_MAX: usize = 32;
    let depth = levels.len() - 1;
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(DELIMITERS);
        if rest.is_empty() || rest.starts_with(')') {
            return Ok(rest);
        }
        let error = || OdpTextError::Syntax { at: rest.into() };
        if depth == 0 {
            rest = skip_ufid(rest).ok_or_else(error)?;
        }
        if let Some(inner) = rest.strip_prefix("encap(") {
            if levels.len() >= NESTED_MAX {
                return Err(error());
            }
            levels[depth].present |= Attr::Encap.bit();
            levels.push(Level::default());
            let tail = list(inner, key, names, levels)?;
            rest = tail.strip_prefix(')').ok_or_else(error)?;
            continue;
        }
        let (attr, tail) = Attr::parse(rest, key, names)?;
        let level = &mut levels[depth];
        level.present |= attr.bit();
        let (f, m) = (&key.flow, &key.mask.0);
        match attr {
            Attr::EthType => level.eth_type = Some((f.dl_type.get(), m.dl_type.get())),
            Attr::Vlan => level.tci = Some((f.vlans[0].tci.get(), m.vlans[0].tci.get())),
            _ => {}
        }
        rest = tail;
    }
}

/// Turns what was read into a flow and a mask.
fn finish(key: &mut OdpKey, levels: &[Level]) -> Result<Fitness, OdpTextError> {
    let first = levels[0];
    key.mask.0.recirc_id.set(u32::MAX);
    if !first.has(Attr::InPort) {
        key.flow.in_port.set(OdpPort::NONE.0);
    }
    let all = levels.iter().fold(0, |n, l| n | l.present);
    if all & Attr::Tunnel.bit() != 0 && !tunnel_has_ttl(key) {
        return Err(OdpTextError::TunnelNoTtl);
    }
    packet_type(key, &first);
    let (tags, mut fitness) = tags(key, levels)?;
    write_tags(key, &tags);
    let last = levels[tags.len().min(levels.len() - 1)];
    if fitness == Fitness::Perfect {
        fitness = upper(key, &last, &levels[0])?;
    }
    Ok(fitness)
}

/// A mask of zero on the TTL cannot be told from a missing one; neither can be used for anything.
fn tunnel_has_ttl(key: &OdpKey) -> bool {
    key.mask.0.tunnel.ip_ttl != 0 || key.flow.tunnel.ip_ttl != 0
}

fn packet_type(key: &mut OdpKey, first: &Level) {
    let f = &mut key.flow;
    if first.has(Attr::PacketType) && f.packet_type.get() >> 16 == 1 {
        f.dl_type.set(f.packet_type.get() as u16);
        key.mask.0.dl_type.set(u16::MAX);
    }
    if first.has(Attr::Ethernet) {
        f.packet_type.set(0);
    } else if let Some((t, _)) = first.eth_type {
        f.packet_type.set(1 << 16 | u32::from(t));
    }
}

/// The EtherType a level says, or the one its layer 3 implies.
fn ethertype(key: &OdpKey, level: &Level) -> Result<(u16, u16), OdpTextError> {
    let typed = match level.eth_type {
        Some((t, _)) if t < ETH_TYPE_MIN => return Err(OdpTextError::BadEthertype(t)),
        Some(both) => both,
        None if !key.flow.is_ethernet() => (key.flow.packet_type.get() as u16, u16::MAX),
        None if level.has(Attr::Ipv4) => (ETH_TYPE_IP, 0),
        None if level.has(Attr::Ipv6) => (ETH_TYPE_IPV6, 0),
        None if level.has(Attr::Mpls) => (ETH_TYPE_MPLS, 0),
        None => (Flow::DL_TYPE_NONE, 0),
    };
    Ok(typed)
}

/// Walks from tag to tag; leaves the innermost EtherType in the key.
fn tags(key: &mut OdpKey, levels: &[Level]) -> Result<(Vec<Tag>, Fitness), OdpTextError> {
    let mut tags = Vec::new();
    for level in levels {
        let (t, mask) = ethertype(key, level)?;
        key.flow.dl_type.set(t);
        key.mask.0.dl_type.set(mask);
        if !is_vlan_type(t) || tags.len() >= vlan_limit() {
            break;
        }
        let (Some(tci), true) = (level.tci, level.has(Attr::Encap)) else {
            return Ok((tags, Fitness::TooLittle));
        };
        if tci.0 == 0 {
            // A tag cut off behind its type.
            tags.push((t, None));
            break;
        } else if tci.0 & Vlan::CFI == 0 {
            return Err(OdpTextError::VlanNoCfi(tci.0));
        }
        tags.push((t, Some(tci)));
    }
    let used = levels.len().min(tags.len() + 1);
    let fitness = if levels.len() > used {
        Fitness::TooMuch
    } else {
        Fitness::Perfect
    };
    Ok((tags, fitness))
}

/// A flow without tags matches only packets without tags.
fn write_tags(key: &mut OdpKey, tags: &[Tag]) {
    key.flow.vlans = [Vlan::default(); 2];
    key.mask.0.vlans = [Vlan::default(); 2];
    if tags.is_empty() {
        key.mask.0.vlans[0].tpid.set(u16::MAX);
        key.mask.0.vlans[0].tci.set(u16::MAX);
    }
    let to = key.flow.vlans.iter_mut().zip(&mut key.mask.0.vlans);
    for ((f, m), &(tpid, tci)) in to.zip(tags) {
        let (tci, tci_mask) = tci.unwrap_or((0, u16::MAX));
        if tci != 0 {
            f.tpid.set(tpid);
        }
        f.tci.set(tci);
        m.tpid.set(u16::MAX);
        m.tci.set(tci_mask);
    }
}

/// The attributes that the flow calls for beside metadata.
fn expected(f: &Flow, level: &Level) -> u32 {
    let mut bits = match f.dl_type.get() {
        ETH_TYPE_IP => Attr::Ipv4.bit(),
        ETH_TYPE_IPV6 => Attr::Ipv6.bit(),
        ETH_TYPE_ARP | ETH_TYPE_RARP => Attr::Arp.bit(),
        ETH_TYPE_NSH => Attr::Nsh.bit(),
        t if is_mpls_type(t) => Attr::Mpls.bit(),
        _ => 0,
    };
    let (v4, v6) = (
        f.dl_type.get() == ETH_TYPE_IP,
        f.dl_type.get() == ETH_TYPE_IPV6,
    );
    if (v4 || v6) && f.nw_frag & Flow::FRAG_LATER == 0 {
        bits |= match f.nw_proto {
            PROTO_TCP => Attr::Tcp.bit() | level.present & Attr::TcpFlags.bit(),
            PROTO_UDP => Attr::Udp.bit(),
            PROTO_SCTP => Attr::Sctp.bit(),
            PROTO_ICMP if v4 => Attr::Icmp.bit(),
            PROTO_ICMPV6 if v6 && f.is_nd(None) => {
                Attr::Icmpv6.bit() | Attr::Nd.bit() | level.present & Attr::NdExt.bit()
            }
            PROTO_ICMPV6 if v6 => Attr::Icmpv6.bit(),
            _ => 0,
        };
    }
    bits
}

/// Attributes that are never called for and always welcome.
const METADATA: [Attr; 15] = [
    Attr::Priority,
    Attr::SkbMark,
    Attr::CtState,
    Attr::CtZone,
    Attr::CtMark,
    Attr::CtLabel,
    Attr::CtTuple4,
    Attr::CtTuple6,
    Attr::Tunnel,
    Attr::InPort,
    Attr::Ethernet,
    Attr::EthType,
    Attr::DpHash,
    Attr::RecircId,
    Attr::PacketType,
];

fn upper(key: &OdpKey, last: &Level, first: &Level) -> Result<Fitness, OdpTextError> {
    let f = &key.flow;
    let expected = expected(f, last);
    let missing = expected & !last.present;
    let mut welcome = METADATA.iter().fold(expected, |n, a| n | a.bit());
    if first.eth_type.is_some_and(|(t, _)| is_vlan_type(t)) {
        welcome |= Attr::Vlan.bit() | Attr::Encap.bit();
    }
    if is_mpls_type(f.dl_type.get()) && last.has(Attr::Mpls) {
        let n = f.mpls_depth().max(1);
        if f.mpls_lse[n..].iter().any(|l| l.get() != 0) {
            return Err(OdpTextError::MplsBosInside);
        } else if n < Flow::MPLS_MAX && f.mpls_lse[n - 1].get() & LSE_BOS == 0 {
            return Ok(Fitness::TooLittle);
        }
    }
    Ok(if missing != 0 {
        Fitness::TooLittle
    } else if last.present & !welcome != 0 {
        Fitness::TooMuch
    } else {
        Fitness::Perfect
    })
}

impl OdpKey {
    /// Refuses masks that ask for bits of a layer without asking for its type. To be called by those who
    /// use the mask.
    ///
    /// # Errors
    /// What the mask may not ask for.
    pub fn check_mask(&self) -> Result<(), OdpTextError> {
        let (f, m) = (&self.flow, &self.mask.0);
        let (dl_type, type_mask) = (f.dl_type.get(), m.dl_type.get());
        if dl_type < ETH_TYPE_MIN && f.is_ethernet() && type_mask != u16::MAX {
            return Err(OdpTextError::EthertypeMaskMissing);
        }
        let l3 = match dl_type {
            ETH_TYPE_IP => Attr::Ipv4,
            ETH_TYPE_IPV6 => Attr::Ipv6,
            ETH_TYPE_ARP | ETH_TYPE_RARP => Attr::Arp,
            _ => return Ok(()),
        };
        if !l3.is_wild(m) && type_mask != u16::MAX {
            return Err(OdpTextError::MaskedEthertype(dl_type, type_mask));
        }
        let ports = m.tp_src.get() | m.tp_dst.get() != 0;
        if ports && m.nw_proto != u8::MAX && l3 != Attr::Arp {
            return Err(OdpTextError::PortsWithoutProto);
        }
        Ok(())
    }
}
