//! The program `switchd`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    switchd::daemon::main()
}
