//! The `ringway` binary: everything is in the `vswitchd` room.
//!
//! Its allocator is mimalloc: flows are made of keys and masks that begin at a cache line, in one thread, and
//! freed in another, which the C library's allocator takes several times longer for.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    base::requires::check("ringway");
    vswitchd::main()
}
