//! Text for people: `upcall/show` as Open vSwitch 3.1 prints it, and more than it prints.

use crate::core::Core;
use crate::reason::DelReason;
use crate::translator::Translator;
use base::sync::Ordering;
use std::fmt::Write;

/// The paragraph of `upcall/show` for one datapath; `first_id` is the number of the first revalidator.
pub(crate) fn show<T: Translator>(
    core: &Core<T>,
    first_id: usize,
    n_revalidators: usize,
) -> String {
    let mut out = String::new();
    let dpif = &core.dpif;
    let say = |out: &mut String, line: std::fmt::Arguments<'_>| {
        out.write_fmt(line).expect("a String takes everything");
    };
    say(
        &mut out,
        format_args!("{}@{}:\n", dpif.type_name(), dpif.name()),
    );
    say(
        &mut out,
        format_args!(
            "  flows         : (current {}) (avg {}) (max {}) (limit {})\n",
            core.n_flows(),
            core.avg_flows.load(Ordering::Relaxed),
            core.max_flows.load(Ordering::Relaxed),
            core.limit()
        ),
    );
    say(
        &mut out,
        format_args!(
            "  dump duration : {}ms\n",
            core.dump_ms.load(Ordering::Relaxed)
        ),
    );
    let ufid = core.ufid.load(Ordering::Relaxed) && dpif.features().ufid;
    say(&mut out, format_args!("  ufid enabled : {ufid}\n\n"));
    for i in 0..n_revalidators {
        let keys = core.map.keys_of(i, n_revalidators);
        say(
            &mut out,
            format_args!("  {}: (keys {keys})\n", first_id + i),
        );
    }
    out
}

/// Counters and reasons of removal, one per line, zero counts left out.
pub(crate) fn details<T: Translator>(core: &Core<T>) -> String {
    let mut out = String::new();
    for (name, n) in core.counters.list() {
        if n > 0 {
            writeln!(out, "{name}: {n}").expect("a String takes everything");
        }
    }
    for &reason in DelReason::ALL {
        let n = core.counters.deleted.get(reason);
        if n > 0 {
            writeln!(out, "deleted, {}: {n}", reason.text()).expect("a String takes everything");
        }
    }
    out
}
