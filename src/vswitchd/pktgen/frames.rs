//! The frames that are sent: UDP over IPv4, by flow and size, and the stamp some of them carry.
//!
//! A stamp is a magic number and the time of sending, right behind the UDP header. The UDP checksum is left
//! out, as IPv4 allows.

use super::Args;
use wire::EthAddr;

/// Ethernet, IPv4 and UDP headers.
pub(super) const HEADERS: usize = 42;
/// Octets of a stamp: magic number, nanoseconds.
const STAMP: usize = 12;
/// The shortest frame that holds a stamp.
pub(super) const STAMPED_MIN: usize = HEADERS + STAMP;
/// "RWpg".
const MAGIC: [u8; 4] = *b"RWpg";

/// Frame sizes without FCS, used in turn.
///
/// The simple IMIX is 7 frames of 64, 4 of 594 and 1 of 1518 octets with FCS, spread out.
const IMIX: [u16; 12] = [60, 60, 590, 60, 60, 590, 60, 1514, 60, 590, 60, 590];

/// What `--size` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sizes {
    /// All frames alike; octets without FCS.
    One(u16),
    /// The simple IMIX.
    Imix,
}

impl Sizes {
    fn all(self) -> Vec<u16> {
        match self {
            Self::One(size) => vec![size],
            Self::Imix => IMIX.to_vec(),
        }
    }
}

/// Parses `--size`.
pub(super) fn parse_sizes(text: &str) -> Result<Sizes, String> {
    if text == "imix" {
        return Ok(Sizes::Imix);
    }
    match text.parse() {
        Ok(size @ 42..=1514) => Ok(Sizes::One(size)),
        _ => Err("expected \"imix\" or 42 to 1514 octets without FCS".to_owned()),
    }
}

/// Makes frames, flow after flow and size after size.
#[derive(Debug)]
pub(super) struct Maker {
    templates: Vec<Vec<u8>>,
    flows: u32,
    flow: u32,
    size: usize,
}

impl Maker {
    /// A maker of frames from `src_mac`.
    pub(super) fn new(args: &Args, src_mac: EthAddr) -> Result<Self, String> {
        let dst: EthAddr = args
            .dst_mac
            .parse()
            .map_err(|()| format!("--dst-mac {}: expected an Ethernet address", args.dst_mac))?;
        let sizes = args.size.all().into_iter();
        Ok(Self {
            templates: sizes.map(|s| template(args, (src_mac, dst), s)).collect(),
            flows: args.flows,
            flow: 0,
            size: 0,
        })
    }

    /// The next frame: its template, to be copied, and its flow, for [`personalize`].
    pub(super) fn next(&mut self) -> (&[u8], u32) {
        let (flow, size) = (self.flow, self.size);
        self.flow = if flow + 1 < self.flows { flow + 1 } else { 0 };
        self.size = if size + 1 < self.templates.len() {
            size + 1
        } else {
            0
        };
        (&self.templates[size], flow)
    }
}

fn template(args: &Args, (src, dst): (EthAddr, EthAddr), size: u16) -> Vec<u8> {
    let mut p = vec![0; usize::from(size)];
    p[..6].copy_from_slice(&dst.0);
    p[6..12].copy_from_slice(&src.0);
    p[12..14].copy_from_slice(&[8, 0]);
    p[14] = 0x45;
    p[16..18].copy_from_slice(&(size - 14).to_be_bytes());
    (p[22], p[23]) = (64, 17);
    p[26..30].copy_from_slice(&args.src_ip.octets());
    p[30..34].copy_from_slice(&args.dst_ip.octets());
    p[38..40].copy_from_slice(&(size - 34).to_be_bytes());
    p
}

/// Makes a frame belong to flow `n`, and finishes its IPv4 checksum.
pub(super) fn personalize(p: &mut [u8], n: u32) {
    let src = u32::from_be_bytes([p[26], p[27], p[28], p[29]]).wrapping_add(n);
    p[26..30].copy_from_slice(&src.to_be_bytes());
    let port = |base: u32| u16::try_from(base + (n & 0x3fff)).unwrap_or(1024);
    p[34..36].copy_from_slice(&port(1024).to_be_bytes());
    p[36..38].copy_from_slice(&port(2048).to_be_bytes());
    p[24..26].fill(0);
    let sum: u32 = p[14..34]
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16));
    p[24..26].copy_from_slice(&sum.to_be_bytes()[2..]);
}

/// Writes the time of sending into a frame that has room for it.
pub(super) fn stamp(p: &mut [u8], now: u64) {
    if let Some(s) = p.get_mut(HEADERS..STAMPED_MIN) {
        s[..4].copy_from_slice(&MAGIC);
        s[4..].copy_from_slice(&now.to_be_bytes());
    }
}

/// The time a received frame was sent, when it is one of ours.
pub(super) fn stamped(p: &[u8]) -> Option<u64> {
    let (magic, time) = p.get(HEADERS..STAMPED_MIN)?.split_first_chunk::<4>()?;
    (*magic == MAGIC).then_some(())?;
    Some(u64::from_be_bytes(time.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn maker(more: &[&str]) -> Result<Maker, String> {
        let base = ["x", "--dev", "d", "--dst-ip", "10.1.0.1"];
        let line = Line::try_parse_from(base.iter().chain(more)).map_err(|e| e.to_string())?;
        Maker::new(&line.args, EthAddr::ZERO)
    }

    #[test]
    fn frames_are_sound_and_differ_by_flow() {
        let mac = ["--dst-mac", "02:00:00:00:00:01", "--src-ip", "10.0.0.255"];
        let mut m = maker(&[&mac[..], &["--flows", "70001"]].concat()).unwrap();
        for n in 0..=70_000 {
            let (template, flow) = m.next();
            assert_eq!(flow, n);
            let mut p = template.to_vec();
            personalize(&mut p, flow);
            let words: u32 = p[14..34]
                .chunks(2)
                .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
                .sum();
            assert_eq!((words & 0xffff) + (words >> 16), 0xffff);
            assert_eq!(stamped(&p), None);
            stamp(&mut p, 7 + u64::from(n));
            assert_eq!(stamped(&p), Some(7 + u64::from(n)));
        }
        assert_eq!(m.next().1, 0);
        assert!(maker(&["--dst-mac", "x"]).is_err());
    }

    #[test]
    fn imix_has_its_mean_and_sizes_are_checked() {
        let mut m = maker(&["--dst-mac", "02:00:00:00:00:01", "--size", "imix"]).unwrap();
        let total: usize = (0..12).map(|_| m.next().0.len() + 4).sum();
        assert_eq!(total, 7 * 64 + 4 * 594 + 1518);
        for bad in ["41", "1515", "-1", "imax", ""] {
            assert!(parse_sizes(bad).is_err(), "{bad}");
        }
    }
}
