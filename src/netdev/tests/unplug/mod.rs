//! Pulls a DPDK device out: DPDK's own dispatcher is told what a driver tells it when hardware goes.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: drivers of virtual devices never say that they were removed, so the test calls the function that
// drivers of hardware call; it is DPDK's and has no safe form.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

/// `RTE_ETH_EVENT_INTR_RMV`.
const REMOVED: c_int = 6;

type ByName = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type Process = unsafe extern "C" fn(*mut c_void, c_int, *mut c_void) -> c_int;

fn symbol(name: &CStr) -> *mut c_void {
    let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD;
    let file = c"librte_ethdev.so.23".as_ptr();
    // SAFETY: opens nothing that is not open already; the text ends with a zero byte.
    let library = unsafe { libc::dlopen(file, flags) };
    assert!(!library.is_null(), "DPDK 22.11 is loaded");
    // SAFETY: a library that stays open; the text ends with a zero byte.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!found.is_null(), "{name:?}");
    found
}

/// The device of this name is gone.
pub(crate) fn pull(device: &str) {
    let device = CString::new(device).expect("a name");
    let (by_name, process) = (
        symbol(c"rte_eth_dev_get_by_name"),
        symbol(c"rte_eth_dev_callback_process"),
    );
    // SAFETY: the function's type in DPDK 22.11.
    let by_name: ByName = unsafe { std::mem::transmute(by_name) };
    // SAFETY: as above.
    let process: Process = unsafe { std::mem::transmute(process) };
    // SAFETY: the text ends with a zero byte.
    let port = unsafe { by_name(device.as_ptr()) };
    assert!(!port.is_null(), "{device:?} is there");
    // SAFETY: a device that is found stays while a port uses it.
    let told = unsafe { process(port, REMOVED, std::ptr::null_mut()) };
    assert_eq!(told, 0);
}
