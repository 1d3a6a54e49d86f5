//! Messages against golden vectors: `cases/messages.txt` has messages of Open vSwitch's tests with the text
//! that `ovs-ofctl ofp-print` of Open vSwitch 3.1 says of them.

use openflow::{
    DecodeCx, Duration, EncodeCx, GroupStats, Header, Message, PacketInFormat, Protocols, Raw,
    Version,
};

struct Case {
    title: &'static str,
    bytes: Vec<u8>,
    text: String,
}

fn cases() -> Vec<Case> {
    let mut out: Vec<Case> = Vec::new();
    let mut title = "";
    for line in include_str!("cases/messages.txt").lines() {
        if let Some(t) = line.strip_prefix("= ") {
            title = t;
        } else if let Some(text) = line.strip_prefix('|') {
            let case = out.last_mut().expect("a case");
            case.text.push_str(text);
            case.text.push('\n');
        } else {
            let (_verbosity, hex) = line.split_once(' ').expect("a case");
            out.push(Case {
                title,
                bytes: unhex(hex),
                text: String::new(),
            });
        }
    }
    out
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes that are written otherwise than these were: fields in another order, bits nobody has, wildcarded
/// values, hellos of a newer version, unknown masks, Netronome's other number.
const OTHERWISE: &[&str] = &[
    "OFPT_HELLO with extra data",
    "OFPT_HELLO with version bitmap",
    "OFPT_HELLO with version bitmap and extra data",
    "OFPT_HELLO with contradictory version bitmaps",
    "OFPT_FEATURES_REPLY - OF1.2",
    "OFPT_FEATURES_REPLY - OF1.3",
    "OFPT_FEATURES_REPLY - with auxiliary_id - OF1.3",
    "OFPT_FLOW_REMOVED - OF1.5",
    "OFPT_PACKET_OUT - OF1.0",
    "OFPT_PACKET_OUT - OF1.5",
    "OFPT_FLOW_MOD - OF1.0 - low verbosity",
    "OFPT_FLOW_MOD - OF1.0 - high verbosity",
    "OFPT_FLOW_MOD - OF1.2 - experimenter OXM",
    "OFPST_FLOW request - OF1.0",
    "OFPST_FLOW reply - OF1.0",
    "OFPST_AGGREGATE request - OF1.0",
    "OFPST_AGGREGATE request - OF1.5",
    "OFPST_AGGREGATE reply - OF1.5",
    "OFPST_PORT reply - OF1.4",
    "NXT_FLOW_REMOVED",
    "NXT_PACKET_IN",
    "NXT_PACKET_IN, with hex output of packet data",
    "NXT_RESUME",
    "NXST_FLOW reply",
    "NXST_GROUP_DESC reply - OF1.0",
    "OFPST_GROUP_DESC reply - OF1.5",
    "OFPST_TABLE_FEATURES request - OF1.3",
    "OFPT_QUEUE_GET_CONFIG_REPLY - OF1.2",
    "OFPT_QUEUE_GET_CONFIG_REPLY - OF1.3",
    "OFPT_SET_ASYNC - OF1.3",
    "NXT_SET_ASYNC_CONFIG",
    "FLOW_MONITOR_CANCEL",
    "NXT_GROUP_MOD add - OF1.0",
    "OFPT_GROUP_MOD add - OF1.5",
    "FLOW_MONITOR request",
    "NXT_CT_FLUSH",
];

/// As one who prints messages reads them.
fn loose() -> DecodeCx<'static> {
    DecodeCx {
        loose: true,
        ..DecodeCx::default()
    }
}

#[test]
fn decoding_agrees_with_open_vswitch() {
    let mut wrong = 0;
    for case in cases() {
        if case.bytes.get(2..4) != Some(&(case.bytes.len() as u16).to_be_bytes()) {
            continue;
        }
        let expected = case.text.split_once("***decode error: ");
        let expected = expected.and_then(|(_, t)| t.split_once("***")).map(|e| e.0);
        let problem = match (Message::decode(&case.bytes, &loose()), expected) {
            (Err(e), Some(expected)) if e.name() == expected => None,
            (Ok((header, message)), None) => differs(&case, &header, &message),
            (ours, theirs) => Some(format!("{ours:?}\n  {theirs:?}")),
        };
        if let Some(problem) = problem {
            wrong += 1;
            println!("{}:\n  {}\n  {problem}", case.title, hex(&case.bytes));
        }
    }
    assert!(wrong == 0, "{wrong} messages are read or written otherwise");
}

/// What is wrong with the bytes that a message is written as.
fn differs(case: &Case, header: &Header, message: &Message) -> Option<String> {
    let version = Version::from_wire(header.version)?;
    let nx = header.raw.name().starts_with("NX");
    let mut cx = EncodeCx::new(Protocols::initial(version).with_nxm(nx));
    cx.packet_in_format = match header.raw {
        Raw::NxtPacketIn => PacketInFormat::Nxt,
        Raw::NxtPacketIn2 => PacketInFormat::Nxt2,
        _ => PacketInFormat::Standard,
    };
    let bytes = message.encode(&cx, header.xid)?;
    match Message::decode(&bytes, &loose()) {
        Ok((again, same)) if same == *message && again.xid == header.xid => {}
        other => return Some(format!("{message:?} became {other:?}")),
    }
    let known = OTHERWISE.contains(&case.title);
    (bytes != case.bytes && !known).then(|| format!("{}\n  {message:?}", hex(&bytes)))
}

#[test]
fn headers_are_printed_as_by_open_vswitch() {
    let mut printed = 0;
    for case in cases() {
        // Only messages that are broken as a whole have no header in their text.
        if let Ok(header) = Header::decode(&case.bytes)
            && !case.text.starts_with("(***")
        {
            let text = header.to_string();
            assert!(case.text.starts_with(&text), "{}: {text}", case.title);
            printed += 1;
        }
    }
    assert!(printed > 250, "{printed}");
}

/// Kinds of messages that are printed whole.
const PRINTED: [&str; 10] = [
    "OFPT_HELLO",
    "OFPT_FLOW_MOD",
    "NXT_FLOW_MOD ",
    "OFPT_BUNDLE_CONTROL",
    "ONFT_BUNDLE_CONTROL",
    "OFPST_FLOW request",
    "OFPST_AGGREGATE reply",
    "OFPT_ROLE_REQUEST",
    "NXT_SET_FLOW_FORMAT",
    "NXT_FLOW_MOD_TABLE_ID",
];

#[test]
fn bodies_are_printed_as_by_open_vswitch() {
    let (mut printed, mut wrong) = (0, 0);
    for case in cases() {
        let kind = PRINTED.iter().any(|k| case.text.starts_with(k));
        // Where it printed more than the log has, or found a fault, its text says so in its own way.
        let other = case.text.contains("***") || case.text.contains("00000000  ");
        if !kind || other || case.title.contains("high verbosity") {
            continue;
        }
        printed += 1;
        let ours = openflow::format_message(&case.bytes);
        if ours.trim_end() != case.text.trim_end() {
            wrong += 1;
            println!("{}:\n{ours}\n{}", case.title, case.text);
        }
    }
    assert!(
        printed > 15 && wrong == 0,
        "{wrong} of {printed} are printed otherwise"
    );
}

#[test]
fn actions_nested_as_deep_as_a_message_goes_are_refused_or_read() {
    // A flow mod of OpenFlow 1.3 for any packet: apply-actions, then clone in clone in clone.
    for depth in [1, 16, 99, 1000, 4000] {
        let acts_len = 16 * depth;
        let mut b = vec![4, 14, 0, 0, 0, 0, 0, 1];
        b.extend([0; 16]);
        b.extend([0, 0, 0, 0, 0, 0, 0x80, 0]);
        b.extend([0xff; 12]);
        b.extend([0; 4]);
        b.extend([0, 1, 0, 4, 0, 0, 0, 0]);
        b.extend([0, 4]);
        b.extend(u16::try_from(acts_len + 8).expect("fits").to_be_bytes());
        b.extend([0; 4]);
        for level in 0..depth {
            let len = u16::try_from(acts_len - 16 * level).expect("fits");
            b.extend([0xff, 0xff]);
            b.extend(len.to_be_bytes());
            b.extend([0, 0, 0x23, 0x20, 0, 42, 0, 0, 0, 0, 0, 0]);
        }
        let len = u16::try_from(b.len()).expect("fits");
        b[2..4].copy_from_slice(&len.to_be_bytes());
        survive(&b);
        assert!(depth > 1 || Message::decode(&b, &loose()).is_ok());
    }
}

/// Reads a message both ways; what is read is written in every version, and shown. Nothing may panic.
fn survive(bytes: &[u8]) {
    assert!(!openflow::format_message(bytes).is_empty());
    for cx in [loose(), DecodeCx::default()] {
        if let Ok((header, message)) = Message::decode(bytes, &cx) {
            for version in Version::ALL {
                let _ = message.encode(&EncodeCx::version_only(version), header.xid);
            }
        }
    }
}

#[test]
fn cut_messages_are_refused_or_read() {
    for case in cases() {
        for len in 0..case.bytes.len() {
            let mut cut = case.bytes[..len].to_vec();
            survive(&cut);
            if let Some(field) = cut.get_mut(2..4) {
                field.copy_from_slice(&(len as u16).to_be_bytes());
                survive(&cut);
            }
        }
    }
}

#[test]
fn lying_numbers_are_refused_or_read() {
    // Any pair of octets may be a length.
    for case in cases().iter().filter(|c| c.bytes.len() <= 400) {
        for at in (0..case.bytes.len().saturating_sub(1)).step_by(2) {
            for lie in [0_u16, 1, 3, 4, 7, 8, 9, 16, 0x7fff, 0xfff8, 0xffff] {
                let mut bytes = case.bytes.clone();
                bytes[at..at + 2].copy_from_slice(&lie.to_be_bytes());
                survive(&bytes);
            }
        }
    }
}

#[test]
fn long_replies_are_split_between_entries() {
    let group = |id| GroupStats {
        group_id: id,
        ref_count: 1,
        packet_count: 2,
        byte_count: 3,
        duration: Duration { sec: 4, nsec: 5 },
        buckets: vec![(6, 7); 100],
    };
    let groups: Vec<_> = (0..200).map(group).collect();
    let cx = EncodeCx::version_only(Version::V13);
    let sent = Message::GroupStatsReply(groups.clone()).encode(&cx, 9);
    let sent = sent.expect("OpenFlow 1.3 has groups");
    let (mut rest, mut got, mut parts) = (&sent[..], Vec::new(), 0);
    while !rest.is_empty() {
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let (part, more) = rest.split_at(len);
        let (header, message) = Message::decode(part, &loose()).expect("our own");
        assert_eq!((header.xid, header.more), (9, !more.is_empty()));
        let Message::GroupStatsReply(some) = message else {
            panic!("{message:?}");
        };
        got.extend(some);
        parts += 1;
        rest = more;
    }
    assert_eq!(got, groups);
    assert!(parts > 1);
}
