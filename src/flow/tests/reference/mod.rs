//! A second extractor: slow, allocation-happy, written from the documented rules and sharing no code with
//! the fast one. Also the generator of packets that are mostly right and then spoiled.

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

/// Turns entropy into a packet: protocols one on top of the other, lengths mostly right, then spoiled.
pub(crate) struct Dice<'a> {
    pub(crate) entropy: &'a [u8],
    pub(crate) at: usize,
}

impl Dice<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.at += 1;
        self.entropy.get(self.at - 1).copied().unwrap_or(0)
    }
    /// True once in `n`.
    fn one_in(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }
    fn fill(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }

    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let mut p = self.fill(12);
        for _ in 0..self.pick(&[0, 0, 0, 1, 2, 3]) {
            p.extend(self.pick(&[[0x81, 0], [0x88, 0xa8]]));
            p.extend(self.fill(2));
        }
        if self.one_in(6) {
            p.extend([0, 60]);
            p.extend([0xaa, 0xaa, self.pick(&[3, 3, 4]), 0, 0, 0]);
        }
        let t: u16 = self.pick(&[
            0x800, 0x800, 0x800, 0x86dd, 0x86dd, 0x86dd, 0x806, 0x8035, 0x894f, 0x8847, 0x8848,
            0x5dc, 0x88cc,
        ]);
        p.extend(t.to_be_bytes());
        p.extend(self.l3(t));
        self.spoil(&mut p);
        p
    }

    fn l3(&mut self, t: u16) -> Vec<u8> {
        match t {
            0x800 => self.ipv4(),
            0x86dd => self.ipv6(),
            0x806 | 0x8035 => {
                let mut a = vec![0, 1, 8, 0, 6, 4, self.pick(&[0, 0, 0, 1])];
                a.extend(self.fill(21));
                a
            }
            0x894f => {
                let len = self.pick(&[6, 6, 6, 2, 1, 8]);
                let mut a = vec![self.byte() & 0x3f, self.byte() & 0xc0 | len];
                a.push(self.pick(&[1, 1, 2, 3]));
                a.extend(self.fill(29));
                a
            }
            0x8847 | 0x8848 => {
                let mut a = vec![];
                for _ in 0..self.pick(&[0, 1, 2, 3, 4]) {
                    let (x, y) = (self.fill(2), self.byte());
                    a.extend([x[0], x[1], y & 0xfe, 64]);
                }
                a.extend([0, 0, 0x11, 64]);
                a.extend(self.ipv4());
                a
            }
            _ => self.fill(20),
        }
    }

    fn ipv4(&mut self) -> Vec<u8> {
        let options = self.pick(&[0, 0, 0, 1, 10]);
        let proto = self.pick(&[6, 6, 17, 17, 132, 1, 2, 58, 47]);
        let l4 = self.l4(proto);
        let tot = 20 + options * 4 + l4.len();
        let mut p = vec![0x45 + options as u8, self.byte()];
        p.extend((tot as u16).to_be_bytes());
        p.extend([0, 0]);
        p.extend(self.pick(&[[0u8, 0], [0, 0], [0x40, 0], [0x20, 0], [0x20, 1], [0, 1]]));
        p.extend([self.byte(), proto, 0, 0]);
        p.extend(self.fill(8 + options * 4));
        p.extend(l4);
        p
    }

    fn ipv6(&mut self) -> Vec<u8> {
        let mut next = self.pick(&[6, 17, 132, 58, 58, 58, 1, 59]);
        let mut body = self.l4(next);
        for _ in 0..self.pick(&[0, 0, 0, 1, 2, 3]) {
            let kind = self.pick(&[0, 43, 44, 51, 60]);
            let mut ext = match kind {
                44 => {
                    let f = self.pick(&[[0u8, 0], [0, 1], [0, 8], [0, 9]]);
                    vec![next, 0, f[0], f[1], 1, 2, 3, 4]
                }
                51 => vec![next, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                _ => vec![next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            };
            ext.extend(body);
            (body, next) = (ext, kind);
        }
        let mut p = self.fill(4);
        p[0] = 0x60 | p[0] & 15;
        p.extend((body.len() as u16).to_be_bytes());
        p.extend([next, self.byte()]);
        p.extend(self.fill(32));
        p.extend(body);
        p
    }

    fn l4(&mut self, proto: u8) -> Vec<u8> {
        match proto {
            6 => {
                let mut t = self.fill(12);
                let words = self.pick(&[5, 5, 6, 15, 4]);
                t.extend([(words << 4) | self.byte() & 15, self.byte()]);
                t.extend(self.fill(6 + 4));
                t
            }
            58 => {
                let mut t = vec![self.pick(&[135, 136, 136, 128]), self.pick(&[0, 0, 0, 1])];
                t.extend(self.fill(22));
                for _ in 0..self.pick(&[0, 1, 1, 2, 3]) {
                    t.extend([self.pick(&[1, 1, 2, 3]), self.pick(&[1, 1, 1, 2, 0])]);
                    t.extend(self.fill(6));
                }
                t
            }
            _ => {
                let n = self.pick(&[8, 12, 20, 7, 0]);
                self.fill(n)
            }
        }
    }

    /// Lies, cuts and pads.
    fn spoil(&mut self, p: &mut Vec<u8>) {
        while self.one_in(3) {
            match self.byte() % 4 {
                0 => {
                    let n = usize::from(self.byte()) % (p.len() + 1);
                    p.truncate(n);
                }
                1 => {
                    let n = usize::from(self.byte());
                    p.extend(std::iter::repeat_n(0, n));
                }
                _ => {
                    let i = usize::from(self.byte()) % p.len().max(1);
                    let v = self.byte();
                    if let Some(b) = p.get_mut(i) {
                        *b = v;
                    }
                }
            }
            if self.at > self.entropy.len() {
                break;
            }
        }
    }
}
