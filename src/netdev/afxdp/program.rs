//! Our XDP program on a device: loaded by aya, held by a `bpf_link`, so that it leaves with the process.
//!
//! The loader is only known here: another one would change this file alone.

use super::config::Mode;
use crate::linux::Link;
use aya::maps::{PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{Xdp, XdpMode, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use std::io;
use std::os::fd::RawFd;

/// The compiled `bpf/xsk_redirect.bpf.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xsk_redirect.bpf.o"));

/// Name of the program in the kernel.
const NAME: &str = "ringway_xsk";

/// The program, attached. Dropping it takes it off the device.
pub(super) struct Program {
    // Detached first; the object with its maps goes after it.
    _link: FdLink,
    sockets: XskMap<aya::maps::MapData>,
    counters: PerCpuArray<aya::maps::MapData, u64>,
    _object: Ebpf,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Program")
    }
}

/// The errno somewhere below an error of the loader, or the error's words.
fn errno(e: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut at = Some(e);
    while let Some(e) = at {
        if let Some(code) = e
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return io::Error::from_raw_os_error(code);
        }
        at = e.source();
    }
    io::Error::other(e.to_string())
}

fn missing(what: &str) -> io::Error {
    io::Error::other(format!("{what} is missing in the XDP object"))
}

impl Program {
    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// The kernel's: EBUSY or EEXIST when a program is there already, EOPNOTSUPP when the driver cannot
    /// do this mode, EPERM.
    pub(super) fn attach(index: u32, mode: Mode) -> io::Result<Self> {
        let mut object = EbpfLoader::new().load(OBJECT).map_err(|e| errno(&e))?;
        let sockets = object.take_map("xsks").ok_or_else(|| missing("xsks"))?;
        let counters = object
            .take_map("counters")
            .ok_or_else(|| missing("counters"))?;
        let program = object.program_mut(NAME).ok_or_else(|| missing(NAME))?;
        let program: &mut Xdp = program.try_into().map_err(|e| errno(&e))?;
        program.load().map_err(|e| errno(&e))?;
        let flags = match mode {
            Mode::NativeZeroCopy | Mode::Native => XdpMode::Driver,
            Mode::Generic => XdpMode::Skb,
        };
        let id = program
            .attach_to_if_index(index, flags)
            .map_err(|e| errno(&e))?;
        let link = program.take_link(id).map_err(|e| errno(&e))?;
        // A netlink attachment would outlive us; a kernel that only has those is refused.
        let link = FdLink::try_from(link).map_err(|e| errno(&e))?;
        Ok(Self {
            _link: link,
            sockets: XskMap::try_from(sockets).map_err(|e| errno(&e))?,
            counters: PerCpuArray::try_from(counters).map_err(|e| errno(&e))?,
            _object: object,
        })
    }

    /// Has packets of a queue redirected to a socket from now on.
    pub(super) fn set_socket(&mut self, queue: u32, socket: RawFd) -> io::Result<()> {
        self.sockets.set(queue, socket, 0).map_err(|e| errno(&e))
    }

    /// Packets redirected to sockets, and packets left to the kernel because their queue has none.
    pub(super) fn counters(&self) -> Option<[u64; 2]> {
        let sum = |i: u32| Some(self.counters.get(&i, 0).ok()?.iter().sum());
        Some([sum(0)?, sum(1)?])
    }
}

/// Id of a program on the device that is not ours, if there is one.
pub(super) fn foreign(link: &Link) -> Option<u32> {
    let id = link.info().xdp_id;
    if id == 0 {
        return None;
    }
    let ours = loaded_programs()
        .filter_map(Result::ok)
        .any(|p| p.id() == id && p.name_as_str() == Some(NAME));
    (!ours).then_some(id)
}

#[cfg(test)]
pub(super) fn object() -> &'static [u8] {
    OBJECT
}

#[cfg(test)]
mod tests {
    use super::*;
    use libbpf_rs::MapCore;

    /// The reference loader must agree: same object, same names, and its verifier run passes.
    #[test]
    fn libbpf_loads_the_same_object() {
        let open = libbpf_rs::ObjectBuilder::default()
            .open_memory(object())
            .unwrap();
        let loaded = open.load().unwrap();
        let mut maps: Vec<_> = loaded
            .maps()
            .map(|m| m.name().to_string_lossy().into_owned())
            .collect();
        maps.sort();
        assert_eq!(maps, ["counters", "xsks"]);
        let programs: Vec<_> = loaded
            .progs()
            .map(|p| p.name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(programs, [NAME]);
    }
}
