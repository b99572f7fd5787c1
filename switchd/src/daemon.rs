//! The daemon's life, from its command line to the signal that ends it.
//!
//! A function of the library, so that another program can be the switch, too: the demo starts itself
//! again as the switch between its hosts, and needs no second program to be built.

use crate::monitor::Monitor;
use crate::options::Options;
use crate::server::Server;
use crate::switch::{Config, Switch};
use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::info;

/// Is the switch that this process's arguments describe, until SIGINT or SIGTERM. The status is 0, 1 if
/// it failed, 2 if the arguments are wrong. Call it in `main`, before any thread is started: threads
/// inherit which signals are blocked.
pub fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let options = Options::read(arguments).unwrap_or_else(|error| error.exit());
    ports::free_evenly();
    start_log(options.verbose);
    raise_descriptor_limit();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("switchd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A port takes three descriptors for each worker and one more; the usual limit of 1,024 is for programs
/// that use `select(2)`.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

fn start_log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn run(options: &Options) -> anyhow::Result<()> {
    let config = Config::new(options.desired().map_err(|error| error.exit_if_usage())?);
    // Before any thread: all of them inherit the mask, and the signals wait for us.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("block signals")?;
    let socket = match &options.socket {
        Some(path) => path.clone(),
        None => control::socket_path(),
    };
    // The socket first: a second daemon must not touch the ports of the first.
    let listener = crate::server::bind(&socket)?;
    let switch = Arc::new(Switch::start(config)?);
    let monitor = Monitor::start(Arc::clone(&switch)).context("start the monitor")?;
    let server =
        Server::start(listener, Arc::clone(&switch)).context("start the control server")?;
    for bridge in switch.bridge_names().iter().filter_map(|name| switch.on(name)) {
        let ports = bridge.ports();
        let names: Vec<String> =
            ports.iter().map(|p| format!("{}({})", p.of_port, p.name)).collect();
        info!("bridge {}: switching {}", bridge.name(), names.join(", "));
    }
    info!("control socket {}", socket.display());
    let signal = signals.wait().context("wait for signals")?;
    info!("{signal}: stopping");
    drop(server);
    drop(monitor);
    // The last one: stops the workers and gives the devices back.
    drop(switch);
    Ok(())
}
