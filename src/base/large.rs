//! [`LargePages`]: whether the kernel gave the large pages that [`crate::pages`] asked for.
//!
//! It need not: they may be switched off, or memory may be in pieces. Every table works without them, slower
//! where many flows are. Asking takes a walk through the page tables (some milliseconds for a gigabyte): for
//! operators, not for every turn of a loop.

use crate::pages::mapped;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// What the kernel may give, and to whom: the word in brackets.
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Memory of this process's tables of [`crate::pages`], kibibytes. (The allocator asks for large pages, too.)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LargePages {
    /// Address space of the tables of at least one large page.
    pub tables: u64,
    /// Of that, in memory: pages that were ever written.
    pub resident: u64,
    /// Of that, on large pages.
    pub large: u64,
    /// The kernel's setting: `always`, `madvise`, `never`; empty where it has none.
    pub setting: String,
}

impl LargePages {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn now() -> io::Result<Self> {
        let setting = std::fs::read_to_string(SETTING).unwrap_or_default();
        let pages = Self::of(BufReader::new(File::open("/proc/self/smaps")?), &mapped())?;
        Ok(Self {
            setting: chosen(&setting).to_owned(),
            ..pages
        })
    }

    /// Sums what proc(5) says of the mappings that our ranges are in.
    fn of(smaps: impl BufRead, ours: &BTreeMap<usize, usize>) -> io::Result<Self> {
        let bytes: usize = ours.values().sum();
        let mut sum = Self {
            tables: bytes as u64 / 1024,
            ..Self::default()
        };
        let mut counts = false;
        for line in smaps.lines() {
            let line = line?;
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or_default();
            if let Some((from, to)) = range(first) {
                // The last that begins before the mapping ends: does it end inside or behind it?
                counts = ours
                    .range(..to)
                    .next_back()
                    .is_some_and(|(at, bytes)| at + bytes > from);
            } else if counts {
                let kib = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                match first {
                    "Rss:" => sum.resident += kib,
                    "AnonHugePages:" => sum.large += kib,
                    _ => {}
                }
            }
        }
        Ok(sum)
    }
}

/// The addresses that a mapping's first line begins with.
fn range(word: &str) -> Option<(usize, usize)> {
    let (from, to) = word.split_once('-')?;
    let hex = |n| usize::from_str_radix(n, 16).ok();
    Some((hex(from)?, hex(to)?))
}

/// The word in brackets.
fn chosen(setting: &str) -> &str {
    let rest = setting.split_once('[').map_or("", |(_, rest)| rest);
    rest.split_once(']').map_or("", |(word, _)| word)
}

impl fmt::Display for LargePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tables:         {} kB", self.tables)?;
        writeln!(f, "in memory:      {} kB", self.resident)?;
        writeln!(f, "on large pages: {} kB", self.large)?;
        let setting = match &*self.setting {
            "" => "none",
            word => word,
        };
        write!(f, "kernel's setting: {setting}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::{Advice, LARGE, Pages};

    #[test]
    fn only_tables_count() {
        let smaps = "\
7f0000000000-7f0000800000 rw-p 00000000 00:00 0    [anon:ringway tables]
Size:               8192 kB
Rss:                6144 kB
AnonHugePages:      4096 kB
VmFlags: rd wr mr mw me ac nr hg sd
7f1000000000-7f1000800000 rw-p 00000000 00:00 0    [heap: with a colon]
Size:               9000 kB
Rss:                9000 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac hg sd
7f2000000000-7f2000a00000 rw-p 00000000 00:00 0
Rss:                   4 kB
AnonHugePages:         x kB
";
        let ours = [
            (0x7f00_0000_0000, 4 << 20),
            (0x7f00_0040_0000, 4 << 20),
            (0x7f20_0020_0000, 2 << 20),
        ];
        let pages = LargePages::of(smaps.as_bytes(), &ours.into()).unwrap();
        assert_eq!(
            (pages.tables, pages.resident, pages.large),
            (10_240, 6148, 4096)
        );
        let text = LargePages {
            setting: chosen("always [madvise] never\n").into(),
            ..pages
        };
        assert_eq!(
            text.to_string(),
            "tables:         10240 kB\nin memory:      6148 kB\non large pages: 4096 kB\nkernel's setting: madvise"
        );
        for none in ["", "always", "[", "]["] {
            assert_eq!(chosen(none), "");
        }
    }

    #[test]
    fn a_table_is_seen() {
        let kib = 4 * LARGE as u64 / 1024;
        let mut pages: Pages<u64> = Pages::new(4 * LARGE / 8, Advice::Now);
        let unused = LargePages::now().unwrap();
        assert!(unused.tables >= kib, "{unused:?}");
        pages.fill(1);
        let used = LargePages::now().unwrap();
        assert!(used.resident >= kib, "{used:?}");
        assert!(used.large <= used.resident, "{used:?}");
        if used.setting == "never" {
            assert_eq!(used.large, 0);
        }
        drop(pages);
    }
}
