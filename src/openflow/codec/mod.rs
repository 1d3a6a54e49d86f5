//! Bytes of OpenFlow: cursors over them, message headers, matches, actions, properties.
//!
//! Reading never panics: every read is bounded by what is left, every list by its length field, every
//! nesting by [`NESTING_MAX`].

pub(crate) mod acts;
pub(crate) mod header;
pub(crate) mod inst;
pub(crate) mod match10;
pub(crate) mod match11;
pub(crate) mod nxm;
pub(crate) mod oxm;
pub(crate) mod oxs;
pub(crate) mod prop;
pub(crate) mod raw;

use crate::action::{Act, Acts};
use crate::error::OfpError;
use crate::verify::{Allowed, Outer};
use crate::version::Version;
use acts::ActRules;
use flow::TunTable;

/// How deep actions may nest in bytes.
pub(crate) const NESTING_MAX: usize = 100;
/// Octets a message may have.
pub(crate) const MESSAGE_MAX: usize = u16::MAX as usize;

pub(crate) type Decode<T> = Result<T, OfpError>;

/// Bytes not read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What is left, without taking it.
    pub(crate) fn peek(&self) -> &'a [u8] {
        self.0
    }
    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
    /// The next `n` bytes, `None` when there are fewer.
    pub(crate) fn try_take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Decode<&'a [u8]> {
        self.try_take(n).ok_or(OfpError::OFPBRC_BAD_LEN)
    }
    pub(crate) fn skip(&mut self, n: usize) -> Decode<()> {
        self.take(n).map(|_| ())
    }
    pub(crate) fn array<const N: usize>(&mut self) -> Decode<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk().ok_or(OfpError::OFPBRC_BAD_LEN)?;
        self.0 = tail;
        Ok(*head)
    }
    pub(crate) fn u8(&mut self) -> Decode<u8> {
        self.array().map(u8::from_be_bytes)
    }
    pub(crate) fn u16(&mut self) -> Decode<u16> {
        self.array().map(u16::from_be_bytes)
    }
    pub(crate) fn u32(&mut self) -> Decode<u32> {
        self.array().map(u32::from_be_bytes)
    }
    pub(crate) fn u64(&mut self) -> Decode<u64> {
        self.array().map(u64::from_be_bytes)
    }
    /// All zeros up to the end.
    pub(crate) fn rest_is_zero(&mut self) -> bool {
        self.rest().iter().all(|&b| b == 0)
    }
}

/// Appending numbers in network order.
pub(crate) trait Put {
    fn u8(&mut self, v: u8);
    fn u16(&mut self, v: u16);
    fn u32(&mut self, v: u32);
    fn u64(&mut self, v: u64);
    fn bytes(&mut self, v: &[u8]);
    fn zeros(&mut self, n: usize);
    /// Zeros until `self` is a multiple of `unit` longer than `start`.
    fn pad(&mut self, start: usize, unit: usize);
    /// Overwrites two bytes.
    fn set_u16(&mut self, at: usize, v: usize);
}

impl Put for Vec<u8> {
    fn u8(&mut self, v: u8) {
        self.push(v);
    }
    fn u16(&mut self, v: u16) {
        self.extend_from_slice(&v.to_be_bytes());
    }
    fn u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_be_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_be_bytes());
    }
    fn bytes(&mut self, v: &[u8]) {
        self.extend_from_slice(v);
    }
    fn zeros(&mut self, n: usize) {
        self.resize(self.len() + n, 0);
    }
    fn pad(&mut self, start: usize, unit: usize) {
        let len = (self.len() - start).next_multiple_of(unit);
        self.resize(start + len, 0);
    }
    fn set_u16(&mut self, at: usize, v: usize) {
        let v = u16::try_from(v).unwrap_or(u16::MAX);
        if let Some(out) = self.get_mut(at..at + 2) {
            out.copy_from_slice(&v.to_be_bytes());
        }
    }
}

/// OpenFlow 1.1 and later write ports in 32 bits.
pub(crate) fn port_from_11(n: u32) -> Decode<flow::OfPort> {
    flow::OfPort::from_ofp11(n).ok_or(OfpError::OFPBAC_BAD_OUT_PORT)
}

/// Reads a list of actions, as it stands in a message of `version`; without a table, every tunnel metadata
/// field exists.
///
/// # Errors
/// The OpenFlow error to answer with.
pub fn decode_actions(bytes: &[u8], version: Version, tun: Option<&TunTable>) -> Decode<Acts> {
    let rules = ActRules::new(version, tun);
    let place = (Allowed::Meter, Outer::None);
    acts::decode_actions(&mut Reader::new(bytes), bytes.len(), &rules, place)
}

/// Reads the instructions of a flow (OpenFlow 1.0: its actions).
///
/// # Errors
/// The OpenFlow error to answer with.
pub fn decode_instructions(bytes: &[u8], version: Version, tun: Option<&TunTable>) -> Decode<Acts> {
    let rules = ActRules::new(version, tun);
    inst::decode(&mut Reader::new(bytes), bytes.len(), &rules)
}

/// Writes a list of actions.
#[must_use]
pub fn encode_actions(acts: &[Act], version: Version, tun: Option<&TunTable>) -> Vec<u8> {
    let mut b = Vec::new();
    acts::put_actions(&mut b, acts, version, tun);
    b
}

/// Writes the instructions of a flow (OpenFlow 1.0: its actions).
#[must_use]
pub fn encode_instructions(acts: &[Act], version: Version, tun: Option<&TunTable>) -> Vec<u8> {
    let mut b = Vec::new();
    inst::put(&mut b, acts, version, tun);
    b
}
