//! Conntrack: `ct(...)` and `ct_clear`.
//!
//! The datapath's action tracks the packet and, when a table is given, sends a copy back with the
//! connection's state, where translation goes on in that table. The packet at hand goes on untracked.

use crate::ctx::Ctx;
use crate::headers::clear_conntrack;
use crate::trace::NodeKind;
use crate::wild::Site;
use odp::{Action, NatAction, NatRange};
use openflow::{Act, CtAct, NatAct};
use wire::{U32, U128};

/// Events that a new connection reports: all but those of each packet (`OVS_CT_EVENTMASK_DEFAULT`).
const EVENTS_DEFAULT: u32 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 7 | 1 << 9 | 1 << 10;

/// The FTP control port, by which a helper is named.
const PORT_FTP: u16 = 21;
/// The TFTP port.
const PORT_TFTP: u16 = 69;

impl Ctx<'_> {
    /// The `ct` action.
    pub(crate) fn ct(&mut self, ct: &CtAct, is_last: bool) {
        let zone = self.ct_zone(ct);
        // The nested actions write mark and label of the flow; which bits they write is read off the
        // wildcards, which they must not keep.
        let (mark, label) = (self.wc.mask().0.ct_mark, self.wc.mask().0.ct_label);
        self.commit();
        self.nat = None;
        self.wc.clear(|m| {
            m.ct_mark = U32::ZERO;
            m.ct_label = U128::ZERO;
        });
        if !ct.actions.is_empty() {
            self.run(&ct.actions, is_last, false);
        } else if self.tracing() {
            self.run::<Act>(&[], is_last, false);
        }
        let action = self.ct_action(ct, zone);
        self.emit(Action::Ct(Box::new(action)));
        self.wc.clear(|m| {
            m.ct_mark = mark;
            m.ct_label = label;
        });
        if let Some(table) = ct.recirc_table {
            self.conntracked = true;
            self.recirculate_copy(table, zone);
        }
        self.nat = None;
        clear_conntrack(&mut self.flow);
        self.note(NodeKind::Detail, || {
            "Sets the packet to an untracked state, and clears all the conntrack fields.".into()
        });
        self.conntracked = false;
    }

    fn ct_zone(&mut self, ct: &CtAct) -> u16 {
        let Some(src) = &ct.zone_src else {
            return ct.zone_imm;
        };
        let tun = self.tun();
        let tun = Some(&*tun);
        // What thawing restores is decided by the recirculation id.
        if !(self.thawed && src.field.is_frozen_metadata()) {
            self.wc.with(Site::CtZone, |m| src.mask(m, tun));
        }
        (src.read_u64(&self.flow, tun) & 0xffff) as u16
    }

    fn ct_action(&mut self, ct: &CtAct, zone: u16) -> odp::CtAction {
        let set = self.wc.mask().0;
        let (mark, label) = (set.ct_mark.get(), set.ct_label.get());
        let helper = match ct.alg {
            0 => None,
            PORT_FTP => Some("ftp".to_owned()),
            PORT_TFTP => Some("tftp".to_owned()),
            other => {
                self.complain(|| format!("cannot serialize ct_helper {other}"));
                None
            }
        };
        odp::CtAction {
            commit: ct.commit,
            force: ct.commit && ct.force,
            zone,
            mark: (mark != 0).then(|| (self.flow.ct_mark.get() & mark, mark)),
            label: (label != 0).then(|| (self.flow.ct_label.get() & label, label)),
            helper,
            nat: self.nat.as_ref().map(nat_action),
            timeout: self.ct_timeout(ct.commit, zone),
            eventmask: (ct.commit && self.snap.features.ct_eventmask).then_some(EVENTS_DEFAULT),
        }
    }

    /// The timeout policy of a zone, where one is configured and the protocol can have one.
    fn ct_timeout(&mut self, commit: bool, zone: u16) -> Option<String> {
        use wire::ipv4::{PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP};
        if !commit || !self.snap.features.ct_timeout {
            return None;
        }
        let policy = self.snap.ct_timeouts.get(&zone)?;
        self.wc.mark_hidden(Site::CtTimeout, |m| m.nw_proto = 0xff);
        matches!(
            self.flow.nw_proto,
            PROTO_TCP | PROTO_UDP | PROTO_ICMP | PROTO_ICMPV6
        )
        .then(|| policy.to_string())
    }

    /// The `ct_clear` action.
    pub(crate) fn ct_clear(&mut self) {
        if !self.conntracked {
            return;
        }
        self.conntracked = false;
        clear_conntrack(&mut self.flow);
        if self.snap.features.ct_clear {
            self.emit(Action::CtClear);
        }
    }
}

fn nat_action(nat: &NatAct) -> NatAction {
    if !nat.src && !nat.dst {
        return NatAction::default();
    }
    NatAction {
        src: nat.src,
        dst: nat.dst && !nat.src,
        persistent: nat.persistent,
        hash: nat.hash,
        random: nat.random && !nat.hash,
        range: nat.addr.map(|(min, max)| NatRange {
            min,
            max: max.filter(|m| *m > min),
            ports: nat
                .ports
                .filter(|(min, _)| *min != 0)
                .map(|(min, max)| (min, max.filter(|m| *m > min).unwrap_or(0))),
        }),
    }
}
