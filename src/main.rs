//! The `ringway` binary: everything is in the `vswitchd` room.

fn main() -> std::process::ExitCode {
    base::requires::check("ringway");
    vswitchd::main()
}
