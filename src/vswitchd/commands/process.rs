//! Commands about the process: `version`, `exit`, `vlog/*`.

use crate::switch::Switch;
use crate::unixctl::Commands;
use crate::vlog::{self, vlog};

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add("version", "", 0..=0, |s, _| {
        Ok(format!("{} (Open vSwitch) 3.1.0", s.program()))
    });
    commands.add("exit", "[--cleanup]", 0..=1, |s, args| {
        s.request_exit(args.first() == Some(&"--cleanup"));
        Ok(String::new())
    });
    commands.add(
        "vlog/set",
        "{spec | PATTERN:destination:pattern}",
        0..=usize::MAX,
        |_, args| {
            if args.is_empty() {
                return vlog::set(vlog(), "").map(|()| String::new());
            }
            for spec in args {
                vlog::set(vlog(), spec)?;
            }
            Ok(String::new())
        },
    );
    commands.add("vlog/list", "", 0..=0, |_, _| Ok(vlog::list(vlog())));
    commands.add("vlog/list-pattern", "", 0..=0, |_, _| {
        Ok(vlog::list_pattern(vlog()))
    });
    commands.add("vlog/reopen", "", 0..=0, |_, _| {
        vlog().reopen().map(|()| String::new())
    });
    commands.add("vlog/close", "", 0..=0, |_, _| {
        vlog().close();
        Ok(String::new())
    });
    for name in ["vlog/enable-rate-limit", "vlog/disable-rate-limit"] {
        let on = name.contains("enable");
        commands.add(name, "[module]...", 0..=usize::MAX, move |_, args| {
            if args.is_empty() {
                base::log::set_limits_in_force(None, on);
            }
            // Those before a wrong one are obeyed, as the peer does.
            for arg in args {
                if arg.eq_ignore_ascii_case("any") {
                    base::log::set_limits_in_force(None, on);
                } else {
                    let module = vlog().module(arg).ok_or("unknown module")?;
                    base::log::set_limits_in_force(Some(&module), on);
                }
            }
            Ok(String::new())
        });
    }
}
