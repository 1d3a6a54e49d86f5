//! A frontend for tests: vhost-user messages by hand, the right ones and any others.

use crate::vhost::guest::{Driver, Guest, REGION, USER};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

pub(super) const GET_FEATURES: u32 = 1;
pub(super) const SET_FEATURES: u32 = 2;
pub(super) const SET_MEM_TABLE: u32 = 5;
pub(super) const SET_VRING_NUM: u32 = 8;
pub(super) const SET_VRING_ADDR: u32 = 9;
pub(super) const SET_VRING_BASE: u32 = 10;
pub(super) const GET_VRING_BASE: u32 = 11;
pub(super) const SET_VRING_KICK: u32 = 12;
pub(super) const SET_VRING_CALL: u32 = 13;
pub(super) const GET_PROTOCOL_FEATURES: u32 = 15;
pub(super) const SET_PROTOCOL_FEATURES: u32 = 16;
pub(super) const GET_QUEUE_NUM: u32 = 17;
pub(super) const SET_VRING_ENABLE: u32 = 18;
pub(super) const NET_SET_MTU: u32 = 20;
pub(super) const GET_MAX_MEM_SLOTS: u32 = 36;
pub(super) const ADD_MEM_REG: u32 = 37;
pub(super) const REM_MEM_REG: u32 = 38;

/// Version 1, protocol features, indirect, event indices, merged buffers, several queues.
pub(super) const FEATURES: u64 = 1 << 32 | 1 << 30 | 1 << 29 | 1 << 28 | 1 << 22 | 1 << 15;
const PROTOCOL: u64 = 1 | 1 << 3 | 1 << 4 | 1 << 15;

/// The frontend's end of a connection.
#[derive(Debug)]
pub(super) struct Frontend(pub(super) UnixStream);

/// The eventfds of one ring.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) kick: OwnedFd,
    pub(super) call: OwnedFd,
}

impl Events {
    pub(super) fn new() -> Self {
        let event = || {
            let flags = rustix::event::EventfdFlags::NONBLOCK;
            rustix::event::eventfd(0, flags).unwrap()
        };
        Self {
            kick: event(),
            call: event(),
        }
    }
    /// Interrupts since the last time.
    pub(super) fn calls(&self) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&self.call, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }
}

pub(super) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}
pub(super) fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

impl Frontend {
    /// Sends any bytes with any descriptors.
    pub(super) fn raw(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); 1024];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        // Fails when the switch has hung up, which is for the test to see.
        let _ = sendmsg(
            &self.0,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        );
    }
    /// Sends a message.
    pub(super) fn send(&self, code: u32, flags: u32, body: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut bytes = words(&[code, flags, body.len() as u32]);
        bytes.extend(body);
        self.raw(&bytes, fds);
    }
    /// The body of the next answer; `None` when the switch has hung up.
    pub(super) fn answer(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 12];
        self.0.read_exact(&mut header).ok()?;
        let size = u32::from_ne_bytes(header[8..].try_into().unwrap());
        let mut body = vec![0; size as usize];
        self.0.read_exact(&mut body).ok()?;
        Some(body)
    }
    /// Asks for a number.
    pub(super) fn ask(&mut self, code: u32) -> u64 {
        self.send(code, 1, &[], &[]);
        let body = self.answer().expect("an answer");
        u64::from_ne_bytes(body.try_into().unwrap())
    }
    /// Sends a message that is to be acknowledged; true when it was carried out.
    pub(super) fn tell(&mut self, code: u32, body: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        self.send(code, 1 | 8, body, fds);
        self.answer().is_some_and(|body| body == longs(&[0]))
    }

    /// Agrees on features.
    pub(super) fn negotiate(&mut self, features: u64) {
        assert_eq!(self.ask(GET_FEATURES) & features, features);
        assert_eq!(self.ask(GET_PROTOCOL_FEATURES) & PROTOCOL, PROTOCOL);
        self.send(SET_PROTOCOL_FEATURES, 1, &longs(&[PROTOCOL]), &[]);
        assert!(self.tell(SET_FEATURES, &longs(&[features]), &[]));
    }
    /// Gives both regions.
    pub(super) fn give_memory(&mut self, guest: &Guest) -> bool {
        let mut body = words(&[2, 0]);
        for i in 0..2 {
            body.extend(region(i));
        }
        let [a, b] = &guest.files;
        self.tell(SET_MEM_TABLE, &body, &[a.as_fd(), b.as_fd()])
    }
    /// Adds or removes one region.
    pub(super) fn change_region(&mut self, code: u32, i: u64, file: &File) -> bool {
        let mut body = longs(&[0]);
        body.extend(region(i));
        self.tell(code, &body, &[file.as_fd()])
    }
    /// Sets a ring up, enabled or not.
    pub(super) fn start(&mut self, index: u32, driver: &Driver, events: &Events, enable: bool) {
        let size = u32::from(driver.size);
        assert!(self.tell(SET_VRING_NUM, &words(&[index, size]), &[]));
        assert!(self.tell(SET_VRING_BASE, &words(&[index, 0]), &[]));
        let at = driver.addresses();
        let mut body = words(&[index, 0]);
        body.extend(longs(&[at.descriptors, at.used, at.available, 0]));
        assert!(self.tell(SET_VRING_ADDR, &body, &[]));
        let which = longs(&[u64::from(index)]);
        assert!(self.tell(SET_VRING_CALL, &which, &[events.call.as_fd()]));
        assert!(self.tell(SET_VRING_KICK, &which, &[events.kick.as_fd()]));
        assert!(self.enable(index, enable));
    }
    pub(super) fn enable(&mut self, index: u32, on: bool) -> bool {
        self.tell(SET_VRING_ENABLE, &words(&[index, u32::from(on)]), &[])
    }
    /// Stops a ring; returns where it stands.
    pub(super) fn stop(&mut self, index: u32) -> u32 {
        self.send(GET_VRING_BASE, 1, &words(&[index, 0]), &[]);
        let body = self.answer().expect("an answer");
        u32::from_ne_bytes(body[4..8].try_into().unwrap())
    }
    /// True once the switch has hung up.
    pub(super) fn is_hung_up(&mut self) -> bool {
        self.0.read(&mut [0; 64]).is_ok_and(|n| n == 0)
    }
}

/// A region as messages describe it.
pub(super) fn region(i: u64) -> Vec<u8> {
    longs(&[i * REGION, REGION, USER + i * REGION, 0])
}
