//! `vlog/set`, `vlog/list`, `vlog/list-pattern` and the `-v` option, which has the same syntax.

use super::{Destination, Level, Vlog};
use base::sync::{read, write};
use std::fmt::Write;

/// Applies one specification: `PATTERN:dest:text`, `FACILITY:name`, or words (module, destination, level) in
/// any order, separated by spaces, commas or colons. Nothing given means everything to DBG.
pub(crate) fn set(vlog: &Vlog, spec: &str) -> Result<(), String> {
    let first = spec.split([':', ' ', ',']).next().unwrap_or_default();
    if first.eq_ignore_ascii_case("PATTERN") {
        return set_pattern(vlog, spec[first.len()..].trim_start_matches(':'));
    }
    if first.eq_ignore_ascii_case("FACILITY") {
        return Ok(());
    }
    let (mut module, mut dest, mut level) = (None, None, None);
    for word in spec.split([':', ' ', ',', '\t']).filter(|w| !w.is_empty()) {
        let name = word.replace('-', "_");
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
        } else if vlog.knows(&name) {
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
    if dest.is_none() && !name.eq_ignore_ascii_case("ANY") {
        return Err(format!("Invalid destination {name} for PATTERN"));
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
    let mut out = String::from(
        "         format                            \n         ------                            \n",
    );
    for (d, pattern) in Destination::ALL.iter().zip(read(&vlog.patterns).iter()) {
        let _ = writeln!(out, "{:<8} {pattern}", d.name());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        let v = Vlog::new("test");
        set(&v, "ofproto-dpif:file:dbg").unwrap();
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
        assert!(list_pattern(&v).contains("file     %m\n"));
        let bad = set(&v, "nosuch:dbg").unwrap_err();
        assert_eq!(bad, "no destination, level, or module \"nosuch\"");
        assert!(set(&v, "dbg:info").is_err() && set(&v, "PATTERN:xx:y").is_err());
    }
}
