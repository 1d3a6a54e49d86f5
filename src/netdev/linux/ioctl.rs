//! The ioctls that have no safe form: ethtool requests and the making of tap devices.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: both pass a struct with the interface's name and a pointer or flags to ioctl(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `SIOCETHTOOL` of `linux/sockios.h`.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// `TUNSETIFF`, `TUNSETOFFLOAD`, `TUNSETVNETHDRSZ` of `linux/if_tun.h`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;

/// `struct ifreq` as ethtool uses it.
#[repr(C)]
struct EthtoolRequest {
    name: [u8; 16],
    data: *mut libc::c_void,
    pad: [u64; 2],
}

/// `struct ifreq` as tun uses it.
#[repr(C)]
struct TunRequest {
    name: [u8; 16],
    flags: i16,
    pad: [u8; 22],
}

/// An interface name as the kernel takes it.
///
/// # Errors
/// EINVAL when it is empty or longer than 15 bytes.
fn interface(name: &str) -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    if name.is_empty() || name.len() > 15 || name.bytes().any(|b| b == 0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Ok(bytes)
}

/// Runs an ethtool command. `words` is the command's struct: its first word is the command, the kernel
/// fills in the rest. The caller gives the length that belongs to the command.
pub(super) fn ethtool<const WORDS: usize>(
    control: &OwnedFd,
    name: &str,
    words: &mut [u32; WORDS],
) -> io::Result<()> {
    let mut request = EthtoolRequest {
        name: interface(name)?,
        data: std::ptr::from_mut(words).cast(),
        pad: [0; 2],
    };
    // SAFETY: the request and the struct it points to live through the call; the callers' array lengths
    // are those of the commands' structs, so that the kernel writes inside them.
    let rc = unsafe { libc::ioctl(control.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes `file` (an open `/dev/net/tun`) the tap device `name`.
pub(crate) fn tun_attach(file: &OwnedFd, name: &str, flags: i32) -> io::Result<()> {
    let flags = i16::try_from(flags).map_err(io::Error::other)?;
    let mut request = TunRequest {
        name: interface(name)?,
        flags,
        pad: [0; 22],
    };
    // SAFETY: the request has the size of struct ifreq and lives through the call.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Tells a tap device which offloads its reader understands.
pub(crate) fn tun_offload(file: &OwnedFd, bits: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a number, no memory is passed.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETOFFLOAD, libc::c_ulong::from(bits)) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets the length of the virtio-net header in front of each packet.
pub(crate) fn tun_header_bytes(file: &OwnedFd, bytes: i32) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int, which lives through the call.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETVNETHDRSZ, &raw const bytes) };
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
