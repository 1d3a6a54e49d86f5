//! Hello, error, configuration, description.

use crate::codec::header::{Header, Xid, finish};
use crate::codec::raw::Raw;
use crate::codec::{Decode, MESSAGE_MAX, Put, Reader};
use crate::error::{ErrorCode, OfpError};
use crate::version::Version;

/// Hello element: bitmap of versions.
const VERSION_BITMAP: u16 = 1;
/// Error type and code of OpenFlow 1.0 and 1.1 that say "vendor error follows".
const NX_VENDOR_ERROR: (u16, u16) = (0xb0c2, 0);
/// Error type of experimenter errors since OpenFlow 1.2.
const EXPERIMENTER: u16 = 0xffff;

/// Versions a peer can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Bit n: version with number n on the wire.
    pub versions: u32,
}

impl Hello {
    pub(super) fn decode(header: &Header, r: &mut Reader<'_>) -> Self {
        let up_to = u32::MAX
            .checked_shl(u32::from(header.version) + 1)
            .map_or(u32::MAX, |above| !above);
        // Bit 0 is no version.
        let mut versions = up_to & !1;
        while let Ok((ty, len)) = (|| Ok::<_, OfpError>((r.u16()?, r.u16()?)))() {
            let Some(body) = usize::from(len).checked_sub(4) else {
                break;
            };
            let Some(body) = r.try_take(body) else { break };
            let padding = usize::from(len).next_multiple_of(8) - usize::from(len);
            let padded = r.try_take(padding).is_some();
            // Words beyond the first are versions nobody has.
            if let (VERSION_BITMAP, Some(&word)) = (ty, body.first_chunk()) {
                versions = u32::from_be_bytes(word) & !1;
            }
            if !padded {
                break;
            }
        }
        Self { versions }
    }

    /// A hello of the newest of our versions, with a bitmap when that says more.
    #[must_use]
    pub fn encode(self, xid: Xid) -> Vec<u8> {
        let newest = Version::negotiate(u32::MAX, self.versions).unwrap_or(Version::V10);
        let mut b = Raw::OfptHello.start(newest, xid);
        let all_up_to = (newest.bit() << 1) - 2;
        if self.versions & all_up_to != all_up_to {
            b.u16(VERSION_BITMAP);
            b.u16(8);
            b.u32(self.versions);
        }
        finish(b)
    }
}

/// An error message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorMsg {
    /// Which error; `None` when this version has no such error.
    pub error: Option<OfpError>,
    /// Type and code as they came.
    pub code: ErrorCode,
    /// The beginning of the message it is about (HELLO errors: text).
    pub data: Vec<u8>,
}

impl ErrorMsg {
    /// The error as `version` says it; `NXBRC_UNENCODABLE_ERROR` when it cannot.
    #[must_use]
    pub fn new(error: OfpError, version: Version, data: &[u8]) -> Self {
        let fallback = OfpError::NXBRC_UNENCODABLE_ERROR;
        let unknown = ErrorCode {
            vendor: 0,
            ty: 0,
            code: 0,
        };
        let code = error.code(version).or_else(|| fallback.code(version));
        Self {
            error: Some(error),
            code: code.unwrap_or(unknown),
            data: data.to_vec(),
        }
    }

    pub(super) fn decode(header: &Header, r: &mut Reader<'_>) -> Decode<Self> {
        let (ty, code) = (r.u16()?, r.u16()?);
        let mut id = ErrorCode {
            vendor: 0,
            ty,
            code,
        };
        if (ty, code) == NX_VENDOR_ERROR {
            id = ErrorCode {
                vendor: r.u32()?,
                ty: r.u16()?,
                code: r.u16()?,
            };
        } else if ty == EXPERIMENTER {
            id = ErrorCode {
                vendor: r.u32()?,
                ty: code,
                code: 0,
            };
        }
        let version = Version::from_wire(header.version);
        Ok(Self {
            error: version.and_then(|v| OfpError::from_code(v, id)),
            code: id,
            data: r.rest().to_vec(),
        })
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        let c = self.code;
        if c.vendor == 0 {
            b.u16(c.ty);
            b.u16(c.code);
        } else if version <= Version::V11 {
            b.u16(NX_VENDOR_ERROR.0);
            b.u16(NX_VENDOR_ERROR.1);
            b.u32(c.vendor);
            b.u16(c.ty);
            b.u16(c.code);
        } else {
            b.u16(EXPERIMENTER);
            b.u16(c.ty);
            b.u32(c.vendor);
        }
        let room = MESSAGE_MAX - b.len();
        b.bytes(&self.data[..self.data.len().min(room)]);
    }
}

/// The error reply to `request`, which holds at least a header.
#[must_use]
pub fn encode_error_reply(error: OfpError, request: &[u8]) -> Vec<u8> {
    let version = request.first().and_then(|&v| Version::from_wire(v));
    let version = version.unwrap_or(Version::V10);
    let xid = request.get(4..8).and_then(|x| x.first_chunk().copied());
    let mut b = Raw::OfptError.start(version, u32::from_be_bytes(xid.unwrap_or([0; 4])));
    ErrorMsg::new(error, version, request).put(&mut b, version);
    finish(b)
}

/// Configuration of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwitchConfig {
    /// Fragments: 0 normal, 1 drop, 2 reassemble, 3 match.
    pub frag: u16,
    /// Packets whose TTL runs out go to the controller; `None` where the version has no such flag.
    pub invalid_ttl: Option<bool>,
    /// Octets of packets sent to the controller.
    pub miss_send_len: u16,
}

const FRAG: u16 = 3;
const INVALID_TTL: u16 = 1 << 2;

impl SwitchConfig {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>, set: bool) -> Decode<Self> {
        let (flags, miss_send_len) = (r.u16()?, r.u16()?);
        let ttl = version < Version::V13;
        let known = FRAG | if ttl { INVALID_TTL } else { 0 };
        if set && flags & !known != 0 {
            return Err(OfpError::OFPSCFC_BAD_FLAGS);
        }
        Ok(Self {
            frag: flags & FRAG,
            invalid_ttl: ttl.then_some(flags & INVALID_TTL != 0),
            miss_send_len,
        })
    }
    pub(super) fn put(self, b: &mut Vec<u8>, version: Version) {
        let ttl = self.invalid_ttl == Some(true) && version < Version::V13;
        b.u16(self.frag | if ttl { INVALID_TTL } else { 0 });
        b.u16(self.miss_send_len);
    }
}

/// Words about a switch. Texts longer than the protocol has room for are cut off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "named as in the specification")]
pub struct Desc {
    pub mfr_desc: String,
    pub hw_desc: String,
    pub sw_desc: String,
    pub serial_num: String,
    pub dp_desc: String,
}

impl Desc {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        Ok(Self {
            mfr_desc: text(r.take(256)?),
            hw_desc: text(r.take(256)?),
            sw_desc: text(r.take(256)?),
            serial_num: text(r.take(32)?),
            dp_desc: text(r.take(256)?),
        })
    }
    pub(super) fn put(&self, b: &mut Vec<u8>) {
        put_text(b, &self.mfr_desc, 256);
        put_text(b, &self.hw_desc, 256);
        put_text(b, &self.sw_desc, 256);
        put_text(b, &self.serial_num, 32);
        put_text(b, &self.dp_desc, 256);
    }
}

/// Text up to the first zero.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Text in `room` octets, the last of which is always zero.
pub(super) fn put_text(b: &mut Vec<u8>, text: &str, room: usize) {
    let n = text.len().min(room - 1);
    b.bytes(&text.as_bytes()[..n]);
    b.zeros(room - n);
}
