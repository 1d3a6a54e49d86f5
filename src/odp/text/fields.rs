//! Header fields of `set` as a table: name, way of writing, bytes.
//!
//! Every kind of header that is simply a list of named fields goes through here, so that writing and
//! reading them, with and without masks, is one loop each.

use super::put::{AltHex, put};
use super::scan::Scan;
use crate::action::SetKey;
use smallvec::SmallVec;
use wire::{EthAddr, Ipv4, Ipv6};

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Eth,
    Ipv4,
    Ipv6,
    /// 20 bits in 4 bytes.
    Label,
    Hex8,
    Dec8,
    Dec16,
    Frag,
}

impl Kind {
    const fn width(self) -> usize {
        match self {
            Self::Eth => 6,
            Self::Ipv4 | Self::Label => 4,
            Self::Ipv6 => 16,
            Self::Hex8 | Self::Dec8 | Self::Frag => 1,
            Self::Dec16 => 2,
        }
    }
}

/// A field and its value, or the mask of one: big-endian, as many bytes as its kind has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    kind: Kind,
    bytes: [u8; 16],
}

/// A header's fields in the order they are written.
pub(super) type Fields = SmallVec<[Field; 7]>;

const LABEL_MASK: u32 = 0xf_ffff;
const FRAG_NAMES: [&str; 3] = ["no", "first", "later"];

impl Field {
    fn new<const N: usize>(name: &'static str, kind: Kind, value: [u8; N]) -> Self {
        let mut bytes = [0; 16];
        bytes[..N].copy_from_slice(&value);
        Self { name, kind, bytes }
    }
    fn value(&self) -> &[u8] {
        &self.bytes[..self.kind.width()]
    }
    fn array<const N: usize>(&self) -> [u8; N] {
        self.bytes[..N].try_into().expect("N is at most 16")
    }
    fn u16(&self) -> u16 {
        u16::from_be_bytes(self.array())
    }
    fn u32(&self) -> u32 {
        u32::from_be_bytes(self.array())
    }
    /// Of a mask: nothing is looked at.
    fn is_empty(&self) -> bool {
        self.value().iter().all(|&b| b == 0)
    }
    /// Of a mask: everything is looked at.
    fn is_full(&self) -> bool {
        match self.kind {
            Kind::Label => self.u32() & LABEL_MASK == LABEL_MASK,
            _ => self.value().iter().all(|&b| b == 0xff),
        }
    }
    fn fill(&mut self) {
        self.bytes = match self.kind {
            Kind::Label => Self::new("", Kind::Label, LABEL_MASK.to_be_bytes()).bytes,
            _ => [0xff; 16],
        };
    }

    fn put_value(&self, out: &mut String) {
        match self.kind {
            Kind::Eth => put!(out, "{}", EthAddr(self.array())),
            Kind::Ipv4 => put!(out, "{}", Ipv4(self.array())),
            Kind::Ipv6 => put!(out, "{}", Ipv6(self.array())),
            Kind::Label => put!(out, "{}", AltHex(self.u32().into())),
            Kind::Hex8 => put!(out, "{}", AltHex(self.bytes[0].into())),
            Kind::Dec8 => put!(out, "{}", self.bytes[0]),
            Kind::Dec16 => put!(out, "{}", self.u16()),
            Kind::Frag => {
                let name = FRAG_NAMES.get(usize::from(self.bytes[0]));
                out.push_str(name.unwrap_or(&"<error>"));
            }
        }
    }

    fn put_mask(&self, out: &mut String) {
        match self.kind {
            Kind::Dec8 => put!(out, "/{}", AltHex(self.bytes[0].into())),
            Kind::Dec16 => put!(out, "/{}", AltHex(self.u16().into())),
            _ => {
                out.push('/');
                self.put_value(out);
            }
        }
    }

    /// Reads a value (or mask) of this field's kind.
    fn scan(&mut self, s: &mut Scan<'_>) -> Option<()> {
        self.bytes = match self.kind {
            Kind::Eth => Self::new("", self.kind, s.eth()?.0).bytes,
            Kind::Ipv4 => Self::new("", self.kind, s.ipv4()?.0).bytes,
            Kind::Ipv6 => Self::new("", self.kind, s.ipv6()?.0).bytes,
            Kind::Label => {
                let label = s.u32().filter(|n| n & !LABEL_MASK == 0)?;
                Self::new("", self.kind, label.to_be_bytes()).bytes
            }
            Kind::Hex8 | Kind::Dec8 => Self::new("", self.kind, [s.u8()?]).bytes,
            Kind::Dec16 => Self::new("", self.kind, s.u16()?.to_be_bytes()).bytes,
            Kind::Frag => {
                let word = s.word(&[',', ')'])?;
                let n = FRAG_NAMES.iter().position(|f| *f == word)?;
                Self::new("", self.kind, [n as u8]).bytes
            }
        };
        Some(())
    }
}

/// `name=value,...`; with masks, only what is looked at.
pub(super) fn put_fields(out: &mut String, key: &Fields, mask: Option<&Fields>) {
    let mut first = true;
    for (i, field) in key.iter().enumerate() {
        let mask = mask.map(|m| &m[i]);
        if mask.is_some_and(Field::is_empty) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        let partial = mask.filter(|m| !m.is_full());
        if let (Some(m), Kind::Frag) = (partial, field.kind) {
            let bits = AltHex(m.bytes[0].into());
            put!(out, "error: partial mask not supported for frag ({bits})");
            continue;
        }
        put!(out, "{}=", field.name);
        field.put_value(out);
        if let Some(m) = partial {
            m.put_mask(out);
        }
    }
}

/// Reads fields up to the closing parenthesis (which is taken): their values and masks. `template` says
/// which fields there are; those not written have an empty mask.
pub(super) fn scan_fields(s: &mut Scan<'_>, template: &Fields) -> Option<(Fields, Fields)> {
    let (mut key, mut mask) = (template.clone(), template.clone());
    for field in key.iter_mut().chain(&mut mask) {
        field.bytes = [0; 16];
    }
    if s.is(")") {
        return Some((key, mask));
    }
    loop {
        let name = s.word(&['='])?;
        s.lit("=")?;
        let i = key.iter().position(|f| f.name == name)?;
        key[i].scan(s)?;
        if key[i].kind != Kind::Frag && s.is("/") {
            mask[i].scan(s)?;
        } else {
            mask[i].fill();
        }
        if s.is(")") {
            return Some((key, mask));
        }
        s.lit(",")?;
    }
}

fn eth(name: &'static str, mac: EthAddr) -> Field {
    Field::new(name, Kind::Eth, mac.0)
}
fn v4(name: &'static str, ip: Ipv4) -> Field {
    Field::new(name, Kind::Ipv4, ip.0)
}
fn v6(name: &'static str, ip: Ipv6) -> Field {
    Field::new(name, Kind::Ipv6, ip.0)
}
fn dec8(name: &'static str, n: u8) -> Field {
    Field::new(name, Kind::Dec8, [n])
}
fn dec16(name: &'static str, n: u16) -> Field {
    Field::new(name, Kind::Dec16, n.to_be_bytes())
}

/// The header's name and fields; `None` for those that are not simply lists of fields.
pub(super) fn of_key(key: &SetKey) -> Option<(&'static str, Fields)> {
    let ports = |src, dst| vec![dec16("src", src), dec16("dst", dst)];
    let icmp = |type_, code| vec![dec8("type", type_), dec8("code", code)];
    let (name, fields) = match *key {
        SetKey::Ethernet { src, dst } => ("eth", vec![eth("src", src), eth("dst", dst)]),
        SetKey::Tcp { src, dst } => ("tcp", ports(src, dst)),
        SetKey::Udp { src, dst } => ("udp", ports(src, dst)),
        SetKey::Sctp { src, dst } => ("sctp", ports(src, dst)),
        SetKey::Icmp { type_, code } => ("icmp", icmp(type_, code)),
        SetKey::Icmpv6 { type_, code } => ("icmpv6", icmp(type_, code)),
        SetKey::Nd { target, sll, tll } => {
            let link = [eth("sll", sll), eth("tll", tll)];
            ("nd", [&[v6("target", target)], &link[..]].concat())
        }
        _ => return of_ip_or_arp(key),
    };
    Some((name, fields.into()))
}

fn of_ip_or_arp(key: &SetKey) -> Option<(&'static str, Fields)> {
    let hex8 = |name, n| Field::new(name, Kind::Hex8, [n]);
    let frag = |n| Field::new("frag", Kind::Frag, [n]);
    let (name, mut fields, rest): (_, Fields, Fields);
    match *key {
        SetKey::Ipv4 {
            src,
            dst,
            proto,
            tos,
            ttl,
            frag: f,
        } => {
            name = "ipv4";
            fields = [v4("src", src), v4("dst", dst)][..].into();
            rest = [
                dec8("proto", proto),
                hex8("tos", tos),
                dec8("ttl", ttl),
                frag(f),
            ][..]
                .into();
        }
        SetKey::Ipv6 {
            src,
            dst,
            label,
            proto,
            tclass,
            hlimit,
            frag: f,
        } => {
            name = "ipv6";
            let label = Field::new("label", Kind::Label, label.to_be_bytes());
            fields = [v6("src", src), v6("dst", dst), label][..].into();
            let (tclass, hlimit) = (hex8("tclass", tclass), dec8("hlimit", hlimit));
            rest = [dec8("proto", proto), tclass, hlimit, frag(f)][..].into();
        }
        SetKey::Arp {
            sip,
            tip,
            op,
            sha,
            tha,
        } => {
            name = "arp";
            fields = [v4("sip", sip), v4("tip", tip), dec16("op", op)][..].into();
            rest = [eth("sha", sha), eth("tha", tha)][..].into();
        }
        _ => return None,
    }
    fields.extend(rest);
    Some((name, fields))
}

/// The header of that name with zeroes in it.
pub(super) fn template(name: &str) -> Option<SetKey> {
    let (mac, v4, v6) = (EthAddr::ZERO, Ipv4::default(), Ipv6::default());
    Some(match name {
        "eth" => SetKey::Ethernet { src: mac, dst: mac },
        "ipv4" => SetKey::Ipv4 {
            src: v4,
            dst: v4,
            proto: 0,
            tos: 0,
            ttl: 0,
            frag: 0,
        },
        "ipv6" => SetKey::Ipv6 {
            src: v6,
            dst: v6,
            label: 0,
            proto: 0,
            tclass: 0,
            hlimit: 0,
            frag: 0,
        },
        "tcp" => SetKey::Tcp { src: 0, dst: 0 },
        "udp" => SetKey::Udp { src: 0, dst: 0 },
        "sctp" => SetKey::Sctp { src: 0, dst: 0 },
        "icmp" => SetKey::Icmp { type_: 0, code: 0 },
        "icmpv6" => SetKey::Icmpv6 { type_: 0, code: 0 },
        "arp" => SetKey::Arp {
            sip: v4,
            tip: v4,
            op: 0,
            sha: mac,
            tha: mac,
        },
        "nd" => SetKey::Nd {
            target: v6,
            sll: mac,
            tll: mac,
        },
        _ => return None,
    })
}

/// Puts fields, as [`of_key`] lists them, back into a header of the same kind.
pub(super) fn into_key(key: &mut SetKey, f: &Fields) {
    match key {
        SetKey::Ethernet { src, dst } => (src.0, dst.0) = (f[0].array(), f[1].array()),
        SetKey::Ipv4 {
            src,
            dst,
            proto,
            tos,
            ttl,
            frag,
        } => {
            (src.0, dst.0) = (f[0].array(), f[1].array());
            (*proto, *tos, *ttl, *frag) =
                (f[2].bytes[0], f[3].bytes[0], f[4].bytes[0], f[5].bytes[0]);
        }
        SetKey::Ipv6 {
            src,
            dst,
            label,
            proto,
            tclass,
            hlimit,
            frag,
        } => {
            (src.0, dst.0, *label) = (f[0].array(), f[1].array(), f[2].u32());
            (*proto, *tclass, *hlimit, *frag) =
                (f[3].bytes[0], f[4].bytes[0], f[5].bytes[0], f[6].bytes[0]);
        }
        SetKey::Tcp { src, dst } | SetKey::Udp { src, dst } | SetKey::Sctp { src, dst } => {
            (*src, *dst) = (f[0].u16(), f[1].u16());
        }
        SetKey::Icmp { type_, code } | SetKey::Icmpv6 { type_, code } => {
            (*type_, *code) = (f[0].bytes[0], f[1].bytes[0]);
        }
        SetKey::Arp {
            sip,
            tip,
            op,
            sha,
            tha,
        } => {
            (sip.0, tip.0, *op) = (f[0].array(), f[1].array(), f[2].u16());
            (sha.0, tha.0) = (f[3].array(), f[4].array());
        }
        SetKey::Nd { target, sll, tll } => {
            (target.0, sll.0, tll.0) = (f[0].array(), f[1].array(), f[2].array());
        }
        SetKey::Priority(_)
        | SetKey::SkbMark(_)
        | SetKey::Tunnel(_)
        | SetKey::NdExtensions { .. }
        | SetKey::Mpls { .. }
        | SetKey::Nsh(_) => {}
    }
}

/// True when a mask leaves nothing of any field out.
pub(super) fn is_exact(mask: &Fields) -> bool {
    mask.iter().all(Field::is_full)
}
