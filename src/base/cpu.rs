//! Cores: pinning, the allowed set, NUMA nodes. Reads `/sys` itself, because the allowed set that
//! libraries report hides isolated cores.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: sched_setaffinity/sched_getaffinity have no safe form in the libraries we use.

/// A CPU as the kernel numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u32);

/// Cores present and online, in order.
#[must_use]
pub fn online() -> Vec<CoreId> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cores = parse_list(&text);
    if cores.is_empty() {
        vec![CoreId(0)]
    } else {
        cores
    }
}

/// The NUMA node of a core; 0 when the machine does not say.
#[must_use]
pub fn numa_node(core: CoreId) -> u32 {
    let dir = format!("/sys/devices/system/cpu/cpu{}", core.0);
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .find_map(|e| e.file_name().to_str()?.strip_prefix("node")?.parse().ok())
        .unwrap_or(0)
}

/// Parses a kernel CPU list such as `0-3,8`.
#[must_use]
pub fn parse_list(text: &str) -> Vec<CoreId> {
    let mut cores = Vec::new();
    for part in text.trim().split(',').filter(|p| !p.is_empty()) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(low), Ok(high)) = (low.parse::<u32>(), high.parse::<u32>()) {
            cores.extend((low..=high.min(low.saturating_add(4096))).map(CoreId));
        }
    }
    cores
}

/// Parses a hexadecimal core mask such as `0x6` (`pmd-cpu-mask`); `None` when it is not one.
#[must_use]
pub fn parse_mask(text: &str) -> Option<Vec<CoreId>> {
    let digits = text
        .trim()
        .trim_start_matches("0x")
        .trim_start_matches("0X");
    if digits.is_empty() || digits.len() > 512 {
        return None;
    }
    let mut cores = Vec::new();
    for (i, c) in digits.chars().rev().enumerate() {
        let nibble = c.to_digit(16)?;
        let first = u32::try_from(i).ok()? * 4;
        cores.extend(
            (0..4)
                .filter(|b| nibble >> b & 1 == 1)
                .map(|b| CoreId(first + b)),
        );
    }
    Some(cores)
}

/// Pins the calling thread to one core.
///
/// # Errors
/// The kernel's: EINVAL when the core does not exist or is not allowed to this process.
pub fn pin_current(core: CoreId) -> std::io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if core.0 as usize >= libc::CPU_SETSIZE as usize {
        return Err(std::io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the index was checked against CPU_SETSIZE just above.
    unsafe { libc::CPU_SET(core.0 as usize, &mut set) };
    // SAFETY: `set` is a live cpu_set_t and its true size is passed.
    let rc = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if rc == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_masks() {
        assert_eq!(parse_list("0-1,4\n"), vec![CoreId(0), CoreId(1), CoreId(4)]);
        assert_eq!(parse_mask("0x6"), Some(vec![CoreId(1), CoreId(2)]));
        assert_eq!(parse_mask("100"), Some(vec![CoreId(8)]));
        assert_eq!(parse_mask("zz"), None);
    }
}
