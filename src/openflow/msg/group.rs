//! Groups: buckets and properties, and the messages that change groups.
//!
//! OpenFlow 1.0 has groups as a Nicira extension, in the form of OpenFlow 1.5.

use super::{DecodeCx, EncodeCx};
use crate::action::Acts;
use crate::codec::acts::{decode_actions, put_actions};
use crate::codec::oxm::{Place, put_entry};
use crate::codec::prop::{self, Prop};
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::ANY_GROUP;
use crate::verify::{Allowed, Outer};
use crate::version::Version;
use flow::{FieldId, FieldValue, OfPort};
use std::collections::HashSet;

/// Highest number a group can have.
pub const GROUP_MAX: u32 = 0xffff_ff00;
/// "All groups" in deletions and requests.
pub const GROUP_ALL: u32 = 0xffff_fffc;
/// Highest number a bucket can have.
pub const BUCKET_MAX: u32 = 0xffff_ff00;
/// The first bucket, in commands.
pub const BUCKET_FIRST: u32 = 0xffff_fffd;
/// The last bucket, in commands.
pub const BUCKET_LAST: u32 = 0xffff_fffe;
/// All buckets, in commands.
pub const BUCKET_ALL: u32 = 0xffff_ffff;

/// Properties of buckets.
const WEIGHT: u16 = 0;
const WATCH_PORT: u16 = 1;
const WATCH_GROUP: u16 = 2;

/// Netronome, whose property the selection method is, by both its numbers.
const NETRONOME: u32 = 0x154d;
const NETRONOME_OLD: u32 = 0x1540;
const SELECTION_METHOD: u32 = 1;
const METHOD_LEN: usize = 16;

/// What a group does with its buckets (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupType {
    /// Executes all.
    All = 0,
    /// Picks one by weight.
    Select = 1,
    /// Has only one.
    Indirect = 2,
    /// Takes the first that is alive.
    FastFailover = 3,
}

impl GroupType {
    fn from_wire(n: u8) -> Decode<Self> {
        Ok(match n {
            0 => Self::All,
            1 => Self::Select,
            2 => Self::Indirect,
            3 => Self::FastFailover,
            _ => return Err(OfpError::OFPGMFC_BAD_TYPE),
        })
    }
    /// The name as `ovs-ofctl` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Select => "select",
            Self::Indirect => "indirect",
            Self::FastFailover => "fast_failover",
        }
    }
}

/// What a group mod does (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupCommand {
    /// Adds a group.
    Add = 0,
    /// Changes a group.
    Modify = 1,
    /// Deletes a group, or all.
    Delete = 2,
    /// Inserts buckets.
    InsertBucket = 3,
    /// Removes a bucket, or all.
    RemoveBucket = 5,
    /// Adds a group, or changes it when there is one.
    AddOrModify = 0x8000,
}

impl GroupCommand {
    const ALL: [Self; 6] = [
        Self::Add,
        Self::Modify,
        Self::Delete,
        Self::InsertBucket,
        Self::RemoveBucket,
        Self::AddOrModify,
    ];
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its number.
    pub id: u32,
    /// Its weight, in select groups.
    pub weight: u16,
    /// Alive while this port is up; [`OfPort::NONE`]: none.
    pub watch_port: OfPort,
    /// Alive while this group has a live bucket; [`ANY_GROUP`]: none.
    pub watch_group: u32,
    /// What it does.
    pub acts: Acts,
}

/// How a select group picks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupProps {
    /// `hash`, `dp_hash`, or empty.
    pub selection_method: String,
    /// The method's parameter.
    pub selection_param: u64,
    /// Fields to hash over, each with its mask, in order.
    pub fields: Vec<(FieldId, FieldValue)>,
}

/// A change to the groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMod {
    /// What to do.
    pub command: GroupCommand,
    /// What the group does with its buckets.
    pub kind: GroupType,
    /// The group, or [`GROUP_ALL`].
    pub group_id: u32,
    /// Where buckets are inserted, or which is removed.
    pub command_bucket_id: u32,
    /// Buckets.
    pub buckets: Vec<Bucket>,
    /// How it picks.
    pub props: GroupProps,
}

/// True for versions with groups in the form of OpenFlow 1.1.
pub(super) fn is_old(version: Version) -> bool {
    !matches!(version, Version::V10 | Version::V15)
}

impl Bucket {
    fn has_liveness(&self) -> bool {
        self.watch_port != OfPort::NONE || self.watch_group != ANY_GROUP
    }

    /// Reads all of `r` as buckets of OpenFlow 1.1.
    pub(super) fn decode11(
        version: Version,
        mut r: Reader<'_>,
        cx: &DecodeCx<'_>,
    ) -> Decode<Vec<Self>> {
        let bad = |_| OfpError::OFPGMFC_BAD_BUCKET;
        let mut buckets = Vec::new();
        while !r.is_empty() {
            let len = usize::from(r.u16().map_err(bad)?);
            let len = len.checked_sub(2).ok_or(OfpError::OFPGMFC_BAD_BUCKET)?;
            let mut body = Reader::new(r.take(len).map_err(bad)?);
            let weight = body.u16().map_err(bad)?;
            let (port, group) = (body.u32().map_err(bad)?, body.u32().map_err(bad)?);
            body.skip(4).map_err(bad)?;
            let acts = all_actions(&mut body, version, cx)?;
            buckets.push(Self {
                id: buckets.len() as u32,
                weight,
                watch_port: port_from_11(port).map_err(|_| OfpError::OFPGMFC_BAD_WATCH)?,
                watch_group: group,
                acts,
            });
        }
        Ok(buckets)
    }

    fn put11(&self, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
        let at = b.len();
        b.u16(0);
        b.u16(self.weight);
        b.u32(self.watch_port.to_ofp11());
        b.u32(self.watch_group);
        b.zeros(4);
        put_actions(b, &self.acts, cx.version(), cx.tun);
        let len = b.len() - at;
        b.set_u16(at, len);
    }

    /// Reads all of `r` as buckets of OpenFlow 1.5.
    pub(super) fn decode15(
        version: Version,
        kind: Option<GroupType>,
        mut r: Reader<'_>,
        cx: &DecodeCx<'_>,
    ) -> Decode<Vec<Self>> {
        let mut buckets = Vec::new();
        let mut seen = HashSet::new();
        let mut twice = false;
        while !r.is_empty() {
            let bucket = Self::one15(version, kind, &mut r, cx)?;
            twice |= !seen.insert(bucket.id);
            buckets.push(bucket);
        }
        if twice {
            return Err(OfpError::OFPGMFC_BAD_BUCKET);
        }
        Ok(buckets)
    }

    fn one15(
        version: Version,
        kind: Option<GroupType>,
        r: &mut Reader<'_>,
        cx: &DecodeCx<'_>,
    ) -> Decode<Self> {
        let bad = |_| OfpError::OFPGMFC_BAD_BUCKET;
        let len = usize::from(r.u16().map_err(bad)?);
        let len = len.checked_sub(2).ok_or(OfpError::OFPGMFC_BAD_BUCKET)?;
        let mut body = Reader::new(r.take(len).map_err(bad)?);
        let acts_len = body.u16().map_err(bad)?;
        let id = body.u32().map_err(bad)?;
        let mut acts = Reader::new(body.take(acts_len.into()).map_err(bad)?);
        let acts = all_actions(&mut acts, version, cx)?;
        let mut bucket = Self {
            id,
            weight: u16::from(kind == Some(GroupType::Select)),
            watch_port: OfPort::NONE,
            watch_group: ANY_GROUP,
            acts,
        };
        let mut watch_port = OfPort::NONE.to_ofp11();
        while !body.is_empty() {
            let p = prop::pull(&mut body, prop::EXPERIMENTER)?;
            match p.ty {
                WEIGHT => bucket.weight = p.u16()?,
                WATCH_PORT => watch_port = p.u32()?,
                WATCH_GROUP => bucket.watch_group = p.u32()?,
                _ => return Err(p.unknown()),
            }
        }
        bucket.watch_port = port_from_11(watch_port).map_err(|_| OfpError::OFPGMFC_BAD_WATCH)?;
        if bucket.id > BUCKET_MAX {
            return Err(OfpError::OFPGMFC_BAD_BUCKET);
        }
        Ok(bucket)
    }

    fn put15(&self, b: &mut Vec<u8>, id: u32, kind: GroupType, cx: &EncodeCx<'_>) {
        let at = b.len();
        b.zeros(4);
        b.u32(id);
        put_actions(b, &self.acts, cx.version(), cx.tun);
        let acts_len = b.len() - at - 8;
        if kind == GroupType::Select || self.weight != 0 {
            prop::put_u16(b, WEIGHT, self.weight);
        }
        if self.watch_port != OfPort::NONE {
            prop::put_u32(b, WATCH_PORT, self.watch_port.to_ofp11());
        }
        if self.watch_group != ANY_GROUP {
            prop::put_u32(b, WATCH_GROUP, self.watch_group);
        }
        let len = b.len() - at;
        b.set_u16(at, len);
        b.set_u16(at + 2, acts_len);
    }
}

fn all_actions(r: &mut Reader<'_>, version: Version, cx: &DecodeCx<'_>) -> Decode<Acts> {
    let len = r.len();
    let place = (Allowed::Meter, Outer::None);
    decode_actions(r, len, &cx.act_rules(version), place)
}

/// Appends buckets as the version has them.
pub(super) fn put_buckets(b: &mut Vec<u8>, buckets: &[Bucket], kind: GroupType, cx: &EncodeCx<'_>) {
    if is_old(cx.version()) {
        return buckets.iter().for_each(|bucket| bucket.put11(b, cx));
    }
    // Buckets without a number get the lowest free ones.
    let taken: HashSet<u32> = buckets.iter().map(|b| b.id).collect();
    let mut free = (0..).filter(|id| !taken.contains(id));
    for bucket in buckets {
        let id = match bucket.id {
            id @ 0..=BUCKET_MAX => id,
            _ => free.next().unwrap_or(0),
        };
        bucket.put15(b, id, kind, cx);
    }
}

impl GroupProps {
    /// Reads all of `r` as properties of a group; `command` is `None` for descriptions.
    pub(super) fn decode(
        mut r: Reader<'_>,
        kind: Option<GroupType>,
        command: Option<GroupCommand>,
    ) -> Decode<Self> {
        let mut props = Self::default();
        while !r.is_empty() {
            let p = prop::pull(&mut r, prop::EXPERIMENTER)?;
            match p.exp {
                Some((NETRONOME | NETRONOME_OLD, SELECTION_METHOD)) => {
                    props = Self::selection(&p, kind, command)?;
                }
                _ => return Err(p.unknown()),
            }
        }
        Ok(props)
    }

    fn selection(
        p: &Prop<'_>,
        kind: Option<GroupType>,
        command: Option<GroupCommand>,
    ) -> Decode<Self> {
        use GroupCommand as C;
        let bad_value = OfpError::OFPBPC_BAD_VALUE;
        match kind {
            None => return Err(OfpError::OFPGMFC_BAD_TYPE),
            Some(GroupType::Select) => {}
            Some(_) => return Err(bad_value),
        }
        match command {
            None => return Err(OfpError::OFPGMFC_BAD_COMMAND),
            Some(C::Add | C::Modify | C::AddOrModify) => {}
            Some(_) => return Err(bad_value),
        }
        let bad_len = |_| OfpError::OFPBPC_BAD_LEN;
        let mut r = Reader::new(p.data);
        r.skip(4).map_err(bad_len)?;
        let method: [u8; METHOD_LEN] = r.array().map_err(bad_len)?;
        let param = r.u64().map_err(bad_len)?;
        let end = method.iter().position(|&c| c == 0).ok_or(bad_value)?;
        let method = match &method[..end] {
            b"hash" => "hash",
            b"dp_hash" if r.is_empty() => "dp_hash",
            _ => return Err(bad_value),
        };
        Ok(Self {
            selection_method: method.to_owned(),
            selection_param: param,
            fields: fields(r)?,
        })
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        if self.selection_method.is_empty() {
            return;
        }
        let at = prop::start_exp(b, NETRONOME, SELECTION_METHOD);
        b.zeros(4);
        super::basic::put_text(b, &self.selection_method, METHOD_LEN);
        b.u64(self.selection_param);
        for (field, mask) in &self.fields {
            put_entry(b, (*field, version.wire()), mask, None, None);
        }
        prop::end(b, at);
    }
}

/// Fields whose values are masks.
fn fields(mut r: Reader<'_>) -> Decode<Vec<(FieldId, FieldValue)>> {
    let place = Place {
        tun: None,
        action: false,
        cookie: false,
    };
    let mut fields: Vec<(FieldId, FieldValue)> = Vec::new();
    let mut seen = super::FieldSet::default();
    while !r.is_empty() {
        let entry = place.entry(&mut r)?;
        let field = entry.field.ok_or(OfpError::OFPBMC_BAD_FIELD)?;
        if entry.header.has_mask() {
            return Err(OfpError::OFPBMC_BAD_MASK);
        }
        if seen.contains(field) {
            return Err(OfpError::OFPBMC_DUP_FIELD);
        }
        if !field.is_mask_valid(&entry.value) {
            return Err(OfpError::OFPBMC_BAD_MASK);
        }
        seen.insert(field);
        fields.push((field, entry.value));
    }
    fields.sort_by_key(|(field, _)| *field);
    Ok(fields)
}

impl GroupMod {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let (command, kind) = (r.u16()?, r.u8()?);
        r.skip(1)?;
        let group_id = r.u32()?;
        let known = GroupCommand::ALL.into_iter();
        let command = known.clone().find(|&c| c as u16 == command);
        let known_kind = GroupType::from_wire(kind);
        let kind = known_kind.ok();
        let mut command_bucket_id = BUCKET_ALL;
        let mut props = GroupProps::default();
        let buckets;
        if is_old(version) {
            buckets = Bucket::decode11(version, Reader::new(r.rest()), cx)?;
            let delete = command == Some(GroupCommand::Delete);
            if version >= Version::V13 && delete && !buckets.is_empty() {
                return Err(OfpError::OFPGMFC_INVALID_GROUP);
            }
        } else {
            let len = r.u16()?;
            r.skip(2)?;
            command_bucket_id = r.u32()?;
            check_bucket_id(command, command_bucket_id)?;
            buckets = Bucket::decode15(version, kind, Reader::new(r.take(len.into())?), cx)?;
            props = GroupProps::decode(Reader::new(r.rest()), kind, command)?;
        }
        let m = Self {
            kind: known_kind?,
            command: command.ok_or(OfpError::OFPGMFC_BAD_COMMAND)?,
            group_id,
            command_bucket_id,
            buckets,
            props,
        };
        m.check()?;
        Ok(m)
    }

    fn check(&self) -> Decode<()> {
        let invalid = Err(OfpError::OFPGMFC_INVALID_GROUP);
        if self.kind == GroupType::Indirect
            && self.command != GroupCommand::Delete
            && self.buckets.len() != 1
        {
            return invalid;
        }
        if self.command == GroupCommand::RemoveBucket && !self.buckets.is_empty() {
            return Err(OfpError::OFPGMFC_BAD_BUCKET);
        }
        for bucket in &self.buckets {
            let weighs =
                self.kind == GroupType::Select || self.command == GroupCommand::InsertBucket;
            if bucket.weight != 0 && !weighs {
                return invalid;
            }
            match self.kind {
                GroupType::All | GroupType::Indirect if bucket.has_liveness() => {
                    return Err(OfpError::OFPGMFC_WATCH_UNSUPPORTED);
                }
                GroupType::FastFailover if !bucket.has_liveness() => return invalid,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 => Raw::NxtGroupMod,
            Version::V15 => Raw::Ofpt15GroupMod,
            _ => Raw::Ofpt11GroupMod,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
        let old = is_old(cx.version());
        b.u16(self.command as u16);
        b.u8(self.kind as u8);
        b.u8(0);
        b.u32(self.group_id);
        let at = b.len();
        if !old {
            b.zeros(4);
            b.u32(self.command_bucket_id);
        }
        let start = b.len();
        put_buckets(b, &self.buckets, self.kind, cx);
        let len = b.len() - start;
        if !old {
            b.set_u16(at, len);
            self.props.put(b, cx.version());
        }
    }
}

fn check_bucket_id(command: Option<GroupCommand>, id: u32) -> Decode<()> {
    use GroupCommand as C;
    let one = matches!(id, 0..=BUCKET_MAX | BUCKET_FIRST | BUCKET_LAST);
    let fits = match command {
        Some(C::RemoveBucket) => one || id == BUCKET_ALL,
        Some(C::InsertBucket) => one,
        _ => id == BUCKET_ALL,
    };
    if fits {
        Ok(())
    } else {
        Err(OfpError::OFPGMFC_BAD_BUCKET)
    }
}

/// Reads a type as descriptions have it.
pub(super) fn desc_type(n: u8) -> Decode<GroupType> {
    GroupType::from_wire(n)
}
