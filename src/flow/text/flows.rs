//! Flows of single packets as text: what `ofproto/trace` reads, what packet-in messages print.

use super::format::PRIORITY_DEFAULT;
use super::parse::Keyword;
use super::scan::key_values;
use super::{NoNames, PortNames, TextError};
use crate::field::{FieldId, ct_state};
use crate::key::{Flow, Mask};
use crate::matches::Match;
use crate::port::OfPort;
use crate::tun_table::TunTable;
use std::fmt;
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6};

/// A flow that was read from text, and the fields that the text named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactFlow {
    /// The flow. Its port is [`OfPort::NONE`] when the text names none.
    pub flow: Flow,
    /// The fields that the text named.
    pub mask: Mask,
}

impl ExactFlow {
    /// Reads a flow: keywords and `field=value` without masks, each field after those it depends on.
    ///
    /// # Errors
    /// As `ofproto/trace` says them.
    pub fn parse(
        text: &str,
        names: &dyn PortNames,
        tun: Option<&TunTable>,
    ) -> Result<Self, TextError> {
        let mut out = Self {
            flow: Flow::zero(),
            mask: Mask::empty(),
        };
        for (key, value) in key_values(text) {
            match Keyword::from_name(key) {
                Some(word) => out.keyword(text, word)?,
                None => out.field(text, (key, value), names, tun)?,
            }
        }
        if out.flow.in_port.get() == 0 {
            out.flow.in_port.set(OfPort::NONE.0.into());
        }
        Ok(out)
    }

    fn keyword(&mut self, text: &str, word: &Keyword) -> Result<(), TextError> {
        if self.flow.dl_type.get() != 0 {
            return Err(TextError::TypeTwice { text: text.into() });
        }
        self.flow.dl_type.set(word.dl_type);
        self.mask.0.dl_type.set(u16::MAX);
        if word.nw_proto != 0 {
            if self.flow.nw_proto != 0 {
                return Err(TextError::ProtoTwice { text: text.into() });
            }
            self.flow.nw_proto = word.nw_proto;
            self.mask.0.nw_proto = u8::MAX;
        }
        Ok(())
    }

    fn field(
        &mut self,
        text: &str,
        (key, value): (&str, &str),
        names: &dyn PortNames,
        tun: Option<&TunTable>,
    ) -> Result<(), TextError> {
        let own = || (text.to_owned(), key.to_owned());
        let unknown = || {
            let (text, field) = own();
            TextError::UnknownField { text, field }
        };
        let field = FieldId::from_name(key).ok_or_else(unknown)?;
        if !field.prereqs_ok(&self.flow, None) {
            let (text, field) = own();
            return Err(TextError::Prereqs { text, field });
        } else if field.is_set(&self.flow) {
            let (text, field) = own();
            return Err(TextError::FieldTwice { text, field });
        }
        let value = field.parse_value(value, names).map_err(|e| {
            let (text, field) = own();
            TextError::BadValue {
                text,
                field,
                error: Box::new(e),
            }
        })?;
        field.set(&mut self.flow, &value, tun);
        field.mask_all(&mut self.mask, tun);
        Ok(())
    }
}

impl Flow {
    /// Appends the flow as `ovs-ofctl` prints a packet's: every field the packet has, but context (ports,
    /// marks, conntrack, registers, metadata) only when it is not zero.
    pub fn format(&self, out: &mut String, names: &dyn PortNames) {
        let mut m = Match::of_packet(self);
        let zero = Flow::zero();
        let (f, w) = (self, &mut m.mask.0);
        macro_rules! hide_zero { ($($field:ident)*) => { $(
            if f.$field == zero.$field {
                w.$field = zero.$field;
            }
        )* } }
        hide_zero!(in_port skb_priority pkt_mark recirc_id dp_hash ct_state ct_zone ct_mark);
        hide_zero!(ct_label metadata);
        let valid = ct_state::NEW
            | ct_state::ESTABLISHED
            | ct_state::RELATED
            | ct_state::REPLY_DIR
            | ct_state::SRC_NAT
            | ct_state::DST_NAT;
        let tracked = f.ct_state & valid != 0
            || f.ct_state & (ct_state::TRACKED | ct_state::INVALID) == ct_state::TRACKED;
        if !tracked || f.ct_nw_proto == 0 {
            w.ct_nw_proto = 0;
            (w.ct_tp_src, w.ct_tp_dst) = (zero.ct_tp_src, zero.ct_tp_dst);
            match f.dl_type.get() {
                ETH_TYPE_IP => (w.ct_nw_src, w.ct_nw_dst) = (zero.ct_nw_src, zero.ct_nw_dst),
                ETH_TYPE_IPV6 => {
                    (w.ct_ipv6_src, w.ct_ipv6_dst) = (zero.ct_ipv6_src, zero.ct_ipv6_dst);
                }
                _ => {}
            }
        }
        for (w, reg) in w.regs.iter_mut().zip(&f.regs) {
            if reg.get() == 0 {
                w.set(0);
            }
        }
        m.format(out, names, PRIORITY_DEFAULT);
    }
}

impl fmt::Display for Flow {
    /// Without names of ports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.format(&mut out, &NoNames);
        f.write_str(&out)
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({self})")
    }
}

impl fmt::Debug for Mask {
    /// The masked bits, with the names of the fields they are in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for field in FieldId::all() {
            let skip = matches!(
                field,
                FieldId::Xreg(_) | FieldId::Xxreg(_) | FieldId::InPortOxm | FieldId::TunMetadata(_)
            );
            let bits = field.get_mask(self, None);
            if !skip && bits.iter().any(|&b| b != 0) {
                let mut text = String::new();
                super::put::hex(&mut text, &bits);
                map.entry(&field.name(), &format_args!("{text}"));
            }
        }
        map.finish()
    }
}
