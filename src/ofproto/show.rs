//! All flows of a bridge as text, those that controllers cannot see included (`bridge/dump-flows`).

use crate::rule::Rule;
use crate::switch::Ofproto;
use crate::tables::N_TABLES;
use base::clock::Nanos;
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
}

impl Ofproto {
    /// Begins the text of all flows: a line for each, table by table.
    #[must_use]
    pub fn flows_text(&self) -> FlowsText {
        FlowsText {
            version: self.pipeline().tables.version(),
            tables: 0..N_TABLES,
            cursor: None,
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
                let rules = &self.pipeline().tables.table(next).rules;
                text.cursor = Some((next, rules.cursor(None, text.version)));
                continue;
            };
            let shelf = &self.pipeline().tables.table(*table).rules;
            if !shelf.advance(cursor, budget, &mut rules) {
                text.cursor = None;
            }
        }
        for rule in &rules {
            self.flow_line(rule, now, out);
        }
        text.cursor.is_some() || !text.tables.is_empty()
    }

    fn flow_line(&self, rule: &Rule, now: Nanos, out: &mut String) {
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
        let priority = rule.priority();
        if priority != i32::from(PRIORITY_DEFAULT) {
            write_to(out, format_args!("priority={priority},"));
        }
        self.expand(rule.matching())
            .format(out, &NoNames, PRIORITY_DEFAULT);
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
    use base::sync::Arc;
    use classifier::MiniMatch;
    use flow::{FieldId, Match};

    #[test]
    fn pieces_make_the_whole_text_whatever_their_size() {
        let mut of = Ofproto::new("br0");
        for n in 0..100_u8 {
            let mut m = Match::catchall();
            m.set_u64(FieldId::Reg(0), n.into());
            let spec = RuleSpec {
                table: n % 3 * 100,
                matching: MiniMatch::new(&m.flow, &m.mask),
                priority: 7,
                cookie: 0,
                idle_timeout: 0,
                hard_timeout: 0,
                importance: 0,
                flags: openflow::FlowFlags::default(),
                actions: Arc::default(),
            };
            of.install(spec, Nanos::ZERO);
        }
        let text = |budget| {
            let (mut at, mut out, mut pieces) = (of.flows_text(), String::new(), 1);
            while of.more_text(&mut at, budget, Nanos::ZERO, &mut out) {
                pieces += 1;
            }
            (out, pieces)
        };
        let (whole, one) = text(usize::MAX);
        assert_eq!((whole.lines().count(), one), (100, 1));
        let (again, many) = text(7);
        assert_eq!(again, whole);
        assert!(many > 10, "{many}");
        assert!(whole.lines().nth(99).unwrap().starts_with("table_id=200, "));
    }
}
