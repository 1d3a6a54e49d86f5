//! Sampling: sFlow, IPFIX, and the `sample` action. The datapath sends samples up through its `userspace`
//! action.

use crate::ctx::Ctx;
use flow::{OdpPort, OfPort};
use odp::{Action, Userspace, UserspaceCookie};
use ofproto::meter::METER_SLOWPATH;
use openflow::Act;

/// sFlow's "dropped for an unknown reason".
const SFLOW_DROPPED: u32 = 0x4000_0000 | 256;
/// sFlow's "this many output ports".
const SFLOW_MULTIPLE: u32 = 0x8000_0000;

impl Ctx<'_> {
    /// Appends a sample. Every packet of a probability of 1 needs none, unless a meter limits it.
    fn emit_sample(
        &mut self,
        probability: u32,
        cookie: UserspaceCookie,
        egress_tun_port: Option<OdpPort>,
        include_actions: bool,
    ) {
        if probability == 0 {
            return;
        }
        let meter = self.bridge.pipeline.meters.provider_id(METER_SLOWPATH);
        let up = Action::Userspace(Userspace {
            pid: 0,
            cookie,
            egress_tun_port,
            include_actions,
        });
        if probability == u32::MAX && meter.is_none() {
            self.emit(up);
            return;
        }
        let actions = meter.map(Action::Meter).into_iter().chain([up]).collect();
        self.emit(Action::Sample {
            probability,
            actions,
        });
    }

    /// The sample that sFlow takes of each packet that comes in; its output is filled in at the end.
    /// True when there is one.
    pub(crate) fn sample_sflow(&mut self) -> bool {
        let Some(probability) = self.bridge.sflow_probability else {
            return false;
        };
        if self.in_port() == OfPort::NONE || probability == 0 {
            return false;
        }
        let cookie = UserspaceCookie::SFlow {
            bridge: self.bridge.id.0,
            in_port: self.in_port(),
            vlan_tci: 0,
            output: 0,
        };
        self.emit_sample(probability, cookie, None, true);
        true
    }

    /// Completes the sample that stands first in the list.
    pub(crate) fn finish_sflow(&mut self) {
        let tci = self.base.vlans[0].tci.get();
        let out = match self.sflow_outputs {
            0 => SFLOW_DROPPED,
            1 => match self.port(self.sflow_port).map_or(0, |p| p.ifindex) {
                0 => SFLOW_MULTIPLE | 1,
                index => index,
            },
            n => SFLOW_MULTIPLE | n,
        };
        let inner = match self.out.actions.first_mut() {
            Some(Action::Sample { actions, .. }) => actions.last_mut(),
            first => first,
        };
        if let Some(Action::Userspace(Userspace {
            cookie: UserspaceCookie::SFlow {
                vlan_tci, output, ..
            },
            ..
        })) = inner
        {
            *vlan_tci = tci;
            *output = out;
        }
    }

    /// IPFIX, for packets that come in.
    pub(crate) fn sample_ingress(&mut self) {
        if let Some(ipfix) = self.bridge.ipfix
            && ipfix.input
            && self.in_port() != OfPort::NONE
        {
            self.sample_ipfix(ipfix.probability, OdpPort::NONE, None);
        }
    }

    /// IPFIX, for packets that leave.
    pub(crate) fn sample_egress(&mut self, port: OdpPort) {
        if let Some(ipfix) = self.bridge.ipfix
            && ipfix.output
        {
            let tunnel = ipfix.tunnels && self.is_tunnel_port(port);
            self.sample_ipfix(ipfix.probability, port, tunnel.then_some(port));
        }
    }

    fn is_tunnel_port(&self, odp: OdpPort) -> bool {
        self.bridge
            .ports
            .values()
            .any(|p| p.odp == odp && p.is_tunnel())
    }

    fn sample_ipfix(&mut self, probability: u32, output: OdpPort, tunnel: Option<OdpPort>) {
        let cookie = UserspaceCookie::Ipfix {
            bridge: self.bridge.id.0,
            in_port: self.in_port(),
            output,
        };
        self.emit_sample(probability, cookie, tunnel, false);
    }

    /// The `sample` action.
    pub(crate) fn sample(&mut self, act: &Act) {
        let Act::Sample {
            probability,
            collector_set_id,
            obs_domain_id,
            obs_point_id,
            sampling_port,
            direction,
        } = *act
        else {
            return;
        };
        let Some(ipfix) = self.bridge.flow_ipfix else {
            return;
        };
        let mut output = OdpPort::NONE;
        let mut tunnel = None;
        if sampling_port != OfPort::NONE && sampling_port != self.in_port() {
            let port = self.port(sampling_port).filter(|p| p.odp != OdpPort::NONE);
            let Some(port) = port else {
                self.complain(|| {
                    format!(
                        "can't use unknown port {} in flow sample action",
                        sampling_port.0
                    )
                });
                return;
            };
            output = port.odp;
            if ipfix.tunnels && port.is_tunnel() {
                tunnel = Some(port.odp);
            }
        }
        self.commit();
        let cookie = UserspaceCookie::FlowSample {
            bridge: self.bridge.id.0,
            in_port: self.in_port(),
            probability,
            collector_set_id,
            obs_domain_id,
            obs_point_id,
            output,
            direction,
        };
        // The same share of 2^32 as of 2^16.
        let probability = u32::from(probability) << 16 | u32::from(probability);
        self.emit_sample(probability, cookie, tunnel, false);
    }
}
