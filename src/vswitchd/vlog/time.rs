//! Calendar time (UTC) for log lines.

use std::fmt::Write;
use std::time::Duration;

/// Formats a time since the Unix epoch by a `strftime` subset (`%Y %m %d %H %M %S`); each run of `#` becomes
/// that many digits of the fraction.
pub(super) fn format(since_epoch: Duration, format: &str) -> String {
    let secs = since_epoch.as_secs();
    let (year, month, day) = civil(secs / 86_400);
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' => {
                let (value, width) = match chars.next() {
                    Some('Y') => (year, 4),
                    Some('m') => (month, 2),
                    Some('d') => (day, 2),
                    Some('H') => (secs / 3600 % 24, 2),
                    Some('M') => (secs / 60 % 60, 2),
                    Some('S') => (secs % 60, 2),
                    Some(other) => {
                        out.push(other);
                        continue;
                    }
                    None => continue,
                };
                // Writing to a string cannot fail.
                let _ = write!(out, "{value:0width$}");
            }
            '#' => {
                let mut digits = 1;
                while chars.next_if_eq(&'#').is_some() {
                    digits += 1;
                }
                let fraction = std::format!("{:09}", since_epoch.subsec_nanos());
                out.push_str(&fraction[..digits.min(9)]);
            }
            c => out.push(c),
        }
    }
    out
}

/// Year, month and day of a day since 1970-01-01, by Howard Hinnant's published algorithm
/// (eras of 400 years, years that begin in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        yoe + era * 400 + u64::from(month <= 2),
        month,
        doy - (153 * mp + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let f = "%Y-%m-%dT%H:%M:%S.###Z";
        assert_eq!(
            format(Duration::from_millis(1), f),
            "1970-01-01T00:00:00.001Z"
        );
        assert_eq!(
            format(Duration::from_secs(951_827_696), f),
            "2000-02-29T12:34:56.000Z"
        );
        assert_eq!(
            format(Duration::from_secs(1_795_132_800), f),
            "2026-11-20T00:00:00.000Z"
        );
    }
}
