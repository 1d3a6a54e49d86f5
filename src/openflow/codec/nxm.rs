//! Matches as lists of NXM or OXM entries.

use super::oxm::{Place, put_entry};
use super::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::version::Version;
use base::sync::Arc;
use flow::{FieldId, FieldValue, Flow, Match, OxmHeader, TunTable, Vlan};

/// Cookie and its mask.
pub(crate) type Cookie = (u64, u64);

const ETH_IPV4: u16 = 0x0800;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// How a match is to be read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MatchRules<'a> {
    /// The switch's options table; without one the match makes its own.
    pub(crate) tun: Option<&'a Arc<TunTable>>,
    /// Fields must follow what they depend on; unknown ones are errors.
    pub(crate) strict: bool,
    /// A cookie may stand among the fields.
    pub(crate) cookie: bool,
    /// Only fields that are no packet header.
    pub(crate) pipeline_only: bool,
}

/// Reads all of `r` as entries.
pub(crate) fn decode(mut r: Reader<'_>, rules: MatchRules<'_>) -> Decode<(Match, Cookie)> {
    let mut m = Match::catchall();
    m.tun = rules.tun.cloned();
    let mut cookie = (0, 0);
    let place = Place {
        tun: rules.tun.map(|t| &**t),
        action: false,
        cookie: rules.cookie,
    };
    while !r.is_empty() {
        let entry = match place.entry(&mut r) {
            Err(OfpError::OFPBMC_BAD_FIELD) if !rules.strict => continue,
            other => other?,
        };
        let Some(field) = entry.field else {
            if cookie.1 != 0 {
                return Err(OfpError::OFPBMC_DUP_FIELD);
            }
            let mask = entry.mask.as_deref().map_or(u64::MAX, crate::bits::low_u64);
            cookie = (crate::bits::low_u64(&entry.value), mask);
            continue;
        };
        add(&mut m, field, (&entry.value, entry.mask.as_deref()), rules)?;
    }
    Ok((m, cookie))
}

fn add(
    m: &mut Match,
    field: FieldId,
    (value, mask): (&FieldValue, Option<&[u8]>),
    rules: MatchRules<'_>,
) -> Decode<()> {
    if mask.is_some_and(|mask| !field.is_mask_valid(mask)) {
        return Err(OfpError::OFPBMC_BAD_MASK);
    }
    if !field.is_value_valid(value) {
        return Err(OfpError::OFPBMC_BAD_VALUE);
    }
    if rules.strict && !m.prereqs_ok(field) {
        return Err(OfpError::OFPBMC_BAD_PREREQ);
    }
    if !m.is_wild(field) {
        return Err(OfpError::OFPBMC_DUP_FIELD);
    }
    if rules.pipeline_only && !field.is_pipeline() {
        return Err(OfpError::OFPBRC_PIPELINE_FIELDS_ONLY);
    }
    m.set(field, value, mask)
        .map_err(|_| OfpError::OFPBMC_BAD_VALUE)?;
    m.add_ethernet_prereq(field);
    Ok(())
}

/// Takes `len` octets of entries and the padding behind them.
pub(crate) fn decode_padded(
    r: &mut Reader<'_>,
    len: usize,
    rules: MatchRules<'_>,
) -> Decode<(Match, Cookie)> {
    let all = r
        .try_take(len.next_multiple_of(8))
        .ok_or(OfpError::OFPBMC_BAD_LEN)?;
    decode(Reader::new(&all[..len]), rules)
}

struct Writer<'a> {
    b: &'a mut Vec<u8>,
    m: &'a Match,
    version: u8,
    implied_ethernet: bool,
}

/// Appends the entries of a match; `version` is `None` for NXM. Returns their octets.
pub(crate) fn put(b: &mut Vec<u8>, version: Option<Version>, m: &Match, cookie: Cookie) -> usize {
    let start = b.len();
    let mut w = Writer {
        b,
        m,
        version: version.map_or(0, Version::wire),
        implied_ethernet: false,
    };
    w.all();
    w.cookie(cookie);
    if m.has_default_packet_type() && !w.implied_ethernet {
        let mut first = Vec::with_capacity(8);
        let value = FieldId::PacketType.get(&m.flow, None);
        put_entry(
            &mut first,
            (FieldId::PacketType, w.version),
            &value,
            None,
            None,
        );
        b.splice(start..start, first);
    }
    b.len() - start
}

/// As [`put`] for NXM, padded.
pub(crate) fn put_nxm(b: &mut Vec<u8>, m: &Match, cookie: Cookie) -> usize {
    let start = b.len();
    let len = put(b, None, m, cookie);
    b.pad(start, 8);
    len
}

impl Writer<'_> {
    fn is_oxm(&self) -> bool {
        self.version != 0
    }

    fn entry(&mut self, field: FieldId, value: &[u8], mask: Option<&[u8]>) {
        let at = (field, self.version);
        put_entry(self.b, at, value, mask, self.m.tun.as_deref());
        self.implied_ethernet |= field.info().prereqs != flow::Prereqs::None;
    }

    /// The field with its mask, when any bit of it matters.
    fn masked(&mut self, field: FieldId) {
        let mask = self.m.get_mask(field);
        if mask.iter().any(|&b| b != 0) {
            let value = self.m.get(field);
            self.entry(field, &value, Some(&mask));
        }
    }

    /// The field without a mask, when any bit of it matters.
    fn exact(&mut self, field: FieldId) {
        if self.m.get_mask(field).iter().any(|&b| b != 0) {
            let value = self.m.get(field);
            self.entry(field, &value, None);
        }
    }

    fn each(&mut self, fields: impl IntoIterator<Item = FieldId>) {
        for field in fields {
            self.masked(field);
        }
    }

    fn all(&mut self) {
        use FieldId as F;
        let m = self.m;
        if !m.has_default_packet_type() {
            self.masked(F::PacketType);
        }
        self.masked(F::DpHash);
        self.exact(F::RecircId);
        self.exact(F::ConjId);
        self.exact(if self.is_oxm() {
            F::InPortOxm
        } else {
            F::InPort
        });
        self.exact(F::ActsetOutput);
        self.masked(F::EthSrc);
        self.masked(F::EthDst);
        if m.mask.0.dl_type.get() != 0 {
            let ty = m.flow.dl_type.get().to_be_bytes();
            self.entry(F::EthType, &ty, Some(&m.mask.0.dl_type.get().to_be_bytes()));
        }
        self.vlan();
        let dl_type = m.flow.effective_dl_type();
        if matches!(dl_type, 0x8847 | 0x8848) {
            for field in [F::MplsTc, F::MplsBos, F::MplsTtl, F::MplsLabel] {
                self.exact(field);
            }
        }
        if m.flow.is_ip_any() {
            self.ip(dl_type);
        } else if matches!(dl_type, 0x0806 | 0x8035) {
            self.exact(F::ArpOp);
            self.each([F::ArpSpa, F::ArpTpa, F::ArpSha, F::ArpTha]);
        }
        self.tunnel();
        self.each([F::NshFlags, F::NshTtl, F::NshMdtype, F::NshNp]);
        self.each([F::NshSpi, F::NshSi]);
        self.each((0..4).map(F::NshC));
        if self.version < Version::V15.wire() {
            self.each((0..16).map(F::Reg));
        } else {
            self.each((0..8).map(F::Xreg));
        }
        self.masked(F::PktMark);
        self.conntrack();
        self.masked(F::Metadata);
    }

    fn vlan(&mut self) {
        let m = self.m;
        if !self.is_oxm() {
            return self.masked(FieldId::VlanTci);
        }
        let bits = Vlan::VID_MASK | Vlan::CFI;
        let (tci, mask) = (m.flow.vlans[0].tci.get(), m.mask.0.vlans[0].tci.get());
        if mask & bits != 0 {
            let (vid, vid_mask) = ((tci & bits).to_be_bytes(), (mask & bits).to_be_bytes());
            let masked = (mask & bits != bits).then_some(&vid_mask[..]);
            self.entry(FieldId::VlanVid, &vid, masked);
        }
        if tci & bits != 0 && mask & Vlan::PCP_MASK != 0 {
            self.entry(FieldId::VlanPcp, &[(tci >> 13) as u8], None);
        }
    }

    fn ip(&mut self, dl_type: u16) {
        use FieldId as F;
        let m = self.m;
        if dl_type == ETH_IPV4 {
            self.each([F::Ipv4Src, F::Ipv4Dst]);
        } else {
            self.each([F::Ipv6Src, F::Ipv6Dst]);
        }
        let frag = m.mask.0.nw_frag & 3;
        if frag != 0 {
            let mask = if frag == 3 { 0xff } else { frag };
            self.entry(F::IpFrag, &[m.flow.nw_frag & 3], Some(&[mask]));
        }
        if m.mask.0.nw_tos & 0xfc != 0 {
            self.exact(if self.is_oxm() {
                F::IpDscpShifted
            } else {
                F::IpDscp
            });
        }
        self.exact(F::IpEcn);
        self.exact(F::IpTtl);
        self.masked(F::Ipv6Label);
        if m.mask.0.nw_proto != 0 {
            self.exact(F::IpProto);
            self.transport(dl_type);
        }
    }

    fn transport(&mut self, dl_type: u16) {
        use FieldId as F;
        let flow: &Flow = &self.m.flow;
        match flow.nw_proto {
            TCP => self.each([F::TcpSrc, F::TcpDst, F::TcpFlags]),
            UDP => self.each([F::UdpSrc, F::UdpDst]),
            SCTP => self.each([F::SctpSrc, F::SctpDst]),
            1 if dl_type == ETH_IPV4 => {
                self.exact(F::Icmpv4Type);
                self.exact(F::Icmpv4Code);
            }
            58 if dl_type != ETH_IPV4 => {
                self.exact(F::Icmpv6Type);
                self.exact(F::Icmpv6Code);
                if flow.is_nd(None) {
                    self.exact(F::NdReserved);
                    self.masked(F::NdTarget);
                    self.exact(F::NdOptionsType);
                    match flow.tp_src.get() {
                        135 => self.masked(F::NdSll),
                        _ => self.masked(F::NdTll),
                    }
                }
            }
            _ => {}
        }
    }

    fn tunnel(&mut self) {
        use FieldId as F;
        self.each([F::TunId, F::TunFlags, F::TunSrc, F::TunDst]);
        self.each([F::TunIpv6Src, F::TunIpv6Dst, F::TunGbpId, F::TunGbpFlags]);
        let mut present = self.m.mask.0.tunnel.present.get();
        while present != 0 {
            let i = present.trailing_zeros() as u8;
            present &= present - 1;
            let field = F::TunMetadata(i);
            let (value, mask) = (self.m.get(field), self.m.get_mask(field));
            self.entry(field, &value, Some(&mask));
        }
        self.each([F::TunErspanIdx, F::TunErspanVer, F::TunErspanDir]);
        self.each([F::TunErspanHwid, F::TunGtpuFlags, F::TunGtpuMsgtype]);
    }

    fn conntrack(&mut self) {
        use FieldId as F;
        self.each([F::CtState, F::CtZone, F::CtMark, F::CtLabel]);
        self.each([F::CtNwSrc, F::CtIpv6Src, F::CtNwDst, F::CtIpv6Dst]);
        if self.m.flow.ct_nw_proto != 0 {
            self.each([F::CtNwProto, F::CtTpSrc, F::CtTpDst]);
        }
    }

    fn cookie(&mut self, (cookie, mask): Cookie) {
        if mask == 0 {
            return;
        }
        let masked = mask != u64::MAX;
        let header = if masked {
            OxmHeader::COOKIE_MASKED
        } else {
            OxmHeader::COOKIE
        };
        self.b.u32(header.to_u32().unwrap_or(0));
        self.b.u64(cookie & mask);
        if masked {
            self.b.u64(mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::TlvMap;

    /// The NXM header of `tun_metadata{n}`, whose fields begin at 40.
    fn header(n: u8, masked: bool, payload: u8) -> [u8; 4] {
        let low = (40 + u16::from(n)) << 9 | u16::from(masked) << 8 | u16::from(payload);
        let [a, b] = low.to_be_bytes();
        [0, 1, a, b]
    }

    fn table(lens: [u8; 2]) -> Arc<TunTable> {
        let mut t = TunTable::new();
        for (i, len) in (0..).zip(lens) {
            let map = TlvMap {
                index: i,
                class: 0xffff,
                kind: i,
                len,
            };
            t.add(map).expect("an empty table");
        }
        Arc::new(t)
    }

    /// Reads entries, and gives the match's text and how it is written again.
    fn through(bytes: &[u8], tun: &Arc<TunTable>) -> (String, Vec<u8>) {
        let rules = MatchRules {
            tun: Some(tun),
            strict: true,
            ..MatchRules::default()
        };
        let (m, _) = decode(Reader::new(bytes), rules).expect("well-formed");
        let mut out = Vec::new();
        put(&mut out, None, &m, (0, 0));
        (m.to_string(), out)
    }

    #[test]
    fn masks_of_tunnel_metadata_may_be_shorter_than_the_option() {
        let tun = table([4, 8]);
        // 0xef/0xff of an option of 8 octets: one octet matters, not all.
        let short = [&header(1, true, 2)[..], &[0xef, 0xff]].concat();
        let long = [
            &header(1, true, 16)[..],
            &[0, 0, 0, 0, 0, 0, 0, 0xef, 0, 0, 0, 0, 0, 0, 0, 0xff],
        ]
        .concat();
        assert_eq!(
            through(&short, &tun),
            ("tun_metadata1=0xef/0xff".into(), long)
        );
        // No octets at all: only its presence matters.
        let present = [&header(0, true, 8)[..], &[0; 8]].concat();
        assert_eq!(
            through(&header(0, true, 0), &tun),
            ("tun_metadata0".into(), present)
        );
    }

    #[test]
    fn an_option_without_a_value_can_only_be_present() {
        let tun = table([4, 0]);
        let there = ("tun_metadata1".to_owned(), header(1, true, 0).to_vec());
        assert_eq!(through(&header(1, false, 0), &tun), there);
        assert_eq!(through(&header(1, true, 0), &tun), there);
    }
}
