//! Messages against golden vectors: `cases/messages.txt` has messages of Open vSwitch's tests with the text
//! that `ovs-ofctl ofp-print` of Open vSwitch 3.1 says of them.

use openflow::{DecodeCx, EncodeCx, Header, Message, PacketInFormat, Protocols, Raw, Version};

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
