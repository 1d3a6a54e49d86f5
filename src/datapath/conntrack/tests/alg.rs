//! FTP and TFTP: announced connections are related, translated like their parents, and gone with them.

use super::*;

const CLIENT: [u8; 4] = [10, 1, 1, 1];
const SERVER: [u8; 4] = [10, 1, 1, 2];
const SHOWN: [u8; 4] = [10, 1, 1, 240];
const ACK: u16 = 0x18;

fn ftp(mut action: CtAction) -> CtAction {
    action.helper = Some("ftp".into());
    action
}

/// A segment with this text.
fn says(ends: Ends, seqs: (u32, u32), text: &str) -> Vec<u8> {
    let mut p = segment(ends, ACK, seqs, text.len());
    let at = p.len() - text.len();
    p[at..].copy_from_slice(text.as_bytes());
    refresh(&mut p);
    p
}

fn text_of(p: &[u8]) -> &str {
    std::str::from_utf8(&p[54..]).unwrap()
}

fn seqs(p: &[u8]) -> (u32, u32) {
    let four = |i: usize| u32::from_be_bytes([p[i], p[i + 1], p[i + 2], p[i + 3]]);
    (four(38), four(42))
}

#[test]
fn active_behind_source_translation() {
    let net = Net::new();
    let snat = ftp(natted(true, SHOWN, SHOWN, None));
    let there = (CLIENT, 1000, SERVER, 21);
    let back_ends = (SERVER, 21, SHOWN, 1000);
    net.send(&snat, &segment(there, 2, (99, 0), 0), None);
    net.send(&back(1), &segment(back_ends, 0x12, (499, 100), 0), None);
    let port = says(there, (100, 500), "PORT 10,1,1,1,8,1\r\n");
    let (meta, p) = net.send(&back(1), &port, None);
    assert_eq!(names(meta.state), "est|trk|snat");
    assert_eq!(text_of(&p), "PORT 10,1,1,240,8,1\r\n");
    assert_eq!((l4_sum(&p), p.len()), (0, port.len() + 2));
    assert_eq!(
        usize::from(u16::from_be_bytes([p[16], p[17]])),
        p.len() - 14
    );
    // What follows is shifted by two; what is acknowledged, back.
    let (meta, p) = net.send(&back(1), &segment(back_ends, ACK, (500, 121), 0), None);
    assert_eq!(
        (names(meta.state).as_str(), seqs(&p)),
        ("est|rpl|trk|dnat", (500, 119))
    );
    assert_eq!(l4_sum(&p), 0);
    let (meta, p) = net.send(&back(1), &says(there, (119, 500), "LIST\r\n"), None);
    assert_eq!(
        (names(meta.state).as_str(), seqs(&p)),
        ("est|trk|snat", (121, 500))
    );
    // The message once more: changed again, shifted by nothing.
    let (_, p) = net.send(&back(1), &port, None);
    assert_eq!(
        (text_of(&p), seqs(&p)),
        ("PORT 10,1,1,240,8,1\r\n", (100, 500))
    );
    // The server calls.
    let data = segment((SERVER, 20, SHOWN, 2049), 2, (7, 0), 0);
    assert_eq!(net.state(&track(1), &data), "new|rel|trk");
    let (meta, p) = net.send(
        &CtAction {
            nat: Some(NatAction::default()),
            ..commit(1)
        },
        &data,
        None,
    );
    assert_eq!(names(meta.state), "new|rel|trk|dnat");
    assert_eq!((&p[30..34], l4_sum(&p)), (&CLIENT[..], 0));
    let flow::CtTuple::V4 { tp_dst, .. } = meta.tuple else {
        panic!("the parent is shown");
    };
    assert_eq!(tp_dst, 21);
    let answer = segment((CLIENT, 2049, SERVER, 20), 0x12, (9, 8), 0);
    let (meta, p) = net.send(&back(1), &answer, None);
    assert_eq!(
        (names(meta.state).as_str(), &p[26..30]),
        ("est|rel|rpl|trk|snat", &SHOWN[..])
    );
    assert_eq!(net.control.conns(), 2);
    assert!(
        net.dump().iter().any(|l| l.ends_with(",helper=ftp")),
        "{:?}",
        net.dump()
    );
    // With the parent go its announcements.
    net.control.flush(None);
    assert_eq!(net.state(&track(1), &data), "new|trk");
}

#[test]
fn passive_behind_destination_translation() {
    let net = Net::new();
    let dnat = ftp(natted(false, SERVER, SERVER, None));
    net.send(
        &dnat,
        &segment((CLIENT, 1000, SHOWN, 21), 2, (99, 0), 0),
        None,
    );
    let back_ends = (SERVER, 21, CLIENT, 1000);
    net.send(&back(1), &segment(back_ends, 0x12, (499, 100), 0), None);
    let reply = says(
        back_ends,
        (500, 100),
        "227 Entering Passive Mode (10,1,1,2,8,1).\r\n",
    );
    let (meta, p) = net.send(&back(1), &reply, None);
    assert_eq!(names(meta.state), "est|rpl|trk|snat");
    assert_eq!(
        text_of(&p),
        "227 Entering Passive Mode (10,1,1,240,8,1).\r\n"
    );
    let data = segment((CLIENT, 1001, SHOWN, 2049), 2, (7, 0), 0);
    let (meta, p) = net.send(
        &CtAction {
            nat: Some(NatAction::default()),
            ..commit(1)
        },
        &data,
        None,
    );
    assert_eq!(
        (names(meta.state).as_str(), &p[30..34]),
        ("new|rel|trk|dnat", &SERVER[..])
    );
}

#[test]
fn somebody_elses_address_is_not_announced() {
    let net = Net::new();
    let there = (CLIENT, 1000, SERVER, 21);
    net.send(&ftp(commit(1)), &segment(there, 2, (99, 0), 0), None);
    for text in ["PORT 10,9,9,9,8,1\r\n", "PORT x\r\n"] {
        let state = net.state(&track(1), &says(there, (100, 500), text));
        assert!(state.contains("inv"), "{text}: {state}");
    }
    assert_eq!(
        net.state(
            &track(1),
            &segment((SERVER, 20, CLIENT, 2049), 2, (7, 0), 0)
        ),
        "new|trk"
    );
    // Without the helper nobody listens.
    let net = Net::new();
    net.send(&commit(1), &segment(there, 2, (99, 0), 0), None);
    net.send(
        &track(1),
        &says(there, (100, 500), "PORT 10,1,1,1,8,1\r\n"),
        None,
    );
    assert_eq!(
        net.state(
            &track(1),
            &segment((SERVER, 20, CLIENT, 2049), 2, (7, 0), 0)
        ),
        "new|trk"
    );
}

#[test]
fn tftp_answers_from_another_port() {
    let net = Net::new();
    let action = CtAction {
        helper: Some("tftp".into()),
        mark: Some((5, 7)),
        ..commit(0)
    };
    net.send(&action, &udp((CLIENT, 3000, SERVER, 69)), None);
    let data = udp((SERVER, 4000, CLIENT, 3000));
    let (meta, _) = net.send(&commit(0), &data, None);
    assert_eq!((names(meta.state).as_str(), meta.mark), ("new|rel|trk", 5));
    // An announced connection keeps its parent's mark.
    let set = CtAction {
        mark: Some((9, u32::MAX)),
        ..track(0)
    };
    let (meta, _) = net.send(&set, &data, None);
    assert_eq!((names(meta.state).as_str(), meta.mark), ("new|rel|trk", 5));
}
