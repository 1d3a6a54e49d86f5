//! [`LargePages`]: whether the kernel gave the large pages that [`crate::pages`] asked for.
//!
//! It need not: they may be switched off, or memory may be in pieces. Every table works without them, slower
//! where many flows are. Asking takes a walk through the page tables (some milliseconds for a gigabyte): for
//! operators, not for every turn of a loop.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// What the kernel may give, and to whom: the word in brackets.
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Memory of this process for which large pages were asked, kibibytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LargePages {
    /// Address space.
    pub asked: u64,
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
        let pages = Self::of(BufReader::new(File::open("/proc/self/smaps")?))?;
        Ok(Self {
            setting: chosen(&setting).to_owned(),
            ..pages
        })
    }

    /// Sums the mappings that carry the mark of having been asked for (proc(5): `hg`). Each one's mark comes last.
    fn of(smaps: impl BufRead) -> io::Result<Self> {
        let (mut sum, mut one) = (Self::default(), Self::default());
        for line in smaps.lines() {
            let line = line?;
            let Some((key, rest)) = line.split_once(':') else {
                continue;
            };
            let kib = || {
                let number = rest.split_whitespace().next();
                number.and_then(|n| n.parse().ok()).unwrap_or(0)
            };
            match key {
                "Size" => one.asked = kib(),
                "Rss" => one.resident = kib(),
                "AnonHugePages" => one.large = kib(),
                "VmFlags" => {
                    let one = std::mem::take(&mut one);
                    if rest.split_whitespace().any(|flag| flag == "hg") {
                        sum.asked += one.asked;
                        sum.resident += one.resident;
                        sum.large += one.large;
                    }
                }
                _ => {}
            }
        }
        Ok(sum)
    }
}

/// The word in brackets.
fn chosen(setting: &str) -> &str {
    let rest = setting.split_once('[').map_or("", |(_, rest)| rest);
    rest.split_once(']').map_or("", |(word, _)| word)
}

impl fmt::Display for LargePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "asked for:      {} kB", self.asked)?;
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
    fn only_what_was_asked_for_counts() {
        let smaps = "\
7f0000000000-7f0000800000 rw-p 00000000 00:00 0
Size:               8192 kB
Rss:                6144 kB
AnonHugePages:      4096 kB
VmFlags: rd wr mr mw me ac nr hg sd
7f1000000000-7f1000800000 rw-p 00000000 00:00 0    [heap: with a colon]
Size:               9000 kB
Rss:                9000 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac sd
7f2000000000-7f2000800000 rw-p 00000000 00:00 0
Size:               2048 kB
Rss:                   4 kB
AnonHugePages:         x kB
VmFlags: rd hg
";
        let pages = LargePages::of(smaps.as_bytes()).unwrap();
        assert_eq!(
            (pages.asked, pages.resident, pages.large),
            (10_240, 6148, 4096)
        );
        let text = LargePages {
            setting: chosen("always [madvise] never\n").into(),
            ..pages
        };
        assert_eq!(
            text.to_string(),
            "asked for:      10240 kB\nin memory:      6148 kB\non large pages: 4096 kB\nkernel's setting: madvise"
        );
        for none in ["", "always", "[", "]["] {
            assert_eq!(chosen(none), "");
        }
    }

    #[test]
    fn tables_are_seen() {
        let before = LargePages::now().unwrap();
        let mut pages: Pages<u64> = Pages::new(4 * LARGE / 8, Advice::Now);
        let unused = LargePages::now().unwrap();
        assert!(unused.asked >= 4 * LARGE as u64 / 1024, "{unused:?}");
        pages.fill(1);
        let used = LargePages::now().unwrap();
        assert!(
            used.resident >= 4 * LARGE as u64 / 1024,
            "{before:?} {used:?}"
        );
        assert!(
            used.large <= used.resident && used.resident <= used.asked,
            "{used:?}"
        );
        if used.setting == "never" {
            assert_eq!(used.large, 0);
        }
    }
}
