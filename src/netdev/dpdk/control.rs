//! What operators ask for by hand: devices that DPDK is to let go of, and what is in its memory.

use super::attach;
use super::eal::running;
use super::library::Dump;
use super::port::Dpdk;
use crate::device::Device;

/// Has DPDK let go of a device that no interface uses.
///
/// # Errors
/// In words: there is no such device, who uses it, or that DPDK refuses.
pub fn detach(devargs: &str) -> Result<String, String> {
    let library = running()?.library;
    let Ok(port) = library.find(devargs) else {
        return Err(format!("Device '{devargs}' not found in DPDK"));
    };
    let users = attach::users(library, port);
    if !users.is_empty() {
        return Err(format!(
            "Device '{devargs}' is being used by the following interfaces: {}. Remove them before detaching.",
            users.join(" ")
        ));
    }
    match library.detach(port, true) {
        Ok(()) => Ok(format!(
            "All devices shared with device '{devargs}' have been detached"
        )),
        Err(_) => Err(format!("Device '{devargs}' can not be detached")),
    }
}

/// The memory pool of a port, or all of DPDK's.
///
/// # Errors
/// In words: DPDK does not run, the device is none of DPDK's, or it has no pool.
pub fn mempool_info(device: Option<&dyn Device>) -> Result<String, String> {
    let Some(device) = device else {
        return Ok(running()?.library.dump(Dump::Pools));
    };
    let port = device.as_any().downcast_ref::<Dpdk>();
    let port = port.ok_or("Not a DPDK Interface")?;
    let text = port.pool_text();
    text.ok_or_else(|| format!("{} has no memory pool yet", device.name()))
}
