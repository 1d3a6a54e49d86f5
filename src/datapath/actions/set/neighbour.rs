//! `set` of ARP and of IPv6 neighbour discovery.

use super::l4::{self, Part};
use super::{Bits, SetStep, bits2};
use dpif::DpifError;
use flow::Layers;
use odp::SetKey;
use packet::Frame;
use wire::Header;
use wire::arp::ArpHeader;
use wire::icmpv6::{ND_OPT_SLL, ND_OPT_TLL, nd_options};
use wire::ipv4::PROTO_ICMPV6;

/// Changes of an ARP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct SetArp {
    op: Bits<2>,
    /// Sender hardware and protocol address, then the target's, as on the wire.
    addrs: Bits<20>,
}

/// Changes of a neighbour discovery message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct SetNd {
    target: Bits<16>,
    sll: Bits<6>,
    tll: Bits<6>,
}

/// Changes of its reserved word and of the type of its first link-layer address option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct SetNdExt {
    reserved: Bits<4>,
    option: Bits<1>,
}

/// Octets of ICMPv6 header and reserved word.
const RESERVED_AT: usize = 4;
/// Where the target stands.
const TARGET_AT: usize = 8;
/// Where options begin.
const OPTIONS_AT: usize = 24;

pub(super) fn compile(key: &SetKey, mask: &SetKey) -> Result<SetStep, DpifError> {
    use SetKey as K;
    match (key, mask) {
        (K::Arp { .. }, K::Arp { .. }) => {
            let part = |k: &SetKey| {
                let K::Arp {
                    sip,
                    tip,
                    op,
                    sha,
                    tha,
                } = k
                else {
                    return ([0; 2], [0; 20]);
                };
                let s: [u8; 10] = bits2(&sha.0, &sip.0);
                let t: [u8; 10] = bits2(&tha.0, &tip.0);
                (op.to_be_bytes(), bits2(&s, &t))
            };
            let (k, m) = (part(key), part(mask));
            Ok(SetStep::Arp(Box::new(SetArp {
                op: Bits::new(k.0, m.0),
                addrs: Bits::new(k.1, m.1),
            })))
        }
        (
            K::Nd { target, sll, tll },
            K::Nd {
                target: mt,
                sll: ms,
                tll: ml,
            },
        ) => Ok(SetStep::Nd(Box::new(SetNd {
            target: Bits::new(target.0, mt.0),
            sll: Bits::new(sll.0, ms.0),
            tll: Bits::new(tll.0, ml.0),
        }))),
        (
            K::NdExtensions {
                reserved,
                options_type,
            },
            K::NdExtensions {
                reserved: mr,
                options_type: mo,
            },
        ) => Ok(SetStep::NdExt(SetNdExt {
            reserved: Bits::new(reserved.to_be_bytes(), mr.to_be_bytes()),
            option: Bits::new([*options_type], [*mo]),
        })),
        _ => Err(DpifError::Invalid),
    }
}

impl SetArp {
    pub(super) fn apply(&self, frame: &mut Frame, layers: &Layers) -> Option<()> {
        let l3 = layers.l3_ofs()?;
        let arp = ArpHeader::at_mut(frame.data_mut(), l3).filter(|a| a.is_eth_ipv4())?;
        arp.op.set(u16::from_be_bytes(
            self.op.applied(arp.op.get().to_be_bytes()),
        ));
        let addrs = frame.data_mut()[l3 + 8..].first_chunk_mut::<20>()?;
        *addrs = self.addrs.applied(*addrs);
        Some(())
    }
}

/// Replaces `N` bytes of an ICMPv6 message, `at` bytes into it.
fn replace<const N: usize>(
    frame: &mut Frame,
    l4: &l4::L4,
    at: usize,
    bits: &Bits<N>,
) -> Option<()> {
    if bits.is_nothing() {
        return Some(());
    }
    let at = l4.ofs + at;
    // Covered words begin at even offsets of the message: take one byte more on an odd edge.
    let even = at - (at - l4.ofs) % 2;
    let end = at + N + (at + N - l4.ofs) % 2;
    let data = frame.data_mut().get_mut(even..end.min(l4.end))?;
    let mut old = [0; 40];
    let len = data.len();
    old.get_mut(..len)?.copy_from_slice(data);
    let field = data.get_mut(at - even..)?.first_chunk_mut::<N>()?;
    *field = bits.applied(*field);
    let mut new = [0; 40];
    new[..len].copy_from_slice(data);
    let covered = len + len % 2;
    l4::fix(frame, l4, Part::Own, (&old[..covered], &new[..covered]));
    Some(())
}

/// Offset, in the message, of the first option of type `kind` with an Ethernet address.
fn option_at(message: &[u8], kind: u8) -> Option<usize> {
    nd_options(message.get(OPTIONS_AT..)?)
        .find(|o| o.kind == kind && o.lla().is_some())
        .map(|o| OPTIONS_AT + o.ofs)
}

fn message<'a>(frame: &'a Frame, layers: &Layers) -> Option<(l4::L4, &'a [u8])> {
    let l4 = l4::locate(frame.data(), layers).filter(|l4| l4.proto == PROTO_ICMPV6)?;
    Some((l4, frame.data().get(l4.ofs..l4.end)?))
}

impl SetNd {
    pub(super) fn apply(&self, frame: &mut Frame, layers: &Layers) -> Option<()> {
        let (l4, msg) = message(frame, layers)?;
        let options = [
            (option_at(msg, ND_OPT_SLL), &self.sll),
            (option_at(msg, ND_OPT_TLL), &self.tll),
        ];
        replace(frame, &l4, TARGET_AT, &self.target)?;
        for (at, bits) in options {
            if let Some(at) = at {
                replace(frame, &l4, at + 2, bits)?;
            }
        }
        Some(())
    }
}

impl SetNdExt {
    pub(super) fn apply(&self, frame: &mut Frame, layers: &Layers) -> Option<()> {
        let (l4, msg) = message(frame, layers)?;
        let option = nd_options(msg.get(OPTIONS_AT..).unwrap_or_default())
            .find(|o| matches!(o.kind, ND_OPT_SLL | ND_OPT_TLL))
            .map(|o| OPTIONS_AT + o.ofs);
        replace(frame, &l4, RESERVED_AT, &self.reserved)?;
        if let Some(at) = option {
            replace(frame, &l4, at, &self.option)?;
        }
        Some(())
    }
}
