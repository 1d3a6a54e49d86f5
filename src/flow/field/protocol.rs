//! Which OpenFlow protocols can say something.

bitflags::bitflags! {
    /// A set of flow protocols: OpenFlow versions, with 1.0 in its four forms (standard or NXM, without or
    /// with table ids). Same bits as in the `openflow` room.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Protocols: u16 {
        /// 1.0, standard match.
        const OF10_STD = 1;
        /// 1.0, standard match, table ids.
        const OF10_STD_TID = 1 << 1;
        /// 1.0, NXM.
        const OF10_NXM = 1 << 2;
        /// 1.0, NXM, table ids.
        const OF10_NXM_TID = 1 << 3;
        /// 1.1.
        const OF11_STD = 1 << 4;
        /// 1.2.
        const OF12_OXM = 1 << 5;
        /// 1.3.
        const OF13_OXM = 1 << 6;
        /// 1.4.
        const OF14_OXM = 1 << 7;
        /// 1.5.
        const OF15_OXM = 1 << 8;
        /// NXM in 1.0, and 1.1 and later.
        const NXM_OF11_UP = 0x1fc;
        /// NXM or OXM.
        const NXM_OXM_ANY = 0x1ec;
        /// All.
        const ANY = 0x1ff;
    }
}

impl Protocols {
    /// None.
    pub const NONE: Self = Self::empty();
}
