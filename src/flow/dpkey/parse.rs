//! One attribute from text.

use super::{Attr, OdpKey, OdpNames, OdpTextError, tunnel_parse};
use crate::key::{Flow, Vlan};
use crate::text::put;
use crate::text::scan::{self, Flags};
use wire::{EthAddr, Ipv4, Ipv6, U16, U32};

/// Why an attribute is refused; where it began is all that is said about it.
pub(super) enum Refused {
    /// It is not understood.
    Syntax,
    /// It has more in it than the datapath's messages carry.
    TooLong,
}
use Refused::Syntax;

pub(super) type Scan<T> = Result<T, Refused>;

/// Text that is being read.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Skips `token` if it comes next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
    pub(super) fn expect(&mut self, token: &str) -> Scan<()> {
        if self.eat(token) { Ok(()) } else { Err(Syntax) }
    }
    /// Takes what `f` reads at the front.
    fn take<T>(&mut self, f: impl FnOnce(&'a str) -> Option<(T, &'a str)>) -> Scan<T> {
        let (value, rest) = f(self.rest).ok_or(Syntax)?;
        self.rest = rest;
        Ok(value)
    }
    /// `value` or `value/mask`; a value alone is exact.
    fn masked<T>(&mut self, exact: T, f: impl Fn(&'a str) -> Option<(T, &'a str)>) -> Scan<(T, T)> {
        let value = self.take(&f)?;
        let mask = self.rest.strip_prefix('/').and_then(&f);
        Ok(match mask {
            Some((mask, rest)) => {
                self.rest = rest;
                (value, mask)
            }
            None => (value, exact),
        })
    }
    /// A number; as in the peer, one too large for its field loses its upper bits.
    pub(super) fn u64(&mut self) -> Scan<(u64, u64)> {
        self.masked(u64::MAX, |s| scan::c_number(s).ok())
    }
    pub(super) fn u32(&mut self) -> Scan<(u32, u32)> {
        self.u64().map(|(v, m)| (v as u32, m as u32))
    }
    pub(super) fn u16(&mut self) -> Scan<(u16, u16)> {
        self.u64().map(|(v, m)| (v as u16, m as u16))
    }
    pub(super) fn u8(&mut self) -> Scan<(u8, u8)> {
        self.u64().map(|(v, m)| (v as u8, m as u8))
    }
    pub(super) fn ipv4(&mut self) -> Scan<(Ipv4, Ipv4)> {
        self.masked(Ipv4([0xff; 4]), scan::ipv4)
    }
    pub(super) fn ipv6(&mut self) -> Scan<(Ipv6, Ipv6)> {
        self.masked(Ipv6([0xff; 16]), scan::ipv6)
    }
    fn mac(&mut self) -> Scan<(EthAddr, EthAddr)> {
        self.masked(EthAddr::BROADCAST, scan::ethernet)
    }
    /// Bits of a larger number: value and mask must fit in `bits`.
    fn bits(&mut self, bits: u32, shift: u32) -> Scan<(u32, u32)> {
        let all = (1 << bits) - 1;
        let (v, m) = self.masked(all, |s| scan::c_number(s).ok())?;
        if v > all || m > all {
            return Err(Syntax);
        }
        Ok(((v as u32) << shift, (m as u32) << shift))
    }
    /// Hexadecimal octets of any length up to `N`.
    fn octets<const N: usize>(&mut self) -> Scan<[u8; N]> {
        self.take(|s| {
            let (v, rest) = scan::integer(s, N).ok()?;
            Some((v.try_into().ok()?, rest))
        })
    }
    /// Flags up to `)`: set|set, value/mask or +set-clear.
    pub(super) fn flags(&mut self, flags: &Flags) -> Scan<(u32, u32)> {
        if let Some((v, m, rest)) = flags.parse_masked(self.rest).map_err(|_| Syntax)? {
            self.rest = rest;
            return Ok((v, m));
        }
        let (v, rest) = flags.parse(self.rest).map_err(|_| Syntax)?;
        self.rest = rest;
        Ok((v, u32::MAX))
    }
}

fn set16(to: (&mut U16, &mut U16), (v, m): (u16, u16)) {
    to.0.set(v);
    to.1.set(m);
}
fn set32(to: (&mut U32, &mut U32), (v, m): (u32, u32)) {
    to.0.set(v);
    to.1.set(m);
}
/// Replaces the bits `all` of both.
fn set_bits32(to: (&mut U32, &mut U32), all: u32, (v, m): (u32, u32)) {
    to.0.set(to.0.get() & !all | v);
    to.1.set(to.1.get() & !all | m);
}

const CT_STATE: Flags = Flags {
    name: put::ct_state_name,
    what: "ct_state",
    allowed: 0xff,
    end: Some(')'),
};
const TCP_FLAGS: Flags = Flags {
    name: put::tcp_flag_name,
    what: "TCP",
    allowed: 0xfff,
    end: Some(')'),
};

impl Attr {
    /// Reads `name(...)` at the front of `text` into the attribute's fields of `key`; gives what follows.
    /// `vlan(...)` goes to the outer tag, `eth_type(...)` to `dl_type`. Not for `encap(...)`.
    ///
    /// # Errors
    /// [`OdpTextError::Syntax`] or [`OdpTextError::TooLong`] with `text`.
    pub fn parse<'a>(
        text: &'a str,
        key: &mut OdpKey,
        names: &dyn OdpNames,
    ) -> Result<(Self, &'a str), OdpTextError> {
        let error = || OdpTextError::Syntax { at: text.into() };
        let (name, rest) = text.split_once('(').ok_or_else(error)?;
        let attr = Self::from_name(name)
            .filter(|&a| a != Self::Encap)
            .ok_or_else(error)?;
        let mut c = Cursor { rest };
        attr.body(&mut c, key, names).map_err(|why| match why {
            Syntax => error(),
            Refused::TooLong => OdpTextError::TooLong { at: text.into() },
        })?;
        Ok((attr, c.rest))
    }

    /// What stands between the parentheses, and the closing one.
    fn body(self, c: &mut Cursor<'_>, key: &mut OdpKey, names: &dyn OdpNames) -> Scan<()> {
        let (f, m) = (&mut key.flow, &mut key.mask.0);
        match self {
            Self::Priority => set32((&mut f.skb_priority, &mut m.skb_priority), c.u32()?),
            Self::SkbMark => set32((&mut f.pkt_mark, &mut m.pkt_mark), c.u32()?),
            Self::DpHash => set32((&mut f.dp_hash, &mut m.dp_hash), c.u32()?),
            Self::RecircId => {
                // Always exact.
                let id = c.take(|s| scan::c_number(s).ok())? as u32;
                set32((&mut f.recirc_id, &mut m.recirc_id), (id, u32::MAX));
            }
            Self::CtState => {
                let (v, mask) = c.flags(&CT_STATE)?;
                (f.ct_state, m.ct_state) = (v as u8, mask as u8);
            }
            Self::CtZone => set16((&mut f.ct_zone, &mut m.ct_zone), c.u16()?),
            Self::CtMark => set32((&mut f.ct_mark, &mut m.ct_mark), c.u32()?),
            Self::CtLabel => {
                f.ct_label = wire::U128::from_bytes(c.octets::<16>()?);
                let mask = if c.eat("/") {
                    c.octets::<16>()?
                } else {
                    [0xff; 16]
                };
                m.ct_label = wire::U128::from_bytes(mask);
            }
            Self::InPort => in_port(c, (&mut f.in_port, &mut m.in_port), names)?,
            Self::EthType => set16((&mut f.dl_type, &mut m.dl_type), c.u16()?),
            Self::TcpFlags => {
                let (v, mask) = c.flags(&TCP_FLAGS)?;
                set16(
                    (&mut f.tcp_flags, &mut m.tcp_flags),
                    (v as u16, mask as u16),
                );
            }
            Self::Tunnel => return tunnel_parse::parse(c, &mut f.tunnel, &mut m.tunnel),
            Self::Mpls => return mpls(c, f, m),
            Self::Vlan => {
                f.vlans[0].tci.set(Vlan::CFI);
                m.vlans[0].tci.set(Vlan::CFI);
                return fields(c, self, f, m);
            }
            Self::Nsh => {
                fields(c, self, f, m)?;
                if f.nsh.mdtype != wire::nsh::MD_TYPE1 {
                    f.nsh.context = [U32::ZERO; 4];
                }
                return Ok(());
            }
            _ => return fields(c, self, f, m),
        }
        c.expect(")")
    }
}

/// `name=value,name=value)`, each of the attribute's own, in any order.
fn fields(c: &mut Cursor<'_>, attr: Attr, f: &mut Flow, m: &mut Flow) -> Scan<()> {
    loop {
        let end = c.rest.find(['=', ')', ',']).ok_or(Syntax)?;
        let (name, rest) = c.rest.split_at(end);
        let known = rest.starts_with('=');
        if known {
            c.rest = &rest[1..];
            field(c, attr, name, (f, m))?;
        }
        if !(known && c.eat(",")) {
            return c.expect(")");
        }
    }
}

fn field(c: &mut Cursor<'_>, attr: Attr, name: &str, to: (&mut Flow, &mut Flow)) -> Scan<()> {
    let (f, m) = to;
    match (attr, name) {
        (Attr::CtTuple4, "src") => (f.ct_nw_src, m.ct_nw_src) = c.ipv4()?,
        (Attr::CtTuple4, "dst") => (f.ct_nw_dst, m.ct_nw_dst) = c.ipv4()?,
        (Attr::CtTuple6, "src") => (f.ct_ipv6_src, m.ct_ipv6_src) = c.ipv6()?,
        (Attr::CtTuple6, "dst") => (f.ct_ipv6_dst, m.ct_ipv6_dst) = c.ipv6()?,
        (Attr::CtTuple4 | Attr::CtTuple6, "proto") => (f.ct_nw_proto, m.ct_nw_proto) = c.u8()?,
        (Attr::CtTuple4 | Attr::CtTuple6, "tp_src") => {
            set16((&mut f.ct_tp_src, &mut m.ct_tp_src), c.u16()?);
        }
        (Attr::CtTuple4 | Attr::CtTuple6, "tp_dst") => {
            set16((&mut f.ct_tp_dst, &mut m.ct_tp_dst), c.u16()?);
        }
        (Attr::Ethernet, "src") => (f.dl_src, m.dl_src) = c.mac()?,
        (Attr::Ethernet, "dst") => (f.dl_dst, m.dl_dst) = c.mac()?,
        (Attr::Vlan, "vid") => tci(c, f, m, (12, 0))?,
        (Attr::Vlan, "pcp") => tci(c, f, m, (3, 13))?,
        (Attr::Vlan, "cfi") => tci(c, f, m, (1, 12))?,
        (Attr::PacketType, "ns") => packet_type(c, f, m, 16)?,
        (Attr::PacketType, "id") => packet_type(c, f, m, 0)?,
        (Attr::Tcp | Attr::Udp | Attr::Sctp, "src") => {
            set16((&mut f.tp_src, &mut m.tp_src), c.u16()?);
        }
        (Attr::Tcp | Attr::Udp | Attr::Sctp, "dst") => {
            set16((&mut f.tp_dst, &mut m.tp_dst), c.u16()?);
        }
        (Attr::Icmp | Attr::Icmpv6, "type") => {
            let (v, mask) = c.u8()?;
            set16((&mut f.tp_src, &mut m.tp_src), (v.into(), mask.into()));
        }
        (Attr::Icmp | Attr::Icmpv6, "code") => {
            let (v, mask) = c.u8()?;
            set16((&mut f.tp_dst, &mut m.tp_dst), (v.into(), mask.into()));
        }
        (Attr::Nd, "target") => (f.nd_target, m.nd_target) = c.ipv6()?,
        (Attr::Nd, "sll") | (Attr::Arp, "sha") => (f.arp_sha, m.arp_sha) = c.mac()?,
        (Attr::Nd, "tll") | (Attr::Arp, "tha") => (f.arp_tha, m.arp_tha) = c.mac()?,
        (Attr::NdExt, "nd_reserved") => {
            set32((&mut f.igmp_group_ip4, &mut m.igmp_group_ip4), c.u32()?);
        }
        (Attr::NdExt, "nd_options_type") => {
            let (v, mask) = c.u8()?;
            set16(
                (&mut f.tcp_flags, &mut m.tcp_flags),
                (v.into(), mask.into()),
            );
        }
        (Attr::Nsh, _) => nsh(c, name, f, m)?,
        _ => ip_or_arp(c, attr, name, (f, m))?,
    }
    Ok(())
}

fn ip_or_arp(c: &mut Cursor<'_>, attr: Attr, name: &str, to: (&mut Flow, &mut Flow)) -> Scan<()> {
    let (f, m) = to;
    match (attr, name) {
        (Attr::Ipv4, "src") | (Attr::Arp, "sip") => (f.nw_src, m.nw_src) = c.ipv4()?,
        (Attr::Ipv4, "dst") | (Attr::Arp, "tip") => (f.nw_dst, m.nw_dst) = c.ipv4()?,
        (Attr::Arp, "op") => {
            let (v, mask) = c.u16()?;
            // Opcodes over 255 have no place; the caller says so.
            f.nw_proto = u8::try_from(v).map_err(|_| Syntax)?;
            m.nw_proto = mask as u8;
        }
        (Attr::Ipv6, "src") => (f.ipv6_src, m.ipv6_src) = c.ipv6()?,
        (Attr::Ipv6, "dst") => (f.ipv6_dst, m.ipv6_dst) = c.ipv6()?,
        (Attr::Ipv6, "label") => {
            set32((&mut f.ipv6_label, &mut m.ipv6_label), c.bits(20, 0)?);
        }
        (Attr::Ipv4 | Attr::Ipv6, "proto") => (f.nw_proto, m.nw_proto) = c.u8()?,
        (Attr::Ipv4, "tos") | (Attr::Ipv6, "tclass") => (f.nw_tos, m.nw_tos) = c.u8()?,
        (Attr::Ipv4, "ttl") | (Attr::Ipv6, "hlimit") => (f.nw_ttl, m.nw_ttl) = c.u8()?,
        (Attr::Ipv4 | Attr::Ipv6, "frag") => {
            let both = Flow::FRAG_ANY | Flow::FRAG_LATER;
            let words = [("no", 0), ("first", Flow::FRAG_ANY), ("later", both)];
            let word = words
                .into_iter()
                .find(|(word, _)| c.eat(word))
                .ok_or(Syntax)?;
            (f.nw_frag, m.nw_frag) = (word.1, both);
        }
        _ => return Err(Syntax),
    }
    Ok(())
}

fn in_port(c: &mut Cursor<'_>, to: (&mut U32, &mut U32), names: &dyn OdpNames) -> Scan<()> {
    let by_number = c.u32();
    let port = match by_number {
        Ok(port) => port,
        Err(_) => {
            let end = c.rest.find(')').ok_or(Syntax)?;
            let port = names.number(&c.rest[..end]).ok_or(Syntax)?;
            c.rest = &c.rest[end..];
            (port.0, u32::MAX)
        }
    };
    set32(to, port);
    Ok(())
}

fn tci(c: &mut Cursor<'_>, f: &mut Flow, m: &mut Flow, (bits, shift): (u32, u32)) -> Scan<()> {
    let (v, mask) = c.bits(bits, shift)?;
    let all = ((1u32 << bits) - 1) << shift;
    let (f, m) = (&mut f.vlans[0].tci, &mut m.vlans[0].tci);
    // 16 bits at most.
    f.set(f.get() & !(all as u16) | v as u16);
    m.set(m.get() & !(all as u16) | mask as u16);
    Ok(())
}

fn packet_type(c: &mut Cursor<'_>, f: &mut Flow, m: &mut Flow, shift: u32) -> Scan<()> {
    let (v, mask) = c.u16()?;
    let bits = (u32::from(v) << shift, u32::from(mask) << shift);
    set_bits32(
        (&mut f.packet_type, &mut m.packet_type),
        0xffff << shift,
        bits,
    );
    Ok(())
}

fn nsh(c: &mut Cursor<'_>, name: &str, f: &mut Flow, m: &mut Flow) -> Scan<()> {
    let (f, m) = (&mut f.nsh, &mut m.nsh);
    match name {
        "flags" => (f.flags, m.flags) = c.u8()?,
        "ttl" => (f.ttl, m.ttl) = c.u8()?,
        "mdtype" => (f.mdtype, m.mdtype) = c.u8()?,
        "np" => (f.np, m.np) = c.u8()?,
        "spi" => {
            let (v, mask) = c.u32()?;
            let bits = (v << 8, mask << 8);
            set_bits32((&mut f.path_hdr, &mut m.path_hdr), 0xffff_ff00, bits);
        }
        "si" => {
            let (v, mask) = c.u8()?;
            set_bits32(
                (&mut f.path_hdr, &mut m.path_hdr),
                0xff,
                (v.into(), mask.into()),
            );
        }
        _ => {
            let i = ["c1", "c2", "c3", "c4"]
                .iter()
                .position(|n| *n == name)
                .ok_or(Syntax)?;
            set32((&mut f.context[i], &mut m.context[i]), c.u32()?);
        }
    }
    Ok(())
}

/// Parts of up to three labels; a part that comes again begins the next label.
fn mpls(c: &mut Cursor<'_>, f: &mut Flow, m: &mut Flow) -> Scan<()> {
    const PARTS: [(&str, u32, u32); 4] = [
        ("label=", 20, 12),
        ("tc=", 3, 9),
        ("ttl=", 8, 0),
        ("bos=", 1, 8),
    ];
    let (mut i, mut seen) = (0, 0u8);
    loop {
        let part = PARTS.iter().enumerate().find(|(_, (name, ..))| c.eat(name));
        let known = part.is_some();
        if let Some((n, &(_, bits, shift))) = part {
            if seen >> n & 1 == 1 {
                (i, seen) = (i + 1, 0);
            }
            seen |= 1 << n;
            if i == Flow::MPLS_MAX {
                return Err(Syntax);
            }
            let all = ((1 << bits) - 1) << shift;
            let value = c.bits(bits, shift)?;
            set_bits32((&mut f.mpls_lse[i], &mut m.mpls_lse[i]), all, value);
        }
        if !(known && c.eat(",")) {
            return c.expect(")");
        }
    }
}
