//! The daemon's life, from its command line to the signal that ends it.
//!
//! A function of the library, so that another program can be the switch, too: the demo starts itself
//! again as the switch between its hosts, and needs no second program to be built.

use crate::log;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::reload::Reload;
use crate::server::Server;
use crate::signals::Signals;
use crate::supervisor::Supervisor;
use crate::switch::{Config, Switch};
use anyhow::Context;
use flow::text::printable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tracing::info;

/// Is the switch that this process's arguments describe, until a signal ends it. The status is 0, 1 if
/// it failed, 2 if the arguments are wrong. Call it in `main`, before any thread is started: threads
/// inherit which signals are blocked.
pub fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let options = Options::read(arguments).unwrap_or_else(|error| error.exit());
    ports::free_evenly();
    let ended = Signals::block().context("block signals").and_then(|signals| {
        let _log = log::start(options.verbose);
        raise_descriptor_limit();
        run(&options, signals)
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The terminal may have gone, and nobody is left to tell.
            let message = format!("{error:#}");
            let _ = writeln!(std::io::stderr(), "switchd: {}", printable(&message));
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

fn run(options: &Options, signals: Signals) -> anyhow::Result<()> {
    let mut config = Config::new(options.desired().map_err(|error| error.exit_if_usage())?);
    config.state = options.state.clone().map(|directory| (directory, options.state_sync));
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
    match &options.state {
        Some(directory) => info!("state is kept in {}", directory.display()),
        None => {
            info!("rules, groups and added ports end with this process: --state DIR keeps them")
        }
    }
    let supervisor = Supervisor::ready(options.pid_file.as_deref(), options.ready_fd)?;
    let reload = Reload::new(options);
    let signal = loop {
        let signal = signals.wait().context("wait for signals")?;
        if !reload.answer(signal, &switch) {
            break signal;
        }
    };
    match options.state {
        Some(_) => info!("{signal}: stopping"),
        None => info!("{signal}: stopping; rules, groups and added ports are not kept"),
    }
    drop(supervisor);
    drop(server);
    drop(monitor);
    // The last one: stops the workers and gives the devices back.
    drop(switch);
    Ok(())
}
