//! Searching tables, and running the rules found there.

use crate::ctx::Ctx;
use crate::deps::LookupDep;
use crate::effects::Effect;
use crate::headers;
use crate::output::XlateError;
use crate::snapshot::FragHandling;
use crate::trace::NodeKind;
use crate::wild::Site;
use crate::{DEPTH_MAX, RESUBMITS_MAX, STACK_BYTES_MAX};
use base::log::RateLimit;
use base::sync::Arc;
use flow::{Flow, OfPort};
use ofproto::{INTERNAL_TABLE, N_TABLES, Rule, TableMiss};
use openflow::Acts;
use wire::{U16, U32};

/// `OFPR_*` reasons of packet-ins.
pub(crate) mod reason {
    /// An action says so.
    pub(crate) const ACTION: u8 = 1;
    /// The time to live ran out.
    pub(crate) const INVALID_TTL: u8 = 2;
    /// The action set says so.
    pub(crate) const ACTION_SET: u8 = 3;
    /// A group's bucket says so.
    pub(crate) const GROUP: u8 = 4;
    /// A packet-out says so.
    pub(crate) const PACKET_OUT: u8 = 5;
    /// A table-miss rule says so.
    pub(crate) const EXPLICIT_MISS: u8 = 6;
}

/// What a search found.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// A rule.
    Rule(Arc<Rule>),
    /// Nothing, and a controller wants to see the packet: these actions say so.
    MissPacketIn(Arc<Acts>),
    /// Nothing.
    Miss,
    /// A fragment, and fragments are dropped.
    DropFragment,
}

/// What a search may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    /// Pretended ingress port.
    pub(crate) in_port: OfPort,
    /// Table.
    pub(crate) table: u8,
    /// Packets that match no rule may go to the controller.
    pub(crate) may_packet_in: bool,
    /// The table's miss behaviour counts.
    pub(crate) honor_miss: bool,
    /// With the 5-tuple of conntrack's original direction.
    pub(crate) ct_orig: bool,
}

/// How a rule's actions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// On the packet.
    Plain,
    /// On a copy (at the far end of a patch port).
    Cloned,
}

impl Found {
    /// The actions.
    pub(crate) fn actions(&self) -> Arc<Acts> {
        match self {
            Self::Rule(r) => r.actions.clone(),
            Self::MissPacketIn(acts) => acts.clone(),
            Self::Miss | Self::DropFragment => Arc::default(),
        }
    }
    /// The cookie.
    pub(crate) fn cookie(&self) -> u64 {
        match self {
            Self::Rule(r) => r.cookie,
            _ => 0,
        }
    }
    /// The rule, when it is one of a table.
    pub(crate) fn rule(&self) -> Option<Arc<Rule>> {
        match self {
            Self::Rule(r) => Some(r.clone()),
            _ => None,
        }
    }
}

static UNKNOWN_PORT: RateLimit = RateLimit::new(1, 5);

impl Ctx<'_> {
    /// Searches a table (and, where misses say so, the following ones). The second value is the table in
    /// which the search ended.
    pub(crate) fn lookup(&mut self, l: Lookup) -> (Found, u8) {
        if self.flow.nw_frag & Flow::FRAG_ANY != 0 && self.bridge.frag == FragHandling::Drop {
            self.effect(Effect::Table {
                bridge: self.bridge.id,
                table: l.table,
                matched: true,
            });
            let own = self.bridge.pipeline.own();
            self.effect(Effect::Rule(Arc::clone(&own.drop_fragments)));
            return (Found::DropFragment, l.table);
        }
        let (tp_src, tp_dst, in_port) = (self.flow.tp_src, self.flow.tp_dst, self.flow.in_port);
        let real_in_port = self.in_port();
        if self.flow.nw_frag & Flow::FRAG_ANY != 0 && self.bridge.frag != FragHandling::NxMatch {
            self.flow.tp_src = U16::ZERO;
            self.flow.tp_dst = U16::ZERO;
        }
        self.flow.in_port = U32::new(l.in_port.0.into());
        let found = self.search(&l, real_in_port);
        self.flow.tp_src = tp_src;
        self.flow.tp_dst = tp_dst;
        self.flow.in_port = in_port;
        found
    }

    fn search(&mut self, l: &Lookup, real_in_port: OfPort) -> (Found, u8) {
        let pristine = self.pristine();
        let mut miss = TableMiss::Continue;
        let mut table = l.table;
        let mut next = Some(l.table);
        while let Some(id) = next {
            table = id;
            let rule = self.look_in(id, pristine);
            if let Some(rule) = rule {
                return (Found::Rule(rule), id);
            }
            if !l.honor_miss {
                break;
            }
            miss = self.bridge.pipeline.tables.table(id).miss();
            next = match id.saturating_add(1) {
                INTERNAL_TABLE => Some(INTERNAL_TABLE + 1),
                n => Some(n),
            }
            .filter(|n| miss == TableMiss::Continue && *n < N_TABLES);
        }
        let own = self.bridge.pipeline.own();
        let (found, rule) = if l.may_packet_in && self.wants_packet_in(miss, real_in_port) {
            (Found::MissPacketIn(own.miss.actions.clone()), &own.miss)
        } else {
            (Found::Miss, &own.no_packet_in)
        };
        self.effect(Effect::Rule(Arc::clone(rule)));
        (found, table)
    }

    fn wants_packet_in(&mut self, miss: TableMiss, in_port: OfPort) -> bool {
        match miss {
            TableMiss::Continue | TableMiss::Controller => match self.port(in_port) {
                Some(port) => !port.no_packet_in,
                None => {
                    base::log_rl!(
                        UNKNOWN_PORT,
                        WARN,
                        "ofproto_dpif",
                        "packet-in on unknown OpenFlow port {}",
                        in_port.0
                    );
                    false
                }
            },
            TableMiss::Default => {
                let (bridge, misses) = (self.bridge, &mut self.out.deps.misses);
                if !misses.contains(&bridge.id) {
                    misses.push(bridge.id);
                }
                bridge.packet_in_on_miss
            }
            TableMiss::Drop => false,
        }
    }

    fn look_in(&mut self, table: u8, pristine: bool) -> Option<Arc<Rule>> {
        let (bridge, version) = (self.bridge, self.version);
        let flow = &self.flow;
        let rule = self.wc.with(Site::Lookup, |m| {
            bridge.pipeline.tables.lookup(table, version, flow, Some(m))
        });
        self.effect(Effect::Table {
            bridge: bridge.id,
            table,
            matched: rule.is_some(),
        });
        self.out.deps.lookups.push(LookupDep {
            bridge: bridge.id,
            table,
            priority: rule.as_ref().map_or(-1, |r| r.priority()),
            pristine,
        });
        if let Some(rule) = &rule {
            self.out.deps.rules.push(rule.id);
            self.effect(Effect::Rule(rule.clone()));
        }
        rule
    }

    /// Nothing a rule can match was changed so far. The port counts: a resubmit or a patch port may have given
    /// the packet another one than it came in on.
    fn pristine(&self) -> bool {
        const ACTSET: usize = std::mem::offset_of!(Flow, actset_output);
        let (now, upcall) = (self.flow.bytes(), self.upcall.bytes());
        now[..ACTSET] == upcall[..ACTSET] && now[ACTSET + 4..] == upcall[ACTSET + 4..]
    }

    /// False, and translation fails or ends, when it has worked too much already.
    pub(crate) fn may_go_on(&mut self) -> bool {
        if self.depth >= DEPTH_MAX {
            self.complain(|| format!("over max translation depth {DEPTH_MAX}"));
            self.error = Some(XlateError::RecursionTooDeep);
        } else if self.resubmits >= RESUBMITS_MAX {
            self.complain(|| format!("over {RESUBMITS_MAX} resubmit actions"));
            self.error = Some(XlateError::TooManyResubmits);
        } else if self.action_bytes > usize::from(u16::MAX) {
            self.complain(|| "resubmits yielded over 64 kB of actions".into());
            // Not an error: such a flow is handled in userspace anyway.
            self.exit = true;
        } else if self.stack.iter().map(|e| e.len() + 1).sum::<usize>() >= STACK_BYTES_MAX {
            self.complain(|| "resubmits yielded over 64 kB of stack".into());
            self.error = Some(XlateError::StackTooDeep);
        } else {
            return true;
        }
        false
    }

    /// Searches a table and runs what it finds.
    pub(crate) fn table_action(&mut self, l: Lookup, is_last: bool, how: Run) {
        // What follows a popped label is known only after recirculation.
        if self.was_mpls {
            self.trigger_freeze();
            return;
        }
        if !self.may_go_on() {
            return;
        }
        if l.ct_orig && (self.flow.ct_nw_proto == 0 || !headers::is_ip(&self.flow)) {
            self.complain(|| "resubmit(ct) with non-tracked or non-IP packet!".into());
            return;
        }
        let old_table = self.table;
        if l.ct_orig {
            self.swap_tuples();
        }
        let (found, table) = self.lookup(l);
        if l.ct_orig {
            self.swap_tuples();
        }
        self.table = table;
        self.begin_table(&found, l.table);
        self.run_found(&found, l.table <= old_table, is_last, how);
        self.end();
        self.table = old_table;
    }

    /// A node for what was found in a table begins.
    pub(crate) fn begin_table(&mut self, found: &Found, table: u8) {
        if self.tracing() {
            let text = crate::text::found(self, found, table);
            self.begin(NodeKind::Table, || text);
        }
    }

    fn run_found(&mut self, found: &Found, deepens: bool, is_last: bool, how: Run) {
        let old_rule = std::mem::replace(&mut self.rule, found.rule());
        let old_cookie = std::mem::replace(&mut self.cookie, found.cookie());
        self.resubmits += 1;
        self.depth += u32::from(deepens);
        let actions = found.actions();
        match how {
            Run::Plain => self.run(&actions, is_last, false),
            Run::Cloned => self.run_cloned(&actions, is_last),
        }
        self.depth -= u32::from(deepens);
        self.cookie = old_cookie;
        self.rule = old_rule;
    }

    /// Swaps the 5-tuple with that of conntrack's original direction, in the wildcards too.
    fn swap_tuples(&mut self) {
        let v4 = self.flow.dl_type.get() == wire::ethernet::ETH_TYPE_IP;
        let swap = |f: &mut Flow| {
            std::mem::swap(&mut f.nw_proto, &mut f.ct_nw_proto);
            if v4 {
                std::mem::swap(&mut f.nw_src, &mut f.ct_nw_src);
                std::mem::swap(&mut f.nw_dst, &mut f.ct_nw_dst);
            } else {
                std::mem::swap(&mut f.ipv6_src, &mut f.ct_ipv6_src);
                std::mem::swap(&mut f.ipv6_dst, &mut f.ct_ipv6_dst);
            }
            std::mem::swap(&mut f.tp_src, &mut f.ct_tp_src);
            std::mem::swap(&mut f.tp_dst, &mut f.ct_tp_dst);
        };
        swap(&mut self.flow);
        self.wc.clear(swap);
    }
}
