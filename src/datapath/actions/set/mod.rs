//! `set` and masked `set`: overwriting bits of headers that are there, and keeping checksums right.
//!
//! A [`SetStep`] holds, for each run of header bytes, the new bits and the mask of bits to replace; a plain
//! `set` is one whose mask is all ones. Key bits outside the mask are zero, so that
//! `new = old & !mask | key`.

mod ip;
mod l4;
mod neighbour;

use super::csum::overwrite;
use dpif::DpifError;
use flow::{Layers, NshKey, TunnelKey};
use odp::SetKey;
use packet::Frame;
use wire::{EthAddr, Ipv4, Ipv6};

use crate::pkts::{Side, side_of};

/// New bits and which bits they replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bits<const N: usize> {
    pub(super) key: [u8; N],
    pub(super) mask: [u8; N],
}

impl<const N: usize> Bits<N> {
    fn new(key: [u8; N], mask: [u8; N]) -> Self {
        Self {
            key: std::array::from_fn(|i| key[i] & mask[i]),
            mask,
        }
    }
    pub(super) fn is_nothing(&self) -> bool {
        self.mask == [0; N]
    }
    /// The field with the new bits.
    pub(super) fn applied(&self, old: [u8; N]) -> [u8; N] {
        let mut new = old;
        overwrite(&mut new, &self.key, &self.mask);
        new
    }
}

/// One header's change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SetStep {
    Priority(Bits<4>),
    Mark(Bits<4>),
    Tunnel(Box<TunnelKey>),
    /// Destination, then source, as on the wire.
    Ethernet(Bits<12>),
    Ipv4(ip::Set4),
    Ipv6(Box<ip::Set6>),
    /// Ports of TCP, UDP or SCTP.
    Ports {
        proto: u8,
        ports: Bits<4>,
    },
    /// Type and code.
    Icmp {
        v6: bool,
        bits: Bits<2>,
    },
    Arp(Box<neighbour::SetArp>),
    Nd(Box<neighbour::SetNd>),
    NdExt(neighbour::SetNdExt),
    Mpls(Bits<4>),
    Nsh(Box<(NshKey, NshKey)>),
}

fn bits2<const N: usize>(a: &[u8], b: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (o, &i) in out.iter_mut().zip(a.iter().chain(b)) {
        *o = i;
    }
    out
}

fn macs(dst: EthAddr, src: EthAddr) -> [u8; 12] {
    bits2(&dst.0, &src.0)
}

fn ports(src: u16, dst: u16) -> [u8; 4] {
    bits2(&src.to_be_bytes(), &dst.to_be_bytes())
}

fn v4(src: Ipv4, dst: Ipv4) -> [u8; 8] {
    bits2(&src.0, &dst.0)
}

fn v6(src: Ipv6, dst: Ipv6) -> [u8; 32] {
    bits2(&src.0, &dst.0)
}

/// The mask of a plain `set`: every bit of the same header.
fn all_ones(key: &SetKey) -> SetKey {
    const MAC: EthAddr = EthAddr([0xff; 6]);
    const IP4: Ipv4 = Ipv4([0xff; 4]);
    const IP6: Ipv6 = Ipv6([0xff; 16]);
    match key {
        SetKey::Priority(_) => SetKey::Priority(u32::MAX),
        SetKey::SkbMark(_) => SetKey::SkbMark(u32::MAX),
        SetKey::Tunnel(t) => SetKey::Tunnel(t.clone()),
        SetKey::Ethernet { .. } => SetKey::Ethernet { src: MAC, dst: MAC },
        SetKey::Ipv4 { .. } => SetKey::Ipv4 {
            src: IP4,
            dst: IP4,
            proto: 0xff,
            tos: 0xff,
            ttl: 0xff,
            frag: 0xff,
        },
        SetKey::Ipv6 { .. } => SetKey::Ipv6 {
            src: IP6,
            dst: IP6,
            label: u32::MAX,
            proto: 0xff,
            tclass: 0xff,
            hlimit: 0xff,
            frag: 0xff,
        },
        SetKey::Tcp { .. } => SetKey::Tcp {
            src: u16::MAX,
            dst: u16::MAX,
        },
        SetKey::Udp { .. } => SetKey::Udp {
            src: u16::MAX,
            dst: u16::MAX,
        },
        SetKey::Sctp { .. } => SetKey::Sctp {
            src: u16::MAX,
            dst: u16::MAX,
        },
        SetKey::Icmp { .. } => SetKey::Icmp {
            type_: 0xff,
            code: 0xff,
        },
        SetKey::Icmpv6 { .. } => SetKey::Icmpv6 {
            type_: 0xff,
            code: 0xff,
        },
        SetKey::Arp { .. } => SetKey::Arp {
            sip: IP4,
            tip: IP4,
            op: u16::MAX,
            sha: MAC,
            tha: MAC,
        },
        SetKey::Nd { .. } => SetKey::Nd {
            target: IP6,
            sll: MAC,
            tll: MAC,
        },
        SetKey::NdExtensions { .. } => SetKey::NdExtensions {
            reserved: u32::MAX,
            options_type: 0xff,
        },
        SetKey::Mpls { .. } => SetKey::Mpls { lse: u32::MAX },
        SetKey::Nsh(_) => SetKey::Nsh(nsh_ones()),
    }
}

fn nsh_ones() -> NshKey {
    NshKey {
        flags: 0xff,
        ttl: 0xff,
        mdtype: 0,
        np: 0,
        path_hdr: wire::U32::new(u32::MAX),
        context: [wire::U32::new(u32::MAX); 4],
    }
}

impl SetStep {
    /// A plain `set`.
    pub(super) fn full(key: &SetKey) -> Result<Self, DpifError> {
        if let SetKey::Tunnel(t) = key {
            return Ok(Self::Tunnel(t.clone()));
        }
        // A zero link-layer address in `set(nd)` means that there is no such option.
        let mut mask = all_ones(key);
        if let (
            SetKey::Nd { sll, tll, .. },
            SetKey::Nd {
                sll: ms, tll: mt, ..
            },
        ) = (key, &mut mask)
        {
            if *sll == EthAddr::ZERO {
                *ms = EthAddr::ZERO;
            }
            if *tll == EthAddr::ZERO {
                *mt = EthAddr::ZERO;
            }
        }
        Self::masked(key, &mask)
    }

    /// A masked `set`. Key and mask must be of the same header.
    pub(super) fn masked(key: &SetKey, mask: &SetKey) -> Result<Self, DpifError> {
        use SetKey as K;
        Ok(match (key, mask) {
            (K::Priority(k), K::Priority(m)) => {
                Self::Priority(Bits::new(k.to_be_bytes(), m.to_be_bytes()))
            }
            (K::SkbMark(k), K::SkbMark(m)) => {
                Self::Mark(Bits::new(k.to_be_bytes(), m.to_be_bytes()))
            }
            (K::Ethernet { src, dst }, K::Ethernet { src: ms, dst: md }) => {
                Self::Ethernet(Bits::new(macs(*dst, *src), macs(*md, *ms)))
            }
            (K::Ipv4 { .. }, K::Ipv4 { .. }) => Self::Ipv4(ip::Set4::new(key, mask)),
            (K::Ipv6 { .. }, K::Ipv6 { .. }) => Self::Ipv6(Box::new(ip::Set6::new(key, mask))),
            (K::Tcp { src, dst }, K::Tcp { src: ms, dst: md }) => Self::Ports {
                proto: wire::ipv4::PROTO_TCP,
                ports: Bits::new(ports(*src, *dst), ports(*ms, *md)),
            },
            (K::Udp { src, dst }, K::Udp { src: ms, dst: md }) => Self::Ports {
                proto: wire::ipv4::PROTO_UDP,
                ports: Bits::new(ports(*src, *dst), ports(*ms, *md)),
            },
            (K::Sctp { src, dst }, K::Sctp { src: ms, dst: md }) => Self::Ports {
                proto: wire::ipv4::PROTO_SCTP,
                ports: Bits::new(ports(*src, *dst), ports(*ms, *md)),
            },
            (
                K::Icmp { type_, code },
                K::Icmp {
                    type_: mt,
                    code: mc,
                },
            ) => Self::Icmp {
                v6: false,
                bits: Bits::new([*type_, *code], [*mt, *mc]),
            },
            (
                K::Icmpv6 { type_, code },
                K::Icmpv6 {
                    type_: mt,
                    code: mc,
                },
            ) => Self::Icmp {
                v6: true,
                bits: Bits::new([*type_, *code], [*mt, *mc]),
            },
            (K::Mpls { lse }, K::Mpls { lse: m }) => {
                Self::Mpls(Bits::new(lse.to_be_bytes(), m.to_be_bytes()))
            }
            (K::Nsh(k), K::Nsh(m)) => Self::Nsh(Box::new((*k, *m))),
            (K::Arp { .. } | K::Nd { .. } | K::NdExtensions { .. }, _) => {
                neighbour::compile(key, mask)?
            }
            _ => return Err(DpifError::Invalid),
        })
    }

    pub(super) fn needs_layers(&self) -> bool {
        !matches!(
            self,
            Self::Priority(_) | Self::Mark(_) | Self::Tunnel(_) | Self::Ethernet(_)
        )
    }

    /// Changes one packet; `None` when the header is not there.
    pub(super) fn apply(
        &self,
        frame: &mut Frame,
        layers: &Layers,
        side: &mut Option<Box<Side>>,
    ) -> Option<()> {
        match self {
            Self::Priority(b) => {
                frame.priority = u32::from_be_bytes(b.applied(frame.priority.to_be_bytes()));
            }
            Self::Mark(b) => frame.mark = u32::from_be_bytes(b.applied(frame.mark.to_be_bytes())),
            Self::Tunnel(t) => side_of(side).tunnel = Some(t.clone()),
            Self::Ethernet(b) => overwrite(frame.data_mut().get_mut(..12)?, &b.key, &b.mask),
            Self::Ipv4(set) => set.apply(frame, layers)?,
            Self::Ipv6(set) => set.apply(frame, layers)?,
            Self::Ports { proto, ports } => l4::set_ports(frame, layers, *proto, ports)?,
            Self::Icmp { v6, bits } => l4::set_icmp(frame, layers, *v6, bits)?,
            Self::Arp(set) => set.apply(frame, layers)?,
            Self::Nd(set) => set.apply(frame, layers)?,
            Self::NdExt(set) => set.apply(frame, layers)?,
            Self::Mpls(b) => {
                let at = usize::from(layers.l2_5).min(frame.len());
                let lse = frame.data_mut()[at..].first_chunk_mut::<4>()?;
                *lse = b.applied(*lse);
            }
            Self::Nsh(set) => super::nsh::set(frame, layers, &set.0, &set.1)?,
        }
        Some(())
    }
}
