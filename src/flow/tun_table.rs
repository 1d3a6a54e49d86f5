//! The TLV table: which Geneve option is `tun_metadata{n}`, and where its value stands in
//! [`TunnelKey::opts`].
//!
//! A tunnel's options have two forms. *Raw* ([`TunnelKey::F_UDPIF`] set): the options as they came from
//! the wire, `opts_len` octets; the datapath knows only this one. *Mapped*: bit n of `present` says that
//! `tun_metadata{n}` is there, its octets stand where the table says; OpenFlow matches on this one. A
//! table translates both ways.
//!
//! Space is given in units of 4 octets, first fit, in pieces when no hole is large enough. A table is
//! a value: to change the switch's, clone it, change the clone and publish that.
//!
//! A [`Match`](crate::Match) made where no switch is (by a controller's tool) owns a table that lays out
//! values one behind the other as they are set; such entries have no option class and type.

use crate::key::{TUN_OPTS_MAX, TunnelKey};
use smallvec::SmallVec;
use wire::U16;

/// Why a table could not be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says it")]
pub enum TunTableError {
    #[error("tun_metadata index out of range")]
    BadIndex,
    #[error("option length is not a multiple of 4 up to 124")]
    BadLength,
    #[error("tun_metadata field already mapped")]
    AlreadyMapped,
    #[error("option class and type already mapped")]
    DupEntry,
    #[error("no space left for tunnel options")]
    TableFull,
}

/// The options of a packet cannot be mapped: broken, of another length than the table says, or unknown
/// though critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tunnel options cannot be mapped")]
pub struct BadOptions;

/// One option that a table maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlvMap {
    /// n of `tun_metadata{n}`.
    pub index: u8,
    /// Geneve option class.
    pub class: u16,
    /// Geneve option type.
    pub kind: u8,
    /// Octets of its value.
    pub len: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Class and type; `None` in a match's own table.
    option: Option<(u16, u8)>,
    len: usize,
    /// (offset, length) of its pieces in `opts`.
    pieces: SmallVec<[(usize, usize); 1]>,
    /// In a match's own table: the value came with a mask.
    masked: bool,
}

/// Places of up to 64 tunnel options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunTable {
    entries: Box<[Option<Entry>; TunTable::FIELDS_MAX]>,
    /// One bit for each 4 octets in use.
    used: u64,
    /// Made by a match for itself.
    own: bool,
}

impl Default for TunTable {
    fn default() -> Self {
        Self::new()
    }
}

impl TunTable {
    /// Options a table can map.
    pub const FIELDS_MAX: usize = 64;
    /// Octets of option values it has space for.
    pub const SPACE_MAX: usize = TUN_OPTS_MAX;

    /// A table that maps nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: Box::new([const { None }; Self::FIELDS_MAX]),
            used: 0,
            own: false,
        }
    }
    pub(crate) fn new_own() -> Self {
        Self {
            own: true,
            ..Self::new()
        }
    }
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    fn entry(&self, index: u8) -> Option<&Entry> {
        self.entries.get(usize::from(index))?.as_ref()
    }

    /// Octets of the option mapped to `index`; `None` when there is none.
    #[must_use]
    pub fn len_of(&self, index: u8) -> Option<usize> {
        self.entry(index).map(|e| e.len)
    }
    /// In a match's own table: whether the value came with a mask.
    pub(crate) fn own_masked(&self, index: u8) -> Option<bool> {
        self.own
            .then(|| self.entry(index).is_some_and(|e| e.masked))
    }
    /// What is mapped, by index.
    pub fn mappings(&self) -> impl Iterator<Item = TlvMap> {
        self.entries.iter().zip(0u8..).filter_map(|(e, index)| {
            let e = e.as_ref()?;
            let (class, kind) = e.option?;
            Some(TlvMap {
                index,
                class,
                kind,
                len: e.len as u8,
            })
        })
    }

    /// Maps an option.
    ///
    /// # Errors
    /// When the index is taken or too large, the option is mapped already, the length is impossible, or
    /// there is no space left; the table is then unchanged.
    pub fn add(&mut self, map: TlvMap) -> Result<(), TunTableError> {
        let (index, len) = (usize::from(map.index), usize::from(map.len));
        if index >= Self::FIELDS_MAX {
            return Err(TunTableError::BadIndex);
        } else if len % 4 != 0 || len > 124 {
            return Err(TunTableError::BadLength);
        } else if self.entries[index].is_some() {
            return Err(TunTableError::AlreadyMapped);
        }
        let option = Some((map.class, map.kind));
        if self.entries.iter().flatten().any(|e| e.option == option) {
            return Err(TunTableError::DupEntry);
        }
        let (mut used, mut left, mut pieces) = (self.used, len / 4, SmallVec::new());
        while left > 0 {
            let (start, n) = best_hole(used, left).ok_or(TunTableError::TableFull)?;
            used |= units(start, n);
            left -= n;
            pieces.push((start * 4, n * 4));
        }
        self.used = used;
        self.entries[index] = Some(Entry {
            option,
            len,
            pieces,
            masked: false,
        });
        Ok(())
    }

    /// Unmaps the option of an index, if there is one.
    pub fn del(&mut self, index: u8) {
        let Some(slot) = self.entries.get_mut(usize::from(index)) else {
            return;
        };
        for (ofs, len) in slot.take().iter().flat_map(|e| &e.pieces) {
            self.used &= !units(ofs / 4, len / 4);
        }
    }

    /// In a match's own table: gives `index` the next `len` octets. `Err` is the space that would be used.
    pub(crate) fn add_own(&mut self, index: u8, len: usize, masked: bool) -> Result<(), usize> {
        let ofs: usize = self.entries.iter().flatten().map(|e| e.len).sum();
        if ofs + len > Self::SPACE_MAX {
            return Err(ofs + len);
        }
        let entry = Entry {
            option: None,
            len,
            pieces: SmallVec::from_elem((ofs, len), 1),
            masked,
        };
        if let Some(slot) = self.entries.get_mut(usize::from(index)) {
            *slot = Some(entry);
        }
        Ok(())
    }

    /// Reads `tun_metadata{index}` into the end of `out`, whose other octets become zero.
    pub(crate) fn read(&self, index: u8, key: &TunnelKey, out: &mut [u8]) {
        out.fill(0);
        let Some(e) = self.entry(index) else { return };
        let mut at = out.len().saturating_sub(e.len);
        for &(ofs, len) in &e.pieces {
            out[at..at + len].copy_from_slice(&key.opts[ofs..ofs + len]);
            at += len;
        }
    }

    /// The octets of `tun_metadata{index}`, as many as the option has.
    #[must_use]
    pub fn value(&self, index: u8, key: &TunnelKey) -> SmallVec<[u8; 16]> {
        let mut out = SmallVec::from_elem(0, self.len_of(index).unwrap_or(0));
        self.read(index, key, &mut out);
        out
    }

    /// Writes the last octets of `value` to `tun_metadata{index}` and makes it present.
    pub(crate) fn write(&self, index: u8, key: &mut TunnelKey, value: &[u8]) {
        let Some(e) = self.entry(index) else { return };
        let value = crate::field::fit(value, e.len);
        let mut at = 0;
        for &(ofs, len) in &e.pieces {
            key.opts[ofs..ofs + len].copy_from_slice(&value[at..at + len]);
            at += len;
        }
        key.present.set(key.present.get() | 1 << index);
    }

    /// As [`TunTable::write`] for a mask: bits are added.
    pub(crate) fn mask_bits(&self, index: u8, mask: &mut TunnelKey, bits: &[u8]) {
        let Some(e) = self.entry(index) else { return };
        let mut now = self.value(index, mask);
        for (now, b) in now.iter_mut().zip(&crate::field::fit(bits, e.len)) {
            *now |= b;
        }
        self.write(index, mask, &now);
    }

    /// Makes `tun_metadata{index}` absent.
    pub fn delete(index: u8, key: &mut TunnelKey) {
        if key.flags.get() & TunnelKey::F_UDPIF == 0 && usize::from(index) < Self::FIELDS_MAX {
            key.present.set(key.present.get() & !(1 << index));
        }
    }

    fn find(&self, option: (u16, u8)) -> Option<(u8, &Entry)> {
        let found = |e: &&Entry| e.option == Some(option);
        self.entries
            .iter()
            .zip(0u8..)
            .find_map(|(e, i)| Some((i, e.as_ref().filter(found)?)))
    }

    /// The mapped form of `src`: a key in raw form (then `src` is `raw`), or a mask in raw form whose key
    /// is `raw`. Options that are unknown and not critical are left out.
    ///
    /// # Errors
    /// [`BadOptions`].
    pub fn to_mapped(&self, raw: &TunnelKey, src: &TunnelKey) -> Result<TunnelKey, BadOptions> {
        let mut dst = *src;
        dst.flags = U16::new(src.flags.get() & !TunnelKey::F_UDPIF);
        dst.present.set(0);
        dst.opts_len = 0;
        dst.opts = [0; TUN_OPTS_MAX];
        let area = &raw.opts[..usize::from(raw.opts_len)];
        let mut at = 0;
        while at < area.len() {
            let option = GeneveOption::at(area, at).ok_or(BadOptions)?;
            match self.find(option.key) {
                Some((i, e)) if e.len == option.len => {
                    self.write(i, &mut dst, &src.opts[at + 4..at + 4 + option.len]);
                }
                Some(_) => return Err(BadOptions),
                None if option.key.1 & GENEVE_CRITICAL != 0 => return Err(BadOptions),
                None => {}
            }
            at += 4 + option.len;
        }
        Ok(dst)
    }

    /// The raw form of a mapped key.
    #[must_use]
    pub fn to_raw(&self, mapped: &TunnelKey) -> TunnelKey {
        let mut dst = *mapped;
        dst.flags = U16::new(mapped.flags.get() | TunnelKey::F_UDPIF);
        dst.present.set(0);
        dst.opts = [0; TUN_OPTS_MAX];
        let mut at = 0;
        for map in self
            .mappings()
            .filter(|m| mapped.present.get() >> m.index & 1 == 1)
        {
            let end = at + 4 + usize::from(map.len);
            let Some(to) = dst.opts.get_mut(at..end).filter(|_| end <= 252) else {
                break;
            };
            to[..2].copy_from_slice(&map.class.to_be_bytes());
            to[2] = map.kind;
            to[3] = map.len / 4;
            to[4..].copy_from_slice(&self.value(map.index, mapped));
            at = end;
        }
        // At most 252.
        dst.opts_len = at as u8;
        dst
    }

    /// The raw form of a mapped mask, for the raw key `raw` it is used with. Headers of options and their
    /// total length are exact; values of options that the table does not know are not looked at.
    #[must_use]
    pub fn mask_to_raw(&self, raw: &TunnelKey, mask: &TunnelKey) -> TunnelKey {
        let mut dst = *mask;
        dst.flags = U16::new(mask.flags.get() | TunnelKey::F_UDPIF);
        dst.present.set(0);
        dst.opts_len = 0xff;
        dst.opts = [0; TUN_OPTS_MAX];
        let area = &raw.opts[..usize::from(raw.opts_len)];
        let mut at = 0;
        while let Some(option) = GeneveOption::at(area, at) {
            dst.opts[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x1f]);
            if let Some((i, e)) = self.find(option.key)
                && e.len == option.len
            {
                let value = self.value(i, mask);
                dst.opts[at + 4..at + 4 + option.len].copy_from_slice(&value);
            }
            at += 4 + option.len;
        }
        dst
    }
}

/// The bit of a Geneve option type that says "who does not know me must drop".
pub const GENEVE_CRITICAL: u8 = 0x80;

/// The header of a Geneve option (RFC 8926, 3.5).
pub(crate) struct GeneveOption {
    /// Class and type.
    pub(crate) key: (u16, u8),
    /// Octets of its value.
    pub(crate) len: usize,
}

impl GeneveOption {
    /// The option at `area[at]`, when all of it is there.
    pub(crate) fn at(area: &[u8], at: usize) -> Option<Self> {
        let h = area.get(at..)?.first_chunk::<4>()?;
        let len = usize::from(h[3] & 0x1f) * 4;
        let whole = at + 4 + len <= area.len();
        whole.then_some(Self {
            key: (u16::from_be_bytes([h[0], h[1]]), h[2]),
            len,
        })
    }
}

fn units(start: usize, n: usize) -> u64 {
    (if n >= 64 { u64::MAX } else { (1 << n) - 1 }) << start
}

/// The first hole of `want` units, else the largest (the first of equals).
fn best_hole(used: u64, want: usize) -> Option<(usize, usize)> {
    let mut best = None;
    let mut at = 0;
    while at < 64 {
        let free = ((used >> at).trailing_zeros() as usize)
            .min(64 - at)
            .min(want);
        if free == want {
            return Some((at, free));
        }
        if free > best.map_or(0, |(_, n)| n) {
            best = Some((at, free));
        }
        at += free + 1;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn map(index: u8, kind: u8, len: u8) -> TlvMap {
        TlvMap {
            index,
            class: 0xffff,
            kind,
            len,
        }
    }

    #[test]
    fn space_is_found_in_pieces() {
        let mut t = TunTable::new();
        for i in 0..8 {
            t.add(map(i, i, 32)).unwrap();
        }
        assert_eq!(t.add(map(8, 8, 4)), Err(TunTableError::TableFull));
        t.del(1);
        t.del(3);
        t.add(map(9, 9, 64)).unwrap();
        let mut key = TunnelKey::new_zeroed();
        let value: Vec<u8> = (1..=64).collect();
        t.write(9, &mut key, &value);
        assert_eq!(&t.value(9, &key)[..], &value[..]);
        assert_eq!(&key.opts[32..36], &[1, 2, 3, 4]);
        assert_eq!(&key.opts[96..100], &[33, 34, 35, 36]);
        assert_eq!(t.add(map(9, 77, 4)), Err(TunTableError::AlreadyMapped));
        assert_eq!(t.add(map(10, 9, 4)), Err(TunTableError::DupEntry));
    }

    #[test]
    fn raw_and_mapped_undo_each_other() {
        let mut t = TunTable::new();
        t.add(map(3, 0x80, 8)).unwrap();
        t.add(map(5, 1, 4)).unwrap();
        let mut raw = TunnelKey::new_zeroed();
        raw.flags = U16::new(TunnelKey::F_UDPIF);
        let opts = [
            0xff, 0xff, 0x80, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff, 1, 1, 9, 9, 9, 9,
        ];
        raw.opts[..20].copy_from_slice(&opts);
        raw.opts_len = 20;
        let mapped = t.to_mapped(&raw, &raw).unwrap();
        assert_eq!(mapped.present.get(), 1 << 3 | 1 << 5);
        assert_eq!(&t.value(3, &mapped)[..], &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(t.to_raw(&mapped), raw);
        raw.opts_len = 19;
        assert_eq!(t.to_mapped(&raw, &raw), Err(BadOptions));
        raw.opts_len = 20;
        raw.opts[1] = 0;
        assert_eq!(t.to_mapped(&raw, &raw), Err(BadOptions));
    }
}
