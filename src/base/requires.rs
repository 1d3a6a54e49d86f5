//! What the processor must have for this build: the features the compiler was allowed to use.
//!
//! A build for `x86-64-v3`, say, has their instructions everywhere, so [`check`] must come first in `main`, and
//! does little itself: a few `cpuid`s and comparisons, no tables, no formatting. Stands alone, for the test that
//! builds it for other processors (`tests/suite/cpu-features`).

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "see UNSAFETY"))]
// UNSAFETY: xgetbv is only offered to code that is compiled for it; the instruction is run after cpuid said so.

use std::io::Write;

/// Ends the process, saying what is missing, if this processor lacks anything that the build needs.
#[inline(never)]
pub fn check(program: &str) {
    let mut any = false;
    missing(&mut |feature| {
        if !any {
            say("error: ");
            say(program);
            say(" was built for another processor; this one lacks:");
        }
        any = true;
        say(" ");
        say(feature);
    });
    if any {
        say("\n");
        std::process::exit(1);
    }
}

fn say(text: &str) {
    // Where would a failure be reported?
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(not(target_arch = "x86_64"))]
fn missing(_: &mut dyn FnMut(&'static str)) {}
#[cfg(target_arch = "x86_64")]
use x86::missing;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

    /// What the operating system must save for a feature to be usable: bits of XCR0.
    const NONE: u32 = 0;
    const YMM: u32 = 0x6;
    const ZMM: u32 = 0xe6;

    /// An answer of `cpuid`; zeros for a leaf that the processor does not know.
    fn leaf(leaf: u32, sub: u32) -> CpuidResult {
        let most = __cpuid(leaf & 0x8000_0000).eax;
        let zeros = CpuidResult {
            eax: 0,
            ebx: 0,
            ecx: 0,
            edx: 0,
        };
        if leaf > most {
            return zeros;
        }
        __cpuid_count(leaf, sub)
    }

    /// Does the operating system save these registers?
    fn saved(wanted: u32) -> bool {
        const OSXSAVE: u32 = 1 << 27;
        if wanted == 0 {
            return true;
        }
        if leaf(1, 0).ecx & OSXSAVE == 0 {
            return false;
        }
        let low: u32;
        // SAFETY: the operating system has enabled the instruction, as OSXSAVE says; it only reads.
        unsafe {
            std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack, preserves_flags));
        }
        low & wanted == wanted
    }

    macro_rules! features {
        ($($name:tt: $leaf:literal, $sub:literal, $register:ident, $bit:literal, $saved:ident;)*) => {
            /// Names what the build needs and the processor lacks.
            pub(super) fn missing(each: &mut dyn FnMut(&'static str)) {
                $(if cfg!(target_feature = $name)
                    && !(leaf($leaf, $sub).$register & 1 << $bit != 0 && saved($saved)) {
                    each($name);
                })*
            }

            /// (name, found by us, found by the standard library)
            #[cfg(test)]
            pub(super) fn found() -> Vec<(&'static str, bool, bool)> {
                vec![$((
                    $name,
                    leaf($leaf, $sub).$register & 1 << $bit != 0 && saved($saved),
                    std::is_x86_feature_detected!($name),
                )),*]
            }
        };
    }

    // By the manuals' descriptions of CPUID. lahfsahf (v2) is left out: every 64-bit processor of this century has it.
    features! {
        "sse3": 1, 0, ecx, 0, NONE;
        "pclmulqdq": 1, 0, ecx, 1, NONE;
        "ssse3": 1, 0, ecx, 9, NONE;
        "fma": 1, 0, ecx, 12, YMM;
        "cmpxchg16b": 1, 0, ecx, 13, NONE;
        "sse4.1": 1, 0, ecx, 19, NONE;
        "sse4.2": 1, 0, ecx, 20, NONE;
        "movbe": 1, 0, ecx, 22, NONE;
        "popcnt": 1, 0, ecx, 23, NONE;
        "aes": 1, 0, ecx, 25, NONE;
        "xsave": 1, 0, ecx, 27, NONE;
        "avx": 1, 0, ecx, 28, YMM;
        "f16c": 1, 0, ecx, 29, YMM;
        "rdrand": 1, 0, ecx, 30, NONE;
        "bmi1": 7, 0, ebx, 3, NONE;
        "avx2": 7, 0, ebx, 5, YMM;
        "bmi2": 7, 0, ebx, 8, NONE;
        "avx512f": 7, 0, ebx, 16, ZMM;
        "avx512dq": 7, 0, ebx, 17, ZMM;
        "rdseed": 7, 0, ebx, 18, NONE;
        "adx": 7, 0, ebx, 19, NONE;
        "avx512ifma": 7, 0, ebx, 21, ZMM;
        "avx512cd": 7, 0, ebx, 28, ZMM;
        "sha": 7, 0, ebx, 29, NONE;
        "avx512bw": 7, 0, ebx, 30, ZMM;
        "avx512vl": 7, 0, ebx, 31, ZMM;
        "avx512vbmi": 7, 0, ecx, 1, ZMM;
        "avx512vbmi2": 7, 0, ecx, 6, ZMM;
        "gfni": 7, 0, ecx, 8, NONE;
        "vaes": 7, 0, ecx, 9, YMM;
        "vpclmulqdq": 7, 0, ecx, 10, YMM;
        "avx512vnni": 7, 0, ecx, 11, ZMM;
        "avx512bitalg": 7, 0, ecx, 12, ZMM;
        "avx512vpopcntdq": 7, 0, ecx, 14, ZMM;
        "avx512bf16": 7, 1, eax, 5, ZMM;
        "xsaveopt": 13, 1, eax, 0, NONE;
        "xsavec": 13, 1, eax, 1, NONE;
        "xsaves": 13, 1, eax, 3, NONE;
        "lzcnt": 0x8000_0001, 0, ecx, 5, NONE;
        "sse4a": 0x8000_0001, 0, ecx, 6, NONE;
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #[test]
    fn features_are_found_as_the_standard_library_finds_them() {
        let found = super::x86::found();
        let differ: Vec<_> = found.iter().filter(|f| f.1 != f.2).collect();
        assert!(differ.is_empty(), "{differ:?}");
        assert!(found.iter().any(|f| f.1));
        // What runs this test has what it was built for.
        super::check("this test");
    }
}
