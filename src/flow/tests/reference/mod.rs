//! A second extractor: slow, allocation-happy, written from the documented rules and sharing no code with
//! the fast one.

use flow::{CtTuple, Flow, Metadata, NshKey, Vlan};
use wire::{EthAddr, Ipv4, Ipv6, U16, U32, U128};

/// Where the layers were found; `None` when they were not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) l2_5: Option<usize>,
    pub(crate) l3: Option<usize>,
    pub(crate) l4: Option<usize>,
    pub(crate) pad: usize,
}

/// Bytes not yet consumed.
#[derive(Clone)]
struct Reader {
    bytes: Vec<u8>,
    at: usize,
}

impl Reader {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }
    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        if self.left() < n {
            return None;
        }
        let out = self.bytes[self.at..self.at + n].to_vec();
        self.at += n;
        Some(out)
    }
    fn peek(&self, n: usize) -> Option<Vec<u8>> {
        self.clone().take(n)
    }
}

fn n16(b: &[u8]) -> u16 {
    u16::from(b[0]) * 256 + u16::from(b[1])
}
fn n32(b: &[u8]) -> u32 {
    u32::from(n16(b)) * 65536 + u32::from(n16(&b[2..]))
}
fn mac(b: &[u8]) -> EthAddr {
    EthAddr(b[..6].try_into().expect("sliced"))
}
fn ip4(b: &[u8]) -> Ipv4 {
    Ipv4(b[..4].try_into().expect("sliced"))
}
fn ip6(b: &[u8]) -> Ipv6 {
    Ipv6(b[..16].try_into().expect("sliced"))
}

/// The flow of a packet, by the book.
pub(crate) fn extract(data: &[u8], md: &Metadata<'_>) -> (Flow, Offsets) {
    let mut f = Flow::zero();
    let mut o = Offsets::default();
    metadata(md, &mut f);
    let mut r = Reader {
        bytes: data.to_vec(),
        at: 0,
    };
    packet(&mut r, md, &mut f, &mut o);
    (f, o)
}

fn metadata(md: &Metadata<'_>, f: &mut Flow) {
    f.in_port.set(md.in_port);
    f.recirc_id.set(md.recirc_id);
    f.dp_hash.set(md.dp_hash);
    f.packet_type.set(md.packet_type);
    f.skb_priority.set(md.priority);
    f.pkt_mark.set(md.mark);
    if let Some(ct) = md.ct
        && ct.state != 0
    {
        f.ct_state = ct.state;
        f.ct_zone.set(ct.zone);
        f.ct_mark.set(ct.mark);
        f.ct_label = U128::new(ct.label);
    }
    if let Some(t) = md.tunnel
        && (t.ip_dst != Ipv4::default() || t.ipv6_dst != Ipv6::default())
    {
        f.tunnel = *t;
        if t.flags.get() & flow::TunnelKey::F_UDPIF != 0 {
            f.tunnel.present.set(0);
            for i in usize::from(t.opts_len)..f.tunnel.opts.len() {
                f.tunnel.opts[i] = 0;
            }
        } else {
            f.tunnel.opts_len = 0;
            if t.present.get() == 0 {
                f.tunnel.opts = [0; flow::key::TUN_OPTS_MAX];
            }
        }
    }
}

fn ethernet(r: &mut Reader, f: &mut Flow) -> Option<u16> {
    if r.left() < 14 {
        return None;
    }
    f.dl_dst = mac(&r.take(6)?);
    f.dl_src = mac(&r.take(6)?);
    for i in 0..2 {
        let t = n16(&r.peek(2)?);
        if (t == 0x8100 || t == 0x88a8) && r.left() >= 6 {
            let tag = r.take(4)?;
            let tci = n16(&tag[2..]) | 0x1000;
            f.vlans[i] = Vlan {
                tpid: U16::new(t),
                tci: U16::new(tci),
            };
        } else {
            break;
        }
    }
    let mut t = n16(&r.take(2)?);
    if t < 1536 {
        t = match r.peek(8) {
            Some(llc) if llc[..6] == [0xaa, 0xaa, 3, 0, 0, 0] => {
                r.take(8);
                if n16(&llc[6..]) < 1536 {
                    0x5ff
                } else {
                    n16(&llc[6..])
                }
            }
            _ => 0x5ff,
        };
    }
    Some(t)
}

fn packet(r: &mut Reader, md: &Metadata<'_>, f: &mut Flow, o: &mut Offsets) -> Option<()> {
    let dl_type = if md.packet_type == 0 {
        ethernet(r, f)?
    } else {
        md.packet_type as u16
    };
    f.dl_type.set(dl_type);
    if dl_type == 0x8847 || dl_type == 0x8848 {
        o.l2_5 = Some(r.at);
        let mut n = 0;
        while let Some(lse) = r.take(4) {
            if n < 3 {
                f.mpls_lse[n] = U32::new(n32(&lse));
            }
            n += 1;
            if lse[2] % 2 == 1 {
                break;
            }
        }
    }
    if r.at >= 65535 {
        return None;
    }
    o.l3 = Some(r.at);
    let mut ct = None;
    match dl_type {
        0x0800 => ipv4(r, md, f, o, &mut ct)?,
        0x86dd => ipv6(r, md, f, o, &mut ct)?,
        0x0806 | 0x8035 => return arp(r, f),
        0x894f => return nsh(r, f),
        _ => return None,
    }
    if r.at >= 65535 {
        return None;
    }
    o.l4 = Some(r.at);
    if f.nw_frag & 2 == 0 {
        l4(r, f, ct);
    }
    Some(())
}

type Ports = Option<(u16, u16)>;

fn ipv4(
    r: &mut Reader,
    md: &Metadata<'_>,
    f: &mut Flow,
    o: &mut Offsets,
    ct: &mut Ports,
) -> Option<()> {
    let h = r.peek(20)?;
    let hlen = usize::from(h[0] % 16) * 4;
    let tot = usize::from(n16(&h[2..]));
    if hlen < 20 || r.left() < hlen || tot > r.left() || hlen > tot || r.left() - tot > 65535 {
        return None;
    }
    o.pad = r.left() - tot;
    r.bytes.truncate(r.at + tot);
    f.nw_src = ip4(&h[12..]);
    f.nw_dst = ip4(&h[16..]);
    f.nw_tos = h[1];
    f.nw_ttl = h[8];
    f.nw_proto = h[9];
    let frag = n16(&h[6..]) & 0x3fff;
    f.nw_frag = match frag {
        0 => 0,
        0x2000 => 1,
        _ => 3,
    };
    if let Some(c) = md.ct
        && c.state != 0
        && let CtTuple::V4 {
            src,
            dst,
            tp_src,
            tp_dst,
            proto,
        } = c.tuple
        && proto != 0
    {
        f.ct_nw_src = src;
        f.ct_nw_dst = dst;
        f.ct_nw_proto = proto;
        *ct = Some((tp_src, tp_dst));
    }
    r.take(hlen)?;
    Some(())
}

fn ipv6(
    r: &mut Reader,
    md: &Metadata<'_>,
    f: &mut Flow,
    o: &mut Offsets,
    ct: &mut Ports,
) -> Option<()> {
    let h = r.peek(40)?;
    let plen = usize::from(n16(&h[4..]));
    if plen + 40 > r.left() || r.left() - plen - 40 > 65535 {
        return None;
    }
    o.pad = r.left() - plen - 40;
    r.bytes.truncate(r.at + 40 + plen);
    r.take(40)?;
    f.ipv6_src = ip6(&h[8..]);
    f.ipv6_dst = ip6(&h[24..]);
    if let Some(c) = md.ct
        && c.state != 0
        && let CtTuple::V6 {
            src,
            dst,
            tp_src,
            tp_dst,
            proto,
        } = c.tuple
        && proto != 0
    {
        f.ct_ipv6_src = src;
        f.ct_ipv6_dst = dst;
        f.ct_nw_proto = proto;
        *ct = Some((tp_src, tp_dst));
    }
    let mut proto = h[6];
    let mut frag = 0;
    while [0, 43, 44, 51, 60].contains(&proto) {
        let e = r.peek(8)?;
        let this = proto;
        proto = e[0];
        match this {
            51 => r.take((usize::from(e[1]) + 2) * 4)?,
            44 => r.take(8)?,
            _ => r.take((usize::from(e[1]) + 1) * 8)?,
        };
        if this == 44 && n16(&e[2..]) != 0 {
            frag = 1;
            if n16(&e[2..]) >= 8 {
                frag = 3;
                proto = 44;
                break;
            }
        }
    }
    f.nw_frag = frag;
    f.nw_proto = proto;
    f.nw_ttl = h[7];
    f.nw_tos = h[0] % 16 * 16 + h[1] / 16;
    f.ipv6_label.set(n32(&h) % (1 << 20));
    Some(())
}

fn arp(r: &mut Reader, f: &mut Flow) -> Option<()> {
    let h = r.take(28)?;
    if h[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    f.nw_proto = if h[6] == 0 { h[7] } else { 0 };
    f.arp_sha = mac(&h[8..]);
    f.nw_src = ip4(&h[14..]);
    f.arp_tha = mac(&h[18..]);
    f.nw_dst = ip4(&h[24..]);
    Some(())
}

fn nsh(r: &mut Reader, f: &mut Flow) -> Option<()> {
    let h = r.peek(8)?;
    let len = usize::from(h[1] % 64) * 4;
    if h[0] >= 64 || len > r.left() {
        return None;
    }
    let mut key = NshKey {
        flags: h[0] / 16,
        ttl: (n16(&h) / 64 % 64) as u8,
        mdtype: h[2],
        np: h[3],
        path_hdr: U32::new(n32(&h[4..])),
        context: [U32::ZERO; 4],
    };
    match h[2] {
        1 if len != 24 => return None,
        1 => {
            let all = r.take(24)?;
            for i in 0..4 {
                key.context[i].set(n32(&all[8 + 4 * i..]));
            }
        }
        2 if len < 8 => return None,
        _ => {}
    }
    f.nsh = key;
    Some(())
}

fn l4(r: &mut Reader, f: &mut Flow, ct: Ports) -> Option<()> {
    let min = match f.nw_proto {
        6 => 20,
        17 | 1 | 2 | 58 => 8,
        132 => 12,
        _ => return None,
    };
    let h = r.peek(min)?;
    match f.nw_proto {
        6 => {
            let len = usize::from(h[12] / 16) * 4;
            if len < 20 || len > r.left() {
                return None;
            }
            f.tcp_flags.set(n16(&h[12..]) % 4096);
            f.tp_src.set(n16(&h));
            f.tp_dst.set(n16(&h[2..]));
        }
        17 | 132 => {
            f.tp_src.set(n16(&h));
            f.tp_dst.set(n16(&h[2..]));
        }
        _ => {
            f.tp_src.set(u16::from(h[0]));
            f.tp_dst.set(u16::from(h[1]));
        }
    }
    if f.nw_proto == 2 {
        f.igmp_group_ip4.set(n32(&h[4..]));
    }
    if f.nw_proto == 58 && (h[0] == 135 || h[0] == 136) && h[1] == 0 {
        f.igmp_group_ip4.set(n32(&h[4..]));
        r.take(8)?;
        return nd(r, f);
    }
    if let Some((src, dst)) = ct {
        f.ct_tp_src.set(src);
        f.ct_tp_dst.set(dst);
    }
    Some(())
}

fn nd(r: &mut Reader, f: &mut Flow) -> Option<()> {
    f.nd_target = ip6(&r.take(16)?);
    loop {
        let head = r.peek(8)?;
        let len = usize::from(head[1]) * 8;
        if len == 0 {
            return None;
        }
        let option = r.take(len)?;
        if len != 8 || !(option[0] == 1 || option[0] == 2) {
            continue;
        }
        let which = if option[0] == 1 {
            &mut f.arp_sha
        } else {
            &mut f.arp_tha
        };
        if *which != EthAddr::ZERO {
            f.arp_sha = EthAddr::ZERO;
            f.arp_tha = EthAddr::ZERO;
            f.nd_target = Ipv6::default();
            return None;
        }
        *which = mac(&option[2..]);
        if f.tcp_flags.get() == 0 {
            f.tcp_flags.set(u16::from(option[0]));
        }
    }
}
