//! Packet capture files: the classic libpcap format, microseconds, Ethernet.
//!
//! Written as Open vSwitch's dummy ports write them (header only into an empty file, one write per packet,
//! so that a reader sees whole records at any time); read in either byte order, with microseconds or
//! nanoseconds. A file is input from outside: nothing in it panics.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

const MAGIC_USEC: u32 = 0xa1b2_c3d4;
const MAGIC_NSEC: u32 = 0xa1b2_3c4d;
/// Bytes of a packet that the header promises to keep; records may be longer, readers take them.
const SNAPLEN: u32 = 1518;
/// Link type Ethernet.
const LINK_ETHERNET: u32 = 1;
/// A record longer than this is a broken file.
const RECORD_MAX: u32 = 0x4_0000;

/// Why a capture file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The file system said no, or the file ends within a record.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not a capture file.
    #[error("bad magic {0:#010x} reading pcap file")]
    Magic(u32),
    /// Not Ethernet.
    #[error("unknown network type {0} reading pcap file")]
    Link(u32),
    /// A record claims an impossible length.
    #[error("bad packet length {0} reading pcap file")]
    Length(u32),
}

/// Appends packets to a file.
#[derive(Debug)]
pub struct PcapWriter {
    file: File,
}

impl PcapWriter {
    /// Opens `path` for appending, making it if needed.
    ///
    /// # Errors
    /// The file system's.
    pub fn append(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        if file.metadata()?.len() == 0 {
            let mut h = Vec::with_capacity(24);
            h.extend(MAGIC_USEC.to_be_bytes());
            h.extend(2u16.to_be_bytes());
            h.extend(4u16.to_be_bytes());
            h.extend([0; 8]);
            h.extend(SNAPLEN.to_be_bytes());
            h.extend(LINK_ETHERNET.to_be_bytes());
            file.write_all(&h)?;
        }
        Ok(Self { file })
    }

    /// Appends one packet, seen `wall` after the Unix epoch.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&mut self, wall: Duration, packet: &[u8]) -> io::Result<()> {
        let len = packet.len() as u32;
        let mut record = Vec::with_capacity(16 + packet.len());
        record.extend((wall.as_secs() as u32).to_be_bytes());
        record.extend(wall.subsec_micros().to_be_bytes());
        record.extend(len.to_be_bytes());
        record.extend(len.to_be_bytes());
        record.extend_from_slice(packet);
        self.file.write_all(&record)
    }
}

/// Reads packets from a stream of bytes.
#[derive(Debug)]
pub struct PcapReader<R> {
    input: R,
    little_endian: bool,
    nanoseconds: bool,
}

impl PcapReader<io::BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// The file system's, or what its header says.
    pub fn open(path: &Path) -> Result<Self, PcapError> {
        Self::new(io::BufReader::new(File::open(path)?))
    }
}

impl<R: Read> PcapReader<R> {
    /// Reads the file's header.
    ///
    /// # Errors
    /// Not a capture of Ethernet frames.
    pub fn new(mut input: R) -> Result<Self, PcapError> {
        let mut h = [0; 24];
        input.read_exact(&mut h)?;
        let word = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
        let magic = word(0);
        let (little_endian, nanoseconds) = match (magic, magic.swap_bytes()) {
            (MAGIC_USEC, _) => (false, false),
            (MAGIC_NSEC, _) => (false, true),
            (_, MAGIC_USEC) => (true, false),
            (_, MAGIC_NSEC) => (true, true),
            _ => return Err(PcapError::Magic(magic)),
        };
        let link = if little_endian {
            word(20).swap_bytes()
        } else {
            word(20)
        };
        if link != LINK_ETHERNET {
            return Err(PcapError::Link(link));
        }
        Ok(Self {
            input,
            little_endian,
            nanoseconds,
        })
    }

    /// The next packet and its time since the Unix epoch; `None` at the end.
    ///
    /// # Errors
    /// The file is cut short, or a record lies about its length.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would go on after an error"
    )]
    pub fn next(&mut self) -> Result<Option<(Duration, Vec<u8>)>, PcapError> {
        let mut h = [0; 16];
        let first = self.input.read(&mut h[..1])?;
        if first == 0 {
            return Ok(None);
        }
        self.input.read_exact(&mut h[1..])?;
        let word = |at: usize| {
            let w = u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
            if self.little_endian {
                w.swap_bytes()
            } else {
                w
            }
        };
        let (seconds, fraction, len) = (word(0), word(4), word(8));
        if len > RECORD_MAX {
            return Err(PcapError::Length(len));
        }
        let nanos = if self.nanoseconds {
            u64::from(fraction)
        } else {
            u64::from(fraction) * 1000
        };
        let mut data = vec![0; len as usize];
        self.input.read_exact(&mut data)?;
        let when = Duration::from_secs(u64::from(seconds)) + Duration::from_nanos(nanos);
        Ok(Some((when, data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_read_back() {
        let path = std::env::temp_dir().join(format!("ringway-pcap-{}", std::process::id()));
        let packets: [&[u8]; 3] = [&[1, 2, 3], &[0; 60], &[]];
        for p in packets {
            let mut w = PcapWriter::append(&path).unwrap();
            w.write(Duration::new(5, 7000), p).unwrap();
        }
        let mut r = PcapReader::open(&path).unwrap();
        for p in packets {
            assert_eq!(r.next().unwrap(), Some((Duration::new(5, 7000), p.into())));
        }
        assert!(r.next().unwrap().is_none());
        std::fs::remove_file(&path).unwrap();
    }

    proptest::proptest! {
        #[test]
        fn raw_bytes_never_panic(mut bytes: Vec<u8>, good_magic: bool) {
            if good_magic && bytes.len() >= 24 {
                bytes[..4].copy_from_slice(&MAGIC_NSEC.swap_bytes().to_be_bytes());
                bytes[20..24].copy_from_slice(&[1, 0, 0, 0]);
            }
            if let Ok(mut r) = PcapReader::new(&bytes[..]) {
                while let Ok(Some(_)) = r.next() {}
            }
        }
    }
}
