//! One kernel device by name, through all its lives: the facts known about it, whether it is there, and
//! the flags this process changed.
//!
//! A device that is deleted and made again under its name is another device to the kernel (another
//! index). [`Link::generation`] moves at each such step; queues remember the generation they were opened
//! in and answer `Gone` once it differs.
//!
//! Readers: packet threads read `generation` and `is_up`, which are plain atomics; everything else locks.

use super::host::announce;
use super::socket::{PacketSocket, promiscuous};
use super::{Host, LinkChange, LinkInfo, tc};
use crate::device::{DeviceFlags, LinkFeatures, Stats};
use crate::error::NetdevError;
use crate::flags;
use crate::qos::PortQos;
use base::sync::{Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, lock};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use wire::EthAddr;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;
const IFF_PROMISC: u32 = 0x100;

/// A kernel device of this name, whether it is there now or not.
#[derive(Debug)]
pub(crate) struct Link {
    // Read by packet threads.
    generation: AtomicU32,
    up: AtomicBool,
    mtu: AtomicU32,
    /// The root qdisc tells packets apart by their priority.
    classful: AtomicBool,
    pub(crate) qos: PortQos,
    // The rest is for control threads.
    name: String,
    class: &'static str,
    host: Arc<Host>,
    seq: AtomicU64,
    carrier_resets: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last facts; kept while the device is away.
    info: LinkInfo,
    present: bool,
    /// A packet socket whose membership makes the device promiscuous. The kernel ends it with the
    /// process, however that ends.
    promiscuous: Option<PacketSocket>,
    want_promiscuous: bool,
    want_up: Option<bool>,
}

impl Link {
    /// Finds the device `name` in the calling thread's network namespace.
    ///
    /// # Errors
    /// NoSuchDevice, NoPermission, or what the kernel says.
    pub(crate) fn open(name: &str, class: &'static str) -> Result<Arc<Self>, NetdevError> {
        check_name(name)?;
        let host = Host::current().map_err(|e| error(name, "netlink", e))?;
        let link = Arc::new(Self {
            generation: AtomicU32::new(0),
            up: AtomicBool::new(false),
            mtu: AtomicU32::new(0),
            classful: AtomicBool::new(false),
            qos: PortQos::default(),
            name: name.to_owned(),
            class,
            host,
            seq: AtomicU64::new(1),
            carrier_resets: AtomicU64::new(0),
            state: Mutex::new(State::default()),
        });
        link.host.watch(&link);
        link.refresh()?;
        link.carrier_resets.store(0, Ordering::Relaxed);
        Ok(link)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
    pub(crate) fn class(&self) -> &'static str {
        self.class
    }
    /// Moves each time the device goes away or comes back.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire) // pairs with the Release in settle()
    }
    /// Administratively up and there.
    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
    /// MTU, bytes behind the Ethernet header.
    #[inline]
    pub(crate) fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }
    /// What a packet of a queue must say to the kernel (`SO_PRIORITY`): the handle of the queue's class.
    #[inline]
    pub(crate) fn priority(&self, queue: u32) -> u32 {
        if queue == 0 || !self.classful.load(Ordering::Relaxed) {
            return 0;
        }
        tc::class_of_queue(queue).unwrap_or(0)
    }
    pub(super) fn set_classful(&self, classful: bool) {
        self.classful.store(classful, Ordering::Relaxed);
    }
    pub(super) fn host(&self) -> &Host {
        &self.host
    }
    pub(crate) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }
    /// Tells everybody who follows this device that something about it changed.
    pub(crate) fn changed(&self) {
        self.seq.fetch_add(1, Ordering::Relaxed);
        announce();
    }
    pub(crate) fn carrier_resets(&self) -> u64 {
        self.carrier_resets.load(Ordering::Relaxed)
    }
    pub(crate) fn present(&self) -> bool {
        lock(&self.state).present
    }
    /// The facts as last heard.
    pub(crate) fn info(&self) -> LinkInfo {
        lock(&self.state).info.clone()
    }
    pub(crate) fn index(&self) -> Option<u32> {
        let state = lock(&self.state);
        state.present.then_some(state.info.index)
    }
    /// Id of the XDP program on the device as last heard, 0 for none.
    pub(crate) fn xdp_id(&self) -> u32 {
        lock(&self.state).info.xdp_id
    }
    pub(crate) fn carrier(&self) -> bool {
        let state = lock(&self.state);
        state.present && state.info.flags & IFF_RUNNING != 0
    }

    /// The index, or `Gone`.
    pub(crate) fn index_or_gone(&self) -> Result<u32, NetdevError> {
        self.index().ok_or_else(|| NetdevError::Gone {
            dev: self.name.clone(),
        })
    }

    /// Wraps what the kernel said.
    pub(crate) fn error(&self, op: &'static str, e: io::Error) -> NetdevError {
        error(&self.name, op, e)
    }

    /// Asks the kernel now, instead of waiting to hear.
    pub(crate) fn refresh(&self) -> Result<Stats, NetdevError> {
        match self.host.query(&self.name) {
            Ok((info, stats)) => {
                self.heard(&info);
                Ok(stats)
            }
            Err(e) => {
                if e.raw_os_error() == Some(libc::ENODEV) {
                    self.heard_gone(self.index().unwrap_or(0));
                }
                Err(self.error("get link", e))
            }
        }
    }

    /// The kernel told of a device.
    pub(super) fn heard(&self, info: &LinkInfo) {
        let mut state = lock(&self.state);
        if info.name != self.name {
            if state.present && state.info.index == info.index {
                self.lose(&mut state); // renamed: not ours any more
            }
            return;
        }
        let returned = !state.present || state.info.index != info.index;
        let flipped = (state.info.flags ^ info.flags) & IFF_RUNNING != 0;
        let xdp_only = LinkInfo {
            xdp_id: state.info.xdp_id,
            ..info.clone()
        } == state.info;
        state.info = info.clone();
        state.present = true;
        self.up.store(info.flags & IFF_UP != 0, Ordering::Relaxed);
        self.mtu.store(info.mtu, Ordering::Relaxed);
        if flipped {
            self.carrier_resets.fetch_add(1, Ordering::Relaxed);
        }
        if returned {
            self.settle(&mut state);
        } else if !xdp_only {
            self.changed();
        }
    }

    /// The kernel told that a device is no more.
    pub(super) fn heard_gone(&self, index: u32) {
        let mut state = lock(&self.state);
        if state.present && state.info.index == index {
            self.lose(&mut state);
        }
    }

    pub(super) fn heard_addresses(&self, index: u32) {
        if self.index() == Some(index) {
            self.changed();
        }
    }

    fn lose(&self, state: &mut State) {
        flags::forget(&self.host, state.info.index);
        state.present = false;
        state.promiscuous = None;
        state.info.flags &= !(IFF_UP | IFF_RUNNING);
        self.up.store(false, Ordering::Relaxed);
        self.settle(state);
    }

    /// The device went or came: queues opened before are void.
    fn settle(&self, _state: &mut State) {
        self.generation.fetch_add(1, Ordering::Release); // pairs with the Acquire in generation()
        self.changed();
    }

    /// Puts the flags asked for onto a device that came back.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn reapply(&self) -> Result<(), NetdevError> {
        let (promisc, up) = {
            let state = lock(&self.state);
            (
                state.want_promiscuous && state.promiscuous.is_none(),
                state.want_up,
            )
        };
        let on = DeviceFlags {
            up: up == Some(true),
            promisc,
            loopback: false,
        };
        self.update_flags(
            on,
            DeviceFlags {
                up: up == Some(false),
                ..DeviceFlags::default()
            },
        )
    }

    pub(crate) fn flags(&self) -> DeviceFlags {
        let state = lock(&self.state);
        DeviceFlags {
            up: state.info.flags & IFF_UP != 0,
            promisc: state.promiscuous.is_some() || state.info.flags & IFF_PROMISC != 0,
            loopback: state.info.flags & IFF_LOOPBACK != 0,
        }
    }

    /// Turns flags on and off; what is changed is remembered and put back by [`Link`]'s drop or
    /// `flags::restore_all`. Promiscuity is a membership, which the kernel itself ends with the process.
    ///
    /// # Errors
    /// Gone, NoPermission, or what the kernel says.
    pub(crate) fn update_flags(
        &self,
        on: DeviceFlags,
        off: DeviceFlags,
    ) -> Result<(), NetdevError> {
        let index = self.index_or_gone()?;
        let (mut set, mut mask) = (0, 0);
        {
            let mut state = lock(&self.state);
            if on.promisc && state.promiscuous.is_none() {
                let membership = promiscuous(index).map_err(|e| self.error("promiscuous", e))?;
                state.promiscuous = Some(membership);
            }
            if off.promisc {
                state.promiscuous = None;
                mask |= state.info.flags & IFF_PROMISC;
            }
            if on.promisc || off.promisc {
                state.want_promiscuous = on.promisc;
            }
            if on.up || off.up {
                state.want_up = Some(on.up);
                let is_up = state.info.flags & IFF_UP != 0;
                if on.up != is_up {
                    mask |= IFF_UP;
                    set |= if on.up { IFF_UP } else { 0 };
                }
            }
            if mask == 0 {
                return Ok(());
            }
            flags::remember(&self.host, index, mask, state.info.flags);
        }
        let change = LinkChange {
            flags: set,
            flags_mask: mask,
            ..LinkChange::default()
        };
        self.host
            .change(index, change)
            .map_err(|e| self.error("set flags", e))?;
        self.refresh().map(drop)
    }

    pub(crate) fn set_etheraddr(&self, mac: EthAddr) -> Result<(), NetdevError> {
        let change = LinkChange {
            mac: Some(mac),
            ..LinkChange::default()
        };
        let index = self.index_or_gone()?;
        self.host
            .change(index, change)
            .map_err(|e| self.error("set MAC address", e))?;
        self.refresh().map(drop)
    }

    pub(crate) fn set_mtu(&self, mtu: u32) -> Result<(), NetdevError> {
        let change = LinkChange {
            mtu: Some(mtu),
            ..LinkChange::default()
        };
        let index = self.index_or_gone()?;
        self.host
            .change(index, change)
            .map_err(|e| self.error("set MTU", e))?;
        self.refresh().map(drop)
    }

    pub(crate) fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.index()
            .and_then(|i| self.host.addresses(i).ok())
            .unwrap_or_default()
    }
    /// Makes this the device's first IPv4 address, in place of another one.
    pub(crate) fn set_in4(&self, address: (Ipv4Addr, u8)) -> Result<(), NetdevError> {
        let index = self.index_or_gone()?;
        let fail = |e| self.error("set IP address", e);
        let first = self.addresses().into_iter().find_map(|(ip, len)| match ip {
            IpAddr::V4(ip) => Some((ip, len)),
            IpAddr::V6(_) => None,
        });
        if first == Some(address) {
            return Ok(());
        }
        if let Some(old) = first {
            self.host.set_address(index, old, false).map_err(fail)?;
        }
        self.host.set_address(index, address, true).map_err(fail)
    }

    /// Makes a gateway that this device leads to the host's.
    pub(crate) fn set_gateway(&self, gateway: Ipv4Addr) -> Result<(), NetdevError> {
        let set = self.host.set_gateway(self.index_or_gone()?, gateway);
        set.map_err(|e| self.error("set gateway", e))
    }

    pub(crate) fn features(&self) -> Option<LinkFeatures> {
        self.index()?;
        self.host.features(&self.name).ok()
    }
    /// NUMA node of the device, 0 when it has none.
    pub(crate) fn numa_id(&self) -> u32 {
        let path = format!("/sys/class/net/{}/device/numa_node", self.name);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// The `status` column's facts that every kernel device has.
    pub(crate) fn status(&self) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        if self.present()
            && let Ok(driver) = self.host.driver(&self.name)
        {
            map.insert("driver_name".into(), driver.name);
            map.insert("driver_version".into(), driver.version);
            map.insert("firmware_version".into(), driver.firmware);
        }
        map
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(index) = self.index() {
            flags::restore(&self.host, index);
        }
    }
}

/// Refuses names that Linux uses itself (directories of `/proc/sys/net/ipv4/conf`).
///
/// # Errors
/// ReservedName.
pub(crate) fn check_name(name: &str) -> Result<(), NetdevError> {
    if matches!(name, "default" | "all") {
        return Err(NetdevError::ReservedName {
            name: name.to_owned(),
            why: "Linux forbids network device with this name".to_owned(),
        });
    }
    Ok(())
}

/// Wraps what the kernel said, with the cases that have a name of their own.
pub(crate) fn error(dev: &str, op: &'static str, source: io::Error) -> NetdevError {
    let dev = dev.to_owned();
    match source.raw_os_error() {
        Some(libc::ENODEV) => NetdevError::NoSuchDevice { dev },
        Some(libc::EPERM | libc::EACCES) => NetdevError::NoPermission {
            dev,
            op,
            needs: "CAP_NET_ADMIN",
        },
        _ => NetdevError::Io { dev, op, source },
    }
}
