//! The style guide as a test: room table, file sizes, room docs, the list of files that may hold `unsafe`,
//! one door for concurrency, banned words. What clippy can check (function length, arguments) it checks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may use directly; what those use, it may use too.
const ROOMS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("packet", &["wire"]),
    ("flow", &["packet"]),
    ("classifier", &["flow"]),
    ("odp", &["flow"]),
    ("netdev", &["packet"]),
    ("dpif", &["odp", "netdev"]),
    ("datapath", &["dpif"]),
    ("openflow", &["flow"]),
    ("l2", &["wire"]),
    ("export", &["flow"]),
    ("ofproto", &["classifier", "openflow"]),
    ("xlate", &["ofproto", "l2", "odp"]),
    ("udpif", &["dpif", "xlate", "export"]),
    ("backer", &["udpif"]),
    ("ovsdb", &["base"]),
    ("vswitchd", &["backer", "datapath", "ovsdb"]),
];

/// Files that may hold `unsafe`, each with the reason in its UNSAFETY line.
const UNSAFE: &[&str] = &[
    "src/backer/tests/alone/counting.rs",
    "src/base/cpu.rs",
    "src/base/pages.rs",
    "src/base/poll.rs",
    "src/base/requires.rs",
    "src/netdev/afxdp/rings.rs",
    "src/netdev/afxdp/sockopt.rs",
    "src/netdev/dpdk/burst.rs",
    "src/netdev/dpdk/library.rs",
    "src/netdev/linux/ioctl.rs",
    "src/netdev/tests/unplug/mod.rs",
    "src/netdev/linux/socket.rs",
    "src/netdev/vhost/call.rs",
    "src/netdev/vhost/memory.rs",
    "src/netdev/vhost/pool.rs",
    "src/netdev/vhost/sigbus.rs",
    "src/datapath/cycles.rs",
    "src/datapath/prefetch.rs",
    "src/datapath/table/eight.rs",
    "src/datapath/tests/alloc.rs",
    "src/openflow/tests/raw_bytes.rs",
    "src/ovsdb/tests/raw_bytes.rs",
    "src/packet/batch.rs",
    "src/packet/frame.rs",
    "src/packet/heap.rs",
    "src/packet/pool.rs",
];

/// Flat tables and the like that may be longer than the limit, with the lines they may have.
const LONG: &[(&str, usize)] = &[];

/// Lines a file may have (a `mod tests` at its end not counted).
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// (path relative to the root, text) of every Rust file of ours.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        rust_files(&root().join(dir), &mut files);
    }
    files.sort();
    assert!(files.len() > 20, "found only {} files", files.len());
    files
        .into_iter()
        .map(|p| {
            let text = fs::read_to_string(&p).expect("a readable source file");
            (
                p.strip_prefix(root())
                    .expect("below the root")
                    .display()
                    .to_string(),
                text,
            )
        })
        .collect()
}

fn complain(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The text without what stands in a `mod tests { ... }` at its end.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {")
        .map_or(text, |at| &text[..at])
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut faults = Vec::new();
    for (room, _) in ROOMS {
        let mut allowed = vec![*room];
        let mut i = 0;
        while i < allowed.len() {
            allowed.extend(table[allowed[i]]);
            i += 1;
        }
        let manifest = fs::read_to_string(root().join("src").join(room).join("Cargo.toml"))
            .expect("every room has a Cargo.toml");
        let deps = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let deps = deps.split("\n[").next().unwrap_or_default();
        for line in deps.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if table.contains_key(name) && !allowed.contains(&name) {
                faults.push(format!("{room} may not use {name}"));
            }
        }
    }
    complain(&faults);
}

#[test]
fn every_room_is_in_the_table() {
    let mut faults = Vec::new();
    for entry in fs::read_dir(root().join("src")).expect("src").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        if entry.path().is_dir() && !ROOMS.iter().any(|(r, _)| *r == name) {
            faults.push(format!("src/{name} is not in the room table"));
        }
    }
    complain(&faults);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let lines = without_tests(&text).lines().count();
        let limit = LONG
            .iter()
            .find(|(p, _)| *p == path)
            .map_or(LINES_MAX, |(_, n)| *n);
        if lines > limit {
            faults.push(format!("{path}: {lines} lines, at most {limit}"));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{path}: must open with //! docs"));
        }
    }
    complain(&faults);
}

#[test]
fn unsafe_has_an_address() {
    let mut faults = Vec::new();
    for (path, text) in sources().into_iter().filter(|(p, _)| p != "tests/tidy.rs") {
        let listed = UNSAFE.contains(&path.as_str());
        let opens = text.contains("expect(unsafe_code");
        if opens != listed {
            faults.push(format!(
                "{path}: unsafe opt-in and the list in tests/tidy.rs differ"
            ));
        }
        if opens && !text.contains("// UNSAFETY:") {
            faults.push(format!("{path}: no UNSAFETY line"));
        }
        if text.contains("allow(unsafe_code") {
            faults.push(format!("{path}: unsafe is opted into by expect, not allow"));
        }
    }
    complain(&faults);
}

#[test]
fn concurrency_has_one_door() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if !path.starts_with("src/") || path.starts_with("src/base/") || path.contains("tests") {
            continue;
        }
        for (n, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for banned in ["std::sync::", "std::thread::spawn", "core::sync::"] {
                if code.contains(banned) {
                    faults.push(format!("{path}:{}: {banned} (use base::sync)", n + 1));
                }
            }
        }
    }
    complain(&faults);
}

#[test]
fn no_loose_ends() {
    // Written in two halves, so that this file does not find itself.
    let words = [
        ["to", "do!("],
        ["unimplem", "ented!("],
        ["FIX", "ME"],
        ["XX", "X"],
        ["#[ig", "nore]"],
    ]
    .map(|halves| halves.concat());
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (n, line) in text.lines().enumerate() {
            for word in &words {
                if line.contains(word.as_str()) {
                    faults.push(format!("{path}:{}: {word}", n + 1));
                }
            }
        }
    }
    complain(&faults);
}
