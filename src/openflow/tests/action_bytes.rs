//! Actions and instructions as bytes: golden vectors, every cut, lengths that lie, bombs.

use openflow::{
    Acts, Names, OfpError, Version, decode_actions, decode_instructions, encode_actions,
    encode_instructions, format_actions, parse_instructions,
};

fn hex(s: &str) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).expect("hex") as u8;
    let pairs = s.as_bytes().chunks(2);
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

struct Case {
    actions: bool,
    version: Version,
    bytes: Vec<u8>,
    want: &'static str,
    again: Option<Vec<u8>>,
}

fn cases() -> impl Iterator<Item = Case> {
    let lines = include_str!("cases/action_bytes.txt").lines();
    lines.filter(|l| !l.starts_with('#')).map(|line| {
        let mut cells = line.split('\t');
        let mut cell = || cells.next();
        let kind = cell().expect("kind");
        Case {
            actions: kind.starts_with("acti"),
            version: Version::from_name(&format!("OpenFlow{}", &kind[4..])).expect("version"),
            bytes: hex(cell().expect("bytes")),
            want: cell().expect("text"),
            again: cell().map(hex),
        }
    })
}

impl Case {
    fn decode(&self, bytes: &[u8]) -> Result<Acts, OfpError> {
        match self.actions {
            true => decode_actions(bytes, self.version, None),
            false => decode_instructions(bytes, self.version, None),
        }
    }
    fn encode(&self, acts: &Acts) -> Vec<u8> {
        match self.actions {
            true => encode_actions(acts, self.version, None),
            false => encode_instructions(acts, self.version, None),
        }
    }
}

#[test]
fn golden() {
    let mut wrong = Vec::new();
    for case in cases() {
        let got = case.decode(&case.bytes);
        let text = match &got {
            Ok(acts) => format_actions(acts, Names::default()),
            Err(e) => format!("error: {e}"),
        };
        if text != case.want {
            wrong.push(format!(
                "{:02x?}\n  got {text}\n want {}",
                case.bytes, case.want
            ));
        } else if let Ok(acts) = got {
            let again = case.encode(&acts);
            let want = case.again.as_ref().unwrap_or(&case.bytes);
            if again != *want {
                wrong.push(format!("{text}\n  as {again:02x?}\n not {want:02x?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Cuts and lies give errors or actions that survive being encoded.
#[test]
fn hostile() {
    for case in cases() {
        for cut in 0..case.bytes.len() {
            let _ = case.decode(&case.bytes[..cut]);
        }
        for at in 0..case.bytes.len() {
            for lie in [0, 1, 4, 7, 8, 0x10, 0x7f, 0xff] {
                let mut bytes = case.bytes.clone();
                bytes[at] = lie;
                if let Ok(acts) = case.decode(&bytes) {
                    // Without a table, options have the length of what is in them.
                    let text = format_actions(&acts, Names::default()).to_lowercase();
                    if text.contains("tun_metadata") {
                        continue;
                    }
                    for version in Version::ALL {
                        let _ = encode_instructions(&acts, version, None);
                    }
                    let once = case.encode(&acts);
                    if let Ok(back) = case.decode(&once) {
                        assert_eq!(case.encode(&back), once, "{bytes:02x?}");
                    }
                }
            }
        }
    }
}

#[test]
fn bombs() {
    let mut bytes = Vec::new();
    for depth in (0..4000usize).rev() {
        let len = (16 * (4000 - depth)).min(65528) as u16;
        let mut clone = vec![
            0xff,
            0xff,
            (len >> 8) as u8,
            len as u8,
            0,
            0,
            0x23,
            0x20,
            0,
            42,
        ];
        clone.resize(16, 0);
        bytes = [clone, bytes].concat();
    }
    assert_eq!(
        decode_actions(&bytes, Version::V13, None),
        Err(OfpError::OFPBAC_TOO_MANY)
    );
}

#[test]
fn text_survives_every_version() {
    for line in include_str!("cases/actions.txt").lines() {
        let input = line.split('\t').next().unwrap_or("");
        let Ok(acts) = parse_instructions(input, Names::default()) else {
            continue;
        };
        let text = format_actions(&acts, Names::default());
        for version in Version::ALL {
            let bytes = encode_instructions(&acts, version, None);
            let Ok(back) = decode_instructions(&bytes, version, None) else {
                continue;
            };
            // Once through bytes, nothing changes any more.
            let again = encode_instructions(&back, version, None);
            assert_eq!(bytes, again, "{text} in {version}");
        }
    }
}
