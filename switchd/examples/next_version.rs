//! The program `switchd` as its next version. The code is the same, but the program says another version, and
//! hands over a section that the present version does not know. Tests upgrade a running switch to it, and fail
//! to go back.

use std::process::ExitCode;
use switchd::edition::Edition;

fn main() -> ExitCode {
    switchd::daemon::main_of(Edition {
        version: concat!(
            env!("CARGO_PKG_VERSION_MAJOR"),
            ".",
            env!("CARGO_PKG_VERSION_MINOR"),
            ".999"
        ),
        further_section: Some("weather"),
    })
}
