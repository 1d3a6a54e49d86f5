//! Statistics of tables. Before OpenFlow 1.3 they have the tables' features as well.

use super::basic::{put_text, text};
use super::sets::{ActionKinds, FieldSet};
use super::table_features::{TableAbilities, TableFeatures};
use crate::codec::header::Multipart;
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader};
use crate::version::Version;

/// Octets of a table's name, with the zero at its end.
pub(super) const NAME: usize = 32;

/// What happens to packets without a flow, as OpenFlow 1.1 and 1.2 configure it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TableMiss {
    /// What the version says.
    #[default]
    Default,
    /// To the controller.
    Controller,
    /// On to the next table.
    Continue,
    /// Dropped.
    Drop,
}

impl TableMiss {
    pub(super) fn decode(config: u32, version: Version) -> Self {
        match (version, config & 3) {
            (Version::V11 | Version::V12, 1) => Self::Continue,
            (Version::V11 | Version::V12, 2) => Self::Drop,
            (Version::V11 | Version::V12, _) => Self::Controller,
            _ => Self::Default,
        }
    }
    pub(super) fn encode(self, version: Version) -> u32 {
        match (version, self) {
            (Version::V11 | Version::V12, Self::Continue) => 1,
            (Version::V11 | Version::V12, Self::Drop) => 2,
            _ => 0,
        }
    }
}

/// Statistics of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStats {
    /// Which.
    pub table_id: u8,
    /// Flows.
    pub active_count: u32,
    /// Packets looked up.
    pub lookup_count: u64,
    /// Packets that found a flow.
    pub matched_count: u64,
}

impl TableStats {
    /// Takes one table; features only as far as the message has them.
    pub(super) fn decode(
        version: Version,
        r: &mut Reader<'_>,
    ) -> Decode<(Self, Option<TableFeatures>)> {
        let mut s = Self {
            table_id: r.u8()?,
            ..Self::default()
        };
        let mut f = TableFeatures {
            table_id: s.table_id,
            ..TableFeatures::default()
        };
        r.skip(match version {
            Version::V11 | Version::V12 => 7,
            _ => 3,
        })?;
        if version < Version::V13 {
            f.name = text(r.take(NAME)?);
        }
        match version {
            Version::V10 => {
                f.match_ = FieldSet::from_10(r.u32()?);
                f.wildcard = f.match_;
            }
            Version::V11 => features11(&mut f, r)?,
            Version::V12 => features12(&mut f, r)?,
            _ => {}
        }
        if version < Version::V13 {
            f.max_entries = r.u32()?;
        }
        s.active_count = r.u32()?;
        (s.lookup_count, s.matched_count) = (r.u64()?, r.u64()?);
        Ok((s, (version < Version::V13).then_some(f)))
    }

    fn put(&self, b: &mut Vec<u8>, version: Version, f: &TableFeatures) {
        b.u8(self.table_id);
        b.zeros(match version {
            Version::V11 | Version::V12 => 7,
            _ => 3,
        });
        if version < Version::V13 {
            put_text(b, &f.name, NAME);
        }
        // The oldest versions do not tell what cannot be matched from what must be wildcarded.
        let wild = f.match_.complement().union(&f.wildcard);
        match version {
            Version::V10 => b.u32(wild.to_10()),
            Version::V11 => {
                b.u32(wild.to_11());
                b.u32(f.match_.to_11());
                put_abilities(b, version, &f.nonmiss);
                b.u32(f.miss_config.encode(version));
            }
            Version::V12 => put_features12(b, f),
            _ => {}
        }
        if version < Version::V13 {
            b.u32(f.max_entries);
        }
        b.u32(self.active_count);
        b.u64(self.lookup_count);
        b.u64(self.matched_count);
    }
}

/// Instructions of a version before 1.3: without meters.
fn old_instructions(bits: u32) -> u32 {
    bits & 0x3e
}

fn put_abilities(b: &mut Vec<u8>, version: Version, a: &TableAbilities) {
    b.u32(old_instructions(a.instructions));
    b.u32(a.write.actions.to_wire(version));
    b.u32(a.apply.actions.to_wire(version));
}

fn features11(f: &mut TableFeatures, r: &mut Reader<'_>) -> Decode<()> {
    f.wildcard = FieldSet::from_11(r.u32()?);
    f.match_ = FieldSet::from_11(r.u32()?).union(&f.wildcard);
    let a = &mut f.nonmiss;
    a.instructions = old_instructions(r.u32()?);
    a.write.actions = ActionKinds::from_wire(r.u32()?, Version::V11);
    a.apply.actions = ActionKinds::from_wire(r.u32()?, Version::V11);
    f.miss = f.nonmiss;
    f.miss_config = TableMiss::decode(r.u32()?, Version::V11);
    Ok(())
}

fn features12(f: &mut TableFeatures, r: &mut Reader<'_>) -> Decode<()> {
    let match_ = FieldSet::from_12(r.u64()?);
    f.wildcard = FieldSet::from_12(r.u64()?);
    f.match_ = match_.union(&f.wildcard);
    let a = &mut f.nonmiss;
    a.write.actions = ActionKinds::from_wire(r.u32()?, Version::V12);
    a.apply.actions = ActionKinds::from_wire(r.u32()?, Version::V12);
    a.write.set_fields = FieldSet::from_12(r.u64()?);
    a.apply.set_fields = FieldSet::from_12(r.u64()?);
    (f.metadata_match, f.metadata_write) = (r.u64()?, r.u64()?);
    a.instructions = old_instructions(r.u32()?);
    f.miss = f.nonmiss;
    f.miss_config = TableMiss::decode(r.u32()?, Version::V12);
    Ok(())
}

fn put_features12(b: &mut Vec<u8>, f: &TableFeatures) {
    let (v12, a) = (Version::V12, &f.nonmiss);
    b.u64(f.match_.to_12());
    b.u64(f.wildcard.to_12());
    b.u32(a.write.actions.to_wire(v12));
    b.u32(a.apply.actions.to_wire(v12));
    b.u64(a.write.set_fields.to_12());
    b.u64(a.apply.set_fields.to_12());
    b.u64(f.metadata_match);
    b.u64(f.metadata_write);
    b.u32(old_instructions(a.instructions));
    b.u32(f.miss_config.encode(v12));
}

pub(super) fn raw(version: Version) -> Raw {
    match version {
        Version::V10 => Raw::Ofpst10TableReply,
        Version::V11 => Raw::Ofpst11TableReply,
        Version::V12 => Raw::Ofpst12TableReply,
        _ => Raw::Ofpst13TableReply,
    }
}

impl Multipart {
    /// Adds a table's statistics, with its features where the version wants them.
    pub fn push_table_stats(&mut self, stats: &TableStats, features: &TableFeatures) {
        let version = self.version();
        self.push(|b| stats.put(b, version, features));
    }
}
