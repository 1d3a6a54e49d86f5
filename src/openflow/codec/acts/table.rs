//! Which (vendor, type) is which action in which version, and its length.

use crate::codec::{Decode, Reader};
use crate::error::{NX_VENDOR, ONF_VENDOR, OfpError};
use crate::version::Version;

/// Type of vendor actions.
pub(super) const VENDOR: u16 = 0xffff;

macro_rules! actions {
    ($($id:ident: $vendor:ident $lo:literal-$hi:literal ($ty:literal) $len:literal $($more:ident)?;)*) => {
        /// An action as far as bytes distinguish it. Where two rows have one name, they share their form.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum RawAct { $($id),* }
        const TABLE: &[Row] = &[$(Row {
            id: RawAct::$id, vendor: $vendor, lo: $lo, hi: $hi, ty: $ty, len: $len, more: { const M: &[&str] = &[$(stringify!($more))?]; !M.is_empty() },
        }),*];
    };
}

struct Row {
    id: RawAct,
    vendor: u32,
    /// Versions, counted from 1.0.
    lo: u8,
    hi: u8,
    ty: u16,
    /// Octets it has, or at least has.
    len: usize,
    /// May be longer.
    more: bool,
}

const OF: u32 = 0;
const NX: u32 = NX_VENDOR;
const ONF: u32 = ONF_VENDOR;

actions! {
    Output10: OF 0-0 (0) 8;
    Output11: OF 1-5 (0) 16;
    SetVlanVid10: OF 0-0 (1) 8;
    SetVlanVid11: OF 1-5 (1) 8;
    SetVlanPcp10: OF 0-0 (2) 8;
    SetVlanPcp11: OF 1-5 (2) 8;
    StripVlan10: OF 0-0 (3) 8;
    PopVlan11: OF 1-5 (18) 8;
    PushVlan: OF 1-5 (17) 8;
    SetDlSrc10: OF 0-0 (4) 16;
    SetDlSrc11: OF 1-5 (3) 16;
    SetDlDst10: OF 0-0 (5) 16;
    SetDlDst11: OF 1-5 (4) 16;
    SetNwSrc10: OF 0-0 (6) 8;
    SetNwSrc11: OF 1-5 (5) 8;
    SetNwDst10: OF 0-0 (7) 8;
    SetNwDst11: OF 1-5 (6) 8;
    SetNwTos10: OF 0-0 (8) 8;
    SetNwTos11: OF 1-5 (7) 8;
    SetNwEcn: OF 1-5 (8) 8;
    SetTpSrc: OF 0-5 (9) 8;
    SetTpDst: OF 0-5 (10) 8;
    Enqueue: OF 0-0 (11) 16;
    SetMplsLabelNx: NX 0-0 (30) 16;
    SetMplsLabel: OF 1-5 (13) 8;
    SetMplsTcNx: NX 0-0 (31) 16;
    SetMplsTc: OF 1-5 (14) 8;
    SetMplsTtlNx: NX 0-0 (25) 16;
    SetMplsTtl: OF 1-5 (15) 8;
    DecMplsTtlNx: NX 0-0 (26) 16;
    DecMplsTtl: OF 1-5 (16) 8;
    PushMplsNx: NX 0-0 (23) 16;
    PushMpls: OF 1-5 (19) 8;
    PopMplsNx: NX 0-0 (24) 16;
    PopMpls: OF 1-5 (20) 8;
    SetQueueNx: NX 0-0 (4) 16;
    SetQueue: OF 1-5 (21) 8;
    GroupNx: NX 0-0 (40) 16;
    Group: OF 1-5 (22) 8;
    SetNwTtl: OF 1-5 (23) 8;
    DecNwTtlNx: NX 0-0 (18) 16;
    DecNwTtl: OF 1-5 (24) 8;
    DecTtlCntIds: NX 0-5 (21) 16 more;
    SetField12: OF 2-4 (25) 8 more;
    SetField15: OF 5-5 (25) 8 more;
    RegLoad: NX 0-4 (7) 24;
    RegLoad2: NX 0-4 (33) 16 more;
    CopyField15: OF 5-5 (28) 16 more;
    CopyFieldOnf: ONF 3-4 (3200) 24 more;
    RegMove: NX 0-4 (6) 16 more;
    Meter: OF 5-5 (29) 8;
    Resubmit: NX 0-5 (1) 16;
    ResubmitTable: NX 0-5 (14) 16;
    ResubmitTableCt: NX 0-5 (44) 16;
    SetTunnel: NX 0-5 (2) 16;
    SetTunnel64: NX 0-5 (9) 24;
    PopQueue: NX 0-5 (5) 16;
    Note: NX 0-5 (8) 16 more;
    Multipath: NX 0-5 (10) 32;
    Bundle: NX 0-5 (12) 32 more;
    BundleLoad: NX 0-5 (13) 32 more;
    OutputReg: NX 0-5 (15) 24;
    OutputReg2: NX 0-5 (32) 24;
    Learn: NX 0-5 (16) 32 more;
    Learn2: NX 0-5 (45) 40 more;
    Exit: NX 0-5 (17) 16;
    FinTimeout: NX 0-5 (19) 16;
    Controller: NX 0-5 (20) 16;
    Controller2: NX 0-5 (37) 16 more;
    WriteMetadata: NX 0-5 (22) 32;
    StackPush: NX 0-5 (27) 24;
    StackPop: NX 0-5 (28) 24;
    Sample: NX 0-5 (29) 24;
    Sample2: NX 0-5 (38) 32;
    Sample3: NX 0-5 (41) 32;
    Conjunction: NX 0-5 (34) 16;
    Ct: NX 0-5 (35) 24 more;
    Nat: NX 0-5 (36) 16 more;
    OutputTrunc: NX 0-5 (39) 16;
    Clone: NX 0-5 (42) 16 more;
    CtClear: NX 0-5 (43) 16;
    Encap: NX 3-5 (46) 16 more;
    Decap: NX 3-5 (47) 16 more;
    DecNshTtl: NX 3-5 (48) 16;
    CheckPktLarger: NX 0-5 (49) 24 more;
    DeleteField: NX 0-5 (50) 24;
    DebugSlow: NX 0-5 (254) 16;
    DebugRecirc: NX 0-5 (255) 16;
}

/// Takes the next action: what it is, and its bytes behind the header (4 octets, or 10 of vendor actions).
pub(super) fn pull<'a>(r: &mut Reader<'a>, version: Version) -> Decode<(RawAct, Reader<'a>)> {
    let bad_len = OfpError::OFPBAC_BAD_LEN;
    let &[t0, t1, l0, l1, v0, v1, v2, v3, ..] = r.peek() else {
        return Err(bad_len);
    };
    let ty = u16::from_be_bytes([t0, t1]);
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let (vendor, ty, header) = if ty == VENDOR {
        let vendor = u32::from_be_bytes([v0, v1, v2, v3]);
        if ![NX, ONF].contains(&vendor) {
            return Err(OfpError::OFPBAC_BAD_VENDOR);
        }
        let &[s0, s1] = r
            .peek()
            .get(8..16)
            .ok_or(bad_len)?
            .first_chunk()
            .ok_or(bad_len)?;
        (vendor, u16::from_be_bytes([s0, s1]), 10)
    } else {
        (OF, ty, 4)
    };
    let minor = version.minor();
    let row = TABLE
        .iter()
        .find(|x| (x.vendor, x.ty) == (vendor, ty) && (x.lo..=x.hi).contains(&minor))
        .ok_or(if vendor == OF {
            OfpError::OFPBAC_BAD_TYPE
        } else {
            OfpError::OFPBAC_BAD_VENDOR_TYPE
        })?;
    let fits = if row.more {
        len >= row.len
    } else {
        len == row.len
    };
    if !fits || len % 8 != 0 {
        return Err(bad_len);
    }
    let all = r.try_take(len).ok_or(bad_len)?;
    Ok((row.id, Reader::new(&all[header..])))
}
