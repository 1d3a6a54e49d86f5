//! `vlog/set`, `vlog/list`, `vlog/list-pattern` and the `-v` option, which has the same syntax.

use super::{Destination, Level, Vlog};
use base::sync::{read, write};
use std::fmt::Write;

/// Facilities of syslog and their numbers (RFC 5424, 6.2.1).
const FACILITIES: [(&str, u8); 24] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("clock", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("clock2", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Applies one specification: `PATTERN:dest:text`, `FACILITY:name`, or words (module, destination, level) in
/// any order, separated by spaces, commas or colons. Nothing given means everything to DBG.
pub(crate) fn set(vlog: &Vlog, spec: &str) -> Result<(), String> {
    let first = spec.split([':', ' ', ',']).next().unwrap_or_default();
    if first.eq_ignore_ascii_case("PATTERN") {
        return set_pattern(vlog, spec[first.len()..].trim_start_matches(':'));
    }
    if first.eq_ignore_ascii_case("FACILITY") {
        let name = spec[first.len()..].trim_start_matches(':');
        let known = FACILITIES.iter().find(|(n, _)| *n == name);
        vlog.set_facility(known.ok_or("invalid facility")?.1);
        return Ok(());
    }
    let (mut module, mut dest, mut level) = (None, None, None);
    for word in spec.split([':', ' ', ',', '\t']).filter(|w| !w.is_empty()) {
        if word.eq_ignore_ascii_case("ANY") {
            continue;
        }
        if let Some(l) = Level::parse(word) {
            if level.replace(l).is_some() {
                return Err("cannot specify multiple levels".to_owned());
            }
        } else if let Some(d) = Destination::parse(word) {
            if dest.replace(d).is_some() {
                return Err("cannot specify multiple destinations".to_owned());
            }
        } else if let Some(name) = vlog.module(word) {
            if module.replace(name).is_some() {
                return Err("cannot specify multiple modules".to_owned());
            }
        } else {
            return Err(format!("no destination, level, or module \"{word}\""));
        }
    }
    vlog.set_level(module.as_deref(), dest, level.unwrap_or(Level::Dbg));
    Ok(())
}

fn set_pattern(vlog: &Vlog, rest: &str) -> Result<(), String> {
    let (name, pattern) = rest.split_once(':').unwrap_or((rest, ""));
    let dest = Destination::parse(name);
    if name.is_empty() {
        return Err("missing destination".to_owned());
    }
    if dest.is_none() && !name.eq_ignore_ascii_case("ANY") {
        return Err(format!("unknown destination \"{name}\""));
    }
    let mut patterns = write(&vlog.patterns);
    for d in Destination::ALL
        .into_iter()
        .filter(|d| dest.is_none_or(|x| x == *d))
    {
        pattern.clone_into(&mut patterns[d as usize]);
    }
    Ok(())
}

/// The table of thresholds.
pub(crate) fn list(vlog: &Vlog) -> String {
    let mut out = String::from(
        "                 console    syslog    file\n                 -------    ------    ------\n",
    );
    for (module, [console, syslog, file]) in read(&vlog.levels).iter() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{module:<16}  {:>4}       {:>4}       {:>4}",
            console.name(),
            syslog.name(),
            file.name()
        );
    }
    out
}

/// The table of patterns.
pub(crate) fn list_pattern(vlog: &Vlog) -> String {
    let mut out = String::new();
    let mut line = |name: &str, prefix: &str, format: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:<7}  {prefix:<32}  {format}");
    };
    line("", "prefix", "format");
    line("", "------", "------");
    let patterns = read(&vlog.patterns);
    for d in [Destination::Syslog, Destination::Console, Destination::File] {
        // What stands in front of a line on its way to a syslog is not for the operator to choose.
        let prefix = match d {
            Destination::Syslog => "<%B> %D{%h %e %T} %E %A:",
            _ => "none",
        };
        let name = d.name().to_ascii_uppercase();
        line(&name, prefix, &patterns[d as usize]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        let v = Vlog::new("test");
        set(&v, "Ofproto_dpif:file:dbg").unwrap();
        assert_eq!(
            read(&v.levels)["ofproto_dpif"],
            [Level::Info, Level::Info, Level::Dbg]
        );
        set(&v, "dpif").unwrap();
        assert_eq!(read(&v.levels)["dpif"], [Level::Dbg; 3]);
        set(&v, "console:off").unwrap();
        assert_eq!(
            read(&v.levels)["dpif"],
            [Level::Off, Level::Dbg, Level::Dbg]
        );
        set(&v, "PATTERN:file:%m").unwrap();
        assert!(list_pattern(&v).ends_with("FILE     none                              %m\n"));
        assert!(set(&v, "ofproto-dpif:dbg").is_err());
        let bad = set(&v, "nosuch:dbg").unwrap_err();
        assert_eq!(bad, "no destination, level, or module \"nosuch\"");
        assert!(set(&v, "dbg:info").is_err() && set(&v, "PATTERN:xx:y").is_err());
        assert_eq!(set(&v, "PATTERN").unwrap_err(), "missing destination");
        assert!(set(&v, "FACILITY:local3").is_ok());
        assert_eq!(set(&v, "FACILITY:nosuch").unwrap_err(), "invalid facility");
    }
}
