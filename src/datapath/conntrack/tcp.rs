//! TCP connections: states of both ends, and whether a segment can belong to them.
//!
//! The rules are those of Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2001), as packet
//! filters apply them: each end may send up to what the other one acknowledged plus its window, and acknowledge
//! about what the other one sent. Connections that were there before the switch are picked up in the middle,
//! with the largest window scale assumed.

use super::timeouts::Timeout;
use wire::Header;
use wire::tcp::{ACK, FIN, PSH, RST, SYN, TcpHeader, URG};

/// How far an acknowledgement may be off: a window without scale, and a segment.
const ACK_SLACK: i64 = 0xffff + 1500;
/// The largest window scale (RFC 7323).
const SCALE_MAX: u8 = 14;
/// Option kinds (RFC 9293, RFC 7323).
const OPT_END: u8 = 0;
const OPT_NOP: u8 = 1;
const OPT_SCALE: u8 = 3;

/// What a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Segment {
    pub(crate) flags: u16,
    pub(crate) window: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// Octets of payload.
    pub(crate) len: u32,
    /// The window scale option; only looked for with SYN.
    pub(crate) scale: Option<u8>,
}

impl Segment {
    /// Reads a whole segment; `None` when its lengths are wrong.
    pub(crate) fn parse(l4: &[u8]) -> Option<Self> {
        let h = TcpHeader::at(l4, 0)?;
        let header = h.header_len();
        if header < TcpHeader::LEN || header > l4.len() {
            return None;
        }
        let flags = h.flags();
        Some(Self {
            flags,
            window: h.window.get(),
            seq: h.seq.get(),
            ack: h.ack.get(),
            len: u32::try_from(l4.len() - header).unwrap_or(u32::MAX),
            scale: (flags & SYN != 0)
                .then(|| scale(l4.get(TcpHeader::LEN..header).unwrap_or_default()))
                .flatten(),
        })
    }

    const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// It acknowledges something.
    pub(crate) const fn has_ack(&self) -> bool {
        self.has(ACK)
    }

    /// Its flags contradict each other.
    const fn is_nonsense(&self) -> bool {
        if self.has(SYN) && (self.has(RST) || self.has(FIN)) {
            return true;
        }
        if !self.has(SYN) && !self.has(ACK | RST) {
            return true;
        }
        !self.has(ACK) && self.has(FIN | PSH | URG)
    }

    /// It may begin a connection, or be part of one that is not known yet.
    pub(crate) const fn opens(&self) -> bool {
        !(self.is_nonsense() || self.has(SYN) && self.has(ACK))
    }

    /// Sequence numbers that SYN and FIN take.
    const fn marks(&self) -> u32 {
        self.has(SYN) as u32 + self.has(FIN) as u32
    }
}

/// The window scale among options.
fn scale(mut options: &[u8]) -> Option<u8> {
    let mut found = None;
    while options.len() >= 3 {
        let skip = match options[0] {
            OPT_END => break,
            OPT_NOP => 1,
            kind => {
                if kind == OPT_SCALE {
                    found = Some(options[2].min(SCALE_MAX));
                }
                usize::from(options[1]).max(2)
            }
        };
        options = options.get(skip..).unwrap_or_default();
    }
    found
}

/// States of one end, in the order of a connection's life; numbered as `ct-stats-show` prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Phase {
    /// Nothing was seen of it.
    #[default]
    Closed = 0,
    SynSent = 2,
    Established = 4,
    Closing = 6,
    FinWait2 = 9,
    TimeWait = 10,
}

/// Window scale of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scale {
    /// It offers none.
    #[default]
    None,
    /// As its SYN said.
    Known(u8),
    /// The connection was picked up in the middle.
    Unknown,
}

impl Scale {
    /// The shift that counts, of what is known.
    pub(crate) const fn shift(self) -> u8 {
        match self {
            Self::Known(shift) => shift,
            Self::None | Self::Unknown => 0,
        }
    }
    const fn of(option: Option<u8>) -> Self {
        match option {
            Some(shift) => Self::Known(shift),
            None => Self::None,
        }
    }
}

/// One end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Peer {
    /// One past the highest sequence number it has sent.
    low: u32,
    /// One past the highest it may send.
    high: u32,
    /// The largest window it offered, before scaling.
    window: u16,
    pub(crate) scale: Scale,
    pub(crate) phase: Phase,
}

/// What a packet did to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It does not belong.
    Invalid,
    /// It belongs to an established connection.
    Valid,
    /// It belongs to one that is being opened.
    Opening,
    /// It opens a new one with the same tuple.
    Again,
}

/// A TCP connection: who opened it, and the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) peers: [Peer; 2],
}

/// `a` is not before `b`, modulo 2^32.
const fn not_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
}

/// A window before scaling, from one that was not scaled (that of a SYN).
fn unscaled(window: u16, shift: u8) -> u16 {
    let scaled = u32::from(window).div_ceil(1 << shift);
    u16::try_from(scaled).unwrap_or(u16::MAX)
}

impl Tcp {
    /// A connection by its first segment.
    pub(crate) fn new(s: &Segment) -> Self {
        let scale = if s.has(SYN) {
            Scale::of(s.scale)
        } else {
            Scale::Unknown
        };
        let opener = Peer {
            low: s.seq,
            high: s.seq.wrapping_add(s.len).wrapping_add(1 + s.marks()),
            window: unscaled(s.window.max(1), scale.shift()),
            scale,
            phase: Phase::SynSent,
        };
        let other = Peer {
            low: 0,
            high: 1,
            window: 1,
            scale: if s.has(SYN) {
                Scale::None
            } else {
                Scale::Unknown
            },
            phase: Phase::Closed,
        };
        Self {
            peers: [opener, other],
        }
    }

    /// Takes a segment into account. The timeout is `None` when it stays as it is.
    pub(crate) fn update(
        &mut self,
        s: &Segment,
        reply: bool,
        check: bool,
    ) -> (Change, Option<Timeout>) {
        if s.is_nonsense() {
            return (Change::Invalid, None);
        }
        let [a, b] = &mut self.peers;
        let (src, dst) = if reply { (b, a) } else { (a, b) };
        if s.has(SYN) && !s.has(ACK) {
            if src.phase >= Phase::FinWait2 && dst.phase >= Phase::FinWait2 {
                (src.phase, dst.phase) = (Phase::Closed, Phase::Closed);
                return (Change::Again, None);
            }
            if src.phase <= Phase::SynSent {
                src.phase = Phase::SynSent;
                return (Change::Opening, Some(Timeout::TcpFirst));
            }
        }
        let end = s.seq.wrapping_add(s.len).wrapping_add(s.marks());
        let mut view = View::new(s, src, dst);
        if src.phase < Phase::SynSent {
            view.first(s, end, src, dst);
        }
        let ranged = Range::new(s, end, src, dst, &view);
        if !check || ranged.fits(s, src, dst, &view) {
            ranged.note(src, dst, &view);
            advance(s, src, dst);
            (Change::Valid, Some(timeout(src.phase, dst.phase)))
        } else if ranged.tolerable(src, dst) {
            // No new timeout: packets that only just pass keep nothing alive.
            ranged.note(src, dst, &view);
            if s.has(FIN) {
                src.phase = src.phase.max(Phase::Closing);
            }
            if s.has(RST) {
                (src.phase, dst.phase) = (Phase::TimeWait, Phase::TimeWait);
            }
            (Change::Valid, None)
        } else {
            (Change::Invalid, None)
        }
    }
}

/// How the ends' windows are to be read for one segment.
struct View {
    src_shift: u8,
    dst_shift: u8,
    window: u16,
    /// What is acknowledged is looked at.
    check_ack: bool,
}

impl View {
    fn new(s: &Segment, src: &Peer, dst: &Peer) -> Self {
        let (src_shift, dst_shift) = match (src.scale, dst.scale) {
            _ if s.has(SYN) => (0, 0),
            (Scale::Known(a), Scale::Known(b)) => (a, b),
            (Scale::Unknown, Scale::Unknown) => (SCALE_MAX, SCALE_MAX),
            _ => (0, 0),
        };
        Self {
            src_shift,
            dst_shift,
            window: s.window,
            check_ack: true,
        }
    }

    /// The first segment of an end.
    fn first(&mut self, s: &Segment, end: u32, src: &mut Peer, dst: &mut Peer) {
        if s.has(SYN)
            && let Scale::Known(theirs) = dst.scale
        {
            src.scale = Scale::of(s.scale);
            if let Scale::Known(own) = src.scale {
                self.src_shift = own;
                self.window = unscaled(self.window, own);
                self.dst_shift = theirs;
            } else {
                // Nobody scales, then.
                let whole = u32::from(dst.window) << theirs;
                dst.window = u16::try_from(whole).unwrap_or(u16::MAX);
                dst.scale = Scale::None;
            }
        }
        src.low = s.seq;
        src.phase = Phase::SynSent;
        let may = end.wrapping_add((u32::from(dst.window) << self.dst_shift).max(1));
        if src.high == 1 || not_before(may, src.high) {
            src.high = may;
            self.check_ack = false;
        }
        src.window = src.window.max(self.window);
    }
}

/// The sequence numbers of a segment, and what it acknowledges.
struct Range {
    seq: u32,
    end: u32,
    ack: u32,
}

impl Range {
    fn new(s: &Segment, end: u32, src: &Peer, dst: &Peer, _: &View) -> Self {
        // No acknowledgement; or that of an end that gives up before it heard anything.
        let unheard = !s.has(ACK) || s.ack == 0 && s.has(RST);
        let ack = if unheard { dst.low } else { s.ack };
        if s.seq == end {
            Self {
                seq: src.low,
                end: src.low,
                ack,
            }
        } else {
            Self {
                seq: s.seq,
                end,
                ack,
            }
        }
    }

    /// The segment is within the windows.
    fn fits(&self, s: &Segment, src: &Peer, dst: &Peer, view: &View) -> bool {
        let skew = if view.check_ack {
            i64::from(dst.low.wrapping_sub(self.ack).cast_signed())
        } else {
            0
        };
        let oldest = src
            .low
            .wrapping_sub(u32::from(dst.window) << view.dst_shift);
        not_before(src.high, self.end)
            && not_before(self.seq, oldest)
            && (-ACK_SLACK..=ACK_SLACK << view.src_shift).contains(&skew)
            && (!s.has(RST) || s.seq.wrapping_sub(src.low).wrapping_add(1) <= 2)
    }

    /// The segment is near enough while nobody knows the windows: simultaneous opens, connections picked up in
    /// the middle, stragglers of closed ones.
    fn tolerable(&self, src: &Peer, dst: &Peer) -> bool {
        const SLACK: u32 = ACK_SLACK as u32;
        let lax = dst.phase < Phase::SynSent
            || dst.phase >= Phase::FinWait2
            || src.phase >= Phase::FinWait2;
        lax && not_before(src.high.wrapping_add(SLACK), self.end)
            && not_before(self.seq, src.low.wrapping_sub(SLACK))
    }

    /// Moves the windows.
    fn note(&self, src: &mut Peer, dst: &mut Peer, view: &View) {
        src.window = src.window.max(view.window);
        if not_before(self.end, src.low) {
            src.low = self.end;
        }
        let offered = u32::from(view.window) << view.src_shift;
        if not_before(self.ack.wrapping_add(offered), dst.high) {
            dst.high = self.ack.wrapping_add(offered.max(1));
        }
    }
}

/// Moves the states.
fn advance(s: &Segment, src: &mut Peer, dst: &mut Peer) {
    if s.has(SYN) {
        src.phase = src.phase.max(Phase::SynSent);
    }
    if s.has(FIN) {
        src.phase = src.phase.max(Phase::Closing);
    }
    if s.has(ACK) {
        match dst.phase {
            Phase::SynSent => dst.phase = Phase::Established,
            Phase::Closing => dst.phase = Phase::FinWait2,
            Phase::Closed | Phase::Established | Phase::FinWait2 | Phase::TimeWait => {}
        }
    }
    if s.has(RST) {
        (src.phase, dst.phase) = (Phase::TimeWait, Phase::TimeWait);
    }
}

fn timeout(a: Phase, b: Phase) -> Timeout {
    let (first, last) = (a.min(b), a.max(b));
    if first >= Phase::FinWait2 {
        Timeout::TcpClosed
    } else if first >= Phase::Closing {
        Timeout::TcpFinWait
    } else if first < Phase::Established {
        Timeout::TcpOpening
    } else if last >= Phase::Closing {
        Timeout::TcpClosing
    } else {
        Timeout::TcpEstablished
    }
}
