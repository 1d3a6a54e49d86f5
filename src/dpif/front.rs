//! What stands between a provider and its users: logging of every operation, and execution with help.
//!
//! [`crate::Registry`] hands out providers' datapaths behind a [`Front`]. Everything else goes straight
//! through; `as_any` is the provider's own.

use crate::conntrack::CtControl;
use crate::error::DpifError;
use crate::meter::{MeterConfig, MeterCounts, MeterLimits};
use crate::offload::{Offload, Switch};
use crate::types::{
    Done, DpStats, Dpif, DpifPort, Execute, FlowDump, FlowDumpThread, FlowGet, FlowInfo, FlowPut,
    FlowSelect, Op, PortChange, PortSpec, Ticket, Upcall,
};
use crate::{help, log};
use base::clock::{Clock, Nanos};
use base::sync::Arc;
use odp::{Actions, DropReason, Features, OdpPort, Ufid};
use std::collections::BTreeMap;
use std::time::Duration;

/// A datapath whose operations are logged and helped.
#[derive(Debug)]
pub struct Front {
    inner: Arc<dyn Dpif>,
    /// `type@name`.
    name: String,
    clock: Clock,
    /// The provider forwards in this process, so that lines of the userspace datapath's module are ours.
    userspace: bool,
    offload: Offload,
}

impl Front {
    /// Puts itself in front of a provider's datapath.
    #[must_use]
    pub fn new(inner: Arc<dyn Dpif>, clock: Clock) -> Self {
        let name = format!("{}@{}", inner.type_name(), inner.name());
        let userspace = inner.type_name() != crate::registry::DEFAULT_TYPE;
        Self {
            inner,
            name,
            clock,
            userspace,
            offload: Offload::new(Switch::default()),
        }
    }

    /// Tells devices of flows once `switch` is on.
    pub(crate) fn with_offload(mut self, switch: Switch) -> Self {
        if self.userspace {
            self.offload = Offload::new(switch);
        }
        self
    }

    /// Passes down pieces of an execution with help.
    pub(crate) fn pass_down(&self, ops: &mut [Op]) {
        self.chunk(ops);
        for op in ops {
            if let Op::Execute(e) = op {
                log::execute(&self.name, "sub-", e);
            }
        }
    }

    /// Operations that the provider can do itself.
    fn chunk(&self, ops: &mut [Op]) {
        if ops.is_empty() {
            return;
        }
        let before = if self.userspace && log::is_netdev_debug() {
            self.actions_before(ops)
        } else {
            Vec::new()
        };
        if self.userspace && log::is_debug() {
            self.show_whole_keys(ops);
        }
        self.inner.operate(ops);
        self.follow(ops);
        // What earlier operations of the batch put there counts for later ones.
        let mut put_here: BTreeMap<Ufid, Arc<Actions>> = BTreeMap::new();
        for (op, old) in ops.iter().zip(before) {
            if let Op::FlowPut(put) = op
                && put.result.is_ok()
                && !put.flags.probe
            {
                let old = put_here
                    .insert(ufid_of(put), Arc::clone(&put.actions))
                    .or(old);
                log::flow_change(put, old.as_deref().map(Vec::as_slice));
            }
        }
    }

    /// What there is to do once operations are done.
    fn follow(&self, ops: &[Op]) {
        let now = self.clock.now();
        for op in ops {
            self.log_op(op, now);
            match op {
                Op::FlowPut(put)
                    if self.offload.is_on() && put.result.is_ok() && !put.flags.probe =>
                {
                    self.offload.put(&*self.inner, ufid_of(put), put);
                }
                Op::FlowDel(del) if del.result.is_ok() => self.offload.del(del.ufid),
                _ => {}
            }
        }
    }

    /// The actions of the flows that are about to be changed, one entry per operation. Only asked for
    /// when somebody debugs.
    fn actions_before(&self, ops: &[Op]) -> Vec<Option<Arc<Actions>>> {
        let of = |op: &Op| {
            let Op::FlowPut(put) = op else {
                return None;
            };
            if !put.flags.modify {
                return None;
            }
            self.installed(put).map(|info| info.actions)
        };
        ops.iter().map(of).collect()
    }

    /// Whoever changes a flow may know its masked key only; people are shown the key it was installed with.
    fn show_whole_keys(&self, ops: &mut [Op]) {
        for op in ops {
            if let Op::FlowPut(put) = op
                && put.flags.modify
                && !put.flags.create
                && let Some(info) = self.installed(put)
            {
                put.key = info.key;
            }
        }
    }

    /// The flow that a put is going to change, if it is there.
    fn installed(&self, put: &FlowPut) -> Option<FlowInfo> {
        let mut get = [Op::FlowGet(FlowGet {
            ufid: ufid_of(put),
            pmd: put.pmd,
            result: Err(DpifError::Again),
        })];
        self.inner.operate(&mut get);
        match get {
            [Op::FlowGet(get)] => get.result.ok(),
            _ => None,
        }
    }

    fn log_op(&self, op: &Op, now: Nanos) {
        let name = &self.name;
        match op {
            Op::FlowPut(put) => log::put(name, put),
            Op::FlowDel(del) => {
                let line = log::FlowLine {
                    ufid: Some(del.ufid),
                    stats: del.result.as_ref().ok().map(|s| (s, now)),
                    ..log::FlowLine::default()
                };
                line.log(name, "flow_del", del.result.as_ref().err());
            }
            Op::FlowGet(get) => match &get.result {
                Ok(info) => log::of_flow(info, now).log(name, "flow_get", None),
                Err(e) => {
                    let line = log::FlowLine {
                        ufid: Some(get.ufid),
                        ..log::FlowLine::default()
                    };
                    line.log(name, "flow_get", Some(e));
                }
            },
            Op::Execute(execute) => log::execute(name, "", execute),
            // Parked packets that are gone already are no failure.
            Op::Resume(_) => {}
        }
    }

    fn log<T>(&self, operation: &str, result: Result<T, DpifError>) -> Result<T, DpifError> {
        log::operation(&self.name, operation, &result);
        result
    }

    /// Logs failures only.
    fn log_failure<T>(
        &self,
        operation: &str,
        result: Result<T, DpifError>,
    ) -> Result<T, DpifError> {
        if result.is_err() {
            log::operation(&self.name, operation, &result);
        }
        result
    }
}

fn ufid_of(put: &FlowPut) -> Ufid {
    put.ufid
        .unwrap_or_else(|| Ufid::of(&put.key.masked(&put.mask)))
}

fn needs_help(op: &Op) -> bool {
    matches!(
        op,
        Op::Execute(Execute {
            needs_help: true,
            ..
        })
    )
}

impl Dpif for Front {
    fn type_name(&self) -> &str {
        self.inner.type_name()
    }
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn features(&self) -> Features {
        self.inner.features()
    }
    fn stats(&self) -> DpStats {
        log::debug(format_args!("{}: get_stats success", self.name));
        self.inner.stats()
    }
    fn destroy(&self) -> Result<(), DpifError> {
        self.log("delete", self.inner.destroy())
    }
    fn run(&self) -> bool {
        self.inner.run()
    }

    fn port_add(&self, spec: &PortSpec) -> Result<OdpPort, DpifError> {
        let result = self.inner.port_add(spec);
        let (name, device) = (&self.name, &spec.name);
        match &result {
            Ok(port) => log::debug(format_args!("{name}: added {device} as port {port}")),
            Err(e) => log::warn(format_args!("{name}: failed to add {device} as port: {e}")),
        }
        result
    }
    fn port_del(&self, port: OdpPort) -> Result<(), DpifError> {
        let result = self.log_failure("port_del", self.inner.port_del(port));
        if result.is_ok() {
            log::debug(format_args!("{}: port_del({port})", self.name));
        }
        result
    }
    fn port_by_number(&self, port: OdpPort) -> Result<DpifPort, DpifError> {
        let result = self.inner.port_by_number(port);
        let name = &self.name;
        match &result {
            Ok(p) => log::debug(format_args!("{name}: port {port} is device {}", p.name)),
            Err(e) => log::warn(format_args!("{name}: failed to query port {port}: {e}")),
        }
        result
    }
    fn port_by_name(&self, device: &str) -> Result<DpifPort, DpifError> {
        let result = self.inner.port_by_name(device);
        let name = &self.name;
        match &result {
            Ok(p) => log::debug(format_args!(
                "{name}: device {device} is on port {}",
                p.number
            )),
            // Who asks this way often only wants to know whether it is there.
            Err(e @ DpifError::NoDevice) => {
                log::debug(format_args!("{name}: failed to query port {device}: {e}"));
            }
            Err(e) => log::warn(format_args!("{name}: failed to query port {device}: {e}")),
        }
        result
    }
    fn ports(&self) -> Vec<DpifPort> {
        log::debug(format_args!("{}: port_dump_start success", self.name));
        let ports = self.inner.ports();
        log::debug(format_args!("{}: dumped all ports", self.name));
        ports
    }
    fn port_poll(&self) -> Option<PortChange> {
        self.inner.port_poll()
    }
    fn port_set_config(
        &self,
        port: OdpPort,
        config: &BTreeMap<String, String>,
    ) -> Result<(), DpifError> {
        let result = self.inner.port_set_config(port, config);
        self.log_failure("port_set_config", result)
    }
    fn set_config(&self, config: &BTreeMap<String, String>) -> Result<(), DpifError> {
        self.log_failure("set_config", self.inner.set_config(config))
    }

    fn flow_flush(&self) -> Result<(), DpifError> {
        self.offload.flush();
        self.log("flow_flush", self.inner.flow_flush())
    }
    fn flow_dump(&self, select: FlowSelect) -> Box<dyn FlowDump> {
        Box::new(LoggedDump {
            inner: self.inner.flow_dump(select),
            name: self.name.clone(),
            clock: self.clock.clone(),
        })
    }
    fn operate(&self, mut ops: &mut [Op]) {
        while !ops.is_empty() {
            let n = ops.iter().position(needs_help).unwrap_or(ops.len());
            let (able, rest) = ops.split_at_mut(n);
            self.chunk(able);
            ops = rest;
            if let [Op::Execute(execute), rest @ ..] = ops {
                execute.result = help::execute(self, execute);
                ops = rest;
            }
        }
    }

    fn submit(&self, mut ops: Vec<Op>) -> Box<dyn Ticket + '_> {
        // What has to be done in order, or looked at before, is done now.
        if log::is_debug() || log::is_netdev_debug() || ops.iter().any(needs_help) {
            self.operate(&mut ops);
            return Box::new(Done(ops));
        }
        Box::new(Followed {
            front: self,
            inner: self.inner.submit(ops),
        })
    }

    fn recv_set(&self, on: bool) {
        self.inner.recv_set(on);
        log::debug(format_args!("{}: recv_set success", self.name));
    }
    fn handlers_set(&self, n: u32) -> Result<(), DpifError> {
        self.log("handlers_set", self.inner.handlers_set(n))
    }
    fn recv(&self, handler: u32) -> Option<Upcall> {
        let upcall = self.inner.recv(handler)?;
        if self.userspace {
            log::upcall(self.inner.name(), &upcall);
        }
        Some(upcall)
    }
    fn recv_many(&self, handler: u32, max: usize) -> Vec<Upcall> {
        let upcalls = self.inner.recv_many(handler, max);
        if self.userspace && log::is_netdev_debug() {
            let name = self.inner.name();
            upcalls.iter().for_each(|upcall| log::upcall(name, upcall));
        }
        upcalls
    }
    fn recv_wait(&self, handler: u32, timeout: Duration) -> bool {
        self.inner.recv_wait(handler, timeout)
    }
    fn recv_purge(&self) {
        self.inner.recv_purge();
    }
    fn recv_wake(&self) {
        self.inner.recv_wake();
    }
    fn quiesce(&self, timeout: Duration) -> bool {
        self.inner.quiesce(timeout)
    }
    fn queue_to_priority(&self, queue: u32) -> Result<u32, DpifError> {
        self.log("queue_to_priority", self.inner.queue_to_priority(queue))
    }
    fn meter_limits(&self) -> MeterLimits {
        self.inner.meter_limits()
    }
    fn meter_set(&self, id: u32, config: &MeterConfig) -> Result<(), DpifError> {
        self.log("meter_set", self.inner.meter_set(id, config))
    }
    fn meter_get(&self, id: u32) -> Result<MeterCounts, DpifError> {
        self.log("meter_get", self.inner.meter_get(id))
    }
    fn meter_del(&self, id: u32) -> Result<MeterCounts, DpifError> {
        self.log("meter_del", self.inner.meter_del(id))
    }
    fn conntrack(&self) -> Option<&dyn CtControl> {
        self.inner.conntrack()
    }
    fn netflow_ids(&self) -> (u8, u8) {
        self.inner.netflow_ids()
    }
    fn drops(&self) -> Vec<(OdpPort, DropReason, u64)> {
        self.inner.drops()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self.inner.as_any()
    }
}

/// Operations that the provider is at.
#[derive(Debug)]
struct Followed<'a> {
    front: &'a Front,
    inner: Box<dyn Ticket + 'a>,
}

impl Ticket for Followed<'_> {
    fn wait(self: Box<Self>) -> Vec<Op> {
        let ops = self.inner.wait();
        self.front.follow(&ops);
        ops
    }
}

#[derive(Debug)]
struct LoggedDump {
    inner: Box<dyn FlowDump>,
    name: String,
    clock: Clock,
}

impl FlowDump for LoggedDump {
    fn thread(&self) -> Box<dyn FlowDumpThread + '_> {
        Box::new(LoggedThread {
            inner: self.inner.thread(),
            dump: self,
        })
    }
}

#[derive(Debug)]
struct LoggedThread<'a> {
    inner: Box<dyn FlowDumpThread + 'a>,
    dump: &'a LoggedDump,
}

impl FlowDumpThread for LoggedThread<'_> {
    fn next(&mut self, out: &mut Vec<FlowInfo>, max: usize) -> bool {
        let more = self.inner.next(out, max);
        if log::is_debug() {
            let (name, now) = (&self.dump.name, self.dump.clock.now());
            for info in &*out {
                log::of_flow(info, now).log(name, "flow_dump", None);
            }
            if !more {
                log::debug(format_args!("{name}: dumped all flows"));
            }
        }
        more
    }
}
