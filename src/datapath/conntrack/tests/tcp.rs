//! TCP: opening, closing, windows, connections picked up in the middle.

use super::*;

const A: [u8; 4] = [10, 1, 1, 1];
const B: [u8; 4] = [10, 1, 1, 2];
const ENDS: Ends = (A, 1000, B, 80);

const FIN: u16 = 1;
const SYN: u16 = 2;
const RST: u16 = 4;
const ACK: u16 = 16;

fn phase(net: &Net) -> String {
    let line = net.dump().pop().unwrap_or_default();
    let at = line.find("state=").map_or(line.len(), |i| i + 6);
    line[at..].trim_end_matches(')').to_owned()
}

/// One connection's packets.
struct Talk(Net);

impl Talk {
    fn there(&self, flags: u16, seq: u32, ack: u32, len: usize) -> String {
        self.0
            .state(&commit(0), &segment(ENDS, flags, (seq, ack), len))
    }
    fn back(&self, flags: u16, seq: u32, ack: u32, len: usize) -> String {
        self.0
            .state(&track(0), &segment(turned(ENDS), flags, (seq, ack), len))
    }
    fn open() -> Self {
        let t = Self(Net::new());
        assert_eq!(t.there(SYN, 99, 0, 0), "new|trk");
        assert_eq!(phase(&t.0), "SYN_SENT");
        assert_eq!(t.back(SYN | ACK, 499, 100, 0), "est|rpl|trk");
        assert_eq!(t.there(ACK, 100, 500, 0), "est|trk");
        assert_eq!(phase(&t.0), "ESTABLISHED");
        t
    }
}

#[test]
fn a_life() {
    let t = Talk::open();
    assert_eq!(t.there(ACK, 100, 500, 200), "est|trk");
    assert_eq!(t.back(ACK, 500, 300, 100), "est|rpl|trk");
    assert_eq!(t.there(FIN | ACK, 300, 600, 0), "est|trk");
    assert_eq!(phase(&t.0), "CLOSING");
    assert_eq!(t.back(FIN | ACK, 600, 301, 0), "est|rpl|trk");
    assert_eq!(t.there(ACK, 301, 601, 0), "est|trk");
    assert_eq!(phase(&t.0), "TIME_WAIT");
    // The same ports again.
    assert_eq!(t.there(SYN, 5000, 0, 0), "new|trk");
    assert_eq!(phase(&t.0), "SYN_SENT");
    assert_eq!(t.0.control.conns(), 1);
}

#[test]
fn segments_out_of_the_window_do_not_belong() {
    let t = Talk::open();
    assert_eq!(t.there(ACK, 100 + 10_000_000, 500, 10), "inv|trk");
    assert_eq!(t.there(ACK, 100, 500 + 10_000_000, 10), "inv|trk");
    assert_eq!(t.there(RST, 400, 500, 0), "inv|trk", "a reset at random");
    t.0.control.set_tcp_seq_check(false);
    assert_eq!(t.there(ACK, 100 + 10_000_000, 500, 10), "est|trk");
    t.0.control.set_tcp_seq_check(true);
    let t = Talk::open();
    assert_eq!(t.there(RST, 100, 0, 0), "est|trk");
    assert_eq!(phase(&t.0), "TIME_WAIT");
}

#[test]
fn flags_that_contradict_each_other() {
    let t = Talk(Net::new());
    for flags in [SYN | RST, SYN | FIN, 0, FIN, 8] {
        assert_eq!(t.there(flags, 1, 1, 0), "inv|trk", "{flags:#x}");
    }
    assert_eq!(t.there(SYN | ACK, 1, 1, 0), "inv|trk", "half a handshake");
    let t = Talk::open();
    assert_eq!(t.there(SYN | FIN, 100, 500, 0), "inv|trk");
    assert_eq!(phase(&t.0), "ESTABLISHED");
}

#[test]
fn picked_up_in_the_middle() {
    let t = Talk(Net::new());
    assert_eq!(t.there(ACK, 1000, 7000, 100), "new|trk");
    assert_eq!(t.back(ACK, 7000, 1100, 50), "est|rpl|trk");
    assert_eq!(t.there(ACK, 1100, 7050, 0), "est|trk");
    assert_eq!(phase(&t.0), "ESTABLISHED");
    // Either end may have a window of a gigabyte.
    assert_eq!(t.back(ACK, 7050 + 1_000_000, 1100, 10), "est|rpl|trk");
}

#[test]
fn window_scale() {
    let net = Net::new();
    let with_scale = |ends, flags, seqs, scale: u8| {
        let mut p = segment(ends, flags, seqs, 0);
        p.extend([1, 3, 3, scale]);
        p[46] = 0x60;
        p[16..18].copy_from_slice(&44u16.to_be_bytes());
        p[24..26].fill(0);
        let sum = wire::checksum::checksum(&p[14..34]);
        p[24..26].copy_from_slice(&sum.to_be_bytes());
        refresh(&mut p);
        p
    };
    net.state(&commit(0), &with_scale(ENDS, SYN, (99, 0), 7));
    net.state(
        &track(0),
        &with_scale(turned(ENDS), SYN | ACK, (499, 100), 2),
    );
    net.state(&track(0), &segment(ENDS, ACK, (100, 500), 0));
    let mut line = String::new();
    format_entry(&mut line, &net.entries()[0], true, false);
    assert!(
        line.contains(
            "wscale_orig=7,wscale_reply=2,flags_orig=WINDOW_SCALE,flags_reply=WINDOW_SCALE"
        ),
        "{line}"
    );
    // A window of 1000 << 7: far more than 1000 octets may come.
    assert_eq!(
        net.state(
            &track(0),
            &segment(turned(ENDS), ACK, (500 + 100_000, 100), 1000)
        ),
        "est|rpl|trk"
    );
    // And only 1000 << 2 the other way.
    assert_eq!(
        net.state(&track(0), &segment(ENDS, ACK, (100 + 100_000, 500), 1000)),
        "inv|trk"
    );
}
