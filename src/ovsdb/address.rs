//! Addresses as Open vSwitch writes them: `unix:PATH`, `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`, and the listening
//! `punix:PATH`, `ptcp:[PORT][:HOST]`, `pssl:[PORT][:HOST]`. A host is a number in a network or a name; what a name
//! means is asked each time that it is used (see `resolve`).

use crate::resolve::look_up;
use crate::stream::StreamError;
use base::sync::{AtomicBool, Ordering};
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// `EAFNOSUPPORT` of Linux: an address that says nothing to us, or not yet.
const EAFNOSUPPORT: i32 = 97;
/// `EAGAIN` of Linux.
const EAGAIN: i32 = 11;

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
    /// One of a network whose host is known by name only.
    Named(Kind, String, u16),
    /// A text that means nothing. To connect to it fails each time, as it does with a host that is not there.
    Wrong {
        /// The text.
        text: String,
        /// What is wrong with it; empty where the method is unknown.
        why: String,
    },
}

/// The methods for addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `tcp`.
    Tcp,
    /// `ssl`.
    Ssl,
    /// `ptcp`.
    PassiveTcp,
    /// `pssl`.
    PassiveSsl,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Tcp, Self::Ssl, Self::PassiveTcp, Self::PassiveSsl];
        all.into_iter().find(|k| k.name() == text)
    }
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ssl => "ssl",
            Self::PassiveTcp => "ptcp",
            Self::PassiveSsl => "pssl",
        }
    }
    fn is_passive(self) -> bool {
        matches!(self, Self::PassiveTcp | Self::PassiveSsl)
    }
    fn at(self, at: SocketAddr) -> Address {
        match self {
            Self::Tcp => Address::Tcp(at),
            Self::Ssl => Address::Ssl(at),
            Self::PassiveTcp => Address::PassiveTcp(at),
            Self::PassiveSsl => Address::PassiveSsl(at),
        }
    }
    /// Parses what follows the method.
    fn address(self, rest: &str, default_port: u16) -> Result<Address, String> {
        let (host, port) = if self.is_passive() {
            port_and_host(rest)
        } else {
            host_and_port(rest)?
        };
        let port = match port {
            None | Some("") => default_port,
            Some(port) => port
                .parse()
                .map_err(|_| format!("bad port number \"{port}\""))?,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        Ok(match bare.parse::<IpAddr>() {
            Ok(ip) => self.at(SocketAddr::new(ip, port)),
            Err(_) => Address::Named(self, bare.to_owned(), port),
        })
    }
}

impl Address {
    /// Parses an address; relative paths are taken from `rundir`. What follows a known method is taken as it is: where
    /// it means nothing ([`Address::Wrong`]), each attempt says so.
    ///
    /// # Errors
    /// [`StreamError::BadAddress`], naming the text, when the method is unknown.
    pub fn parse(text: &str, default_port: u16, rundir: &Path) -> Result<Self, StreamError> {
        let bad = || StreamError::BadAddress(text.to_owned());
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        match kind {
            "unix" => Ok(Self::Unix(rundir.join(rest))),
            "punix" => Ok(Self::PassiveUnix(rundir.join(rest))),
            _ => {
                let kind = Kind::parse(kind).ok_or_else(bad)?;
                let address = kind.address(rest, default_port);
                Ok(address.unwrap_or_else(|why| Self::Wrong {
                    text: text.to_owned(),
                    why,
                }))
            }
        }
    }

    /// As [`Address::parse`]; a text with an unknown method becomes [`Address::Wrong`].
    #[must_use]
    pub fn parse_any(text: &str, default_port: u16, rundir: &Path) -> Self {
        Self::parse(text, default_port, rundir).unwrap_or_else(|_| Self::Wrong {
            text: text.to_owned(),
            why: String::new(),
        })
    }

    /// What stands behind a name, as far as known by now.
    ///
    /// # Errors
    /// As Open vSwitch's tools know them: `EAFNOSUPPORT` for what is not known (yet) or wrong; for names to listen
    /// on, `EAGAIN`.
    pub(crate) fn resolve(&self) -> io::Result<Cow<'_, Self>> {
        match self {
            Self::Named(kind, host, port) => match look_up(host) {
                Some(ip) => Ok(Cow::Owned(kind.at(SocketAddr::new(ip, *port)))),
                None if kind.is_passive() => Err(io::Error::from_raw_os_error(EAGAIN)),
                None => Err(io::Error::from_raw_os_error(EAFNOSUPPORT)),
            },
            Self::Wrong { text, why } => {
                if !why.is_empty() {
                    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
                    tracing::error!(target: "socket_util", "{rest}: {why}");
                }
                Err(io::Error::from_raw_os_error(EAFNOSUPPORT))
            }
            other => Ok(Cow::Borrowed(other)),
        }
    }

    /// The peer's address in a network, when this is one to connect to and known by now.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) | Self::Ssl(addr) => Some(*addr),
            Self::Named(Kind::Tcp | Kind::Ssl, host, port) => {
                look_up(host).map(|ip| SocketAddr::new(ip, *port))
            }
            _ => None,
        }
    }

    /// True for an address to listen on.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        match self {
            Self::PassiveUnix(_) | Self::PassiveTcp(_) | Self::PassiveSsl(_) => true,
            Self::Named(kind, ..) => kind.is_passive(),
            Self::Wrong { text, .. } => text.starts_with("ptcp:") || text.starts_with("pssl:"),
            _ => false,
        }
    }

    /// True where a peer can be out of reach without the kernel saying so.
    #[must_use]
    pub fn needs_probes(&self) -> bool {
        !matches!(self, Self::Unix(_) | Self::PassiveUnix(_))
    }

    /// The module of the log that speaks of failures to connect; none where others do.
    pub(crate) fn module(&self) -> Option<Kind> {
        match self {
            Self::Tcp(_) => Some(Kind::Tcp),
            Self::Ssl(_) => Some(Kind::Ssl),
            Self::Named(kind, ..) => Some(*kind),
            Self::Wrong { text, .. } => Kind::parse(text.split(':').next().unwrap_or_default()),
            _ => None,
        }
        .filter(|k| !k.is_passive())
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
            Self::Named(kind, host, port) if kind.is_passive() => {
                write!(f, "{}:{port}:{host}", kind.name())
            }
            Self::Named(kind, host, port) => write!(f, "{}:{host}:{port}", kind.name()),
            Self::Wrong { text, .. } => f.write_str(text),
        }
    }
}

fn passive(f: &mut fmt::Formatter<'_>, kind: &str, a: &SocketAddr) -> fmt::Result {
    match a.ip() {
        IpAddr::V4(ip) => write!(f, "{kind}:{}:{ip}", a.port()),
        IpAddr::V6(ip) => write!(f, "{kind}:{}:[{ip}]", a.port()),
    }
}

/// `IP`, `HOST`, `HOST:PORT`, `[IP6]`, `[IP6]:PORT`.
fn host_and_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    let end = match text.starts_with('[') {
        true => text.find(']').ok_or("port must be specified")? + 1,
        false => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        None => Err(format!("bad port number \"{rest}\"")),
        Some(port) => Ok((host, Some(port))),
    }
}

/// ``, `PORT`, `PORT:HOST`.
fn port_and_host(text: &str) -> (&str, Option<&str>) {
    let (port, host) = text.split_once(':').unwrap_or((text, "0.0.0.0"));
    (host, Some(port))
}

/// Says once that a port which is not named was another one in former times (Open vSwitch before 2.4), where `text`
/// leaves it out.
pub fn remark_on_default_port(
    text: &str,
    (what, former, now): (&str, u16, u16),
    said: &AtomicBool,
) {
    let Some((kind, rest)) = text.split_once(':') else {
        return;
    };
    let left_out = match Kind::parse(kind) {
        None => false,
        Some(kind) if kind.is_passive() => port_and_host(rest).1 == Some(""),
        Some(_) => matches!(host_and_port(rest), Ok((_, None))),
    };
    if left_out && !said.swap(true, Ordering::Relaxed) {
        tracing::warn!(target: "stream",
            "The default {what} port number has changed from {former} to {now}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let dir = Path::new("/run/x");
        let parse = |t: &str| Address::parse(t, 6640, dir).ok();
        let at = |t: &str| t.parse::<SocketAddr>().unwrap();
        let named = |kind, host: &str, port| Address::Named(kind, host.to_owned(), port);
        let good = [
            ("unix:db.sock", Address::Unix("/run/x/db.sock".into())),
            ("unix:/a/b", Address::Unix("/a/b".into())),
            ("tcp:127.0.0.1", Address::Tcp(at("127.0.0.1:6640"))),
            ("tcp:[::1]:7", Address::Tcp(at("[::1]:7"))),
            ("ssl:10.0.0.1:7", Address::Ssl(at("10.0.0.1:7"))),
            ("ptcp:7:127.0.0.1", Address::PassiveTcp(at("127.0.0.1:7"))),
            ("pssl:", Address::PassiveSsl(at("0.0.0.0:6640"))),
            ("pssl:7:[::1]", Address::PassiveSsl(at("[::1]:7"))),
            ("tcp:no:1", named(Kind::Tcp, "no", 1)),
            ("tcp:a.b", named(Kind::Tcp, "a.b", 6640)),
            ("ssl:", named(Kind::Ssl, "", 6640)),
            ("pssl:1:x", named(Kind::PassiveSsl, "x", 1)),
        ];
        for (text, address) in good {
            assert_eq!(parse(text), Some(address.clone()), "{text}");
            assert_eq!(parse(&address.to_string()), Some(address), "{text}");
        }
        for unknown in ["", "unix", "file:/x", "localhost"] {
            assert_eq!(parse(unknown), None, "{unknown}");
            assert_eq!(Address::parse_any(unknown, 1, dir).to_string(), unknown);
        }
        let wrong = [
            ("ssl:1.1.1.1:x", "bad port number \"x\""),
            ("ptcp:99999", "bad port number \"99999\""),
            ("tcp:[::1:1", "port must be specified"),
        ];
        for (text, what) in wrong {
            let address = parse(text).unwrap();
            assert!(matches!(&address, Address::Wrong { why, .. } if why == what));
            assert_eq!(address.to_string(), text);
            assert_eq!(
                address.resolve().unwrap_err().raw_os_error(),
                Some(EAFNOSUPPORT)
            );
        }
    }
}
