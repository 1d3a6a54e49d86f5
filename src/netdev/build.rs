//! Compiles the XDP programs of `bpf/` with clang. The object is embedded in the binary, so that the
//! running switch loads nothing from disk.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What Debian calls the tools; other distributions have the same names or nearly.
const NEEDS: &str = "on Debian: apt-get install clang libbpf-dev linux-libc-dev (and for the AF_XDP sockets \
     libclang-dev m4 make pkg-config libelf-dev zlib1g-dev)";

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=CLANG");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf");
    match compile(&dir, "xsk_redirect", &out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            ExitCode::FAILURE
        }
    }
}

/// Compiles `dir/name.bpf.c` to `out/name.bpf.o`.
fn compile(dir: &Path, name: &str, out: &Path) -> Result<(), String> {
    let source = dir.join(format!("{name}.bpf.c"));
    let object = out.join(format!("{name}.bpf.o"));
    println!("cargo::rerun-if-changed={}", source.display());
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let run = Command::new(&clang)
        .args([
            "-target", "bpf", "-O2", "-g", "-mcpu=v3", "-Wall", "-Werror",
        ])
        .arg(format!("-D__TARGET_ARCH_{}", kernel_arch()))
        .arg(format!(
            "-I/usr/include/{}-linux-gnu",
            std::env::consts::ARCH
        ))
        .arg("-c")
        .arg(&source)
        .arg("-o")
        .arg(&object)
        .output()
        .map_err(|e| format!("cannot run {clang} ({e}), which compiles bpf/*.c; {NEEDS}"))?;
    if run.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&run.stderr);
    let first = said
        .lines()
        .find(|l| l.contains("error"))
        .unwrap_or("no message");
    let hint = if first.contains("file not found") {
        format!("a header is missing; {NEEDS}")
    } else {
        said.replace('\n', " | ")
    };
    Err(format!(
        "{clang} could not compile {}: {first}: {hint}",
        source.display()
    ))
}

/// The kernel's name of the architecture.
fn kernel_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => other,
    }
}
