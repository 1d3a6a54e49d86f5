//! Rules that stand for what happens to packets without a rule: they are in no table, cannot be looked up or changed, and
//! are shown as Open vSwitch shows those of its table 254, which have the same part there.

use crate::rule::{Rule, RuleSpec};
use crate::tables::INTERNAL_TABLE;
use base::clock::Nanos;
use base::sync::Arc;
use classifier::MiniMatch;
use flow::{FieldId, Match};
use openflow::{Act, Acts, FlowFlags, reason};

/// See the file's essay.
#[derive(Debug)]
pub struct OwnRules {
    /// Packets that came back (from recirculation) by mistake.
    pub recirculated: Arc<Rule>,
    /// Packets that match no rule, and a controller wants to see.
    pub miss: Arc<Rule>,
    /// Packets that match no rule.
    pub no_packet_in: Arc<Rule>,
    /// Fragments where they are dropped.
    pub drop_fragments: Arc<Rule>,
}

impl Default for OwnRules {
    fn default() -> Self {
        Self::new(Nanos::ZERO)
    }
}

impl OwnRules {
    /// Those of a bridge that was made at `now`.
    pub(crate) fn new(now: Nanos) -> Self {
        let to_controller = Act::Controller {
            max_len: u16::MAX,
            controller_id: 0,
            reason: reason::IMPLICIT_MISS,
            userdata: Vec::new(),
            meter_id: None,
            pause: false,
        };
        let marked = |mark, acts| rule((FieldId::Reg(0), mark), 0, acts, now);
        Self {
            recirculated: rule((FieldId::RecircId, 0), 2, Acts::default(), now),
            miss: marked(1, vec![to_controller]),
            no_packet_in: marked(2, Acts::default()),
            drop_fragments: marked(3, Acts::default()),
        }
    }

    /// All of them, in the order in which they are shown.
    pub(crate) fn all(&self) -> [&Arc<Rule>; 4] {
        [
            &self.recirculated,
            &self.miss,
            &self.no_packet_in,
            &self.drop_fragments,
        ]
    }
}

fn rule((field, value): (FieldId, u64), priority: i32, acts: Acts, now: Nanos) -> Arc<Rule> {
    let mut m = Match::catchall();
    m.set_u64(field, value);
    let spec = RuleSpec {
        table: INTERNAL_TABLE,
        matching: MiniMatch::new(&m.flow, &m.mask),
        priority,
        cookie: 0,
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        flags: FlowFlags::default(),
        actions: Arc::new(acts),
    };
    Arc::new(Rule::new(spec, 0, now))
}
