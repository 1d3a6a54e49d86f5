//! The few fields of an X.509 certificate (RFC 5280 section 4.1) that TLS itself does not need but people do: names,
//! and for how long it holds.
//!
//! A certificate comes from the peer: every length is checked, nothing is believed beyond its own encoding.

use rustls_pki_types::UnixTime;

/// Tags (X.690 section 8).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Attributes of a name, by the last bytes of their object identifiers 2.5.4.x.
const ATTRIBUTES: [(u8, &str); 6] = [
    (3, "CN"),
    (6, "C"),
    (7, "L"),
    (8, "ST"),
    (10, "O"),
    (11, "OU"),
];

/// What is read of a certificate. Names are encoded as they stand in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    not_before: i64,
    not_after: i64,
}

/// Takes one element: its tag, its content, and what follows.
fn take(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let n = usize::from(first & 0x7f);
        if n == 0 || n > 4 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(n)?;
        let len = bytes.iter().fold(0usize, |l, b| l << 8 | usize::from(*b));
        (len, rest)
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// Takes an element of this tag.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (got, content, rest) = take(der)?;
    (got == tag).then_some((content, rest))
}

impl<'a> Fields<'a> {
    /// Reads a certificate.
    pub(super) fn of(der: &'a [u8]) -> Option<Self> {
        let (certificate, _) = expect(SEQUENCE, der)?;
        let (tbs, _) = expect(SEQUENCE, certificate)?;
        let tbs = expect(VERSION, tbs).map_or(tbs, |(_, rest)| rest);
        let (_, tbs) = expect(INTEGER, tbs)?;
        let (_, tbs) = expect(SEQUENCE, tbs)?;
        let (issuer, tbs) = expect(SEQUENCE, tbs)?;
        let (validity, tbs) = expect(SEQUENCE, tbs)?;
        let (subject, _) = expect(SEQUENCE, tbs)?;
        let (tag, text, rest) = take(validity)?;
        let not_before = time(tag, text)?;
        let (tag, text, _) = take(rest)?;
        let not_after = time(tag, text)?;
        Some(Self {
            issuer,
            subject,
            not_before,
            not_after,
        })
    }

    /// Issued by whom it is about.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether it has begun to hold, and whether it still does.
    pub(super) fn holds(&self, now: UnixTime) -> (bool, bool) {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        (now >= self.not_before, now <= self.not_after)
    }

    /// The subject as OpenSSL prints it on a line: `/C=US/CN=x`.
    pub(super) fn oneline(&self) -> String {
        let mut out = String::new();
        for (kind, value) in attributes(self.subject) {
            let name = ATTRIBUTES.iter().find(|(n, _)| *n == kind);
            let name = name.map_or_else(|| format!("2.5.4.{kind}"), |(_, n)| (*n).to_owned());
            out.push_str(&format!("/{name}={}", printable(value)));
        }
        out
    }

    /// The subject's common name.
    pub(super) fn common_name(&self) -> Option<String> {
        let found = attributes(self.subject).find(|(kind, _)| *kind == 3);
        found.map(|(_, value)| printable(value))
    }
}

/// Attributes 2.5.4.x of a name, and their values' bytes.
fn attributes(mut name: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (set, rest) = expect(SET, name)?;
            name = rest;
            let attribute = expect(SEQUENCE, set).and_then(|(pair, _)| {
                let (oid, value) = expect(OID, pair)?;
                let (_, value, _) = take(value)?;
                match oid {
                    [0x55, 4, kind] => Some((*kind, value)),
                    _ => None,
                }
            });
            if attribute.is_some() {
                return attribute;
            }
        }
    })
}

/// Text for the log: what is no printable ASCII is shown as OpenSSL does.
fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| match b {
            b' '..=b'~' => char::from(*b).to_string(),
            _ => format!("\\x{b:02X}"),
        })
        .collect()
}

/// Seconds since 1970 of `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let yy: i64 = text[..2].parse().ok()?;
            (if yy < 50 { 2000 + yy } else { 1900 + yy }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let n = |i: usize| rest[i * 2..i * 2 + 2].parse::<i64>().ok();
    let (month, day) = (n(0)?, n(1)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + n(2)? * 3600 + n(3)? * 60 + n(4)?)
}

/// Days since 1970 of a day of the Gregorian calendar; years begin in March here, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let m = (month + 9) % 12;
    let whole = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    whole + (153 * m + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn times() {
        assert_eq!(time(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(
            time(GENERALIZED_TIME, b"20260228235959Z"),
            Some(1_772_323_199)
        );
        assert_eq!(time(UTC_TIME, b"000301000000Z"), Some(951_868_800));
        for bad in [
            "",
            "Z",
            "700101000000",
            "7001010000000Z",
            "701301000000Z",
            "70010100000xZ",
        ] {
            assert_eq!(time(UTC_TIME, bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_certificate_that_openssl_made() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("c.der");
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args([
                "-subj",
                "/C=US/O=Open vSwitch/CN=a\u{1}b",
                "-days",
                "2",
                "-outform",
                "der",
            ])
            .arg("-keyout")
            .arg(dir.path().join("k.pem"))
            .arg("-out")
            .arg(&out)
            .output();
        assert!(
            made.expect("openssl is installed by scripts/test")
                .status
                .success()
        );
        let der = std::fs::read(out).unwrap();
        let fields = Fields::of(&der).unwrap();
        assert!(fields.is_self_issued());
        assert_eq!(fields.oneline(), "/C=US/O=Open vSwitch/CN=a\\x01b");
        assert_eq!(fields.common_name().as_deref(), Some("a\\x01b"));
        assert_eq!(fields.holds(UnixTime::now()), (true, true));
        let later = UnixTime::now().as_secs() + 3 * 86_400;
        let later = UnixTime::since_unix_epoch(Duration::from_secs(later));
        assert_eq!(fields.holds(later), (true, false));
        for cut in 0..der.len() {
            assert!(Fields::of(&der[..cut]).is_none(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            if let Some(f) = Fields::of(&bytes) {
                drop(f.oneline());
            }
        }
    }
}
