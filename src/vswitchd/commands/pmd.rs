//! `dpif-netdev/*`: packet threads, what they poll and how busy they are.

use super::dpctl::{all, named};
use crate::switch::Switch;
use crate::unixctl::{Commands, Outcome};
use base::sync::Arc;
use datapath::{Datapath, show};
use dpif::Dpif;

/// What a command's arguments select.
struct Selected {
    dpif: Arc<dyn Dpif>,
    core: Option<u32>,
    secs: u64,
}

fn select(s: &Switch, args: &[&str]) -> Result<Selected, String> {
    let (mut core, mut secs, mut dp) = (None, 0, None);
    let mut rest = args.iter();
    while let Some(&arg) = rest.next() {
        match arg {
            "-pmd" => {
                let value = rest.next().copied().unwrap_or_default();
                core = Some(
                    value
                        .parse()
                        .map_err(|_| format!("-pmd {value}: expected a core"))?,
                );
            }
            "-secs" => {
                let value = rest.next().copied().unwrap_or_default();
                secs = value
                    .parse()
                    .map_err(|_| format!("-secs {value}: expected seconds"))?;
            }
            // Histograms are not kept, so there is none to leave out.
            "-nh" => {}
            name => dp = Some(name),
        }
    }
    let mut dpifs = match dp {
        Some(name) => vec![named(s, name)?],
        None => all(s),
    };
    match (dpifs.pop(), dpifs.is_empty()) {
        (Some(dpif), true) => Ok(Selected { dpif, core, secs }),
        _ => Err("please specify an existing datapath".to_owned()),
    }
}

fn with(s: &Switch, args: &[&str], text: impl Fn(&Datapath, &Selected) -> String) -> Outcome {
    let selected = select(s, args)?;
    let dp = selected.dpif.as_any().downcast_ref::<Datapath>();
    dp.map(|dp| text(dp, &selected))
        .ok_or_else(|| "please specify an existing datapath".to_owned())
}

pub(super) fn add(commands: &mut Commands<Switch>) {
    commands.add(
        "dpif-netdev/pmd-stats-show",
        "[-pmd core] [dp]",
        0..=3,
        |s, args| with(s, args, |dp, x| show::pmd_stats(dp, x.core)),
    );
    commands.add(
        "dpif-netdev/pmd-stats-clear",
        "[-pmd core] [dp]",
        0..=3,
        |s, args| {
            with(s, args, |dp, x| {
                show::clear_stats(dp, x.core);
                String::new()
            })
        },
    );
    let usage = "[-pmd core] [-secs secs] [dp]";
    commands.add("dpif-netdev/pmd-rxq-show", usage, 0..=5, |s, args| {
        with(s, args, |dp, x| show::pmd_rxq(dp, x.core, x.secs))
    });
    let usage = "[-nh] [-it iter-history-len] [-ms ms-history-len] [-pmd core] [dp]";
    commands.add("dpif-netdev/pmd-perf-show", usage, 0..=8, |s, args| {
        with(s, args, |dp, x| show::pmd_perf(dp, x.core))
    });
    commands.add("dpif-netdev/pmd-rxq-rebalance", "[dp]", 0..=1, |s, args| {
        with(s, args, |dp, _| {
            dp.rebalance();
            String::new()
        })
    });
}
