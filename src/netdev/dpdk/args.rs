//! The command line that DPDK is started with, from `other_config`, as Open vSwitch makes it.

use crate::device::Config;

/// Options that stand for one of DPDK's each.
const FLAT: [(&str, &str); 3] = [
    ("dpdk-lcore-mask", "-c"),
    ("dpdk-hugepage-dir", "--huge-dir"),
    ("dpdk-socket-limit", "--socket-limit"),
];
/// Options that exclude each other: how much memory.
const MEMORY: [(&str, &str); 2] = [
    ("dpdk-alloc-mem", "-m"),
    ("dpdk-socket-mem", "--socket-mem"),
];
/// Options of DPDK that would end the process.
const REFUSED: [&str; 3] = ["-h", "--help", "--version"];

/// The words of a line: separated by blanks, with quotes and backslashes as in a shell.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Why DPDK is not started with these settings; `None` when nothing speaks against it.
///
/// # Errors
/// In words, naming the key.
fn check_mask(settings: &Config, online: &[u32]) -> Result<(), String> {
    let Some(mask) = settings.get("dpdk-lcore-mask") else {
        return Ok(());
    };
    let digits = mask.trim().trim_start_matches("0x");
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!(
            "other_config:dpdk-lcore-mask: {mask:?} is not a hexadecimal mask of cores"
        ));
    }
    let named = |core: u32| {
        let at = core as usize / 4;
        digits
            .chars()
            .rev()
            .nth(at)
            .and_then(|d| d.to_digit(16))
            .is_some_and(|d| d >> (core % 4) & 1 == 1)
    };
    if online.iter().any(|&core| named(core)) {
        return Ok(());
    }
    Err(format!(
        "other_config:dpdk-lcore-mask: {mask:?} holds no core of this host"
    ))
}

/// A command line, and what was odd about the settings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) args: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// Two options contradict each other.
    pub(super) contradiction: Option<String>,
}

/// The command line for these settings. `cores` are those this thread may run on.
///
/// # Errors
/// In words: DPDK would end the process, or has no core to run on.
pub(super) fn line(program: &str, settings: &Config, cores: &[u32]) -> Result<Line, String> {
    check_mask(settings, cores)?;
    let mut line = Line {
        args: vec![program.to_owned()],
        warnings: Vec::new(),
        contradiction: None,
    };
    line.args.extend(
        settings
            .get("dpdk-extra")
            .map(|e| words(e))
            .unwrap_or_default(),
    );
    if let Some(word) = line.args.iter().find(|a| REFUSED.contains(&a.as_str())) {
        return Err(format!(
            "other_config:dpdk-extra: {word} would end the switch"
        ));
    }
    for (key, option) in FLAT {
        if let Some(value) = settings.get(key) {
            line.put(option, value);
        }
    }
    let set = |key: &str| settings.get(key).filter(|v| !v.is_empty());
    let memory: Vec<_> = MEMORY
        .iter()
        .filter_map(|(key, option)| Some((option, set(key)?)))
        .collect();
    if memory.len() > 1 {
        line.contradiction = Some(
            "Multiple defined options for memory type. Please check your database settings and reconfigure \
             if necessary."
                .to_owned(),
        );
    }
    if let Some((option, value)) = memory.last() {
        line.put(option, value);
    }
    let has = |line: &Line, names: &[&str]| line.args.iter().any(|a| names.contains(&a.as_str()));
    if !has(&line, &["--in-memory", "--legacy-mem", "--no-huge"]) {
        line.args.push("--in-memory".to_owned());
    }
    if !has(&line, &["-c", "-l"]) && !line.args.iter().any(|a| a.starts_with("--lcores")) {
        let first = cores.iter().min().copied().unwrap_or(0);
        line.args.extend(["-l".to_owned(), first.to_string()]);
    }
    Ok(line)
}

impl Line {
    fn put(&mut self, option: &str, value: &str) {
        if self.args.iter().any(|a| a == option) {
            self.warnings.push(format!(
                "Ignoring database defined option '{option}' due to dpdk-extra config"
            ));
        } else {
            self.args.extend([option.to_owned(), value.to_owned()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Config {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn args(pairs: &[(&str, &str)]) -> String {
        line("sw", &settings(pairs), &[0, 1])
            .unwrap()
            .args
            .join(" ")
    }

    #[test]
    fn lines_as_the_peer_makes_them() {
        assert_eq!(args(&[]), "sw --in-memory -l 0");
        assert_eq!(
            args(&[
                ("dpdk-lcore-mask", "0x1"),
                ("dpdk-extra", "--in-memory --no-pci -m 2048")
            ]),
            "sw --in-memory --no-pci -m 2048 -c 0x1"
        );
        assert_eq!(
            args(&[
                ("dpdk-socket-mem", "512"),
                ("dpdk-hugepage-dir", "/huge"),
                ("dpdk-extra", "--no-huge -l 1")
            ]),
            "sw --no-huge -l 1 --huge-dir /huge --socket-mem 512"
        );
        let both = settings(&[("dpdk-socket-mem", "1"), ("dpdk-alloc-mem", "2")]);
        assert!(line("sw", &both, &[0]).unwrap().contradiction.is_some());
        let twice = settings(&[("dpdk-alloc-mem", "1"), ("dpdk-extra", "-m 2")]);
        let twice = line("sw", &twice, &[0]).unwrap();
        assert_eq!(
            twice.warnings,
            ["Ignoring database defined option '-m' due to dpdk-extra config"]
        );
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(
            words(r#" a "b c" d\ e 'f"g' "" "#),
            ["a", "b c", "d e", "f\"g", ""]
        );
        assert_eq!(words("\"open"), ["open"]);
    }

    #[test]
    fn what_cannot_work_is_named() {
        for mask in ["0x0", "", "zz", "0x", "c"] {
            let e = line("sw", &settings(&[("dpdk-lcore-mask", mask)]), &[0, 1]).unwrap_err();
            assert!(e.contains("dpdk-lcore-mask") && e.contains(mask), "{e}");
        }
        assert!(
            line(
                "sw",
                &settings(&[("dpdk-lcore-mask", "0x10000000002")]),
                &[0, 1]
            )
            .is_ok()
        );
        assert!(line("sw", &settings(&[("dpdk-extra", "--no-pci -h")]), &[0]).is_err());
    }
}
