//! All flows of a bridge as text, those that controllers cannot see included (`bridge/dump-flows`).

use crate::switch::Ofproto;
use crate::tables::N_TABLES;
use base::clock::Nanos;
use flow::NoNames;
use flow::text::PRIORITY_DEFAULT;
use openflow::{Names, put_actions};
use std::fmt::Write;

impl Ofproto {
    /// A line for every flow, table by table.
    #[must_use]
    pub fn show_flows(&self, now: Nanos) -> String {
        let names = Names {
            ports: None,
            tables: None,
        };
        let mut out = String::new();
        let tables = &self.pipeline().tables;
        for t in 0..N_TABLES {
            for rule in tables.table(t).rules.collect(None, tables.version()) {
                if t != 0 {
                    write_to(&mut out, format_args!("table_id={t}, "));
                }
                let (age, counts) = (now.since(rule.created).as_secs(), rule.counts());
                write_to(
                    &mut out,
                    format_args!(
                        "duration={age}s, n_packets={}, n_bytes={}, ",
                        counts.packets, counts.bytes
                    ),
                );
                let priority = rule.priority();
                if priority != i32::from(PRIORITY_DEFAULT) {
                    write_to(&mut out, format_args!("priority={priority},"));
                }
                self.expand(rule.matching())
                    .format(&mut out, &NoNames, PRIORITY_DEFAULT);
                out.push_str(",actions=");
                put_actions(&mut out, &rule.actions, names);
                out.push('\n');
            }
        }
        out
    }
}

fn write_to(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "strings take everything");
}
