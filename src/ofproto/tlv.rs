//! The table of tunnel options: which Geneve option is which `tun_metadata` field.
//!
//! A mapping that a flow matches or uses in its actions cannot be removed. Translation gets the table through
//! [`crate::Pipeline::tun_table`].

use crate::acts;
use crate::rule::Rule;
use crate::switch::Ofproto;
use base::sync::Arc;
use flow::{FieldId, Flow, Subfield, TunTable, TunTableError};
use openflow::{Act, LearnDst, LearnSrc, OfpError, TlvCommand, TlvTableMod, TlvTableReply};

/// Flows that use each field.
#[derive(Debug)]
pub(crate) struct TlvUsers([u32; TunTable::FIELDS_MAX]);

impl Default for TlvUsers {
    fn default() -> Self {
        Self([0; TunTable::FIELDS_MAX])
    }
}

/// The word of a flow that says which fields are present.
const PRESENT: usize = std::mem::offset_of!(Flow, tunnel.present) / 8;

/// Bit n: the rule matches or uses `tun_metadata{n}`.
fn fields_of(rule: &Rule) -> u64 {
    let matched = u64::from_be(rule.matching().mask().word(PRESENT));
    let used = rule.uses().tlvs;
    matched | if used { acts_use(&rule.actions) } else { 0 }
}

/// Calls `see` for each tunnel option that actions use: its number, and the bits of it they need.
fn each_use(list: &[Act], see: &mut dyn FnMut(u8, u16)) {
    let mut part = |s: &Subfield| {
        if let FieldId::TunMetadata(i) = s.field {
            see(i, s.ofs.saturating_add(s.n_bits));
        }
    };
    let whole = |field: FieldId| Subfield {
        field,
        ofs: 0,
        n_bits: 0,
    };
    acts::each(list, &mut |a| match a {
        Act::OutputReg { src, .. } | Act::StackPush(src) => part(src),
        Act::StackPop(dst) | Act::CheckPktLarger { dst, .. } => part(dst),
        Act::Bundle(b) => b.dst.iter().for_each(&mut part),
        Act::Multipath(m) => part(&m.dst),
        Act::SetField { field, .. } | Act::DeleteField(field) => part(&whole(*field)),
        Act::RegMove { src, dst } => {
            part(src);
            part(dst);
        }
        Act::Ct(ct) => ct.zone_src.iter().for_each(&mut part),
        Act::Learn(l) => {
            for spec in &l.specs {
                if let LearnSrc::Field(s) = &spec.src {
                    part(s);
                }
                if let LearnDst::Match(d) | LearnDst::Load(d) = &spec.dst {
                    part(d);
                }
            }
        }
        _ => {}
    });
}

/// Bit n: actions use `tun_metadata{n}`.
pub(crate) fn acts_use(list: &[Act]) -> u64 {
    let mut used = 0;
    each_use(list, &mut |i, _| {
        used |= 1u64.checked_shl(i.into()).unwrap_or(0);
    });
    used
}

/// Checks that actions use no more of a tunnel option than it has.
///
/// # Errors
/// `OFPBAC_BAD_SET_LEN`.
pub(crate) fn check_lengths(list: &[Act], table: &TunTable) -> Result<(), OfpError> {
    let mut fits = true;
    each_use(list, &mut |i, bits| {
        fits &= table.len_of(i).is_none_or(|n| usize::from(bits) <= 8 * n);
    });
    if fits {
        Ok(())
    } else {
        Err(OfpError::OFPBAC_BAD_SET_LEN)
    }
}

impl TlvUsers {
    fn count(&mut self, rule: &Rule, change: impl Fn(&mut u32)) {
        let mut fields = fields_of(rule);
        while fields != 0 {
            change(&mut self.0[fields.trailing_zeros() as usize]);
            fields &= fields - 1;
        }
    }
    pub(crate) fn enter(&mut self, rule: &Rule) {
        self.count(rule, |n| *n += 1);
    }
    pub(crate) fn leave(&mut self, rule: &Rule) {
        self.count(rule, |n| *n -= 1);
    }
    fn in_use(&self, index: u8) -> bool {
        self.0.get(usize::from(index)).is_some_and(|n| *n > 0)
    }
}

fn refused(error: TunTableError) -> OfpError {
    match error {
        TunTableError::BadIndex => OfpError::NXTTMFC_BAD_FIELD_IDX,
        TunTableError::BadLength => OfpError::NXTTMFC_BAD_OPT_LEN,
        TunTableError::AlreadyMapped => OfpError::NXTTMFC_ALREADY_MAPPED,
        TunTableError::DupEntry => OfpError::NXTTMFC_DUP_ENTRY,
        TunTableError::TableFull => OfpError::NXTTMFC_TABLE_FULL,
    }
}

impl Ofproto {
    /// The table of tunnel options, as controllers are shown it.
    #[must_use]
    pub fn tlv_table(&self) -> TlvTableReply {
        TlvTableReply {
            max_option_space: u32::try_from(TunTable::SPACE_MAX).unwrap_or(u32::MAX),
            max_fields: u16::try_from(TunTable::FIELDS_MAX).unwrap_or(u16::MAX),
            mappings: self.tun_table().mappings().collect(),
        }
    }

    /// Changes the table of tunnel options.
    ///
    /// # Errors
    /// What the message is refused for; nothing has changed then.
    pub fn tlv_table_mod(&mut self, ttm: &TlvTableMod) -> Result<(), OfpError> {
        let mut table = (**self.tun_table()).clone();
        let users = &self.books.tlvs;
        match ttm.command {
            TlvCommand::Add => {
                for map in &ttm.mappings {
                    table.add(*map).map_err(refused)?;
                }
            }
            TlvCommand::Delete => {
                for map in &ttm.mappings {
                    if usize::from(map.index) >= TunTable::FIELDS_MAX {
                        return Err(OfpError::NXTTMFC_BAD_FIELD_IDX);
                    }
                    if users.in_use(map.index) {
                        return Err(OfpError::NXTTMFC_INVALID_TLV_DEL);
                    }
                    table.del(map.index);
                }
            }
            TlvCommand::Clear => {
                if table.mappings().any(|m| users.in_use(m.index)) {
                    return Err(OfpError::NXTTMFC_INVALID_TLV_DEL);
                }
                table = TunTable::new();
            }
        }
        self.tun_table = Arc::new(table);
        self.pipeline.tun.store(Arc::clone(&self.tun_table));
        self.changes.other = true;
        Ok(())
    }
}
