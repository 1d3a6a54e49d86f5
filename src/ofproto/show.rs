//! All flows of a bridge as text, those that controllers cannot see included (`bridge/dump-flows`).

use crate::rule::Rule;
use crate::switch::Ofproto;
use crate::tables::{INTERNAL_TABLE, N_TABLES};
use base::clock::Nanos;
use base::sync::Arc;
use classifier::{Cursor, Version};
use flow::NoNames;
use flow::text::PRIORITY_DEFAULT;
use openflow::{Names, put_actions};
use std::fmt::Write;
use std::ops::Range;

/// Where a text of all flows is: it shows the version at which it began.
#[derive(Debug)]
pub struct FlowsText {
    version: Version,
    tables: Range<u8>,
    cursor: Option<(u8, Cursor)>,
    offload: bool,
}

impl Ofproto {
    /// Begins the text of all flows: a line for each, table by table. `offload`: with what devices counted.
    #[must_use]
    pub fn flows_text(&self, offload: bool) -> FlowsText {
        FlowsText {
            version: self.pipeline().tables.version(),
            tables: 0..N_TABLES,
            cursor: None,
            offload,
        }
    }

    /// Appends the lines of at most about `budget` further flows. False when there are no more.
    pub fn more_text(
        &self,
        text: &mut FlowsText,
        budget: usize,
        now: Nanos,
        out: &mut String,
    ) -> bool {
        let mut rules = Vec::new();
        while rules.len() < budget {
            let Some((table, cursor)) = &mut text.cursor else {
                let Some(next) = text.tables.next() else {
                    break;
                };
                let shelf = &self.pipeline().tables.table(next).rules;
                text.cursor = Some((next, shelf.cursor(None, text.version)));
                if next == INTERNAL_TABLE {
                    rules.extend(self.pipeline().own().all().map(Arc::clone));
                }
                continue;
            };
            let shelf = &self.pipeline().tables.table(*table).rules;
            if !shelf.advance(cursor, budget, &mut rules) {
                text.cursor = None;
            }
        }
        for rule in &rules {
            self.flow_line(rule, (now, text.offload), out);
        }
        text.cursor.is_some() || !text.tables.is_empty()
    }

    fn flow_line(&self, rule: &Rule, (now, offload): (Nanos, bool), out: &mut String) {
        let names = Names {
            ports: None,
            tables: None,
        };
        if rule.table != 0 {
            write_to(out, format_args!("table_id={}, ", rule.table));
        }
        let (age, counts) = (now.since(rule.created).as_secs(), rule.counts());
        write_to(
            out,
            format_args!(
                "duration={age}s, n_packets={}, n_bytes={}, ",
                counts.packets, counts.bytes
            ),
        );
        if offload {
            // No device carries flows out.
            out.push_str("n_offload_packets=0, n_offload_bytes=0, ");
        }
        let priority = rule.priority();
        let begin = out.len();
        self.expand(rule.matching())
            .format(out, &NoNames, PRIORITY_DEFAULT);
        if priority != i32::from(PRIORITY_DEFAULT) {
            let comma = if out.len() > begin { "," } else { "" };
            out.insert_str(begin, &format!("priority={priority}{comma}"));
        }
        out.push_str(",actions=");
        put_actions(out, &rule.actions, names);
        out.push('\n');
    }
}

fn write_to(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "strings take everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RuleSpec;
    use classifier::MiniMatch;
    use flow::{FieldId, Match};

    fn install(of: &mut Ofproto, (table, priority): (u8, i32), m: &Match) {
        let spec = RuleSpec {
            table,
            matching: MiniMatch::new(&m.flow, &m.mask),
            priority,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: openflow::FlowFlags::default(),
            actions: Arc::default(),
        };
        of.install(spec, Nanos::ZERO);
    }

    #[test]
    fn pieces_make_the_whole_text_whatever_their_size() {
        let mut of = Ofproto::new("br0");
        for n in 0..100_u8 {
            let mut m = Match::catchall();
            m.set_u64(FieldId::Reg(0), n.into());
            install(&mut of, (n % 3 * 100, 7), &m);
        }
        let text = |budget| {
            let (mut at, mut out, mut pieces) = (of.flows_text(false), String::new(), 1);
            while of.more_text(&mut at, budget, Nanos::ZERO, &mut out) {
                pieces += 1;
            }
            (out, pieces)
        };
        let (whole, one) = text(usize::MAX);
        assert_eq!((whole.lines().count(), one), (104, 1));
        let (again, many) = text(7);
        assert_eq!(again, whole);
        assert!(many > 10, "{many}");
        assert!(whole.lines().nth(99).unwrap().starts_with("table_id=200, "));
        let own = "\
table_id=254, duration=0s, n_packets=0, n_bytes=0, priority=2,recirc_id=0,actions=drop
table_id=254, duration=0s, n_packets=0, n_bytes=0, priority=0,reg0=0x1,actions=controller(reason=)
table_id=254, duration=0s, n_packets=0, n_bytes=0, priority=0,reg0=0x2,actions=drop
table_id=254, duration=0s, n_packets=0, n_bytes=0, priority=0,reg0=0x3,actions=drop
";
        assert!(whole.ends_with(own), "{whole}");
    }

    /// Lines that Open vSwitch 3.1 gives.
    #[test]
    fn a_match_of_everything() {
        let mut of = Ofproto::new("br0");
        let everything = Match::catchall();
        for (table, priority) in [(0, 0), (1, 32768), (2, 180_001)] {
            install(&mut of, (table, priority), &everything);
        }
        let (mut at, mut out) = (of.flows_text(true), String::new());
        while of.more_text(&mut at, 9, Nanos::ZERO, &mut out) {}
        let counts =
            "duration=0s, n_packets=0, n_bytes=0, n_offload_packets=0, n_offload_bytes=0, ";
        let lines: Vec<&str> = out.lines().take(3).collect();
        assert_eq!(lines[0], format!("{counts}priority=0,actions=drop"));
        assert_eq!(lines[1], format!("table_id=1, {counts},actions=drop"));
        assert_eq!(
            lines[2],
            format!("table_id=2, {counts}priority=180001,actions=drop")
        );
    }
}
