//! Nicira's tunnel options, conntrack flushes and IPFIX statistics.

use crate::codec::header::Multipart;
use crate::codec::prop::{self, Prop};
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use flow::TlvMap;
use wire::Ipv6;

/// Longest tunnel option, in octets.
const OPTION_MAX: u8 = 124;
/// Tunnel metadata fields.
const FIELDS: u16 = 64;

/// What a change of the tunnel options does (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlvCommand {
    Add = 0,
    Delete = 1,
    Clear = 2,
}

/// Changes the tunnel options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvTableMod {
    /// What to do.
    pub command: TlvCommand,
    /// Options.
    pub mappings: Vec<TlvMap>,
}

/// The tunnel options of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvTableReply {
    /// Octets that all options can have together.
    pub max_option_space: u32,
    /// Fields there are.
    pub max_fields: u16,
    /// Options.
    pub mappings: Vec<TlvMap>,
}

fn mappings(mut r: Reader<'_>, max_fields: u16) -> Decode<Vec<TlvMap>> {
    let mut out = Vec::new();
    while !r.is_empty() {
        let (class, kind, len, index) = (r.u16()?, r.u8()?, r.u8()?, r.u16()?);
        r.skip(2)?;
        if len % 4 != 0 || len > OPTION_MAX {
            return Err(OfpError::NXTTMFC_BAD_OPT_LEN);
        }
        if index >= max_fields.min(FIELDS) {
            return Err(OfpError::NXTTMFC_BAD_FIELD_IDX);
        }
        out.push(TlvMap {
            index: index as u8,
            class,
            kind,
            len,
        });
    }
    Ok(out)
}

fn put_mappings(b: &mut Vec<u8>, mappings: &[TlvMap]) {
    for map in mappings {
        b.u16(map.class);
        b.u8(map.kind);
        b.u8(map.len);
        b.u16(map.index.into());
        b.zeros(2);
    }
}

impl TlvTableMod {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let command = match r.u16()? {
            0 => TlvCommand::Add,
            1 => TlvCommand::Delete,
            2 => TlvCommand::Clear,
            _ => return Err(OfpError::NXTTMFC_BAD_COMMAND),
        };
        r.skip(6)?;
        let mappings = mappings(Reader::new(r.rest()), FIELDS)?;
        Ok(Self { command, mappings })
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        b.u16(self.command as u16);
        b.zeros(6);
        put_mappings(b, &self.mappings);
    }
}

impl TlvTableReply {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let (max_option_space, max_fields) = (r.u32()?, r.u16()?);
        r.skip(10)?;
        Ok(Self {
            max_option_space,
            max_fields,
            mappings: mappings(Reader::new(r.rest()), max_fields)?,
        })
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        b.u32(self.max_option_space);
        b.u16(self.max_fields);
        b.zeros(10);
        put_mappings(b, &self.mappings);
    }
}

/// Properties of conntrack flushes.
const ORIG_TUPLE: u16 = 0;
const REPLY_TUPLE: u16 = 1;
const ZONE_ID: u16 = 2;

/// Properties of tuples.
mod tuple {
    pub(super) const SRC: u16 = 0;
    pub(super) const DST: u16 = 1;
    pub(super) const SRC_PORT: u16 = 2;
    pub(super) const DST_PORT: u16 = 3;
    pub(super) const ICMP_ID: u16 = 4;
    pub(super) const ICMP_TYPE: u16 = 5;
    pub(super) const ICMP_CODE: u16 = 6;
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// One direction of a connection; zero: any. IPv4 addresses are mapped into IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct CtTuple {
    pub src: Ipv6,
    pub dst: Ipv6,
    pub src_port: u16,
    pub dst_port: u16,
    pub icmp_id: u16,
    pub icmp_type: u8,
    pub icmp_code: u8,
}

/// Removes connections from conntrack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CtFlush {
    /// Only with this IP protocol; 0: any.
    pub ip_proto: u8,
    /// Only IPv4 (false) or IPv6 (true); `None`: no address is given.
    pub ipv6: Option<bool>,
    /// Only this zone.
    pub zone: Option<u16>,
    /// Only what matches this in its original direction.
    pub orig: CtTuple,
    /// Only what matches this in its reply direction.
    pub reply: CtTuple,
}

impl CtFlush {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let mut flush = Self {
            ip_proto: r.u8()?,
            ..Self::default()
        };
        if r.array()? != [0; 7] {
            return Err(OfpError::NXBRC_MUST_BE_ZERO);
        }
        while !r.is_empty() {
            let p = prop::pull(r, prop::EXPERIMENTER)?;
            match p.ty {
                ORIG_TUPLE => flush.orig.decode(&p, &mut flush.ipv6)?,
                REPLY_TUPLE => flush.reply.decode(&p, &mut flush.ipv6)?,
                ZONE_ID => flush.zone = Some(p.u16()?),
                _ => {}
            }
        }
        Ok(flush)
    }

    pub(super) fn put(&self, b: &mut Vec<u8>) {
        b.u8(self.ip_proto);
        b.zeros(7);
        for (ty, tuple) in [(ORIG_TUPLE, &self.orig), (REPLY_TUPLE, &self.reply)] {
            let at = prop::start_nested(b, ty);
            tuple.put(b, self.ip_proto);
            prop::end_unless_empty(b, at);
        }
        if let Some(zone) = self.zone {
            prop::put_u16(b, ZONE_ID, zone);
        }
    }
}

impl CtTuple {
    fn decode(&mut self, p: &Prop<'_>, ipv6: &mut Option<bool>) -> Decode<()> {
        let mut r = p.nested()?;
        while !r.is_empty() {
            let p = prop::pull(&mut r, prop::EXPERIMENTER)?;
            match p.ty {
                tuple::SRC => self.src = address(&p, ipv6)?,
                tuple::DST => self.dst = address(&p, ipv6)?,
                tuple::SRC_PORT => self.src_port = p.u16()?,
                tuple::DST_PORT => self.dst_port = p.u16()?,
                tuple::ICMP_ID => self.icmp_id = p.u16()?,
                tuple::ICMP_TYPE => self.icmp_type = p.u8()?,
                tuple::ICMP_CODE => self.icmp_code = p.u8()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn put(&self, b: &mut Vec<u8>, ip_proto: u8) {
        for (ty, addr) in [(tuple::SRC, self.src), (tuple::DST, self.dst)] {
            if addr != Ipv6::default() {
                prop::put(b, ty, &addr.0);
            }
        }
        if matches!(ip_proto, ICMP | ICMPV6) {
            prop::put_u16(b, tuple::ICMP_ID, self.icmp_id);
            prop::put_u8(b, tuple::ICMP_TYPE, self.icmp_type);
            prop::put_u8(b, tuple::ICMP_CODE, self.icmp_code);
            return;
        }
        for (ty, port) in [
            (tuple::SRC_PORT, self.src_port),
            (tuple::DST_PORT, self.dst_port),
        ] {
            if port != 0 {
                prop::put_u16(b, ty, port);
            }
        }
    }
}

/// An address, of the IP version of those before it.
fn address(p: &Prop<'_>, ipv6: &mut Option<bool>) -> Decode<Ipv6> {
    let addr = p.data.first_chunk().copied().map(Ipv6);
    let addr = addr.ok_or(OfpError::OFPBPC_BAD_LEN)?;
    if addr == Ipv6::default() {
        return Ok(addr);
    }
    let mapped = addr.0[..10] == [0; 10] && addr.0[10..12] == [0xff; 2];
    if ipv6.is_some_and(|ipv6| ipv6 == mapped) {
        return Err(OfpError::OFPBPC_BAD_VALUE);
    }
    *ipv6 = Some(!mapped);
    Ok(addr)
}

/// Statistics of an IPFIX exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct IpfixStats {
    /// Its collectors (flow-based export).
    pub collector_set_id: u32,
    pub total_flows: u64,
    pub current_flows: u64,
    pub packets: u64,
    pub ipv4_packets: u64,
    pub ipv6_packets: u64,
    pub error_packets: u64,
    pub ipv4_error_packets: u64,
    pub ipv6_error_packets: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
}

impl IpfixStats {
    fn numbers(&mut self) -> [&mut u64; 10] {
        [
            &mut self.total_flows,
            &mut self.current_flows,
            &mut self.packets,
            &mut self.ipv4_packets,
            &mut self.ipv6_packets,
            &mut self.error_packets,
            &mut self.ipv4_error_packets,
            &mut self.ipv6_error_packets,
            &mut self.tx_packets,
            &mut self.tx_errors,
        ]
    }
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let mut s = Self::default();
        for n in s.numbers() {
            *n = r.u64()?;
        }
        s.collector_set_id = r.u32()?;
        r.skip(4)?;
        Ok(s)
    }
    fn put(mut self, b: &mut Vec<u8>) {
        for n in self.numbers() {
            b.u64(*n);
        }
        b.u32(self.collector_set_id);
        b.zeros(4);
    }
}

impl Multipart {
    /// Adds an exporter's statistics.
    pub fn push_ipfix_stats(&mut self, stats: &IpfixStats) {
        self.push(|b| stats.put(b));
    }
}
