//! Addresses as Open vSwitch writes them: `unix:PATH`, `tcp:IP[:PORT]`, `ssl:IP[:PORT]`, and the listening
//! `punix:PATH`, `ptcp:[PORT][:IP]`, `pssl:[PORT][:IP]`.

use crate::stream::StreamError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where to connect to or listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `tcp:IP:PORT`.
    Tcp(SocketAddr),
    /// `ssl:IP:PORT`: TLS over TCP.
    Ssl(SocketAddr),
    /// `punix:PATH`.
    PassiveUnix(PathBuf),
    /// `ptcp:PORT:IP`.
    PassiveTcp(SocketAddr),
    /// `pssl:PORT:IP`.
    PassiveSsl(SocketAddr),
}

impl Address {
    /// Parses an address; relative paths are taken from `rundir`.
    ///
    /// # Errors
    /// [`StreamError::BadAddress`], naming the text.
    pub fn parse(text: &str, default_port: u16, rundir: &Path) -> Result<Self, StreamError> {
        let bad = || StreamError::BadAddress(text.to_owned());
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        let active = || parse_host_port(rest, default_port).ok_or_else(bad);
        let passive = || parse_port_host(rest, default_port).ok_or_else(bad);
        match kind {
            "unix" if !rest.is_empty() => Ok(Self::Unix(rundir.join(rest))),
            "punix" if !rest.is_empty() => Ok(Self::PassiveUnix(rundir.join(rest))),
            "tcp" => active().map(Self::Tcp),
            "ssl" => active().map(Self::Ssl),
            "ptcp" => passive().map(Self::PassiveTcp),
            "pssl" => passive().map(Self::PassiveSsl),
            _ => Err(bad()),
        }
    }

    /// The peer's address in a network, when this is one to connect to.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) | Self::Ssl(addr) => Some(*addr),
            _ => None,
        }
    }

    /// True for an address to listen on.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        matches!(
            self,
            Self::PassiveUnix(_) | Self::PassiveTcp(_) | Self::PassiveSsl(_)
        )
    }

    /// True where a peer can be out of reach without the kernel saying so.
    #[must_use]
    pub fn needs_probes(&self) -> bool {
        !matches!(self, Self::Unix(_) | Self::PassiveUnix(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(p) => write!(f, "unix:{}", p.display()),
            Self::PassiveUnix(p) => write!(f, "punix:{}", p.display()),
            Self::Tcp(a) => write!(f, "tcp:{a}"),
            Self::Ssl(a) => write!(f, "ssl:{a}"),
            Self::PassiveTcp(a) => passive(f, "ptcp", a),
            Self::PassiveSsl(a) => passive(f, "pssl", a),
        }
    }
}

fn passive(f: &mut fmt::Formatter<'_>, kind: &str, a: &SocketAddr) -> fmt::Result {
    match a.ip() {
        IpAddr::V4(ip) => write!(f, "{kind}:{}:{ip}", a.port()),
        IpAddr::V6(ip) => write!(f, "{kind}:{}:[{ip}]", a.port()),
    }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// `IP`, `IP:PORT`, `[IP6]`, `[IP6]:PORT`.
fn parse_host_port(text: &str, default_port: u16) -> Option<SocketAddr> {
    if let Some(ip) = parse_ip(text) {
        return Some(SocketAddr::new(ip, default_port));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(parse_ip(host)?, port.parse().ok()?))
}

/// ``, `PORT`, `PORT:IP`.
fn parse_port_host(text: &str, default_port: u16) -> Option<SocketAddr> {
    let (port, host) = text.split_once(':').unwrap_or((text, "0.0.0.0"));
    let port = if port.is_empty() {
        default_port
    } else {
        port.parse().ok()?
    };
    Some(SocketAddr::new(parse_ip(host)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let dir = Path::new("/run/x");
        let parse = |t: &str| Address::parse(t, 6640, dir).ok();
        let at = |t: &str| t.parse::<SocketAddr>().unwrap();
        let good = [
            ("unix:db.sock", Address::Unix("/run/x/db.sock".into())),
            ("unix:/a/b", Address::Unix("/a/b".into())),
            ("tcp:127.0.0.1", Address::Tcp(at("127.0.0.1:6640"))),
            ("tcp:[::1]:7", Address::Tcp(at("[::1]:7"))),
            ("ssl:10.0.0.1:7", Address::Ssl(at("10.0.0.1:7"))),
            ("ptcp:7:127.0.0.1", Address::PassiveTcp(at("127.0.0.1:7"))),
            ("pssl:", Address::PassiveSsl(at("0.0.0.0:6640"))),
            ("pssl:7:[::1]", Address::PassiveSsl(at("[::1]:7"))),
        ];
        for (text, address) in good {
            assert_eq!(parse(text), Some(address.clone()), "{text}");
            assert_eq!(parse(&address.to_string()), Some(address), "{text}");
        }
        let wrong = [
            "",
            "unix",
            "unix:",
            "tcp:no:1",
            "ssl:",
            "ssl:1.1.1.1:x",
            "ptcp:99999",
            "pssl:1:x",
            "file:/x",
        ];
        for bad in wrong {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
