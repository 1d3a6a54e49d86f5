//! One field's value and mask as text.

use super::scan::{self, Flags, NumberError};
use super::{PortNames, TextError, put};
use crate::field::{FieldId, FieldInfo, FieldValue, Format};
use crate::key::{Flow, TunnelKey};
use crate::port::OfPort;
use smallvec::SmallVec;
use wire::{EthAddr, Ipv4, Ipv6};

type Parsed = (FieldValue, FieldValue);

const FRAG: u8 = Flow::FRAG_ANY | Flow::FRAG_LATER;

/// Name, mask, value.
const FRAGS: [(&str, u8, u8); 7] = [
    ("no", FRAG, 0),
    ("first", FRAG, Flow::FRAG_ANY),
    ("later", FRAG, FRAG),
    ("no", Flow::FRAG_ANY, 0),
    ("yes", Flow::FRAG_ANY, Flow::FRAG_ANY),
    ("not_later", Flow::FRAG_LATER, 0),
    ("later", Flow::FRAG_LATER, Flow::FRAG_LATER),
];

const TCP_FLAGS: Flags = Flags {
    name: put::tcp_flag_name,
    what: "TCP",
    allowed: 0xfff,
    end: None,
};
const CT_STATE: Flags = Flags {
    name: put::ct_state_name,
    what: "ct_state",
    allowed: 0xff,
    end: None,
};
const TUN_FLAGS: Flags = Flags {
    name: put::tun_flag_name,
    what: "tunnel",
    allowed: TunnelKey::F_MATCHABLE as u32,
    end: None,
};

fn be(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, &b| n << 8 | u32::from(b))
}
fn tail<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.last_chunk::<N>().copied().unwrap_or([0; N])
}

impl FieldId {
    /// Reads `value` or `value/mask`; `*` for no bits. Both parts have as many octets as the field.
    ///
    /// # Errors
    /// As `ovs-ofctl` says them.
    pub fn parse(self, s: &str, names: &dyn PortNames) -> Result<Parsed, TextError> {
        let info = self.info();
        if s == "*" {
            let zero = FieldValue::from_elem(0, info.n_bytes);
            return Ok((zero.clone(), zero));
        }
        let (value, mask) = parse(info, s, names)?;
        if self.is_mask_valid(&mask) {
            Ok((value, mask))
        } else {
            Err(TextError::BadMask {
                text: s.into(),
                field: info.name,
            })
        }
    }

    /// Reads a value without mask.
    ///
    /// # Errors
    /// As `ovs-ofctl` says them.
    pub fn parse_value(self, s: &str, names: &dyn PortNames) -> Result<FieldValue, TextError> {
        let (value, mask) = self.parse(s, names)?;
        if mask.iter().all(|&b| b == 0xff) {
            Ok(value)
        } else {
            Err(TextError::Wildcards { text: s.into() })
        }
    }

    /// Appends a value, with its mask when that is not exact; `ANY` for no bits.
    pub fn format(
        self,
        out: &mut String,
        value: &[u8],
        mask: Option<&[u8]>,
        names: &dyn PortNames,
    ) {
        if mask.is_some_and(|m| m.iter().all(|&b| b == 0)) {
            return out.push_str("ANY");
        }
        let mask = mask.filter(|m| m.iter().any(|&b| b != 0xff));
        format(self.info(), out, (value, mask), names);
    }
}

fn parse(info: &'static FieldInfo, s: &str, names: &dyn PortNames) -> Result<Parsed, TextError> {
    let n = info.n_bytes;
    let text = || s.to_owned();
    let exact = || FieldValue::from_elem(0xff, n);
    match info.format {
        Format::Decimal | Format::Hexadecimal => integer(info, s),
        Format::CtState => flags(&CT_STATE, s, n),
        Format::TunFlags => flags(&TUN_FLAGS, s, n),
        Format::TcpFlags => flags(&TCP_FLAGS, s, n),
        Format::Ethernet => ethernet(s).ok_or_else(|| TextError::BadEthernet { text: text() }),
        Format::Ipv4 => match scan::ipv4_masked(s)? {
            (ip, mask, "") => Ok((SmallVec::from_slice(&ip.0), SmallVec::from_slice(&mask.0))),
            _ => Err(TextError::BadIpv4 { text: text() }),
        },
        Format::Ipv6 => match scan::ipv6_masked(s)? {
            (ip, mask, "") => Ok((SmallVec::from_slice(&ip.0), SmallVec::from_slice(&mask.0))),
            _ => Err(TextError::BadIpv6 { text: text() }),
        },
        Format::OfpPort => match scan::parse_port(s, names) {
            Some(port) => Ok((SmallVec::from_slice(&port.0.to_be_bytes()), exact())),
            None => Err(TextError::BadPort {
                text: text(),
                field: info.name,
            }),
        },
        Format::OfpPortOxm => match scan::parse_port(s, names) {
            Some(port) => Ok((
                SmallVec::from_slice(&port.to_ofp11().to_be_bytes()),
                exact(),
            )),
            None => Err(TextError::BadPort32 {
                text: text(),
                field: info.name,
            }),
        },
        Format::Frag => {
            let frag = FRAGS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(s));
            let (_, mask, value) = frag.ok_or_else(|| TextError::BadFrag { text: text() })?;
            // Bits that no fragment has count as given, so that an exact mask looks exact.
            Ok((
                SmallVec::from_slice(&[*value]),
                SmallVec::from_slice(&[mask | !FRAG]),
            ))
        }
        Format::PacketType => Ok((packet_type(s)?, exact())),
    }
}

fn integer(info: &'static FieldInfo, s: &str) -> Result<Parsed, TextError> {
    let fail = |part, e| match e {
        NumberError::Range => TextError::TooLarge {
            text: s.into(),
            part,
            n_bytes: info.n_bytes,
            field: info.name,
        },
        NumberError::Syntax => TextError::BadSyntax {
            text: s.into(),
            field: info.name,
            part,
        },
    };
    let (value, rest) = scan::integer(s, info.n_bytes).map_err(|e| fail("value", e))?;
    let mask = match rest.strip_prefix('/') {
        Some(m) => match scan::integer(m, info.n_bytes).map_err(|e| fail("mask", e))? {
            (mask, "") => mask,
            _ => return Err(fail("mask", NumberError::Syntax)),
        },
        None if rest.is_empty() => vec![0xff; info.n_bytes],
        None => return Err(fail("value", NumberError::Syntax)),
    };
    Ok((value.into(), mask.into()))
}

fn flags(flags: &Flags, s: &str, n: usize) -> Result<Parsed, TextError> {
    let (value, mask) = match flags.parse_masked(s)? {
        Some((value, mask, _)) => (value, mask),
        None => (flags.parse(s)?.0, u32::MAX),
    };
    let octets = |v: u32| FieldValue::from_slice(&v.to_be_bytes()[4 - n..]);
    Ok((octets(value), octets(mask)))
}

fn ethernet(s: &str) -> Option<Parsed> {
    let (mac, rest) = scan::ethernet(s)?;
    let mask = match rest.strip_prefix('/') {
        Some(m) => scan::ethernet(m).filter(|(_, rest)| rest.is_empty())?.0,
        None if rest.is_empty() => EthAddr::BROADCAST,
        None => return None,
    };
    Some((SmallVec::from_slice(&mac.0), SmallVec::from_slice(&mask.0)))
}

fn packet_type(s: &str) -> Result<FieldValue, TextError> {
    let bad = |text: &str, part| TextError::BadPacketType {
        text: text.into(),
        part,
    };
    let inner = s.strip_prefix('(').ok_or_else(|| bad(s, "missing '('"))?;
    let (mut ns, rest) = scan::integer(inner, 2).map_err(|_| bad(inner, "ns"))?;
    let inner2 = rest
        .strip_prefix(',')
        .ok_or_else(|| bad(inner, "missing ','"))?;
    let (ty, rest) = scan::integer(inner2, 2).map_err(|_| bad(inner2, "ns_type"))?;
    if !rest.starts_with(')') {
        return Err(bad(inner2, "missing ')'"));
    }
    ns.extend(ty);
    Ok(ns.into())
}

fn format(
    info: &FieldInfo,
    out: &mut String,
    (value, mask): (&[u8], Option<&[u8]>),
    names: &dyn PortNames,
) {
    match info.format {
        Format::OfpPortOxm if mask.is_none() => {
            let port = OfPort::from_ofp11(be(value)).unwrap_or(OfPort::NONE);
            put::put_port(out, port, names);
        }
        Format::OfpPort if mask.is_none() => {
            put::put_port(out, OfPort(u16::from_be_bytes(tail(value))), names);
        }
        Format::Hexadecimal => masked_hex(out, mask, |out| put::hex(out, value)),
        Format::Decimal | Format::OfpPort | Format::OfpPortOxm => {
            let n = value.iter().fold(0u64, |n, &b| n << 8 | u64::from(b));
            // As the peer's %lld.
            masked_hex(out, mask, |out| put::put(out, format_args!("{}", n as i64)));
        }
        Format::CtState => {
            let mask = mask.map_or(u32::MAX, be);
            put::flags_masked(out, put::ct_state_name, (be(value), mask, 0xffff));
        }
        Format::TunFlags => {
            let all = u32::from(TunnelKey::F_MATCHABLE);
            let mask = mask.map_or(all, be) & all;
            put::flags_masked(out, put::tun_flag_name, (be(value), mask, all));
        }
        Format::TcpFlags => {
            let mask = mask.map_or(0xfff, be) & 0xfff;
            put::flags_masked(out, put::tcp_flag_name, (be(value), mask, 0xfff));
        }
        Format::Ethernet => {
            let mask = mask.map_or(EthAddr::BROADCAST, |m| EthAddr(tail(m)));
            put::ethernet(out, EthAddr(tail(value)), mask);
        }
        Format::Ipv4 => {
            let mask = mask.map_or([0xff; 4], tail);
            put::ipv4(out, Ipv4(tail(value)), Ipv4(mask));
        }
        Format::Ipv6 => {
            let mask = mask.map_or([0xff; 16], tail);
            put::ipv6(out, Ipv6(tail(value)), Ipv6(mask));
        }
        Format::Frag => {
            let mask = mask.map_or(FRAG, |m| m.first().copied().unwrap_or(0) & FRAG);
            let value = value.first().copied().unwrap_or(0) & mask;
            let frag = FRAGS.iter().find(|(_, m, v)| (*m, *v) == (mask, value));
            out.push_str(frag.map_or("<error>", |(name, ..)| name));
        }
        Format::PacketType => {
            put::packet_type(out, be(value), mask.map_or(u32::MAX, be));
        }
    }
}

fn masked_hex(out: &mut String, mask: Option<&[u8]>, value: impl FnOnce(&mut String)) {
    value(out);
    if let Some(mask) = mask {
        out.push('/');
        put::hex(out, mask);
    }
}
