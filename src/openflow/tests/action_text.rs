//! Actions in text, both ways, against what `ovs-ofctl` 3.1 says.

use openflow::{Names, format_actions, parse_actions, parse_instructions};

fn round(text: &str) -> String {
    match parse_instructions(text, Names::default()) {
        Ok(acts) => format_actions(&acts, Names::default()),
        Err(e) => format!("error: {e}"),
    }
}

/// Each line of the case file: input, tab, what comes out (nothing: the input itself).
#[test]
fn cases() {
    let mut wrong = Vec::new();
    for line in include_str!("cases/actions.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (input, want) = line.split_once('\t').unwrap_or((line, line));
        let got = round(input);
        if got != want {
            wrong.push(format!("input {input}\n  got {got}\n want {want}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}1{}", "clone(".repeat(10_000), ")".repeat(10_000));
    let e = parse_actions(&deep, Names::default()).expect_err("too deep");
    assert_eq!(e.to_string(), "Action nested too deeply");
    let fine = format!("{}1{}", "clone(".repeat(99), ")".repeat(99));
    assert!(parse_actions(&fine, Names::default()).is_ok());
}
