//! Why a packet was sent to the controller (`ofp_packet_in_reason` of OpenFlow 1.4).

/// No flow matched.
pub const NO_MATCH: u8 = 0;
/// A flow's output to the controller.
pub const ACTION: u8 = 1;
/// A TTL ran out.
pub const INVALID_TTL: u8 = 2;
/// Output to the controller in an action set.
pub const ACTION_SET: u8 = 3;
/// Output to the controller in a group bucket.
pub const GROUP: u8 = 4;
/// Output to the controller in a packet-out.
pub const PACKET_OUT: u8 = 5;
/// Internal: a miss flow asked for it; sent as [`NO_MATCH`] or [`ACTION`].
pub const EXPLICIT_MISS: u8 = 6;
/// Internal: a table without miss flow; sent as [`NO_MATCH`].
pub const IMPLICIT_MISS: u8 = 7;

const NAMES: [&str; 8] = [
    "no_match",
    "action",
    "invalid_ttl",
    "action_set",
    "group",
    "packet_out",
    "",
    "",
];

/// The name in actions; the number when it has none.
#[must_use]
pub fn name(reason: u8) -> String {
    match NAMES.get(usize::from(reason)) {
        Some(&n) => n.to_owned(),
        None => reason.to_string(),
    }
}

/// The reason of a name, letter case ignored.
#[must_use]
pub fn from_name(s: &str) -> Option<u8> {
    let at = NAMES.iter().position(|n| n.eq_ignore_ascii_case(s))?;
    u8::try_from(at).ok()
}
