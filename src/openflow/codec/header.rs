//! Message headers: which kind of message is this, where does its body begin; and the other way.

use super::raw::{Info, Raw, TABLE};
use super::{Decode, MESSAGE_MAX, Put, Reader};
use crate::error::{NX_VENDOR, ONF_VENDOR, OfpError};
use crate::version::Version;
use std::fmt;

/// Transaction id.
pub type Xid = u32;

/// Octets of the header all messages share.
pub const HEADER_LEN: usize = 8;
/// Type of vendor (experimenter) messages.
const VENDOR: u8 = 4;
/// Statistics type of vendor statistics.
const STAT_VENDOR: u16 = 0xffff;
/// More replies (or requests) follow.
const MORE: u16 = 1;

/// Where a message's number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Of,
    Nx,
    Onf,
    StatRequest,
    StatReply,
    NxStatRequest,
    NxStatReply,
    OnfStatRequest,
    OnfStatReply,
}

impl Kind {
    fn vendor(self) -> u32 {
        match self {
            Self::Nx | Self::NxStatRequest | Self::NxStatReply => NX_VENDOR,
            Self::Onf | Self::OnfStatRequest | Self::OnfStatReply => ONF_VENDOR,
            _ => 0,
        }
    }
    fn is_stat(self) -> bool {
        self.is_request() || self.is_reply()
    }
    fn is_request(self) -> bool {
        matches!(
            self,
            Self::StatRequest | Self::NxStatRequest | Self::OnfStatRequest
        )
    }
    fn is_reply(self) -> bool {
        matches!(
            self,
            Self::StatReply | Self::NxStatReply | Self::OnfStatReply
        )
    }
}

/// The parts of a header that say what a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ident {
    kind: Kind,
    number: u32,
    /// Octets in front of the body.
    len: usize,
}

/// A message's header, read.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    /// Version number on the wire (any, for HELLO).
    pub version: u8,
    /// Kind of message.
    pub raw: Raw,
    /// Transaction id.
    pub xid: Xid,
    /// Statistics only: more messages belong to this one.
    pub more: bool,
    /// Octets in front of the body.
    pub len: usize,
}

/// Request and reply types of statistics.
const fn stat_types(version: u8) -> (u8, u8) {
    if version == Version::V10 as u8 {
        (16, 17)
    } else {
        (18, 19)
    }
}

fn identify(msg: &[u8]) -> Decode<Ident> {
    let mut r = Reader::new(msg);
    let [version, ty] = r.array()?;
    r.skip(HEADER_LEN - 2)?;
    let (request, reply) = stat_types(version);
    let known = version >= 1 && Version::from_wire(version).is_some();
    if ty == VENDOR {
        let (vendor, number) = (r.u32()?, r.u32()?);
        let kind = match vendor {
            NX_VENDOR => Kind::Nx,
            ONF_VENDOR => Kind::Onf,
            _ => return Err(OfpError::OFPBRC_BAD_VENDOR),
        };
        return Ok(Ident {
            kind,
            number,
            len: 16,
        });
    }
    if !known || (ty != request && ty != reply) {
        return Ok(Ident {
            kind: Kind::Of,
            number: ty.into(),
            len: HEADER_LEN,
        });
    }
    identify_stat(r, version == Version::V10 as u8, ty == request)
}

fn identify_stat(mut r: Reader<'_>, v10: bool, request: bool) -> Decode<Ident> {
    let stat = r.u16()?;
    r.skip(if v10 { 2 } else { 6 })?;
    if stat != STAT_VENDOR {
        return Ok(Ident {
            kind: if request {
                Kind::StatRequest
            } else {
                Kind::StatReply
            },
            number: stat.into(),
            len: if v10 { 12 } else { 16 },
        });
    }
    let kind = match (r.u32()?, request) {
        (NX_VENDOR, true) => Kind::NxStatRequest,
        (NX_VENDOR, false) => Kind::NxStatReply,
        (ONF_VENDOR, true) if !v10 => Kind::OnfStatRequest,
        (ONF_VENDOR, false) if !v10 => Kind::OnfStatReply,
        _ => return Err(OfpError::OFPBRC_BAD_VENDOR),
    };
    let number = r.u32()?;
    if v10 {
        r.skip(4)?;
    }
    Ok(Ident {
        kind,
        number,
        len: 24,
    })
}

impl Header {
    /// Reads the header of a message, whose length field must be its length.
    ///
    /// # Errors
    /// Unknown type, vendor or statistics; a length that this kind of message cannot have.
    pub fn decode(msg: &[u8]) -> Decode<Self> {
        let header = Self::decode_prefix(msg)?;
        let info = header.raw.info();
        let body = msg
            .len()
            .checked_sub(header.len + info.min)
            .ok_or(OfpError::OFPBRC_BAD_LEN)?;
        let fits = match info.unit {
            0 => body == 0,
            unit => body.is_multiple_of(unit),
        };
        if fits {
            Ok(header)
        } else {
            Err(OfpError::OFPBRC_BAD_LEN)
        }
    }

    /// As [`Header::decode`] for the beginning of a message: lengths are not checked.
    ///
    /// # Errors
    /// Unknown type, vendor or statistics; too short to tell.
    pub fn decode_prefix(msg: &[u8]) -> Decode<Self> {
        let ident = identify(msg)?;
        let version = msg[0];
        let minor = version.wrapping_sub(1);
        let find = |i: &&Info| {
            i.kind == ident.kind
                && i.number == ident.number
                && (i.hi == 255 || (i.lo..=i.hi).contains(&minor))
        };
        let Some(info) = TABLE.iter().find(find) else {
            return Err(if ident.kind.vendor() != 0 {
                OfpError::OFPBRC_BAD_SUBTYPE
            } else if ident.kind.is_stat() {
                OfpError::OFPBRC_BAD_STAT
            } else {
                OfpError::OFPBRC_BAD_TYPE
            });
        };
        let word = |at: usize| [msg[at], msg[at + 1]];
        Ok(Self {
            version,
            raw: info.raw,
            xid: u32::from_be_bytes([msg[4], msg[5], msg[6], msg[7]]),
            more: ident.kind.is_stat() && u16::from_be_bytes(word(10)) & MORE != 0,
            len: ident.len,
        })
    }
}

/// The beginning of what `ovs-ofctl ofp-print` and Open vSwitch's logs say of a message.
impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw.name())?;
        match Version::from_wire(self.version) {
            Some(Version::V10) => {}
            Some(version) => write!(f, " (OF1.{})", version.minor())?,
            None => write!(f, " (OF 0x{:02x})", self.version)?,
        }
        write!(f, " (xid=0x{:x}):", self.xid)
    }
}

impl Raw {
    pub(super) fn info(self) -> &'static Info {
        &TABLE[self as usize]
    }
    /// True when `version` has this kind of message.
    #[must_use]
    pub fn is_in(self, version: Version) -> bool {
        let i = self.info();
        i.hi == 255 || (i.lo..=i.hi).contains(&version.minor())
    }
    /// True for statistics (multipart) requests.
    #[must_use]
    pub fn is_stats_request(self) -> bool {
        self.info().kind.is_request()
    }
    /// True for statistics (multipart) replies.
    #[must_use]
    pub fn is_stats_reply(self) -> bool {
        self.info().kind.is_reply()
    }
    /// The kind of reply to this statistics request.
    #[must_use]
    pub fn stats_reply(self, version: Version) -> Option<Self> {
        let i = self.info();
        let reply = match i.kind {
            Kind::StatRequest => Kind::StatReply,
            Kind::NxStatRequest => Kind::NxStatReply,
            Kind::OnfStatRequest => Kind::OnfStatReply,
            _ => return None,
        };
        let found = TABLE
            .iter()
            .find(|r| r.kind == reply && r.number == i.number && r.raw.is_in(version))?;
        Some(found.raw)
    }
    /// The name as `ovs-ofctl` prints it, e.g. `OFPT_FLOW_MOD` or `OFPST_FLOW request`.
    #[must_use]
    pub fn name(self) -> String {
        let i = self.info();
        let (prefix, rest) = i.name.split_once('_').unwrap_or((i.name, ""));
        let prefix = prefix.trim_end_matches(|c: char| c.is_ascii_digit());
        let rest = match (i.kind.is_request(), i.kind.is_reply()) {
            (true, _) => rest.replace("_REQUEST", " request"),
            (_, true) => rest.replace("_REPLY", " reply"),
            _ => rest.to_owned(),
        };
        format!("{prefix}_{rest}")
    }

    /// Begins a message; [`finish`] ends it.
    pub(crate) fn start(self, version: Version, xid: Xid) -> Vec<u8> {
        let mut b = Vec::with_capacity(64);
        self.put_header(&mut b, version, xid);
        b
    }

    fn put_header(self, b: &mut Vec<u8>, version: Version, xid: Xid) {
        let i = self.info();
        let v = version.wire();
        let (request, reply) = stat_types(v);
        let ty = match i.kind {
            Kind::Of => i.number as u8,
            Kind::Nx | Kind::Onf => VENDOR,
            k if k.is_request() => request,
            _ => reply,
        };
        b.u8(v);
        b.u8(ty);
        b.u16(0);
        b.u32(xid);
        let vendor = i.kind.vendor();
        if i.kind.is_stat() {
            let stat = if vendor == 0 {
                i.number as u16
            } else {
                STAT_VENDOR
            };
            b.u16(stat);
            b.zeros(if version == Version::V10 { 2 } else { 6 });
        }
        if vendor != 0 {
            b.u32(vendor);
            b.u32(i.number);
            if i.kind.is_stat() && version == Version::V10 {
                b.zeros(4);
            }
        }
    }
}

/// Ends a message: writes its length. What does not fit into a message is cut off.
pub(crate) fn finish(mut msg: Vec<u8>) -> Vec<u8> {
    msg.truncate(MESSAGE_MAX);
    let len = msg.len();
    msg.set_u16(2, len);
    msg
}

/// Replies to a multipart request, split into as many messages as they need. An entry is never split.
#[derive(Debug)]
pub struct Multipart {
    raw: Raw,
    version: Version,
    xid: Xid,
    done: Vec<Vec<u8>>,
    current: Vec<u8>,
    header_len: usize,
}

impl Multipart {
    /// Replies of kind `raw`.
    #[must_use]
    pub fn new(raw: Raw, version: Version, xid: Xid) -> Self {
        let current = raw.start(version, xid);
        Self {
            raw,
            version,
            xid,
            done: Vec::new(),
            header_len: current.len(),
            current,
        }
    }
    /// Kind of reply.
    #[must_use]
    pub fn raw(&self) -> Raw {
        self.raw
    }
    /// OpenFlow version of the replies.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
    /// Adds one entry. False when the entry alone is longer than a message may be: it is left out.
    pub(crate) fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> bool {
        let start = self.current.len();
        put(&mut self.current);
        if self.current.len() <= MESSAGE_MAX {
            return true;
        }
        let entry = self.current.split_off(start);
        if entry.len() > MESSAGE_MAX - self.header_len {
            return false;
        }
        let next = self.raw.start(self.version, self.xid);
        let mut full = std::mem::replace(&mut self.current, next);
        full.set_u16(10, MORE.into());
        self.done.push(finish(full));
        self.current.extend_from_slice(&entry);
        true
    }
    /// The messages that are full already: they can be sent while more entries come.
    pub fn take_full(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.done)
    }
    /// All messages not taken yet; the last says that no more follow.
    #[must_use]
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.done.push(finish(self.current));
        self.done
    }
}
