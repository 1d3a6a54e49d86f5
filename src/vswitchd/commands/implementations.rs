//! Names of implementations that the peer lets its operator choose between: `dpif-netdev/dpif-impl-*`,
//! `dpif-netdev/miniflow-parser-*`, `dpif-netdev/subtable-lookup-*`, `odp-execute/action-impl-*`.
//!
//! There is one implementation of each here, chosen when the program was built, and nothing is chosen by
//! these commands: what they set is remembered and shown again, so that scripts written for the peer run.
//! The names are those of a peer built without AVX-512.

use super::pmd;
use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

const SCALAR_DPIF: &str = "dpif_scalar";
const PARSERS: [&str; 3] = ["autovalidator", "scalar", "study"];
const ACTIONS: [&str; 2] = ["scalar", "autovalidator"];
/// Packets that `study` looks at when it is not said.
const STUDY_PACKETS: u32 = 128;

/// What was last asked for.
#[derive(Debug)]
struct Names {
    /// Lookups with their priorities.
    lookups: [(&'static str, u8); 2],
    parser: &'static str,
    /// Parsers of single packet threads, by core.
    parsers: BTreeMap<u32, &'static str>,
    action: &'static str,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            lookups: [("autovalidator", 0), ("generic", 1)],
            parser: "scalar",
            parsers: BTreeMap::new(),
            action: "scalar",
        }
    }
}

type Shared = Rc<RefCell<Names>>;

pub(super) fn add(commands: &mut Commands<Switch>) {
    let names = Shared::default();
    add_dpif(commands);
    add_lookups(commands, &names);
    add_parsers(commands, &names);
    add_actions(commands, &names);
}

fn add_dpif(commands: &mut Commands<Switch>) {
    commands.add("dpif-netdev/dpif-impl-get", "", 0..=0, |s, _| {
        let cores = list(pmd::cores(s));
        Ok(format!(
            "Available DPIF implementations:\n  {SCALAR_DPIF} (pmds: {cores})\n"
        ))
    });
    let usage = "dpif_implementation_name";
    commands.add("dpif-netdev/dpif-impl-set", usage, 1..=1, |_, args| {
        let name = args[0];
        if name != SCALAR_DPIF {
            let text =
                format!("DPIF implementation not available: Unknown DPIF implementation {name}.\n");
            tracing::error!(target: "dpif_netdev", "{}", text.trim_end());
            return Err(text);
        }
        let text = format!("DPIF implementation set to {name}.\n");
        tracing::info!(target: "dpif_netdev", "{}", text.trim_end());
        Ok(text)
    });
}

/// `0,1`, or `none`.
fn list(cores: Vec<u32>) -> String {
    if cores.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<String> = cores.iter().map(u32::to_string).collect();
    texts.join(",")
}

fn add_lookups(commands: &mut Commands<Switch>, names: &Shared) {
    for name in [
        "dpif-netdev/subtable-lookup-info-get",
        "dpif-netdev/subtable-lookup-prio-get",
    ] {
        let names = Rc::clone(names);
        commands.add(name, "", 0..=0, move |s, _| {
            Ok(names.borrow().show_lookups(pmd::lookup_places(s).1))
        });
    }
    let (name, usage) = (
        "dpif-netdev/subtable-lookup-prio-set",
        "[lookup_func] [prio]",
    );
    let names = Rc::clone(names);
    commands.add(name, usage, 2..=2, move |s, args| {
        let priority = args[1]
            .parse()
            .map_err(|_| "error converting priority, use integer in range 0-255\n".to_owned())?;
        let changed = names.borrow_mut().set_lookup(args[0], priority);
        let Some(changed) = changed else {
            tracing::warn!(target: "dpif_netdev_lookup",
                "Subtable function '{}' not found, failed to set priority", args[0]);
            return Err("error, subtable lookup function not found\n".to_owned());
        };
        tracing::info!(target: "dpif_netdev_lookup",
            "Subtable function '{}' set priority to {priority}", args[0]);
        let (ports, subtables) = if changed {
            pmd::lookup_places(s)
        } else {
            (0, 0)
        };
        let text = format!(
            "Lookup priority change affected {ports} dpcls ports and {subtables} subtables.\n"
        );
        tracing::info!(target: "dpif_netdev", "{}", text.trim_end());
        Ok(text)
    });
}

fn add_parsers(commands: &mut Commands<Switch>, names: &Shared) {
    let shared = Rc::clone(names);
    commands.add("dpif-netdev/miniflow-parser-get", "", 0..=0, move |s, _| {
        Ok(shared.borrow().show_parsers(&pmd::cores(s)))
    });
    let usage = "[-pmd core] miniflow_implementation_name [study_pkt_cnt]";
    let names = Rc::clone(names);
    commands.add(
        "dpif-netdev/miniflow-parser-set",
        usage,
        1..=5,
        move |s, args| {
            let said = names.borrow_mut().set_parser(args, &pmd::cores(s));
            match &said {
                Ok(text) => tracing::info!(target: "dpif_netdev", "{}", text.trim_end()),
                Err(text) => tracing::error!(target: "dpif_netdev", "{}", text.trim_end()),
            }
            said
        },
    );
}

fn add_actions(commands: &mut Commands<Switch>, names: &Shared) {
    let shared = Rc::clone(names);
    commands.add("odp-execute/action-impl-show", "", 0..=0, move |_, _| {
        let active = shared.borrow().action;
        let mut out = String::from("Available Actions implementations:\n");
        for name in ACTIONS {
            let is = if name == active { "Yes" } else { "No" };
            put(
                &mut out,
                format_args!("  {name} (available: Yes, active: {is})\n"),
            );
        }
        Ok(out)
    });
    let names = Rc::clone(names);
    commands.add(
        "odp-execute/action-impl-set",
        "name",
        1..=1,
        move |_, args| {
            let name = args[0];
            let Some(known) = ACTIONS.into_iter().find(|a| *a == name) else {
                tracing::error!(target: "odp_execute",
                "Failed setting action implementation to {name}");
                return Err(format!(
                    "Error: unknown action implementation, {name}, specified!"
                ));
            };
            if std::mem::replace(&mut names.borrow_mut().action, known) != known {
                tracing::info!(target: "odp_execute_impl", "Action implementation set to {name}");
            }
            Ok(format!("Action implementation set to {name}."))
        },
    );
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

impl Names {
    /// The lookup of highest priority; of equals the first.
    fn best_lookup(&self) -> &'static str {
        let [a, b] = self.lookups;
        if b.1 > a.1 { b.0 } else { a.0 }
    }

    /// All subtables are said to use the lookup of highest priority.
    fn show_lookups(&self, subtables: usize) -> String {
        let best = self.best_lookup();
        let mut out = String::from("Available dpcls implementations:\n");
        for (name, priority) in self.lookups {
            let count = if name == best { subtables } else { 0 };
            put(
                &mut out,
                format_args!("  {name} (Use count: {count}, Priority: {priority})\n"),
            );
        }
        out
    }

    /// True when another one is of highest priority now; `None` when there is none of that name.
    fn set_lookup(&mut self, name: &str, priority: u8) -> Option<bool> {
        let before = self.best_lookup();
        self.lookups.iter_mut().find(|l| l.0 == name)?.1 = priority;
        Some(self.best_lookup() != before)
    }

    fn show_parsers(&self, cores: &[u32]) -> String {
        let mut out = String::from("Available MFEX implementations:\n");
        for name in PARSERS {
            let uses = |c: &u32| *self.parsers.get(c).unwrap_or(&self.parser) == name;
            let of = list(cores.iter().copied().filter(uses).collect());
            put(
                &mut out,
                format_args!("  {name} (available: True pmds: {of})\n"),
            );
        }
        out
    }

    fn set_parser(&mut self, args: &[&str], cores: &[u32]) -> Outcome {
        let asked = ParserArgs::read(args)?;
        let known = PARSERS.into_iter().find(|p| *p == asked.name);
        let known = known.ok_or_else(|| {
            format!(
                "Error: unknown miniflow extract implementation {}.",
                asked.name
            )
        })?;
        let mut text = format!("Miniflow extract implementation set to {known}");
        match asked.core {
            Some(core) if !cores.contains(&core) => {
                return Err(format!(
                    "Error: miniflow extract parser not changed, PMD thread {core} not in use, pass a valid pmd thread ID.\n"
                ));
            }
            Some(core) => {
                self.parsers.insert(core, known);
                put(&mut text, format_args!(", on pmd thread {core}"));
            }
            None => {
                self.parsers.clear();
                self.parser = known;
            }
        }
        if known == "study" {
            put(
                &mut text,
                format_args!(", studying {} packets", asked.packets),
            );
        }
        text.push_str(".\n");
        Ok(text)
    }
}

/// `[-pmd core] name [study_pkt_cnt]`.
struct ParserArgs<'a> {
    name: &'a str,
    core: Option<u32>,
    packets: u32,
}

impl<'a> ParserArgs<'a> {
    fn read(args: &[&'a str]) -> Result<Self, String> {
        let (mut name, mut core, mut packets) = (None, None, STUDY_PACKETS);
        let mut rest = args;
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            match name {
                None if *word == "-pmd" => {
                    let (value, after) = rest
                        .split_first()
                        .ok_or("Error: -pmd option requires a thread id argument.\n")?;
                    core = Some(value.parse().map_err(|_| format!(
                        "Error: miniflow extract parser not changed, PMD thread passed is not valid: '{value}'. Pass a valid pmd thread ID.\n"
                    ))?);
                    rest = after;
                }
                None => name = Some(*word),
                Some("study") => {
                    let n = word.parse().ok().filter(|n| *n > 0);
                    packets =
                        n.ok_or_else(|| format!("Error: invalid study_pkt_cnt value: {word}.\n"))?;
                }
                Some(_) => return Err(format!("Error: unknown argument {word}.\n")),
            }
        }
        let name = name.ok_or(
            "Error: no miniflow extract name provided. Output of miniflow-parser-get shows implementation list.\n",
        )?;
        Ok(Self {
            name,
            core,
            packets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsers_are_remembered_by_thread() {
        let mut n = Names::default();
        let mut set = |args: &[&str]| n.set_parser(args, &[0, 1]);
        assert_eq!(
            set(&["study", "33"]).unwrap(),
            "Miniflow extract implementation set to study, studying 33 packets.\n"
        );
        assert_eq!(
            set(&["-pmd", "1", "scalar"]).unwrap(),
            "Miniflow extract implementation set to scalar, on pmd thread 1.\n"
        );
        for (args, why) in [
            (&["scalar", "1"][..], "Error: unknown argument 1.\n"),
            (
                &["-pmd"],
                "Error: -pmd option requires a thread id argument.\n",
            ),
            (
                &["-pmd", "7", "study", "abcd"],
                "Error: invalid study_pkt_cnt value: abcd.\n",
            ),
            (
                &["superstudy"],
                "Error: unknown miniflow extract implementation superstudy.",
            ),
        ] {
            assert_eq!(set(args).unwrap_err(), why);
        }
        assert!(
            set(&["-pmd", "5", "study"])
                .unwrap_err()
                .contains("PMD thread 5 not in use")
        );
        assert!(
            set(&["-pmd", "zero", "study"])
                .unwrap_err()
                .contains("not valid: 'zero'")
        );
        assert!(
            set(&["-pmd", "1"])
                .unwrap_err()
                .contains("no miniflow extract name")
        );
        assert_eq!(
            n.show_parsers(&[0, 1]),
            "Available MFEX implementations:\n  autovalidator (available: True pmds: none)\n  \
             scalar (available: True pmds: 1)\n  study (available: True pmds: 0)\n"
        );
    }

    #[test]
    fn the_lookup_of_highest_priority_counts() {
        let mut n = Names::default();
        assert_eq!(n.set_lookup("autovalidator", 1), Some(true));
        assert_eq!(n.set_lookup("generic", 1), Some(false));
        assert_eq!(n.set_lookup("generic", 2), Some(true));
        assert_eq!(n.set_lookup("avx512", 2), None);
        assert_eq!(
            n.show_lookups(3),
            "Available dpcls implementations:\n  autovalidator (Use count: 0, Priority: 1)\n  \
             generic (Use count: 3, Priority: 2)\n"
        );
    }
}
