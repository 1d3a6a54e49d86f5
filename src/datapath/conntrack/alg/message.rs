//! FTP messages that announce a data connection: `PORT` and `227` (RFC 959), `EPRT` and `229` (RFC 2428).
//!
//! Only the beginning of a segment is looked at, as the peer does: messages are short.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// Octets of a message that are looked at.
const LONGEST: usize = 128;

/// A data connection is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) port: u16,
    /// The address that is named, and where in the payload.
    pub(super) addr: Option<(IpAddr, Range<usize>)>,
    /// The server listens; else the client does.
    pub(super) by_server: bool,
    /// The address is written with commas.
    pub(super) commas: bool,
}

/// It looks like such a message, but is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A message's text, read from the front.
struct Text<'a> {
    all: &'a str,
    at: usize,
}

impl<'a> Text<'a> {
    fn rest(&self) -> &'a str {
        self.all.get(self.at..).unwrap_or_default()
    }
    /// Goes on behind the next `c`.
    fn past(&mut self, c: char) -> Result<(), Malformed> {
        let n = self.rest().find(c).ok_or(Malformed)?;
        self.at += n + c.len_utf8();
        Ok(())
    }
    /// Goes on to the next digit.
    fn skip_to_digit(&mut self) -> Result<(), Malformed> {
        let digit = |c: char| c.is_ascii_digit();
        self.at += self.rest().find(digit).ok_or(Malformed)?;
        Ok(())
    }
    fn number(&mut self, max: u32) -> Result<u32, Malformed> {
        let rest = self.rest();
        let n = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let value: u32 = rest[..n].parse().map_err(|_| Malformed)?;
        self.at += n;
        if value > max {
            return Err(Malformed);
        }
        Ok(value)
    }
    fn expect(&mut self, c: char) -> Result<(), Malformed> {
        if !self.rest().starts_with(c) {
            return Err(Malformed);
        }
        self.at += c.len_utf8();
        Ok(())
    }
    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let n = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += n;
        &rest[..n]
    }
}

fn begins(text: &str, word: &str) -> bool {
    text.get(..word.len())
        .is_some_and(|t| t.eq_ignore_ascii_case(word))
}

/// Reads a segment's payload. `None`: it announces nothing.
pub(super) fn read(payload: &[u8], v6: bool) -> Result<Option<Announcement>, Malformed> {
    let start = payload.get(..LONGEST.min(payload.len())).unwrap_or(payload);
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&start[..e.valid_up_to()]).unwrap_or_default(),
    };
    let mut t = Text { all: text, at: 0 };
    let found = if begins(text, "PORT") && !v6 {
        t.at = 4;
        six_numbers(&mut t, false)?
    } else if begins(text, "227") && !v6 {
        t.at = 3;
        six_numbers(&mut t, true)?
    } else if begins(text, "EPRT") {
        t.at = 4;
        extended(&mut t, v6)?
    } else if begins(text, "229") {
        passive(&mut t)?
    } else {
        return Ok(None);
    };
    Ok(Some(found))
}

/// ` h1,h2,h3,h4,p1,p2`, with anything in front of the first digit.
fn six_numbers(t: &mut Text<'_>, by_server: bool) -> Result<Announcement, Malformed> {
    t.past(' ')?;
    t.skip_to_digit()?;
    let from = t.at;
    let mut octets = [0; 4];
    let mut to = from;
    for (i, o) in octets.iter_mut().enumerate() {
        if i > 0 {
            t.expect(',')?;
        }
        *o = t.number(255)? as u8;
        to = t.at;
    }
    t.expect(',')?;
    let high = t.number(255)?;
    t.expect(',')?;
    let low = t.number(255)?;
    Ok(Announcement {
        port: (high << 8 | low) as u16,
        addr: Some((IpAddr::V4(Ipv4Addr::from(octets)), from..to)),
        by_server,
        commas: true,
    })
}

/// ` <d>1|2<d>address<d>port<d>`.
fn extended(t: &mut Text<'_>, v6: bool) -> Result<Announcement, Malformed> {
    t.past(' ')?;
    let d = t.rest().chars().next().ok_or(Malformed)?;
    t.expect(d)?;
    let family = t.number(2)?;
    t.expect(d)?;
    let from = t.at;
    let addr: IpAddr = t
        .take(|c| c.is_ascii_hexdigit() || c == ':' || c == '.')
        .parse()
        .map_err(|_| Malformed)?;
    let to = t.at;
    if addr.is_ipv6() != (family == 2) || addr.is_ipv6() != v6 {
        return Err(Malformed);
    }
    t.expect(d)?;
    let port = t.number(65_535)? as u16;
    Ok(Announcement {
        port,
        addr: Some((addr, from..to)),
        by_server: false,
        commas: false,
    })
}

/// `...(<d><d><d>port<d>)`.
fn passive(t: &mut Text<'_>) -> Result<Announcement, Malformed> {
    t.past('(')?;
    t.skip_to_digit()?;
    let port = t.number(65_535)? as u16;
    Ok(Announcement {
        port,
        addr: None,
        by_server: true,
        commas: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        let port = |text: &str, v6| read(text.as_bytes(), v6).map(|a| a.map(|a| a.port));
        assert_eq!(port("PORT 10,1,1,1,4,1\r\n", false), Ok(Some(1025)));
        assert_eq!(port("port 10,1,1,1,4,1\r\n", false), Ok(Some(1025)));
        assert_eq!(
            port("227 Entering Passive Mode (10,1,1,2,200,10).\r\n", false),
            Ok(Some(51_210))
        );
        assert_eq!(port("EPRT |2|fc00::1|1030|\r\n", true), Ok(Some(1030)));
        assert_eq!(port("EPRT |1|10.1.1.1|1030|\r\n", false), Ok(Some(1030)));
        assert_eq!(
            port("229 Entering Extended Passive Mode (|||6446|)\r\n", true),
            Ok(Some(6446))
        );
        for other in ["USER x\r\n", "226 done", "", "POR"] {
            assert_eq!(port(other, false), Ok(None));
        }
        for bad in [
            "PORT\r\n",
            "PORT 10,1,1,1,4\r\n",
            "PORT 10,1,1,256,4,1",
            "PORT 10,1,1,1,4,999",
            "227 x",
            "EPRT |1|fc00::1|1|",
            "EPRT |1|10.1.1.1|70000|",
            "EPRT ",
            "229 (|||x|)",
        ] {
            assert_eq!(port(bad, false), Err(Malformed), "{bad}");
        }
        let a = read(b"PORT 10,1,1,1,4,1\r\n", false).unwrap().unwrap();
        assert_eq!(a.addr.unwrap().1, 5..13);
    }

    #[test]
    fn any_bytes() {
        for byte in 0..=255u8 {
            for word in ["PORT ", "227 (", "EPRT ", "229 ("] {
                let mut text = word.as_bytes().to_vec();
                text.extend([byte, b'1', byte, 0xff]);
                let _ = read(&text, byte % 2 == 0);
            }
        }
    }
}
