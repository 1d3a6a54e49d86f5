//! Packets as commands take them: hexadecimal bytes, or a flow in datapath or OpenFlow syntax.

use flow::compose::Payload;
use flow::dpkey::{NoOdpNames, OdpKey, OdpNames};
use flow::{Flow, compose};

/// Bytes of an Ethernet header.
const ETH_HEADER: usize = 14;

/// Bytes written in hexadecimal, blanks allowed.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let nibble = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    digits
        .chunks(2)
        .map(|pair| match pair {
            [a, b] => Some(nibble(*a)? << 4 | nibble(*b)?),
            _ => None,
        })
        .collect()
}

/// A packet written in hexadecimal.
///
/// # Errors
/// What is wrong with it, in the peer's words.
pub(super) fn packet(text: &str) -> Result<Vec<u8>, &'static str> {
    match bytes(text) {
        None => Err("Trailing garbage in packet data"),
        Some(p) if p.len() < ETH_HEADER => Err("Packet data too short for Ethernet"),
        Some(p) => Ok(p),
    }
}

/// A packet made from a flow in datapath syntax, or else in OpenFlow syntax; with `size` it is filled up to so
/// many bytes.
///
/// # Errors
/// What is wrong with the flow.
pub(super) fn from_flow(text: &str, size: usize) -> Result<Vec<u8>, String> {
    let flow = match datapath_flow(text, &NoOdpNames) {
        Ok(flow) => flow,
        Err(first) => {
            let parsed = flow::text::ExactFlow::parse(text, &flow::NoNames, None);
            parsed.map_err(|_| first.to_string())?.flow
        }
    };
    let payload = if size > 0 { 0 } else { 64 };
    let mut packet = compose::compose(&flow, Payload::Counting(payload));
    if size > 0 {
        compose::expand(&mut packet, &flow, size);
    }
    Ok(packet)
}

/// A flow in datapath syntax.
///
/// # Errors
/// What is wrong with it.
pub(super) fn datapath_flow(text: &str, names: &dyn OdpNames) -> Result<Flow, String> {
    OdpKey::parse(text, names)
        .map(|(key, _)| key.flow)
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal() {
        assert_eq!(bytes("0a 0B\n"), Some(vec![10, 11]));
        assert_eq!(bytes("0a0"), None);
        assert!(packet("00").is_err() && packet("zz").is_err() && packet(&"00".repeat(14)).is_ok());
    }

    #[test]
    fn flows_in_both_syntaxes() {
        let p = from_flow("in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x0800),ipv4(src=192.168.0.1,dst=192.168.0.2,proto=1,tos=0,ttl=64,frag=no),icmp(type=8,code=0)", 0).unwrap();
        assert_eq!(&p[..6], &[0x50, 0x54, 0, 0, 0, 7]);
        let q = from_flow(
            "icmp,dl_src=50:54:00:00:00:05,dl_dst=50:54:00:00:00:07",
            200,
        )
        .unwrap();
        assert_eq!(q.len(), 200);
        assert!(from_flow("nonsense", 0).is_err());
    }
}
