//! Matches as `ovs-ofctl` reads them.

use super::scan::{integer, key_values};
use super::{NoNames, PortNames, TextError};
use crate::field::{FieldId, FieldValue, Protocols, Subfield};
use crate::matches::Match;
use wire::ethernet::{
    ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6, ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST, ETH_TYPE_RARP,
};
use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP};

/// A word that stands for an EtherType and perhaps a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyword {
    /// The word.
    pub name: &'static str,
    /// Its EtherType.
    pub dl_type: u16,
    /// Its protocol, 0 for none.
    pub nw_proto: u8,
}

const fn word(name: &'static str, dl_type: u16, nw_proto: u8) -> Keyword {
    Keyword {
        name,
        dl_type,
        nw_proto,
    }
}

const KEYWORDS: [Keyword; 17] = [
    word("ip", ETH_TYPE_IP, 0),
    word("ipv4", ETH_TYPE_IP, 0),
    word("ip4", ETH_TYPE_IP, 0),
    word("arp", ETH_TYPE_ARP, 0),
    word("icmp", ETH_TYPE_IP, PROTO_ICMP),
    word("tcp", ETH_TYPE_IP, PROTO_TCP),
    word("udp", ETH_TYPE_IP, PROTO_UDP),
    word("sctp", ETH_TYPE_IP, PROTO_SCTP),
    word("ipv6", ETH_TYPE_IPV6, 0),
    word("ip6", ETH_TYPE_IPV6, 0),
    word("icmp6", ETH_TYPE_IPV6, PROTO_ICMPV6),
    word("tcp6", ETH_TYPE_IPV6, PROTO_TCP),
    word("udp6", ETH_TYPE_IPV6, PROTO_UDP),
    word("sctp6", ETH_TYPE_IPV6, PROTO_SCTP),
    word("rarp", ETH_TYPE_RARP, 0),
    word("mpls", ETH_TYPE_MPLS, 0),
    word("mplsm", ETH_TYPE_MPLS_MCAST, 0),
];

impl Keyword {
    /// The keyword with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<&'static Self> {
        KEYWORDS.iter().find(|k| k.name == name)
    }
}

impl Match {
    /// Adds what one `key=value` pair asks for: a keyword (`tcp6`), `eth`, a field, or a subfield
    /// (`reg0[4..7]=3`). `None` when the key is none of these; else the protocols that can say so.
    ///
    /// # Errors
    /// As `ovs-ofctl` says them.
    pub fn parse_pair(
        &mut self,
        key: &str,
        value: &str,
        names: &dyn PortNames,
    ) -> Result<Option<Protocols>, TextError> {
        if let Some(k) = Keyword::from_name(key) {
            self.set_u64(FieldId::EthType, k.dl_type.into());
            if k.nw_proto != 0 {
                self.set_u64(FieldId::IpProto, k.nw_proto.into());
            }
            self.set_default_packet_type();
            Ok(Some(Protocols::ANY))
        } else if key == "eth" {
            self.set_packet_type(0);
            Ok(Some(Protocols::ANY))
        } else if let Some(field) = FieldId::from_name(key) {
            self.parse_field(field, value, names).map(Some)
        } else if key.contains('[') {
            self.parse_subfield(key, value).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Adds what `field=text` asks for; without text, that the field is there.
    ///
    /// # Errors
    /// As `ovs-ofctl` says them.
    pub fn parse_field(
        &mut self,
        field: FieldId,
        text: &str,
        names: &dyn PortNames,
    ) -> Result<Protocols, TextError> {
        let text = if text.is_empty() { "0/0" } else { text };
        let (value, mask) = field.parse(text, names)?;
        let usable = self.set(field, &value, Some(&mask))?;
        self.add_ethernet_prereq(field);
        Ok(usable)
    }

    fn parse_subfield(&mut self, name: &str, text: &str) -> Result<Protocols, TextError> {
        let sf: Subfield = name.parse()?;
        let n_bytes = sf.field.info().n_bytes;
        let bits: FieldValue = match integer(text, n_bytes) {
            Ok((bits, "")) => bits.into(),
            _ => {
                return Err(TextError::BadInteger {
                    name: name.into(),
                    value: text.into(),
                });
            }
        };
        let fits = Subfield {
            field: sf.field,
            ofs: 0,
            n_bits: sf.n_bits,
        }
        .mask_value();
        if bits.iter().zip(&fits).any(|(b, m)| b & !m != 0) {
            let mut value = String::new();
            sf.field.format(&mut value, &bits, None, &NoNames);
            return Err(TextError::DoesNotFit {
                name: name.into(),
                value,
                n_bits: sf.n_bits,
            });
        }
        let (mut value, mut mask) = (self.get(sf.field), self.get_mask(sf.field));
        sf.into_value(&bits, &mut value);
        for (m, new) in mask.iter_mut().zip(&sf.mask_value()) {
            *m |= new;
        }
        let usable = self.set(sf.field, &value, Some(&mask))?;
        self.add_ethernet_prereq(sf.field);
        Ok(usable)
    }

    /// To be called when all pairs were added: fills in the EtherType that a packet type implies; says
    /// which protocols can match what is asked of IPv6.
    pub fn parse_end(&mut self) -> Protocols {
        let t = self.flow.packet_type.get();
        if self.mask.0.packet_type.get() == u32::MAX && t >> 16 == 1 {
            self.flow.dl_type.set(t as u16);
        }
        let m = &self.mask.0;
        let upper = m.nw_proto != 0 || m.nw_tos != 0 || m.tp_src.get() != 0 || m.tp_dst.get() != 0;
        if self.flow.dl_type.get() == ETH_TYPE_IPV6 && upper {
            Protocols::NXM_OXM_ANY
        } else {
            Protocols::ANY
        }
    }

    /// Reads a whole match.
    ///
    /// # Errors
    /// As `ovs-ofctl` says them; unknown keys are errors.
    pub fn parse(text: &str, names: &dyn PortNames) -> Result<(Self, Protocols), TextError> {
        let mut m = Self::catchall();
        let mut usable = Protocols::ANY;
        for (key, value) in key_values(text) {
            match m.parse_pair(key, value, names)? {
                Some(p) => usable &= p,
                None if value.is_empty() => {
                    return Err(TextError::MissingValue { name: key.into() });
                }
                None => return Err(TextError::UnknownKeyword { name: key.into() }),
            }
        }
        usable &= m.parse_end();
        Ok((m, usable))
    }
}
