//! Messages of nobody: any octets behind any header, known messages spliced, flipped, cut and lied about. What
//! is refused is refused with an error of OpenFlow; what is read is written again and read as the same. Memory
//! stays in proportion to the octets. Each crash once found is a line of `cases/crashes.txt`, in hexadecimal.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: a global allocator that counts; it only forwards.

use openflow::{DecodeCx, EncodeCx, Header, Message, PacketInFormat, Protocols, Raw, Version};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Octets that this thread holds, and the most it held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(octets: isize) {
    // A thread that ends has nobody left to count for.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + octets, most.max(now + octets)));
    });
}

// SAFETY: every call is forwarded as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Octets that reading one octet of a message may take (a flow statistic of 56 octets holds a match of 1,408).
const TIMES: usize = 64;
/// And what any message may take.
const EVEN_SO: usize = 64 << 10;

/// The most that `work` held at a time.
fn most_held<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = HELD.with(|h| {
        let (now, _) = h.get();
        h.set((now, now));
        now
    });
    let result = work();
    let most = HELD.with(|h| h.get().1 - before);
    (result, most.cast_unsigned())
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Messages of Open vSwitch's tests.
fn known() -> Vec<Vec<u8>> {
    let lines = include_str!("cases/messages.txt").lines();
    let cases = lines.filter(|l| !l.starts_with("= ") && !l.starts_with('|'));
    cases
        .filter_map(|l| l.split_once(' ').map(|(_, hex)| unhex(hex)))
        .collect()
}

/// How a message may be read.
fn readers() -> [DecodeCx<'static>; 3] {
    let strict = DecodeCx::default();
    [
        DecodeCx {
            loose: true,
            ..strict
        },
        DecodeCx {
            debug: true,
            max_ports: flow::OfPort::MAX,
            n_tables: 255,
            ..strict
        },
        strict,
    ]
}

/// Writes what was read as its own kind of message: it must be read as the same.
fn reads_back(header: &Header, message: &Message, cx: &DecodeCx<'_>) {
    let Some(version) = Version::from_wire(header.version) else {
        return;
    };
    let nx = header.raw.name().starts_with("NX");
    let mut out = EncodeCx::new(Protocols::initial(version).with_nxm(nx));
    out.packet_in_format = match header.raw {
        Raw::NxtPacketIn => PacketInFormat::Nxt,
        Raw::NxtPacketIn2 => PacketInFormat::Nxt2,
        _ => PacketInFormat::Standard,
    };
    if let Some(bytes) = message.encode(&out, header.xid)
        && let Ok((_, again)) = Message::decode(&bytes, cx)
    {
        // Values that no message of this version can carry are written as the nearest; what is written once is
        // then written the same again.
        let once = again.encode(&out, header.xid);
        let (_, same) = Message::decode(once.as_deref().unwrap_or(&bytes), cx).expect("our own");
        assert_eq!(same, again, "{header:?} {message:?}");
    }
}

/// Reads, shows and writes a message. Nothing may panic, and memory is bounded.
fn survive(bytes: &[u8]) {
    let bound = EVEN_SO + bytes.len() * TIMES;
    for cx in readers() {
        let (read, most) = most_held(|| Message::decode(bytes, &cx));
        assert!(most <= bound, "{most} octets held for {}", bytes.len());
        match read {
            Ok((header, message)) => {
                reads_back(&header, &message, &cx);
                for version in Version::ALL {
                    drop(message.encode(&EncodeCx::version_only(version), header.xid));
                }
            }
            Err(e) => assert!(!e.name().is_empty()),
        }
    }
    let (text, _) = most_held(|| openflow::format_message(bytes));
    assert!(!text.is_empty());
    assert!(!openflow::encode_error_reply(openflow::OfpError::OFPBRC_BAD_LEN, bytes).is_empty());
}

/// Puts the true length into a header.
fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(usize::from(u16::MAX));
    let len = u16::try_from(bytes.len()).expect("truncated");
    if let Some(field) = bytes.get_mut(2..4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
    bytes
}

/// A header of any known kind, and any octets behind it. Most octets are small: they are types and lengths.
fn headed() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![4 => 0_u8..32, 1 => any::<u8>(), 1 => Just(0), 1 => Just(0xff)];
    let known = known();
    let kinds: Vec<Vec<u8>> = known
        .iter()
        .map(|m| m[..m.len().min(24)].to_vec())
        .collect();
    (
        proptest::sample::select(kinds),
        proptest::collection::vec(octet, 0..400),
        0_usize..=24,
    )
        .prop_map(|(mut head, rest, keep)| {
            head.truncate(keep.max(8));
            head.extend(rest);
            with_length(head)
        })
}

/// The beginning of one message with the end of another, and some octets and numbers changed.
fn spliced() -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<proptest::sample::Index>(),
        prop_oneof![Just(0_u16), Just(0xffff), 0_u16..64, any::<u16>()],
    );
    let message = || proptest::sample::select(known()).prop_filter("a header", |m| m.len() >= 8);
    (
        (message(), message()),
        (
            any::<proptest::sample::Index>(),
            any::<proptest::sample::Index>(),
        ),
        proptest::collection::vec(change, 0..6),
        any::<bool>(),
    )
        .prop_map(|((a, b), (i, j), changes, honest)| {
            let mut out = a[..i.index(a.len() + 1)].to_vec();
            out.extend(&b[j.index(b.len() + 1)..]);
            for (at, value) in changes {
                let at = at.index(out.len().max(2) - 1);
                if let Some(two) = out.get_mut(at..at + 2) {
                    two.copy_from_slice(&value.to_be_bytes());
                }
            }
            if honest { with_length(out) } else { out }
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_octets_are_refused_or_read(bytes: Vec<u8>) {
        survive(&bytes);
        survive(&with_length(bytes));
    }

    #[test]
    fn any_octets_behind_a_header_are_refused_or_read(bytes in headed()) {
        survive(&bytes);
    }

    #[test]
    fn spliced_messages_are_refused_or_read(bytes in spliced()) {
        survive(&bytes);
    }
}

#[test]
fn crashes_of_the_past() {
    let lines = include_str!("cases/crashes.txt").lines();
    for line in lines.filter(|l| !l.is_empty() && !l.starts_with('#')) {
        survive(&unhex(line));
    }
}

#[test]
fn every_pair_of_octets_of_what_we_write_lies_and_is_cut() {
    // What the encoder makes of each known message, in every version that has it: the shortest ones, for time.
    let mut made = 0;
    for bytes in known() {
        let Ok((header, message)) = Message::decode(&bytes, &readers()[0]) else {
            continue;
        };
        for version in Version::ALL {
            let Some(ours) = message.encode(&EncodeCx::version_only(version), header.xid) else {
                continue;
            };
            if ours.len() > 96 {
                continue;
            }
            made += 1;
            for at in 0..ours.len() {
                survive(&with_length(ours[..at].to_vec()));
            }
            for at in 0..ours.len() - 1 {
                for lie in [0_u16, 7, 8, 0xffff] {
                    let mut wrong = ours.clone();
                    wrong[at..at + 2].copy_from_slice(&lie.to_be_bytes());
                    survive(&wrong);
                }
            }
        }
    }
    assert!(made > 150, "{made}");
}
