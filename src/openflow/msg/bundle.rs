//! Bundles: messages that take effect together (OpenFlow 1.4 and up; 1.3 as an ONF extension).
//!
//! Messages of a bundle stay bytes here: they are read with [`super::Message::decode`], and an error at
//! commit quotes them.

use super::EncodeCx;
use crate::codec::header::{HEADER_LEN, Header};
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::version::Version;

/// What is wanted with a bundle, or was done (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BundleType {
    OpenRequest = 0,
    OpenReply = 1,
    CloseRequest = 2,
    CloseReply = 3,
    CommitRequest = 4,
    CommitReply = 5,
    DiscardRequest = 6,
    DiscardReply = 7,
}

impl BundleType {
    const ALL: [Self; 8] = [
        Self::OpenRequest,
        Self::OpenReply,
        Self::CloseRequest,
        Self::CloseReply,
        Self::CommitRequest,
        Self::CommitReply,
        Self::DiscardRequest,
        Self::DiscardReply,
    ];
}

bitflags::bitflags! {
    /// Promises of a bundle.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct BundleFlags: u16 {
        /// Takes effect at once for packets.
        const ATOMIC = 1;
        /// Takes effect in the order of its messages.
        const ORDERED = 1 << 1;
    }
}

/// Opens, closes, commits or discards a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleControl {
    /// The bundle.
    pub bundle_id: u32,
    /// What to do.
    pub kind: BundleType,
    /// Promises; may have bits that nobody knows.
    pub flags: BundleFlags,
}

impl BundleControl {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let (bundle_id, kind, flags) = (r.u32()?, r.u16()?, r.u16()?);
        let kind = BundleType::ALL.get(usize::from(kind));
        Ok(Self {
            bundle_id,
            kind: *kind.ok_or(OfpError::OFPBFC_BAD_TYPE)?,
            flags: BundleFlags::from_bits_retain(flags),
        })
    }
    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V13 => Raw::Onft13BundleControl,
            _ => Raw::Ofpt14BundleControl,
        }
    }
    pub(super) fn put(self, b: &mut Vec<u8>) {
        b.u32(self.bundle_id);
        b.u16(self.kind as u16);
        b.u16(self.flags.bits());
    }
}

/// Adds a message to a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleAdd {
    /// The bundle.
    pub bundle_id: u32,
    /// Promises; may have bits that nobody knows.
    pub flags: BundleFlags,
    /// The message, a port mod, flow mod, group mod or packet-out, with its header.
    pub message: Vec<u8>,
}

impl BundleAdd {
    pub(super) fn decode(outer: &Header, r: &mut Reader<'_>) -> Decode<Self> {
        let bad_len = OfpError::OFPBFC_MSG_BAD_LEN;
        let (bundle_id, _, flags) = (r.u32()?, r.u16()?, r.u16()?);
        let head: &[u8; HEADER_LEN] = r.peek().first_chunk().ok_or(bad_len)?;
        let [version, _, l0, l1, xid @ ..] = *head;
        if version != outer.version {
            return Err(OfpError::OFPBFC_BAD_VERSION);
        }
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let message = Some(len).filter(|&len| len >= HEADER_LEN);
        let message = message.and_then(|n| r.try_take(n)).ok_or(bad_len)?;
        if u32::from_be_bytes(xid) != outer.xid {
            return Err(OfpError::OFPBFC_MSG_BAD_XID);
        }
        match Header::decode(message) {
            Ok(inner) if is_bundlable(inner.raw) => Ok(Self {
                bundle_id,
                flags: BundleFlags::from_bits_retain(flags),
                message: message.to_vec(),
            }),
            _ => Err(OfpError::OFPBFC_MSG_UNSUP),
        }
    }
    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V13 => Raw::Onft13BundleAddMessage,
            _ => Raw::Ofpt14BundleAddMessage,
        }
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        b.u32(self.bundle_id);
        b.u16(0);
        b.u16(self.flags.bits());
        b.bytes(&self.message);
    }
}

fn is_bundlable(raw: Raw) -> bool {
    matches!(
        raw,
        Raw::Ofpt10PortMod
            | Raw::Ofpt11PortMod
            | Raw::Ofpt14PortMod
            | Raw::Ofpt10FlowMod
            | Raw::Ofpt11FlowMod
            | Raw::NxtFlowMod
            | Raw::NxtGroupMod
            | Raw::Ofpt11GroupMod
            | Raw::Ofpt15GroupMod
            | Raw::Ofpt10PacketOut
            | Raw::Ofpt11PacketOut
            | Raw::Ofpt15PacketOut
    )
}

/// A group mod or meter mod of another controller, handed on as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestForward {
    /// The message, with its header.
    pub message: Vec<u8>,
}

impl RequestForward {
    /// A group mod or meter mod, in the form of the connection that is told of it. `None` when that form
    /// has no such message.
    #[must_use]
    pub fn new(message: &super::Message, cx: &EncodeCx<'_>, xid: u32) -> Option<Self> {
        let message = message.encode(cx, xid)?;
        Some(Self { message })
    }

    pub(super) fn decode(outer: &Header, r: &mut Reader<'_>) -> Decode<Self> {
        let bad_len = OfpError::OFPBFC_MSG_BAD_LEN;
        let head: &[u8; HEADER_LEN] = r.peek().first_chunk().ok_or(bad_len)?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let message = Some(len).filter(|&len| len >= HEADER_LEN);
        let version = head[0];
        let message = message.and_then(|n| r.try_take(n)).ok_or(bad_len)?;
        if version != outer.version {
            return Err(OfpError::OFPBRC_BAD_VERSION);
        }
        match Header::decode(message)?.raw {
            Raw::NxtGroupMod | Raw::Ofpt11GroupMod | Raw::Ofpt15GroupMod | Raw::Ofpt13MeterMod => {
                Ok(Self {
                    message: message.to_vec(),
                })
            }
            _ => Err(OfpError::OFPBFC_MSG_UNSUP),
        }
    }
    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 | Version::V11 | Version::V12 => Raw::NxtRequestforward,
            Version::V13 => Raw::Onft13Requestforward,
            _ => Raw::Ofpt14Requestforward,
        }
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        b.bytes(&self.message);
    }
}
