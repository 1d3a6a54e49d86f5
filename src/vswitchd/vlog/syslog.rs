//! Where syslog lines go: a local socket or a host. A line that does not get there is lost, as syslog's way is.

use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;

/// One syslog.
#[derive(Debug)]
pub(super) enum Syslog {
    /// A socket of this host.
    Unix(UnixDatagram),
    /// Another host's.
    Udp(UdpSocket),
}

impl Syslog {
    fn unix(path: &str) -> std::io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(Self::Unix(socket))
    }

    /// `HOST:PORT`, port 514 if none is said.
    pub(super) fn udp(target: &str) -> std::io::Result<Self> {
        let at = match target.to_socket_addrs() {
            Ok(mut at) => at.next(),
            Err(_) => (target, 514).to_socket_addrs()?.next(),
        };
        let at = at.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        socket.connect(at)?;
        Ok(Self::Udp(socket))
    }

    pub(super) fn send(&self, line: &[u8]) {
        // Lost: see the module.
        drop(match self {
            Self::Unix(s) => s.send(line),
            Self::Udp(s) => s.send(line),
        });
    }
}

/// The syslog of a `--syslog-method`: `libc`, `null`, `unix:FILE`, `udp:IP:PORT`; nothing said is `libc`.
///
/// # Errors
/// The method, when it is none of these or cannot be used.
pub(super) fn by_method(method: &str) -> Result<Option<Syslog>, String> {
    let fail = |e: &dyn std::fmt::Display| format!("--syslog-method={method}: {e}");
    match method.split_once(':') {
        // A host without syslog has no /dev/log.
        None if matches!(method, "" | "libc") => Ok(Syslog::unix("/dev/log").ok()),
        None if method == "null" => Ok(None),
        Some(("unix", path)) => Syslog::unix(path).map(Some).map_err(|e| fail(&e)),
        Some(("udp", target)) => Syslog::udp(target).map(Some).map_err(|e| fail(&e)),
        _ => Err(format!("unsupported syslog method '{method}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        assert!(matches!(by_method("null"), Ok(None)));
        assert!(by_method("x").is_err() && by_method("unix:/nonexistent/log").is_err());
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = format!("udp:{}", there.local_addr().unwrap());
        let Ok(Some(syslog)) = by_method(&target) else {
            panic!("{target}");
        };
        syslog.send(b"<30>x");
        let mut buf = [0; 9];
        assert_eq!(there.recv(&mut buf).unwrap(), 5);
    }
}
