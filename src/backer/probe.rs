//! Finds out what a datapath can do, by trying, and says so in the log once, in the peer's words.
//!
//! A feature is there when the datapath says so and does not refuse a trial operation that uses it. Trials
//! leave nothing behind.

use base::sync::Arc;
use dpif::{Dpif, DpifError, Execute, Features, FlowPut, Op, PutFlags};
use flow::{Flow, Mask, Metadata, Vlan};
use odp::{Action, Actions, CtAction, HashAlg, SetKey};
use packet::HeapPool;
use wire::{EthAddr, Ipv4};

const ETH_IP: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;
const ETH_MPLS: u16 = 0x8847;
/// Levels of nested `sample` tried at most.
const NESTING_MAX: u32 = 10;

/// Tries everything. `vlan_limit`: VLAN tags that rules may match (1 or 2).
#[must_use]
pub fn probe(dpif: &dyn Dpif, vlan_limit: u32) -> Features {
    let p = Probe {
        dpif,
        says: dpif.features(),
        name: format!("{}@{}", dpif.type_name(), dpif.name()),
    };
    let mut f = p.says.clone();
    f.recirc = p.says.recirc
        && p.key(|k| {
            k.recirc_id.set(1);
            k.dp_hash.set(1);
        });
    p.supports(f.recirc, "recirculation");
    f.max_vlan_headers = p.depth(p.says.max_vlan_headers.min(vlan_limit), vlans);
    p.log(&format!(
        "VLAN header stack length probed as {}",
        f.max_vlan_headers
    ));
    f.max_mpls_depth = p.depth(p.says.max_mpls_depth, labels);
    p.log(&format!(
        "MPLS label stack length probed as {}",
        f.max_mpls_depth
    ));
    f.masked_set_action = p.says.masked_set_action && p.runs(masked_set());
    if !f.masked_set_action {
        tracing::info!(target: "ofproto_dpif",
            "{}: datapath does not support masked set action feature.", p.name);
    }
    p.actions(&mut f);
    p.fields(&mut f);
    f
}

/// One probing.
struct Probe<'a> {
    dpif: &'a dyn Dpif,
    says: Features,
    name: String,
}

impl Probe<'_> {
    fn log(&self, what: &str) {
        tracing::info!(target: "ofproto_dpif", "{}: {what}", self.name);
    }
    fn supports(&self, yes: bool, what: &str) {
        let verb = if yes { "supports" } else { "does not support" };
        self.log(&format!("Datapath {verb} {what}"));
    }

    fn actions(&self, f: &mut Features) {
        let says = &self.says;
        f.trunc = says.trunc
            && self.runs(vec![
                Action::Trunc { max_len: 15 },
                Action::Output(odp::OdpPort(1)),
            ]);
        self.supports(f.trunc, "truncate action");
        f.ufid = says.ufid && self.key(|k| k.dl_type.set(0x1234));
        self.supports(f.ufid, "unique flow ids");
        f.clone = says.clone && self.runs(vec![Action::Clone(Vec::new())]);
        self.supports(f.clone, "clone action");
        let most = says.sample_nesting.min(NESTING_MAX);
        let mut nesting = 3.min(most);
        while nesting < most && self.installs(vec![samples(nesting)]) {
            nesting += 1;
        }
        f.sample_nesting = nesting;
        self.log(&format!("Max sample nesting level probed as {nesting}"));
        f.ct_eventmask =
            says.ct_eventmask && self.installs(vec![ct(|c| c.eventmask = Some(u32::MAX))]);
        self.supports(f.ct_eventmask, "eventmask in conntrack action");
        f.ct_clear = says.ct_clear && self.installs(vec![Action::CtClear]);
        self.supports(f.ct_clear, "ct_clear action");
        let symmetric = Action::Hash {
            alg: HashAlg::SymL4,
            basis: 0,
        };
        f.max_hash_alg = u32::from(says.max_hash_alg >= 1 && self.installs(vec![symmetric]));
        self.log(&format!(
            "Max dp_hash algorithm probed to be {}",
            f.max_hash_alg
        ));
        let check = Action::CheckPktLen {
            pkt_len: 100,
            greater: Vec::new(),
            less_equal: Vec::new(),
        };
        f.check_pkt_len = says.check_pkt_len && self.installs(vec![check]);
        self.supports(f.check_pkt_len, "check_pkt_len action");
        f.ct_timeout =
            says.ct_timeout && self.installs(vec![ct(|c| c.timeout = Some("ovs_test_tp".into()))]);
        self.supports(f.ct_timeout, "timeout policy in conntrack action");
        self.supports(f.ct_all_zero_nat, "ct_zero_snat");
        let label = Action::AddMpls {
            ethertype: ETH_MPLS,
            lse: 0,
            l3: false,
        };
        f.add_mpls = says.add_mpls && self.installs(vec![label]);
        self.supports(f.add_mpls, "add_mpls action");
    }

    fn fields(&self, f: &mut Features) {
        let ip = |set: fn(&mut Flow)| {
            self.key(|k| {
                k.dl_type.set(ETH_IP);
                set(k);
            })
        };
        f.ct_state &= ip(|k| k.ct_state = 1);
        self.supports(f.ct_state, "ct_state");
        f.ct_zone &= ip(|k| k.ct_zone.set(1));
        self.supports(f.ct_zone, "ct_zone");
        f.ct_mark &= ip(|k| k.ct_mark.set(1));
        self.supports(f.ct_mark, "ct_mark");
        f.ct_label &= ip(|k| k.ct_label.set(1));
        self.supports(f.ct_label, "ct_label");
        f.ct_state_nat &= ip(|k| k.ct_state = 0x60);
        self.supports(f.ct_state_nat, "ct_state_nat");
        f.ct_orig_tuple &= ip(|k| k.ct_nw_proto = 1);
        self.supports(f.ct_orig_tuple, "ct_orig_tuple");
        f.ct_orig_tuple6 &= self.key(|k| {
            k.dl_type.set(ETH_IPV6);
            k.ct_nw_proto = 1;
        });
        self.supports(f.ct_orig_tuple6, "ct_orig_tuple6");
        self.supports(f.nd_ext, "IPv6 ND Extensions");
    }

    /// How many headers, up to `most`, a key may have.
    fn depth(&self, most: u32, set: fn(&mut Flow, u32)) -> u32 {
        let refused = (1..=most).find(|&n| !self.key(|k| set(k, n)));
        refused.map_or(most, |n| n - 1)
    }

    /// A flow with such a key is accepted.
    fn key(&self, set: impl Fn(&mut Flow)) -> bool {
        let mut key = Flow::zero();
        set(&mut key);
        self.put(&key, Vec::new())
    }

    /// A flow with such actions is accepted.
    fn installs(&self, actions: Actions) -> bool {
        let mut key = Flow::zero();
        key.dl_type.set(ETH_IP);
        key.nw_src = Ipv4([127, 255, 255, 255]);
        key.nw_dst = Ipv4([127, 255, 255, 255]);
        key.nw_proto = 17;
        self.put(&key, actions)
    }

    fn put(&self, key: &Flow, actions: Actions) -> bool {
        let mut ops = [Op::FlowPut(FlowPut {
            flags: PutFlags {
                create: true,
                modify: true,
                probe: true,
                ..PutFlags::default()
            },
            key: Arc::new(*key),
            mask: Arc::new(Mask::exact()),
            ufid: None,
            actions: Arc::new(actions),
            pmd: None,
            result: Err(DpifError::Again),
        })];
        self.dpif.operate(&mut ops);
        // Only a refusal of the thing itself counts; "there already" and the like do not.
        let [Op::FlowPut(put)] = ops else {
            return false;
        };
        !matches!(
            put.result,
            Err(DpifError::Invalid | DpifError::NotSupported)
        )
    }

    /// A small packet may be sent through such actions (it is not).
    fn runs(&self, actions: Actions) -> bool {
        let mut bytes = [0u8; 14];
        bytes[12..14].copy_from_slice(&0x1234_u16.to_be_bytes());
        let frame = HeapPool::global().copy_from(&bytes);
        let mut key = Flow::zero();
        flow::extract(frame.data(), &Metadata::of_frame(&frame), &mut key);
        let mut ops = [Op::Execute(Execute {
            frame: Some(frame),
            key: Arc::new(key),
            actions: Arc::new(actions),
            needs_help: false,
            probe: true,
            result: Err(DpifError::Again),
        })];
        self.dpif.operate(&mut ops);
        matches!(ops, [Op::Execute(Execute { result: Ok(()), .. })])
    }
}

fn vlans(key: &mut Flow, n: u32) {
    key.dl_type.set(ETH_IP);
    for tag in key.vlans.iter_mut().take(n as usize) {
        tag.tpid.set(0x8100);
        tag.tci.set(Vlan::CFI | 1);
    }
}

fn labels(key: &mut Flow, n: u32) {
    key.dl_type.set(ETH_MPLS);
    if let Some(last) = key.mpls_lse.get_mut(n as usize - 1) {
        last.set(1 << 8); // bottom of stack
    }
}

fn samples(nesting: u32) -> Action {
    if nesting == 0 {
        return Action::Output(odp::OdpPort(1));
    }
    Action::Sample {
        probability: u32::MAX,
        actions: vec![samples(nesting - 1)],
    }
}

fn ct(set: impl Fn(&mut CtAction)) -> Action {
    let mut ct = CtAction::default();
    set(&mut ct);
    Action::Ct(Box::new(ct))
}

fn masked_set() -> Actions {
    let eth = |b: u8| SetKey::Ethernet {
        src: EthAddr([b; 6]),
        dst: EthAddr([b; 6]),
    };
    vec![Action::SetMasked {
        key: eth(0x53),
        mask: eth(0x7f),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::clock::Clock;
    use dpif::fake::FakeDpif;

    #[test]
    fn a_capable_datapath_is_found_capable_and_left_clean() {
        let d = FakeDpif::standalone("dp", Clock::real());
        let f = probe(&*d, 1);
        let want = Features {
            max_vlan_headers: 1,
            ..Features::all()
        };
        assert_eq!(f, want);
        assert_eq!(probe(&*d, 2).max_vlan_headers, 2);
        assert!(d.flows().is_empty() && d.take_output().is_empty());
    }

    #[test]
    fn what_is_refused_is_not_there() {
        let d = FakeDpif::standalone("dp", Clock::real());
        d.refuse_puts(Some(DpifError::Invalid));
        let f = probe(&*d, 2);
        assert!(!f.recirc && !f.ct_clear && !f.ct_mark && f.clone);
        assert_eq!(
            (f.max_vlan_headers, f.max_mpls_depth, f.sample_nesting),
            (0, 0, 3)
        );
    }
}
