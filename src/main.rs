//! The `ringway` binary: everything is in the `vswitchd` room.

fn main() -> std::process::ExitCode {
    vswitchd::main()
}
