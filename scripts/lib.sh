# Shared by the scripts: installing what is missing, saying what is going on. Sourced, not run.

# The Debian packages each purpose needs.
BUILD_PACKAGES="ca-certificates clang libclang-dev gcc make m4 pkg-config libelf-dev zlib1g-dev libbpf-dev linux-libc-dev"
RUN_PACKAGES="iproute2 iputils-ping ethtool iperf3 procps"
TEST_PACKAGES="openvswitch-switch openvswitch-common openvswitch-pki openvswitch-testcontroller openssl tcpdump bpftool libdpdk-dev dpdk-dev"
# What scripts/build-dpdk needs, and the drivers DPDK ports are tested with.
DPDK_PACKAGES="libdpdk-dev gcc pkg-config"
RUST_MIN=1.95

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need_root: everything here makes namespaces and loads BPF.
need_root() { [ "$(id -u)" = 0 ] || die "must run as root (namespaces, AF_XDP and BPF need it): sudo $0"; }

# install_missing PACKAGE...: installs those that are not there, from Debian's packages.
install_missing() {
    local missing=()
    for p in "$@"; do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p"); done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing ${#missing[@]} Debian packages: ${missing[*]}"
    local log; log=$(mktemp)
    # RUNLEVEL=1: services that packages bring (openvswitch-switch) are not started.
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "apt-get could not install: ${missing[*]} (full output: $log). Check the package sources and run again."
    fi
    rm -f "$log"
}

# need_rust: a Rust toolchain that is new enough.
need_rust() {
    # shellcheck disable=SC1091
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    command -v cargo >/dev/null || die "Rust is missing: install Rust $RUST_MIN or newer with rustup, then run $0 again:
    apt-get install -y ca-certificates curl && curl -sSf https://sh.rustup.rs | sh -s -- -y"
    local have; have=$(rustc --version | awk '{print $2}')
    [ "$(printf '%s\n%s\n' "$RUST_MIN" "${have%%-*}" | sort -V | head -n1)" = "$RUST_MIN" ] ||
        die "Rust $have is too old, $RUST_MIN or newer is needed: run 'rustup update stable', then $0 again."
}
