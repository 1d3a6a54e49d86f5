//! Traffic control messages of rtnetlink: requests as bytes, answers as values (`linux/rtnetlink.h`,
//! `linux/pkt_sched.h`). Lengths are checked; an attribute that lies is not there.

use crate::linux::netlink::{Message, attributes, nested, text, u32_at};

pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_DELQDISC: u16 = 37;
pub(super) const RTM_GETQDISC: u16 = 38;
pub(super) const RTM_NEWTCLASS: u16 = 40;
pub(super) const RTM_DELTCLASS: u16 = 41;
pub(super) const RTM_GETTCLASS: u16 = 42;
pub(super) const RTM_NEWTFILTER: u16 = 44;

pub(super) const NLM_F_ECHO: u16 = 0x8;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;

pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
const TCA_STATS_PKT64: u16 = 8;

/// Above every class.
pub(super) const ROOT: u32 = u32::MAX;
/// Where the ingress qdisc hangs, and its handle.
pub(super) const INGRESS: u32 = 0xffff_fff1;
pub(super) const INGRESS_HANDLE: u32 = 0xffff_0000;
/// The ingress side, for filters.
pub(super) const INGRESS_SIDE: u32 = 0xffff_fff2;

/// Bytes of `struct tcmsg`.
const HEADER_BYTES: usize = 20;

/// A handle, as `tc` writes `major:minor`.
pub(super) const fn handle(major: u16, minor: u16) -> u32 {
    (major as u32) << 16 | minor as u32
}

/// `struct tcmsg`, to which attributes are appended.
pub(super) fn header(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut body = vec![0; 4]; // family and padding
    for n in [index, handle, parent, info] {
        body.extend(n.to_ne_bytes());
    }
    body
}

/// An attribute's value for a string.
pub(super) fn string(s: &str) -> Vec<u8> {
    let mut bytes = s.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// What a qdisc or class counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) bytes: u64,
    pub(super) packets: u64,
    pub(super) drops: u64,
}

/// A qdisc or class as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Object {
    pub(super) index: u32,
    pub(super) handle: u32,
    pub(super) kind: String,
    pub(super) options: Vec<u8>,
    pub(super) counts: Counts,
}

impl Object {
    /// `None` for messages too short to tell of anything.
    pub(super) fn read(message: &Message<'_>) -> Option<Self> {
        Self::parse(message.body)
    }

    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut object = Self {
            index: u32_at(body, 4)?,
            handle: u32_at(body, 8)?,
            ..Self::default()
        };
        for (kind, value) in attributes(body.get(HEADER_BYTES..)?) {
            match kind {
                TCA_KIND => object.kind = text(value),
                TCA_OPTIONS => object.options = value.to_vec(),
                TCA_STATS2 => object.counts = Counts::parse(value),
                _ => {}
            }
        }
        Some(object)
    }

    /// The options as attributes.
    pub(super) fn option(&self, kind: u16) -> Option<&[u8]> {
        nested(&self.options, kind)
    }
    pub(super) fn option_u32(&self, kind: u16) -> Option<u32> {
        u32_at(self.option(kind)?, 0)
    }
}

impl Counts {
    fn parse(stats: &[u8]) -> Self {
        let u64_of = |v: &[u8]| Some(u64::from_ne_bytes(v.get(..8)?.try_into().ok()?));
        let basic = nested(stats, TCA_STATS_BASIC).unwrap_or_default();
        let narrow = u32_at(basic, 8).map(u64::from);
        let packets = nested(stats, TCA_STATS_PKT64).and_then(u64_of).or(narrow);
        let queue = nested(stats, TCA_STATS_QUEUE).unwrap_or_default();
        Self {
            bytes: u64_of(basic).unwrap_or(0),
            packets: packets.unwrap_or(0),
            drops: u32_at(queue, 8).map_or(0, u64::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::netlink::{attribute, nest};

    #[test]
    fn an_answer_is_read_back() {
        let mut body = header(7, handle(1, 2), handle(1, 0xfffe), 0);
        attribute(&mut body, TCA_KIND, &string("htb"));
        nest(&mut body, TCA_OPTIONS, |b| {
            attribute(b, 1, &5u32.to_ne_bytes())
        });
        nest(&mut body, TCA_STATS2, |b| {
            let mut basic = 1000u64.to_ne_bytes().to_vec();
            basic.extend(9u32.to_ne_bytes());
            attribute(b, TCA_STATS_BASIC, &basic);
            let queue: Vec<u8> = [1u32, 2, 3, 4, 5]
                .iter()
                .flat_map(|n| n.to_ne_bytes())
                .collect();
            attribute(b, TCA_STATS_QUEUE, &queue);
        });
        let o = Object::parse(&body).unwrap();
        assert_eq!(
            (o.index, o.handle, o.kind.as_str()),
            (7, 0x0001_0002, "htb")
        );
        assert_eq!((o.option_u32(1), o.option_u32(2)), (Some(5), None));
        assert_eq!(
            o.counts,
            Counts {
                bytes: 1000,
                packets: 9,
                drops: 3
            }
        );
        // Cut anywhere it is less, or nothing, but no trouble.
        for n in 0..body.len() {
            let _ = Object::parse(&body[..n]);
        }
    }
}
