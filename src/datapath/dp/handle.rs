//! [`DpHandle`]: an open datapath, as the `Dpif` trait wants it.

use super::Datapath;
use super::operate::Sent;
use crate::limits::NESTING_SHOWN;
use crate::meters::Meters;
use base::sync::{Arc, Mutex, lock};
use dpif::conntrack::CtControl;
use dpif::{
    DpStats, Dpif, DpifError, DpifPort, Features, FlowDump, FlowSelect, MeterConfig, MeterCounts,
    MeterLimits, Op, PortChange, PortSpec, Ticket, Upcall,
};
use odp::{DropReason, OdpPort};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the provider keeps: datapaths by name.
pub(crate) type Datapaths = Arc<Mutex<BTreeMap<String, Arc<Datapath>>>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct DpHandle {
    dp: Arc<Datapath>,
    all: Datapaths,
    /// Number of the next change of ports that this handle has not seen.
    seen: Mutex<u64>,
}

impl DpHandle {
    pub(crate) fn new(dp: Arc<Datapath>, all: Datapaths) -> Self {
        let seen = Mutex::new(dp.next_change());
        Self { dp, all, seen }
    }
}

/// Operations that packet threads are at.
#[derive(Debug)]
struct UnderWay<'a> {
    dp: &'a Datapath,
    ops: Vec<Op>,
    sent: Sent,
}

impl Ticket for UnderWay<'_> {
    fn wait(self: Box<Self>) -> Vec<Op> {
        let Self { dp, mut ops, sent } = *self;
        dp.end(&mut ops, sent);
        ops
    }
}

/// What this datapath can do.
fn features() -> Features {
    Features {
        tnl_push_pop: false,
        sample_nesting: NESTING_SHOWN,
        lb_output_action: false,
        ..Features::all()
    }
}

impl Dpif for DpHandle {
    fn type_name(&self) -> &str {
        self.dp.type_name()
    }
    fn name(&self) -> &str {
        self.dp.name()
    }
    fn features(&self) -> Features {
        features()
    }
    fn stats(&self) -> DpStats {
        self.dp.stats()
    }
    fn destroy(&self) -> Result<(), DpifError> {
        self.dp.destroy()?;
        lock(&self.all).remove(self.dp.name());
        Ok(())
    }
    fn run(&self) -> bool {
        self.dp.run()
    }

    fn port_add(&self, spec: &PortSpec) -> Result<OdpPort, DpifError> {
        self.dp.port_add(spec)
    }
    fn port_del(&self, port: OdpPort) -> Result<(), DpifError> {
        self.dp.port_del(port)
    }
    fn port_by_number(&self, port: OdpPort) -> Result<DpifPort, DpifError> {
        self.dp.find_port(|p| p.number == port)
    }
    fn port_by_name(&self, name: &str) -> Result<DpifPort, DpifError> {
        self.dp.find_port(|p| p.device.name() == name)
    }
    fn ports(&self) -> Vec<DpifPort> {
        self.dp.each_port(super::Port::show)
    }
    fn port_poll(&self) -> Option<PortChange> {
        let mut seen = lock(&self.seen);
        let (change, now) = self.dp.change(*seen)?;
        *seen = now;
        Some(change)
    }
    fn port_set_config(
        &self,
        port: OdpPort,
        config: &BTreeMap<String, String>,
    ) -> Result<(), DpifError> {
        self.dp.port_set_config(port, config)
    }
    fn set_config(&self, config: &BTreeMap<String, String>) -> Result<(), DpifError> {
        self.dp.set_config(config);
        Ok(())
    }

    fn flow_flush(&self) -> Result<(), DpifError> {
        self.dp.flow_flush();
        Ok(())
    }
    fn flow_dump(&self, select: FlowSelect) -> Box<dyn FlowDump> {
        Box::new(self.dp.flow_dump(select))
    }
    fn operate(&self, ops: &mut [Op]) {
        self.dp.operate(ops);
    }
    fn submit(&self, mut ops: Vec<Op>) -> Box<dyn Ticket + '_> {
        let sent = self.dp.begin(&mut ops);
        Box::new(UnderWay {
            dp: &self.dp,
            ops,
            sent,
        })
    }

    fn meter_limits(&self) -> MeterLimits {
        Meters::limits()
    }
    fn meter_set(&self, id: u32, config: &MeterConfig) -> Result<(), DpifError> {
        let common = &self.dp.common;
        common.meters.set(id, config, common.clock.now())
    }
    fn meter_get(&self, id: u32) -> Result<MeterCounts, DpifError> {
        self.dp.common.meters.get(id)
    }
    fn meter_del(&self, id: u32) -> Result<MeterCounts, DpifError> {
        self.dp.common.meters.del(id)
    }

    fn conntrack(&self) -> Option<&dyn CtControl> {
        Some(&self.dp.conntrack)
    }

    fn recv_set(&self, on: bool) {
        self.dp.common.upcalls.set_enabled(on);
    }
    fn handlers_set(&self, n: u32) -> Result<(), DpifError> {
        if n == 0 {
            return Err(DpifError::Invalid);
        }
        let left = self.dp.common.upcalls.set_handlers(n);
        let left = left.map_err(|e| DpifError::Netdev(e.to_string()))?;
        self.dp.drop_upcalls(left);
        Ok(())
    }
    fn recv(&self, handler: u32) -> Option<Upcall> {
        self.dp.common.upcalls.pop(handler)
    }
    fn recv_many(&self, handler: u32, max: usize) -> Vec<Upcall> {
        self.dp.common.upcalls.pop_many(handler, max)
    }
    fn recv_wait(&self, handler: u32, timeout: Duration) -> bool {
        self.dp.common.upcalls.wait(handler, timeout)
    }
    fn recv_purge(&self) {
        self.dp.recv_purge();
    }
    fn recv_wake(&self) {
        self.dp.common.upcalls.wake_all();
    }
    fn quiesce(&self, timeout: Duration) -> bool {
        self.dp.quiesce(timeout)
    }

    fn queue_to_priority(&self, queue: u32) -> Result<u32, DpifError> {
        Ok(queue)
    }
    fn drops(&self) -> Vec<(OdpPort, DropReason, u64)> {
        self.dp.drops()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        &*self.dp
    }
}
