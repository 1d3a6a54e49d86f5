//! [`Switch`]: the whole running switch as the main thread sees it.
//!
//! * [`reconcile`]: makes a [`Model`] true by the smallest change.
//! * [`rules`]: OpenFlow rules that a configuration file holds.
//! * [`settings`]: keys of the whole switch.
//! * [`tables`]: configuration of flow tables.
//! * [`talk`]: while controllers talk.
//! * [`publish`]: status for the database.

mod local;
mod mirrors;
mod numbers;
mod publish;
mod reconcile;
mod rules;
mod settings;
mod tables;
mod talk;

pub(crate) use rules::port_names;

use crate::commands::coverage::{self, History};
use crate::controllers::{Conversation, PacketIns};
use crate::database::Database;
use crate::loop_times::LoopTimes;
use crate::model::Model;
use crate::options::{Options, Source};
use crate::system_stats::SystemStats;
use backer::Backer;
use base::clock::{Clock, Nanos};
use base::poll::PollSet;
use base::sync::Arc;
use datapath::{Environment, NetdevProvider, Threading, Topology};
use l2::routes::Routes;
use netdev::Registry;
use netdev::dummy::Dummies;
use ovsdb::Tls;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// How long reading from (and writing to) all connections may last in a turn, microseconds.
const SLICES_US: u64 = 10_000;

/// How often status and housekeeping are looked at when nothing else happens, milliseconds.
const HOUSEKEEPING_MS: u64 = 100;

/// Devices that could not be had are tried again this long after any kernel device changed, milliseconds.
const RETRY_MS: u64 = 500;

/// The switch.
#[derive(Debug)]
pub(crate) struct Switch {
    program: String,
    clock: Clock,
    registry: Registry,
    dpifs: dpif::Registry,
    dummies: Option<Dummies>,
    /// Added by hand.
    routes: Routes,
    source: Source,
    database: Option<Database>,
    /// Keys and certificates.
    tls: Tls,
    /// What was last asked for.
    model: Model,
    /// One per datapath type.
    backers: BTreeMap<String, Backer>,
    /// OpenFlow, by bridge.
    conversations: BTreeMap<String, Conversation>,
    /// Packets for controllers, from handlers.
    packet_ins: Arc<PacketIns>,
    /// What is wrong with an interface, by name.
    errors: BTreeMap<String, String>,
    /// Interfaces among them that no change of a device can help: they are asked for the impossible.
    hopeless: BTreeSet<String>,
    /// `netdev::changes` when the model was last applied.
    devices_seen: u64,
    retry_at: Nanos,
    housekeeping_at: Nanos,
    statistics_at: Nanos,
    /// Sum of the devices' change counters when they were last looked at.
    changes_seen: u64,
    /// Controllers and packets wait until what ran before was put back (`flow-restore-wait`).
    restoring: bool,
    history: History,
    configured: bool,
    /// Rounds of revalidation asked for when time was last moved, by datapath type.
    warped: Vec<(String, u64)>,
    exit: Option<bool>,
    loop_times: LoopTimes,
    system_stats: SystemStats,
    /// See [`talk`].
    sleepy_turns: u8,
}

impl Switch {
    /// A switch that has read nothing yet.
    ///
    /// # Errors
    /// In words, naming what is in the way.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let clock = Clock::real();
        let (registry, dummies) =
            crate::registry::new(options.dummy, &clock).map_err(|e| e.to_string())?;
        let dpifs = datapath_types(options, &clock, &registry)?;
        let tls = Tls::default();
        options.tls.apply(&tls);
        let database = match &options.source {
            Source::Toml(_) => None,
            Source::Database(address) => Some(Database::new(address, &tls)),
        };
        let mut switch = Self {
            program: options.program.clone(),
            clock,
            registry,
            dpifs,
            dummies,
            routes: Routes::default(),
            source: options.source.clone(),
            database,
            tls,
            model: Model::default(),
            backers: BTreeMap::new(),
            conversations: BTreeMap::new(),
            packet_ins: Arc::new(PacketIns::new().map_err(|e| e.to_string())?),
            errors: BTreeMap::new(),
            hopeless: BTreeSet::new(),
            devices_seen: 0,
            retry_at: Nanos::ZERO,
            housekeeping_at: Nanos::ZERO,
            statistics_at: Nanos::ZERO,
            changes_seen: 0,
            restoring: true,
            history: History::default(),
            configured: false,
            warped: Vec::new(),
            exit: None,
            loop_times: LoopTimes::default(),
            system_stats: SystemStats::default(),
            sleepy_turns: 0,
        };
        switch.reload();
        Ok(switch)
    }

    /// Reads the file again; a wrong one changes nothing.
    pub(crate) fn reload(&mut self) {
        let Source::Toml(path) = &self.source else {
            return;
        };
        match read_file(path) {
            Ok(model) => {
                self.apply(model);
                self.configured = true;
            }
            Err(faults) => {
                for fault in faults.lines() {
                    tracing::error!(target: "bridge", "{fault}");
                }
            }
        }
    }

    /// One turn. Returns true when something was done that may have made more to do.
    pub(crate) fn run(&mut self) -> bool {
        let now = self.clock.now();
        self.registry.run();
        let mut busy = self.run_database(now);
        if now >= self.housekeeping_at {
            self.housekeeping_at = now.plus_millis(HOUSEKEEPING_MS);
            for backer in self.backers.values_mut() {
                busy |= backer.run();
            }
            self.tls.refresh();
            self.try_again(now);
            let changes = self.device_changes();
            if changes != self.changes_seen {
                self.settle_local_ports(&self.model);
                self.changes_seen = self.device_changes();
                self.statistics_at = Nanos::ZERO;
            }
            if self.history.is_due(now) {
                let counts = coverage::counts(self);
                self.history.keep(now, counts);
            }
        }
        busy | self.run_conversations(now)
    }

    /// Somebody changed datapaths by hand: bridges follow at once.
    pub(crate) fn see_datapaths(&mut self) {
        for backer in self.backers.values_mut() {
            backer.run();
        }
    }

    /// A device that was missing or not usable may have come: what could not be had is tried again.
    fn try_again(&mut self, now: Nanos) {
        let changed = netdev::changes().read() != self.devices_seen;
        let hope = |name| !self.hopeless.contains(name);
        if changed && now >= self.retry_at && self.errors.keys().any(hope) {
            self.apply(self.model.clone());
            self.retry_at = now.plus_millis(RETRY_MS);
        }
    }

    /// Lets every bridge talk with its controllers.
    fn run_conversations(&mut self, now: Nanos) -> bool {
        let mut packets: BTreeMap<xlate::BridgeId, VecDeque<_>> = BTreeMap::new();
        for packet in self.packet_ins.take() {
            packets.entry(packet.bridge).or_default().push_back(packet);
        }
        let mut busy = false;
        let slice_us = (SLICES_US / self.conversations.len().max(1) as u64).clamp(100, 2000);
        for (name, conversation) in &mut self.conversations {
            let owner = self
                .backers
                .values_mut()
                .find(|b| b.bridges().contains_key(name));
            let Some(backer) = owner else { continue };
            let Ok(bridge) = backer.bridge(name) else {
                continue;
            };
            let packets = packets.remove(&bridge.id).unwrap_or_default();
            let mut settings = bridge.settings.clone();
            settings.packet_in_on_miss = conversation.wants_misses();
            settings.controller_alive = conversation.has_controller();
            settings.in_band = conversation.is_in_band();
            if settings != bridge.settings
                && let Err(e) = backer.bridge_set(name, settings)
            {
                tracing::warn!(target: "bridge", "{e}");
            }
            busy |= conversation.run(backer, packets, (now, slice_us));
        }
        busy | self.talk_on(slice_us)
    }

    fn run_database(&mut self, now: Nanos) -> bool {
        let Some(news) = self.database.as_mut().map(|d| d.run(now)) else {
            return false;
        };
        let mut busy = false;
        if let Some(news) = news {
            if let Some(tls) = &news.model.tls {
                tls.apply(&self.tls);
            }
            self.apply(news.model);
            if let Some(d) = &mut self.database {
                d.set_in_force(news.next_cfg);
            }
            self.configured = true;
            self.statistics_at = Nanos::ZERO;
            busy = true;
        }
        // An empty database, or one that another switch holds, is all the configuration there is for now.
        self.configured |= self
            .database
            .as_ref()
            .is_some_and(Database::has_nothing_for_us);
        if self.configured && now >= self.statistics_at && self.publish() {
            self.statistics_at = now.plus_millis(settings::stats_interval_ms(&self.model.settings));
        }
        busy
    }

    /// Names what to wait for.
    pub(crate) fn wait(&self, set: &mut PollSet) {
        let now = self.clock.now();
        for fd in self.registry.wake_fds() {
            set.fd(fd, false);
        }
        if let Some(d) = &self.database {
            d.wait(now, set);
        }
        set.fd(self.packet_ins.fd(), false);
        for conversation in self.conversations.values() {
            conversation.wait(now, set);
        }
        if !self.backers.is_empty() {
            set.within(self.housekeeping_at.since(now));
        }
    }

    /// Moves time forward. Revalidators, which do not sleep by this clock, are asked for a round.
    pub(crate) fn warp(&mut self, ms: u64) {
        self.clock.advance(ms);
        let ask = |(t, b): (&String, &Backer)| (t.clone(), b.udpif().request_round());
        self.warped = self.backers.iter().map(ask).collect();
    }

    /// True when statistics were looked at since time was moved.
    pub(crate) fn has_counted(&self) -> bool {
        let done = |(t, token): &(String, u64)| {
            let backer = self.backers.get(t);
            backer.is_none_or(|b| b.udpif().is_done(*token))
        };
        self.warped.iter().all(done)
    }

    /// Ends everything in order: threads, datapaths (and so ports), device flags.
    pub(crate) fn shutdown(mut self) {
        self.conversations.clear();
        for (_, backer) in std::mem::take(&mut self.backers) {
            backer.close(true);
        }
        netdev::flags::restore_all();
    }

    // ---- parts, for commands

    /// How long the main loop's turns last.
    pub(crate) fn loop_times_mut(&mut self) -> &mut LoopTimes {
        &mut self.loop_times
    }
    pub(crate) fn program(&self) -> &str {
        &self.program
    }
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
    pub(crate) fn dummies(&self) -> Option<&Dummies> {
        self.dummies.as_ref()
    }
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }
    pub(crate) fn routes_mut(&mut self) -> &mut Routes {
        &mut self.routes
    }
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
    pub(crate) fn dpifs(&self) -> &dpif::Registry {
        &self.dpifs
    }
    /// Backers by datapath type.
    pub(crate) fn backers(&self) -> &BTreeMap<String, Backer> {
        &self.backers
    }
    pub(crate) fn backers_mut(&mut self) -> &mut BTreeMap<String, Backer> {
        &mut self.backers
    }
    /// The backer that has a bridge.
    pub(crate) fn backer_of(&self, bridge: &str) -> Option<&Backer> {
        self.backers
            .values()
            .find(|b| b.bridges().contains_key(bridge))
    }
    /// Packets that found no place on their way to controllers.
    pub(crate) fn packet_ins_lost(&self) -> u64 {
        self.packet_ins.lost()
    }
    /// Earlier values of counters.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }
    /// OpenFlow connections of all bridges.
    pub(crate) fn ofconns(&self) -> usize {
        self.conversations.values().map(Conversation::len).sum()
    }
    /// What is wrong with interfaces, by name.
    pub(crate) fn errors(&self) -> &BTreeMap<String, String> {
        &self.errors
    }
    /// True once the first configuration is in force.
    pub(crate) fn is_configured(&self) -> bool {
        self.configured
    }
    pub(crate) fn request_exit(&mut self, cleanup: bool) {
        self.exit = Some(cleanup);
    }
    pub(crate) fn exit_requested(&self) -> bool {
        self.exit.is_some()
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Every fault in it, a line each.
pub(crate) fn read_file(path: &Path) -> Result<Model, String> {
    let model = crate::config::load(path)?;
    rules::check(&model, path)?;
    Ok(model)
}

/// Registers the datapath types: the only place where that is done.
fn datapath_types(
    options: &Options,
    clock: &Clock,
    registry: &Registry,
) -> Result<dpif::Registry, String> {
    let topology = match &options.dummy_numa {
        Some(list) => {
            let nodes: Option<Vec<u32>> = list.split(',').map(|n| n.trim().parse().ok()).collect();
            Topology::dummy(
                &nodes.ok_or_else(|| format!("--dummy-numa={list}: expected a list of numbers"))?,
            )
        }
        None => Topology::of_host(),
    };
    topology.announce();
    let devices = registry.clone();
    let env = Environment {
        clock: clock.clone(),
        open: Arc::new(move |name, class| devices.open(name, class)),
        threading: Threading::Real,
        topology,
        seed: None,
    };
    let dpifs = dpif::Registry::with_clock(clock.clone());
    let mut providers = vec![NetdevProvider::netdev(env.clone())];
    if options.dummy != crate::options::Dummy::Off {
        providers.push(NetdevProvider::dummy(env));
    }
    for provider in providers {
        dpifs
            .register(Arc::new(provider))
            .map_err(|e| e.to_string())?;
    }
    for type_name in dpifs.types() {
        registry.reserve_datapath_type(&type_name);
    }
    Ok(dpifs)
}
