//! [`Session`]: carries out one connection's messages. The `vhost` crate reads and checks them; here they
//! change the rings. An error ends the connection, and with it all that the guest set up.

use super::call::require_eventfd;
use super::features::Features;
use super::memory::{BadRegion, GuestMemory, REGIONS_MAX, RegionSpec, RingAddresses};
use super::shared::{Control, Shared};
use super::vring::{State, Vring};
use super::{PAIRS_MAX, RING_SIZE_MAX};
use base::sync::{Arc, MutexGuard, Ordering};
use std::fs::File;
use std::os::fd::AsFd;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandler};

/// What a backend may tell a memory region's owner about it: nothing, without post-copy.
type RegionBase = u64;

/// What we can do beyond the first version of the protocol.
const PROTOCOL: VhostUserProtocolFeatures = VhostUserProtocolFeatures::MQ
    .union(VhostUserProtocolFeatures::REPLY_ACK)
    .union(VhostUserProtocolFeatures::MTU)
    .union(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS);

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    generation: u64,
}

fn refused(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::ReqHandlerError(std::io::Error::new(std::io::ErrorKind::InvalidInput, e))
}

fn region(r: &VhostUserMemoryRegion) -> RegionSpec {
    RegionSpec {
        guest: r.guest_phys_addr,
        user: r.user_addr,
        size: r.memory_size,
        offset: r.mmap_offset,
    }
}

/// The answer to what we do not offer.
fn not_offered<T>() -> Result<T> {
    Err(Error::InvalidOperation("not offered by this switch"))
}

impl Session {
    pub(super) fn new(shared: &Arc<Shared>, generation: u64) -> Self {
        Self {
            shared: Arc::clone(shared),
            generation,
        }
    }

    /// The port, as long as this session's thread may change it.
    fn control(&self) -> Result<MutexGuard<'_, Control>> {
        let control = self.shared.control();
        if control.generation == self.generation {
            return Ok(control);
        }
        Err(Error::InvalidOperation("the port was closed"))
    }

    fn vring(&self, index: u32) -> Result<&Vring> {
        let at = usize::try_from(index).ok();
        at.and_then(|i| self.shared.vrings.get(i))
            .ok_or(Error::InvalidParam)
    }

    /// Changes one ring.
    fn change<T>(&self, index: u32, f: impl FnOnce(&mut State) -> T) -> Result<T> {
        let vring = self.vring(index)?;
        let mut control = self.control()?;
        let was = vring.is_running();
        let result = vring.change(&control.memory, control.features, f);
        if vring.is_running() != was {
            self.announce(&mut control);
            drop(control);
            self.shared.relink();
        }
        Ok(result)
    }

    /// Changes all rings; nobody uses the memory they had before when it returns.
    fn change_all(&self, control: &Control, mut f: impl FnMut(&mut State)) {
        for vring in &self.shared.vrings {
            vring.change(&control.memory, control.features, &mut f);
        }
        self.shared.relink();
    }

    /// Gives all rings another memory.
    fn remap(
        &self,
        make: impl FnOnce(&GuestMemory) -> std::result::Result<GuestMemory, BadRegion>,
    ) -> Result<()> {
        let mut control = self.control()?;
        let memory = Arc::new(make(&control.memory).map_err(refused)?);
        // Kept until the rings let go of it: unmapping may take long, and not with a ring's lock held.
        let before = std::mem::replace(&mut control.memory, memory);
        self.change_all(&control, |_| ());
        drop(before);
        Ok(())
    }

    /// Says in the log that there is a guest, once.
    fn announce(&self, control: &mut Control) {
        if control.announced {
            return;
        }
        control.announced = true;
        control.numa = control.memory.numa_node();
        let path = control.path.clone().unwrap_or_default();
        let path = path.display();
        tracing::info!(target: "dpdk", "VHOST_CONFIG: ({path}) virtio is now ready for processing.");
        tracing::info!(target: "netdev_dpdk",
            "vHost Device '{path}' has been added on numa node {}", control.numa.unwrap_or(0));
    }

    /// Takes a new connection down in the port's books.
    pub(super) fn open(&self, socket: std::os::unix::net::UnixStream) -> Result<()> {
        self.control()?.socket = Some(socket);
        self.shared.changed();
        Ok(())
    }

    /// Forgets all that the guest set up.
    pub(super) fn close(&self) {
        let Ok(mut control) = self.control() else {
            return;
        };
        let control = &mut *control;
        forget(&self.shared, control);
    }

    /// `NET_SET_MTU`: what the guest was told its MTU is.
    pub(super) fn set_mtu(&self, mtu: u64) -> Result<()> {
        let mtu = u16::try_from(mtu)
            .ok()
            .filter(|mtu| *mtu >= super::MTU_MIN as u16);
        self.control()?.peer_mtu = Some(mtu.ok_or(Error::InvalidParam)?);
        self.shared.changed();
        Ok(())
    }

    /// Was it agreed that requests can ask for an answer?
    pub(super) fn answers(&self) -> bool {
        let bit = VhostUserProtocolFeatures::REPLY_ACK.bits();
        self.control().is_ok_and(|c| c.protocol & bit != 0)
    }

    fn stop_all(&self) -> Result<()> {
        let control = self.control()?;
        self.change_all(&control, |state| {
            drop(state.take_kick());
            state.started = false;
            state.enabled = false;
            state.fault = None;
        });
        Ok(())
    }
}

/// Forgets all that a guest set up: the connection is gone.
pub(super) fn forget(shared: &Shared, control: &mut Control) {
    if let Some(socket) = control.socket.take() {
        // It may be gone already.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
    let before = std::mem::take(&mut control.memory);
    control.features = Features::default();
    control.protocol = 0;
    control.peer_mtu = None;
    for vring in &shared.vrings {
        vring.change(&control.memory, control.features, |state| {
            drop(state.take_kick());
            let waker = state.waker.take();
            state.ring = None;
            *state = State {
                waker,
                ..State::default()
            };
        });
    }
    drop(before);
    if std::mem::take(&mut control.announced) {
        let path = control.path.clone().unwrap_or_default();
        tracing::info!(target: "netdev_dpdk", "vHost Device '{}' has been removed", path.display());
    }
    shared.relink();
}

impl VhostUserBackendReqHandler for Session {
    fn set_owner(&self) -> Result<()> {
        Ok(())
    }
    fn reset_owner(&self) -> Result<()> {
        self.stop_all()
    }
    fn reset_device(&self) -> Result<()> {
        self.stop_all()
    }

    fn get_features(&self) -> Result<u64> {
        Ok(Features::OFFERED.0)
    }
    fn set_features(&self, features: u64) -> Result<()> {
        let features = Features(features);
        if !features.is_offered() {
            return Err(Error::FeatureMismatch);
        }
        let mut control = self.control()?;
        control.features = features;
        self.change_all(&control, |_| ());
        Ok(())
    }
    fn get_protocol_features(&self) -> Result<VhostUserProtocolFeatures> {
        Ok(PROTOCOL)
    }
    fn set_protocol_features(&self, features: u64) -> Result<()> {
        if features & !PROTOCOL.bits() != 0 {
            return Err(Error::FeatureMismatch);
        }
        self.control()?.protocol = features;
        Ok(())
    }
    fn get_queue_num(&self) -> Result<u64> {
        Ok(PAIRS_MAX as u64)
    }

    fn set_mem_table(
        &self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<RegionBase>>> {
        let regions: Vec<_> = regions.iter().map(region).zip(files).collect();
        self.remap(|_| GuestMemory::map(&regions))?;
        Ok(None)
    }
    fn get_max_mem_slots(&self) -> Result<u64> {
        Ok(REGIONS_MAX as u64)
    }
    fn add_mem_region(
        &self,
        new: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<RegionBase>> {
        self.remap(|memory| memory.with(region(new), &file))?;
        Ok(None)
    }
    fn remove_mem_region(&self, old: &VhostUserSingleMemoryRegion) -> Result<()> {
        self.remap(|memory| Ok(memory.without(region(old))))
    }

    fn set_vring_num(&self, index: u32, num: u32) -> Result<()> {
        let size = u16::try_from(num).ok();
        let size = size.filter(|n| n.is_power_of_two() && *n <= RING_SIZE_MAX);
        let size = size.ok_or(Error::InvalidParam)?;
        self.change(index, |state| {
            if state.started {
                return Err(Error::InvalidOperation("the ring is started"));
            }
            state.size = size;
            Ok(())
        })?
    }
    fn set_vring_addr(
        &self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        if flags.contains(VhostUserVringAddrFlags::VHOST_VRING_F_LOG) {
            return not_offered();
        }
        let at = RingAddresses {
            descriptors,
            available,
            used,
        };
        self.change(index, |state| state.at = Some(at))
    }
    fn set_vring_base(&self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.change(index, |state| {
            if state.started {
                return Err(Error::InvalidOperation("the ring is started"));
            }
            state.base = base;
            Ok(())
        })?
    }
    fn get_vring_base(&self, index: u32) -> Result<VhostUserVringState> {
        self.change(index, |state| {
            drop(state.take_kick());
            state.call = None;
            state.started = false;
            state.fault = None;
        })?;
        // Stopped by now, and this thread is the only one that could start it.
        let base = self.vring(index)?.lock().base;
        Ok(VhostUserVringState::new(index, u32::from(base)))
    }
    fn set_vring_kick(&self, index: u8, kick: Option<File>) -> Result<()> {
        if let Some(kick) = &kick {
            require_eventfd(kick.as_fd()).map_err(Error::ReqHandlerError)?;
        }
        let old = self.change(index.into(), |state| {
            let old = state.take_kick();
            if let (Some(waker), Some(kick)) = (&state.waker, &kick) {
                waker.listen(kick);
            }
            state.kick = kick;
            state.started = true;
            state.fault = None;
            old
        })?;
        drop(old);
        let pairs = u32::from(index) / 2 + 1;
        if self.shared.pairs.fetch_max(pairs, Ordering::Relaxed) < pairs {
            self.shared.changed();
        }
        Ok(())
    }
    fn set_vring_call(&self, index: u8, call: Option<File>) -> Result<()> {
        if let Some(call) = &call {
            let accepted = self.shared.caller.accept(call.as_fd());
            accepted.map_err(Error::ReqHandlerError)?;
        }
        let vring = self.vring(index.into())?;
        let old = self.change(index.into(), |state| {
            let old = std::mem::replace(&mut state.call, call);
            // What was used while there was no way to call is told now.
            state.call(&self.shared.caller, &vring.counts);
            old
        })?;
        drop(old);
        Ok(())
    }
    fn set_vring_err(&self, index: u8, _fd: Option<File>) -> Result<()> {
        self.vring(index.into()).map(drop)
    }
    fn set_vring_enable(&self, index: u32, enable: bool) -> Result<()> {
        let was = self.change(index, |state| std::mem::replace(&mut state.enabled, enable))?;
        if was != enable {
            let path = self.control()?.path.clone().unwrap_or_default();
            let (way, state) = (
                if index % 2 == 1 { "rx" } else { "tx" },
                if enable { "enabled" } else { "disabled" },
            );
            tracing::info!(target: "netdev_dpdk",
                "State of queue {index} ( {way}_qid {} ) of vhost device '{}' changed to '{state}'",
                index / 2, path.display());
            self.shared.changed();
        }
        Ok(())
    }

    fn get_config(&self, _at: u32, _size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        not_offered()
    }
    fn set_config(&self, _at: u32, _bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        not_offered()
    }
    fn set_gpu_socket(&self, _gpu: GpuBackend) -> Result<()> {
        not_offered()
    }
    fn get_shared_object(&self, _uuid: VhostUserSharedMsg) -> Result<File> {
        not_offered()
    }
    fn get_inflight_fd(&self, _inflight: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        not_offered()
    }
    fn set_inflight_fd(&self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        not_offered()
    }
    fn set_device_state_fd(
        &self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        not_offered()
    }
    fn check_device_state(&self) -> Result<()> {
        not_offered()
    }
    fn get_shmem_config(&self) -> Result<VhostUserShMemConfig> {
        not_offered()
    }
    fn set_log_base(&self, _log: &VhostUserLog, _file: File) -> Result<()> {
        not_offered()
    }
}
