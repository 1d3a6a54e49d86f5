//! `vswitchd`: see ../../../shared/design.md section 2.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
