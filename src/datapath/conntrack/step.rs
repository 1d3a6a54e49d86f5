//! [`CtStep`]: the `ct` action, compiled.

use super::conn::Helper;
use super::nat::Nat;
use odp::CtAction;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CtStep {
    pub(super) commit: bool,
    pub(super) force: bool,
    pub(super) zone: u16,
    /// Value and mask.
    pub(super) mark: Option<(u32, u32)>,
    pub(super) label: Option<(u128, u128)>,
    pub(super) nat: Option<Nat>,
    pub(super) helper: Option<Helper>,
    /// Timeout policy; 0 for none.
    pub(super) policy: u32,
    /// What is wrong with it; said when packets come to it.
    unclear: Option<Box<str>>,
}

impl CtStep {
    pub(crate) fn new(action: &CtAction) -> Self {
        let nat = action.nat.as_ref().map(Nat::new);
        let policy = action.timeout.as_deref().map(str::parse);
        let unclear = match &policy {
            Some(Err(_)) => Some(format!(
                "Invalid Timeout Policy ID: {}.",
                action.timeout.as_deref().unwrap_or_default()
            )),
            _ if nat.as_ref().is_some_and(|n| n.way.is_some())
                && !action.commit
                && !action.force =>
            {
                Some("NAT specified without commit.".to_owned())
            }
            _ => None,
        };
        Self {
            commit: action.commit || action.force,
            force: action.force,
            zone: action.zone,
            mark: action.mark,
            label: action.label,
            nat,
            helper: action.helper.as_deref().and_then(Helper::named),
            policy: policy.and_then(Result::ok).unwrap_or(0),
            unclear: unclear.map(Into::into),
        }
    }

    /// Says what is wrong with it, if anything.
    #[inline]
    pub(super) fn complain(&self) {
        if let Some(what) = &self.unclear {
            base::log_rl!(UNCLEAR, WARN, "dpif_netdev", "{what}");
        }
    }
}

static UNCLEAR: base::log::RateLimit = base::log::RateLimit::new(5, 5);
