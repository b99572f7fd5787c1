//! The daemon's life, from its command line to the signal that ends it.
//!
//! A function of the library, so that another program can be the switch, too: the demo starts itself
//! again as the switch between its hosts, and needs no second program to be built.

use crate::detach::Background;
use crate::edition::Edition;
use crate::kernel_cache::{KernelCacheMode, KernelStart};
use crate::monitor::Monitor;
use crate::openflow::OpenFlowServer;
use crate::options::Options;
use crate::reload::Reload;
use crate::server::Server;
use crate::signals::Signals;
use crate::supervisor::{ReadyFd, Supervisor};
use crate::switch::{Config, Switch};
use crate::takeover::{self, Program};
use crate::{confinement, detach, log, rootless};
use anyhow::Context;
use control::path::{ROOT_RUN_DIR, SOCKET_NAME};
use flow::text::printable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Group};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tracing::info;

/// Is the switch that this process's arguments describe, until a signal ends it. The status is 0, 1 if
/// it failed, 2 if the arguments are wrong. Call it in `main`, before any thread is started: threads
/// inherit which signals are blocked.
pub fn main() -> ExitCode {
    main_of(Edition::SWITCHD)
}

/// As [`main`], for a program that is another version of the switch.
pub fn main_of(edition: Edition) -> ExitCode {
    edition.declare();
    let arguments = std::env::args_os().skip(1);
    let options = Options::read(arguments).unwrap_or_else(|error| error.exit());
    if options.detach {
        return detach::start().unwrap_or_else(|error| fail(&error));
    }
    if options.start_successor {
        return takeover::start_successor().unwrap_or_else(|error| fail(&error));
    }
    ports::free_evenly();
    let ended = Signals::block().context("block signals").and_then(|signals| {
        // Read first: the path depends on the user, who may change.
        let socket = options.socket.clone().unwrap_or_else(control::socket_path);
        // Whoever waits for the descriptor of a program that takes over has heard from the old program.
        let ready_fd = options.ready_fd.filter(|_| !options.take_over);
        let ready_fd = ready_fd.map(ReadyFd::open).transpose()?;
        let background = Background::enter(&options)?;
        let group = options.socket_group.as_deref().map(socket_group).transpose()?;
        raise_descriptor_limit();
        let uses_kernel = options.kernel_cache != KernelCacheMode::Off;
        // While the process has the privileges to load programs. A program that takes over gets
        // those of the other one.
        let kernel = match options.take_over {
            true => None,
            false => Some(options.kernel_cache.load()?),
        };
        let uses_programs = kernel.as_ref().map_or(uses_kernel, Result::is_ok);
        rootless::prepare(&options)?;
        // Before the first other thread, which would keep its privileges.
        confine(&options, &socket, group, uses_programs)?;
        rootless::enter()?;
        let log = log::start(options.verbose);
        let announce = Announce { ready_fd, background };
        match run(&options, &socket, group, announce, signals, kernel)? {
            End::Stopped => Ok(()),
            End::HandedOver(handed_over) => {
                drop(log);
                leave(handed_over)
            }
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Prints an error, and returns the exit status that stands for it.
fn fail(error: &anyhow::Error) -> ExitCode {
    // The terminal may have gone, and nobody is left to tell.
    let message = format!("{error:#}");
    let _ = writeln!(std::io::stderr(), "switchd: {}", printable(&message));
    ExitCode::FAILURE
}

/// How a switch has ended.
enum End {
    /// A signal has ended it, and everything was given back.
    Stopped,
    /// Another program has taken over.
    HandedOver(Running),
}

/// The parts of a running switch. Dropping them gives back devices and removes the control socket and the file
/// with the process id.
struct Running {
    _supervisor: Supervisor,
    server: Server,
    _monitor: Monitor,
    switch: Arc<Switch>,
}

/// Ends the process and gives nothing back: devices, control socket and files are the other program's now. The
/// kernel closes the descriptors that both programs have.
fn leave(handed_over: Running) -> ! {
    handed_over.server.finish_answers();
    // Without the drop of `handed_over`.
    std::process::exit(0)
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

/// Those who wait until the switch is ready.
struct Announce {
    ready_fd: Option<ReadyFd>,
    /// `None` if this process is not in the background.
    background: Option<Background>,
}

/// The group of `--socket-group`, by name or number.
fn socket_group(name: &str) -> anyhow::Result<Gid> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found =
        Group::from_name(name).with_context(|| format!("look for --socket-group {name}"))?;
    let found = found.with_context(|| {
        format!(
            "--socket-group {name}: there is no such group; \"groupadd --system {name}\" makes it"
        )
    })?;
    Ok(found.gid)
}

/// Gives up the privileges that the switch does not need.
fn confine(
    options: &Options,
    socket: &Path,
    socket_group: Option<Gid>,
    uses_programs: bool,
) -> anyhow::Result<()> {
    // Needs a privilege that the switch has at its start only.
    takeover::courtesy::permit();
    // A configuration that cannot be read is an error later.
    let ssl = options.desired().ok().and_then(|desired| desired.ssl);
    let ssl: Vec<PathBuf> =
        ssl.iter().flat_map(|files| files.paths()).map(|(_, path)| path.to_owned()).collect();
    let plan = confinement::Plan {
        user: options.user.as_deref(),
        socket_group,
        enters_namespaces: options.enters_namespaces,
        uses_programs,
        sandbox: options.sandbox,
        places: confinement::Places {
            socket,
            is_usual_socket: socket == Path::new(ROOT_RUN_DIR).join(SOCKET_NAME),
            state: options.state.as_deref(),
            config: options.config.as_deref(),
            pid_file: options.pid_file.as_deref(),
            ssl: &ssl,
        },
    };
    plan.enforce()
}

fn run(
    options: &Options,
    socket: &Path,
    socket_group: Option<Gid>,
    announce: Announce,
    signals: Signals,
    kernel: Option<KernelStart>,
) -> anyhow::Result<End> {
    let program = Program::of_this_process();
    let (listener, switch, tell_old_program) = match kernel {
        None => {
            confinement::tell();
            let state = options.state.as_deref().map(|path| (path, options.state_sync));
            let uses_kernel = options.kernel_cache != KernelCacheMode::Off;
            let taken = takeover::take(socket, state, uses_kernel)?;
            let (switch, listener, tell) = taken.into_parts();
            (listener, switch, Some(tell))
        }
        Some(kernel) => {
            let desired = options.desired().map_err(|error| error.exit_if_usage())?;
            let mut config = Config::new(desired);
            config.kernel = kernel;
            config.state = options.state.clone().map(|directory| (directory, options.state_sync));
            // The socket first: a second daemon must not touch the ports of the first.
            let listener = crate::server::bind(socket)?;
            if options.socket_mode.is_some() || socket_group.is_some() {
                listener.share(options.socket_mode.unwrap_or(0o660), socket_group)?;
            }
            confinement::tell();
            (listener, Switch::start(config)?, None)
        }
    };
    let switch = Arc::new(switch);
    let monitor = Monitor::start(Arc::clone(&switch)).context("start the monitor")?;
    let openflow = OpenFlowServer::start(&openflow_dir(socket), &switch);
    let server = Server::of_program(listener, Arc::clone(&switch), program.ok(), openflow)
        .context("start the control server")?;
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
    let supervisor = Supervisor::ready(options.pid_file.as_deref(), announce.ready_fd)?;
    if let Some(background) = announce.background {
        background.tell_ready()?;
    }
    if let Some(tell) = tell_old_program {
        tell()?;
    }
    let running = Running { _supervisor: supervisor, server, _monitor: monitor, switch };
    let reload = Reload::new(options);
    let signal = loop {
        let signal = signals.wait().context("wait for signals")?;
        let gate = running.switch.gate();
        let answer = gate.enter().map(|_passage| reload.answer(signal, &running.switch));
        match answer {
            Ok(true) => {}
            Ok(false) => break signal,
            // Another program has taken over: this one has nothing left to stop.
            Err(_) => return Ok(End::HandedOver(running)),
        }
    };
    if running.switch.gate().end().is_err() {
        return Ok(End::HandedOver(running));
    }
    match options.state {
        Some(_) => info!("{signal}: stopping"),
        None => info!("{signal}: stopping; rules, groups and added ports are not kept"),
    }
    let Running { _supervisor: supervisor, server, _monitor: monitor, switch } = running;
    drop(supervisor);
    drop(server);
    drop(monitor);
    // The last one: stops the workers and gives the devices back.
    drop(switch);
    Ok(End::Stopped)
}

/// The folder of the sockets for OpenFlow: `$OVS_RUNDIR`, where `ovs-ofctl` looks, else the
/// folder of the control socket.
fn openflow_dir(socket: &Path) -> PathBuf {
    let told = std::env::var_os("OVS_RUNDIR").filter(|folder| !folder.is_empty());
    told.map_or_else(|| socket.parent().unwrap_or(Path::new("")).to_owned(), PathBuf::from)
}
