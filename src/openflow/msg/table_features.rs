//! Features of tables (OpenFlow 1.3 and up).

use super::basic::{put_text, text};
use super::sets::{ActionKinds, FieldSet, TableSet};
use super::table_stats::{NAME, TableMiss};
use crate::codec::header::Multipart;
use crate::codec::oxm::{self, Place};
use crate::codec::prop::{self, Prop};
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::flow_mod::ALL_TABLES;
use crate::version::Version;

/// Capability bits of OpenFlow 1.4.
const EVICTION: u32 = 1 << 2;
const VACANCY_EVENTS: u32 = 1 << 3;

/// Properties; those for packets without a flow are one higher.
mod property {
    pub(super) const INSTRUCTIONS: u16 = 0;
    pub(super) const NEXT_TABLES: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 4;
    pub(super) const APPLY_ACTIONS: u16 = 6;
    pub(super) const MATCH: u16 = 8;
    pub(super) const WILDCARDS: u16 = 10;
    pub(super) const WRITE_SETFIELD: u16 = 12;
    pub(super) const APPLY_SETFIELD: u16 = 14;
    pub(super) const MISS: u16 = 1;
    /// What must be there: all that are not for packets without a flow.
    pub(super) const REQUIRED: u32 = 0x5555;
}

/// What a list of actions can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActionAbilities {
    /// Actions.
    pub actions: ActionKinds,
    /// Fields that can be set.
    pub set_fields: FieldSet,
}

/// What flows can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableAbilities {
    /// Tables to go to.
    pub next: TableSet,
    /// Bit n: instruction type n (1 goto_table to 6 meter).
    pub instructions: u32,
    /// In action sets.
    pub write: ActionAbilities,
    /// In applied actions.
    pub apply: ActionAbilities,
}

/// All instruction types.
pub const ALL_INSTRUCTIONS: u32 = 0x7e;

/// What a message wants with a table's features (OpenFlow 1.5; numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TableFeaturesCommand {
    #[default]
    Replace = 0,
    Modify = 1,
    Enable = 2,
    Disable = 3,
}

/// Features of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableFeatures {
    /// Which.
    pub table_id: u8,
    /// What is wanted of them.
    pub command: TableFeaturesCommand,
    /// Name.
    pub name: String,
    /// Bits of metadata that can be matched.
    pub metadata_match: u64,
    /// Bits of metadata that can be written.
    pub metadata_write: u64,
    /// Packets without a flow (1.1, 1.2).
    pub miss_config: TableMiss,
    /// It can evict flows (1.4 and up).
    pub supports_eviction: Option<bool>,
    /// It has vacancy events (1.4 and up).
    pub supports_vacancy_events: Option<bool>,
    /// Flows it can have.
    pub max_entries: u32,
    /// What follows is said.
    pub any_properties: bool,
    /// Of its flows.
    pub nonmiss: TableAbilities,
    /// Of its table-miss flow.
    pub miss: TableAbilities,
    /// Fields that can be matched.
    pub match_: FieldSet,
    /// Fields that can be matched in part.
    pub mask: FieldSet,
    /// Fields that can be left out.
    pub wildcard: FieldSet,
}

impl ActionAbilities {
    fn is_superset(&self, other: &Self) -> bool {
        self.actions.contains(other.actions) && self.set_fields.is_superset(&other.set_fields)
    }
}
impl TableAbilities {
    fn is_superset(&self, other: &Self) -> bool {
        self.next.is_superset(&other.next)
            && !self.instructions & other.instructions == 0
            && self.write.is_superset(&other.write)
            && self.apply.is_superset(&other.apply)
    }
}

impl TableFeatures {
    /// True when it can do all that `other` can.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        !self.metadata_match & other.metadata_match == 0
            && !self.metadata_write & other.metadata_write == 0
            && self.max_entries >= other.max_entries
            && self.supports_eviction >= other.supports_eviction
            && self.supports_vacancy_events >= other.supports_vacancy_events
            && self.nonmiss.is_superset(&other.nonmiss)
            && self.miss.is_superset(&other.miss)
            && self.match_.is_superset(&other.match_)
            && self.mask.is_superset(&other.mask)
            && self.wildcard.is_superset(&other.wildcard)
    }

    /// Takes one table.
    pub(super) fn decode(version: Version, r: &mut Reader<'_>, loose: bool) -> Decode<Self> {
        let bad = OfpError::OFPBPC_BAD_LEN;
        let len = r.peek().first_chunk().map(|l| u16::from_be_bytes(*l));
        let len = usize::from(len.ok_or(bad)?);
        if len < 64 || !len.is_multiple_of(8) {
            return Err(bad);
        }
        let mut body = Reader::new(r.try_take(len).ok_or(bad)?);
        let mut f = Self::fixed(version, &mut body)?;
        f.any_properties = !body.is_empty();
        let mut seen = 0;
        while !body.is_empty() {
            let p = prop::pull(&mut body, prop::EXPERIMENTER)?;
            let bit = 1_u32.checked_shl(p.ty.into()).unwrap_or(0);
            if seen & bit != 0 {
                return Err(OfpError::OFPTFFC_BAD_FEATURES);
            }
            seen |= bit;
            f.property(&p, version, loose)?;
        }
        let incomplete = seen & property::REQUIRED != property::REQUIRED;
        if incomplete && (f.any_properties || version < Version::V15) {
            return Err(OfpError::OFPTFFC_BAD_FEATURES);
        }
        if f.any_properties {
            f.fill_miss(seen);
        }
        f.match_ = f.match_.union(&f.mask);
        f.wildcard = f.wildcard.union(&f.mask).intersection(&f.match_);
        Ok(f)
    }

    fn fixed(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        r.skip(2)?;
        let (table_id, command) = (r.u8()?, r.u8()?);
        r.skip(4)?;
        use TableFeaturesCommand as C;
        let command = match command {
            _ if version < Version::V15 => C::Replace,
            0 => C::Replace,
            1 => C::Modify,
            2 => C::Enable,
            3 => C::Disable,
            _ => return Err(OfpError::OFPTFFC_BAD_COMMAND),
        };
        if table_id == ALL_TABLES {
            return Err(OfpError::OFPTFFC_BAD_TABLE);
        }
        let name = text(r.take(NAME)?);
        let (metadata_match, metadata_write) = (r.u64()?, r.u64()?);
        let capabilities = r.u32()?;
        let has = |bit: u32| (version >= Version::V14).then_some(capabilities & bit != 0);
        Ok(Self {
            table_id,
            command,
            name,
            metadata_match,
            metadata_write,
            supports_eviction: has(EVICTION),
            supports_vacancy_events: has(VACANCY_EVENTS),
            max_entries: r.u32()?,
            ..Self::default()
        })
    }

    fn property(&mut self, p: &Prop<'_>, version: Version, loose: bool) -> Decode<()> {
        use property as P;
        let mut r = Reader::new(p.data);
        let miss = p.ty & P::MISS != 0;
        let a = if miss {
            &mut self.miss
        } else {
            &mut self.nonmiss
        };
        match p.ty & !P::MISS {
            P::INSTRUCTIONS => a.instructions = instructions(&mut r, loose)?,
            P::NEXT_TABLES => {
                if p.data.contains(&ALL_TABLES) {
                    return Err(OfpError::OFPBPC_BAD_VALUE);
                }
                a.next = p.data.iter().copied().collect();
            }
            P::WRITE_ACTIONS => a.write.actions = actions(&mut r, version)?,
            P::APPLY_ACTIONS => a.apply.actions = actions(&mut r, version)?,
            P::WRITE_SETFIELD => a.write.set_fields = exact_fields(&mut r, loose)?,
            P::APPLY_SETFIELD => a.apply.set_fields = exact_fields(&mut r, loose)?,
            P::MATCH if !miss => (self.match_, self.mask) = fields(&mut r, loose)?,
            P::WILDCARDS if !miss => self.wildcard = exact_fields(&mut r, loose)?,
            _ if loose => {}
            _ => return Err(p.unknown()),
        }
        Ok(())
    }

    /// What is not said of packets without a flow is as for the others.
    fn fill_miss(&mut self, seen: u32) {
        use property as P;
        let said = |ty: u16| seen & 1 << (ty + P::MISS) != 0;
        let (miss, a) = (&mut self.miss, &self.nonmiss);
        if !said(P::INSTRUCTIONS) {
            miss.instructions = a.instructions;
        }
        if !said(P::NEXT_TABLES) {
            miss.next = a.next;
        }
        if !said(P::WRITE_ACTIONS) {
            miss.write.actions = a.write.actions;
        }
        if !said(P::APPLY_ACTIONS) {
            miss.apply.actions = a.apply.actions;
        }
        if !said(P::WRITE_SETFIELD) {
            miss.write.set_fields = a.write.set_fields;
        }
        if !said(P::APPLY_SETFIELD) {
            miss.apply.set_fields = a.apply.set_fields;
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        let at = b.len();
        b.u16(0);
        b.u8(self.table_id);
        b.u8(match version {
            Version::V15 => self.command as u8,
            _ => 0,
        });
        b.zeros(4);
        put_text(b, &self.name, NAME);
        b.u64(self.metadata_match);
        b.u64(self.metadata_write);
        let bit = |on: Option<bool>, bit: u32| match on {
            Some(true) if version >= Version::V14 => bit,
            _ => 0,
        };
        b.u32(
            bit(self.supports_eviction, EVICTION)
                | bit(self.supports_vacancy_events, VACANCY_EVENTS),
        );
        b.u32(self.max_entries);
        if self.any_properties {
            put_abilities(b, version, &self.nonmiss, 0);
            put_abilities(b, version, &self.miss, property::MISS);
            put_fields(b, version, property::MATCH, (&self.match_, &self.mask));
            let none = FieldSet::default();
            put_fields(b, version, property::WILDCARDS, (&self.wildcard, &none));
        }
        let len = b.len() - at;
        b.set_u16(at, len);
    }
}

fn known_instructions(version: Version) -> u32 {
    match version {
        Version::V13 | Version::V14 => ALL_INSTRUCTIONS,
        _ => ALL_INSTRUCTIONS & !(1 << 6),
    }
}

fn instructions(r: &mut Reader<'_>, loose: bool) -> Decode<u32> {
    let mut bits = 0;
    while !r.is_empty() {
        let ty = prop::pull_id(r)?;
        let bit = 1_u32.checked_shl(ty.into()).unwrap_or(0);
        if bit & ALL_INSTRUCTIONS != 0 {
            bits |= bit;
        } else if !loose {
            return Err(OfpError::OFPBIC_UNKNOWN_INST);
        }
    }
    Ok(bits)
}

fn actions(r: &mut Reader<'_>, version: Version) -> Decode<ActionKinds> {
    let mut bits = 0;
    while !r.is_empty() {
        let ty = prop::pull_id(r)?;
        bits |= 1_u32.checked_shl(ty.into()).unwrap_or(0);
    }
    Ok(ActionKinds::from_wire(bits, version))
}

/// Fields that stand there exact, and with masks.
fn fields(r: &mut Reader<'_>, loose: bool) -> Decode<(FieldSet, FieldSet)> {
    let place = Place {
        tun: None,
        action: false,
        cookie: false,
    };
    let (mut exact, mut masked) = (FieldSet::default(), FieldSet::default());
    while !r.is_empty() {
        match place.any_header(r) {
            Ok((field, true)) => masked.insert(field),
            Ok((field, false)) => exact.insert(field),
            Err(OfpError::OFPBMC_BAD_FIELD) if loose => {}
            Err(e) => return Err(e),
        }
    }
    Ok((exact, masked))
}

fn exact_fields(r: &mut Reader<'_>, loose: bool) -> Decode<FieldSet> {
    let (exact, masked) = fields(r, loose)?;
    if masked.is_empty() {
        Ok(exact)
    } else {
        Err(OfpError::OFPBMC_BAD_MASK)
    }
}

fn put_abilities(b: &mut Vec<u8>, version: Version, a: &TableAbilities, miss: u16) {
    use property as P;
    let instructions = a.instructions & known_instructions(version);
    prop::put_ids(b, P::INSTRUCTIONS + miss, instructions);
    let next: Vec<u8> = a.next.iter().collect();
    prop::put(b, P::NEXT_TABLES + miss, &next);
    let none = FieldSet::default();
    for (actions, set, a) in [
        (P::WRITE_ACTIONS, P::WRITE_SETFIELD, &a.write),
        (P::APPLY_ACTIONS, P::APPLY_SETFIELD, &a.apply),
    ] {
        prop::put_ids(b, actions + miss, a.actions.to_wire(version));
        put_fields(b, version, set + miss, (&a.set_fields, &none));
    }
}

fn put_fields(b: &mut Vec<u8>, version: Version, ty: u16, (all, masked): (&FieldSet, &FieldSet)) {
    let at = prop::start(b, ty);
    for field in all.iter() {
        oxm::put_list_header(b, field, version.wire(), masked.contains(field));
    }
    prop::end(b, at);
}

impl Multipart {
    /// Adds a table's features.
    pub fn push_table_features(&mut self, features: &TableFeatures) {
        let version = self.version();
        self.push(|b| features.put(b, version));
    }
}
