//! Controllers that do not read, or say nothing at all: they cost bounded memory and delay nobody.

use crate::kit::{Daemon, Lab};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The hello of OpenFlow 1.3.
const HELLO: [u8; 8] = [4, 0, 0, 8, 0, 0, 0, 1];
/// Octets of an echo request of the deaf ones.
const LUMP: u16 = 60_000;
/// Octets that the switch may hold for one of them: what it reads ahead, its replies, and the sockets' buffers.
const HELD_MAX: usize = 16 << 20;
/// Of them.
const DEAF: usize = 8;

fn connect(switch: &Daemon) -> UnixStream {
    let mut peer = UnixStream::connect(switch.file("br0.mgmt")).unwrap();
    peer.write_all(&HELLO).unwrap();
    peer
}

/// Sends echo requests and reads nothing until the switch takes no more; octets that it took.
fn shout(peer: &mut UnixStream) -> usize {
    let mut echo = vec![0; usize::from(LUMP)];
    echo[..2].copy_from_slice(&[4, 2]);
    echo[2..4].copy_from_slice(&LUMP.to_be_bytes());
    peer.set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut taken = 0;
    while taken < 2 * HELD_MAX {
        match peer.write(&echo[taken % echo.len()..]) {
            Ok(n) => taken += n,
            Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => break,
            Err(e) => unreachable!("{e}"),
        }
    }
    taken
}

/// Reads whole messages until one of this type comes.
fn read_until(peer: &mut UnixStream, kind: u8) {
    loop {
        let mut head = [0; 8];
        peer.read_exact(&mut head).unwrap();
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        peer.read_exact(&mut vec![0; len - 8]).unwrap();
        if head[1] == kind {
            return;
        }
    }
}

#[test]
fn deaf_and_silent_controllers_hurt_nobody() {
    let lab = Lab::new(2);
    let switch = Daemon::start(&lab, "[bridge.br0.port.p1]\nclass = \"system\"\n");
    let before = switch.rss_kib();
    let _silent: Vec<_> = (0..DEAF)
        .map(|_| UnixStream::connect(switch.file("br0.mgmt")).unwrap())
        .collect();
    let mut deaf: Vec<_> = (0..DEAF).map(|_| connect(&switch)).collect();
    let taken: Vec<usize> = deaf.iter_mut().map(shout).collect();
    assert!(taken.iter().all(|n| *n < HELD_MAX), "{taken:?}");
    let grown = switch.rss_kib().saturating_sub(before) << 10;
    assert!(grown < DEAF * HELD_MAX, "{grown} octets for {taken:?}");

    // Somebody polite is served meanwhile.
    let mut polite = connect(&switch);
    polite
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    for xid in 0..100 {
        polite.write_all(&[4, 20, 0, 8, 0, 0, 0, xid]).unwrap();
        read_until(&mut polite, 21);
    }
    // The deaf hear again, and everything that was taken whole is answered.
    for (peer, taken) in deaf.iter_mut().zip(taken) {
        for _ in 0..taken / usize::from(LUMP) {
            read_until(peer, 3);
        }
    }
}
