//! What we offer a guest, and what was agreed (virtio 1.2, 5.1.3 and 6).
//!
//! Offloads are offered because they are honoured: a frame with a partial checksum or a super-packet is
//! carried as such, and finished by whichever port cannot pass it on (see [`crate::offload`]). Not offered:
//! packed rings, UDP fragmentation, dirty-page logging (live migration with the port running).

const CSUM: u32 = 0;
const GUEST_CSUM: u32 = 1;
const MTU: u32 = 3;
const GUEST_TSO4: u32 = 7;
const GUEST_TSO6: u32 = 8;
const GUEST_ECN: u32 = 9;
const HOST_TSO4: u32 = 11;
const HOST_TSO6: u32 = 12;
const HOST_ECN: u32 = 13;
const MERGEABLE: u32 = 15;
const CTRL_VQ: u32 = 17;
const MULTIQUEUE: u32 = 22;
const ANY_LAYOUT: u32 = 27;
const INDIRECT: u32 = 28;
const EVENT_INDEX: u32 = 29;
/// `VHOST_USER_F_PROTOCOL_FEATURES`.
const PROTOCOL: u32 = 30;
const VERSION_1: u32 = 32;
/// Buffers come back in the order in which they were given, so that a guest need not look up which.
const IN_ORDER: u32 = 35;

/// A set of feature bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Features(pub(super) u64);

impl Features {
    /// All that we offer.
    pub(super) const OFFERED: Self = Self::of(&[
        CSUM,
        GUEST_CSUM,
        MTU,
        GUEST_TSO4,
        GUEST_TSO6,
        GUEST_ECN,
        HOST_TSO4,
        HOST_TSO6,
        HOST_ECN,
        MERGEABLE,
        CTRL_VQ,
        MULTIQUEUE,
        ANY_LAYOUT,
        INDIRECT,
        EVENT_INDEX,
        PROTOCOL,
        VERSION_1,
        IN_ORDER,
    ]);

    const fn of(bits: &[u32]) -> Self {
        let mut set = 0;
        let mut i = 0;
        while i < bits.len() {
            set |= 1 << bits[i];
            i += 1;
        }
        Self(set)
    }
    #[inline]
    const fn has(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }
    /// True when nothing was agreed to that we do not offer.
    pub(super) const fn is_offered(self) -> bool {
        self.0 & !Self::OFFERED.0 == 0
    }
    /// Rings wait to be enabled.
    pub(super) const fn protocol(self) -> bool {
        self.has(PROTOCOL)
    }
    /// Descriptors may point to tables of descriptors.
    #[inline]
    pub(super) const fn indirect(self) -> bool {
        self.has(INDIRECT)
    }
    /// Interrupts and kicks are asked for by index.
    #[inline]
    pub(super) const fn event_index(self) -> bool {
        self.has(EVENT_INDEX)
    }
    /// A packet for the guest may take several of its buffers.
    #[inline]
    pub(super) const fn mergeable(self) -> bool {
        self.has(MERGEABLE)
    }
    /// Bytes in front of each packet.
    #[inline]
    pub(super) const fn header_bytes(self) -> usize {
        if self.has(MERGEABLE) || self.has(VERSION_1) {
            12
        } else {
            10
        }
    }
    /// The guest may leave checksums (and cutting) to us.
    #[inline]
    pub(super) const fn guest_sends_partial(self) -> bool {
        self.has(CSUM)
    }
    /// We may leave checksums to the guest.
    #[inline]
    pub(super) const fn guest_takes_partial(self) -> bool {
        self.has(GUEST_CSUM)
    }
    /// We may give the guest TCP super-packets of IPv4, of IPv6.
    #[inline]
    pub(super) const fn guest_takes_super(self, v6: bool) -> bool {
        self.has(GUEST_CSUM) && self.has(if v6 { GUEST_TSO6 } else { GUEST_TSO4 })
    }
}
