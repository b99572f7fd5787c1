//! The command line of the daemon.

use crate::confinement::Sandbox;
use crate::desired::file::{self, FileError};
use crate::desired::{
    AllowedVersions, BridgeWords, CommandLine, ContradictionError, Controller, DatapathId, Desired,
    FailMode, FromFile, Overlay, Settings, SslFiles,
};
use crate::edition::edition;
use crate::kernel_cache::KernelCacheMode;
use crate::manual;
use crate::state::StateSync;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use flow::text::printable;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The parsed command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bridges, ports and settings that the command line names.
    pub command_line: CommandLine,
    /// Path of the file (`--config`) that names further bridges, ports and settings; `None`: no file.
    pub config: Option<PathBuf>,
    /// Directory in which bridges, ports, rules, groups and static hosts are kept
    /// (`--state`); `None`: nothing is kept.
    pub state: Option<PathBuf>,
    /// When changes are brought onto the disk (`--state-sync`).
    pub state_sync: StateSync,
    /// Path of the control socket. `None`: `switchd.sock` in the usual folder (see `--help`).
    pub socket: Option<PathBuf>,
    /// Mode of the control socket (`--socket-mode`); `None`: only the user of the process can use the socket.
    pub socket_mode: Option<u32>,
    /// Group of the control socket (`--socket-group`), by name or number; `None`: the group of the process.
    pub socket_group: Option<String>,
    /// Whether the program returns once the switch is ready, and leaves the
    /// switch in the background (`--detach`).
    pub detach: bool,
    /// Whether this process is the switch in the background.
    pub(crate) is_detached: bool,
    /// Path of a file that has the process id while the switch runs (`--pidfile`); `None`: no file.
    pub pid_file: Option<PathBuf>,
    /// Number of an inherited descriptor that gets a line feed once the switch is ready (`--ready-fd`).
    pub ready_fd: Option<i32>,
    /// The user that the process becomes (`--user`); `None`: it stays the user who starts it.
    pub user: Option<String>,
    /// Whether landlock and seccomp are used (`--sandbox`).
    pub sandbox: Sandbox,
    /// Whether flows go into the kernel (`--kernel-cache`).
    pub kernel_cache: KernelCacheMode,
    /// Whether ports in named network namespaces are allowed (`--netns`), for
    /// which the process keeps `CAP_SYS_ADMIN`.
    pub enters_namespaces: bool,
    /// Whether devices are in a network namespace of the switch's own, and only tunnels in the one
    /// where it is started (`--rootless`).
    pub is_rootless: bool,
    /// Whether to take over from the program at standard input, which has started this one (`--take-over`).
    pub take_over: bool,
    /// Whether to start another process with `take_over` for the program
    /// at standard input (`--start-successor`).
    pub start_successor: bool,
    /// How many times `-v` is given: the daemon logs at level `info` for 0, `debug` for 1 and
    /// `trace` for 2 or more.
    pub verbose: u8,
}

/// A software switch for network namespaces, containers and virtual machines.
///
/// It forwards frames between the given ports as a learning Ethernet switch at once.
/// Add OpenFlow rules with ofctl.
#[derive(Debug, Parser)]
#[command(name = "switchd", version, after_help = EXAMPLES)]
struct Arguments {
    /// Add a bridge, to which every --port after this option belongs. May be repeated; a --port before the
    /// first --bridge belongs to br0
    #[arg(short, long = "bridge", value_name = "NAME")]
    bridges: Vec<String>,
    /// OpenFlow datapath id of the bridge before this option: 16 hexadecimal digits
    /// [default: made of a MAC address]
    #[arg(long = "datapath-id", value_name = "ID")]
    datapath_ids: Vec<DatapathId>,
    /// Add a port: NAME of a network device, tap:NAME, internal:NAME, netns:NAMESPACE/NAME,
    /// patch:NAME,peer=NAME, vxlan:NAME,remote_ip=ADDRESS,key=N, geneve:NAME, gre:NAME (docs/tunnels.md has
    /// their options) or dummy:NAME, with options: ",shield=off" lets the host's own stack receive its frames,
    /// too, ",qdisc=auto|bypass|honour", ",queues=N", ",slots=N", ",slot-size=BYTES",
    /// ",kernel-cache=on|off|peer"; ",mac=MAC" is the address of a TAP device; ",number=N" gives it a number,
    /// otherwise ports get 1, 2, 3 ... in the order given, and ",name=NAME" a name. VLANs as in Open vSwitch:
    /// ",tag=10", ",trunks=10,20", ",vlan_mode=access|trunk|native-tagged|native-untagged|dot1q-tunnel",
    /// ",cvlans=5", ",qinq-ethtype=802.1ad|802.1q", ",priority_tags=never|if-nonzero|always"; ",protected=true"
    /// keeps it from other protected ports, ",storm=N|off" limits the frames a second that are flooded from it;
    /// ",down=true", ",no-stp=true", ",no-receive=true", ",no-receive-stp=true", ",no-flood=true",
    /// ",no-forward=true" and ",no-packet-in=true" are those of ofctl mod-port
    #[arg(short, long = "port", value_name = "PORT")]
    ports: Vec<String>,
    /// Add a network that other machines share: vxlan:NAME,vni=N,peer=IP[,peer=IP...] makes a tunnel port for
    /// each peer, NAME-1, NAME-2 ..., which are protected from each other; further options are those of all
    /// these ports. Each machine names all others. May be repeated
    #[arg(long = "overlay", value_name = "OVERLAY")]
    overlays: Vec<Overlay>,
    /// Connect to an OpenFlow controller: tcp:HOST[:PORT], ssl:HOST[:PORT] or unix:PATH, with settings:
    /// ",inactivity_probe=MS", ",max_backoff=MS", ",controller_rate_limit=N",
    /// ",controller_burst_limit=N", ",connection_mode=in-band|out-of-band". The controller is that of the
    /// bridge before this option; may be repeated
    #[arg(long = "controller", value_name = "TARGET")]
    controllers: Vec<Controller>,
    /// Wait for OpenFlow connections to the bridge before this option: ptcp:[PORT][:IP],
    /// pssl:[PORT][:IP] or punix:PATH, with settings as for --controller; may be repeated. The port is
    /// 6653 unless the option names one
    #[arg(long = "listen", value_name = "TARGET", value_parser = listening_controller)]
    listens: Vec<Controller>,
    /// What the bridge before this option does without a controller. standalone: it forwards as a learning
    /// switch; secure: it has no rules of its own [default: standalone]
    #[arg(long = "fail-mode", value_name = "MODE")]
    fail_modes: Vec<FailMode>,
    /// Versions of OpenFlow that the bridge before this option speaks, with commas between:
    /// OpenFlow10,OpenFlow13 [default: all]
    #[arg(long = "protocols", value_name = "VERSIONS")]
    protocols: Vec<AllowedVersions>,
    /// Private key of the switch for TLS connections to controllers, in PEM format
    #[arg(long, value_name = "FILE", requires_all = ["certificate", "ca_cert"])]
    private_key: Option<PathBuf>,
    /// Certificate of the switch, which belongs to --private-key, in PEM format
    #[arg(long, value_name = "FILE", requires_all = ["private_key", "ca_cert"])]
    certificate: Option<PathBuf>,
    /// Certificates of those who may sign the certificates of controllers, in PEM format
    #[arg(long, value_name = "FILE", requires_all = ["private_key", "certificate"])]
    ca_cert: Option<PathBuf>,
    /// Read bridges, ports and settings from this file, which ofctl show-config has written;
    /// other options add to it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Keep bridges, ports, rules, groups and static hosts in this directory, and begin with those that it has.
    /// Bridges and ports of the command line and of --config are added when they are new, changed when they say
    /// something else than at the last start, and taken away when they are not named any more
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// With --state: when a change is on the disk. always: before the command that makes it ends; interval:
    /// within a second, so that a power cut may take the latest changes
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, requires = "state")]
    state_sync: StateSync,
    /// Path of the control socket. Its folder has to belong to this user or root, and be closed to others
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Let the users that this mode names (octal, as in chmod) use the control socket, and with it the whole
    /// switch [default: 0600, with --socket-group 0660]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    socket_mode: Option<u32>,
    /// Give the control socket to this group
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// Return once the switch forwards frames and takes commands, and leave it in the background. If it cannot
    /// start, the error is printed and the exit status is 1. A log that goes to a terminal ends there: redirect
    /// standard error to keep it
    #[arg(long)]
    detach: bool,
    /// This process is the switch in the background; --detach starts it so
    #[arg(long, hide = true, conflicts_with = "detach")]
    detached: bool,
    /// Print the manual page, as man(1) reads it
    #[arg(long, hide = true, exclusive = true)]
    man: bool,
    /// Print the completions of switchd for a shell
    #[arg(long, value_name = "SHELL", value_enum, exclusive = true)]
    completions: Option<clap_complete::Shell>,
    /// Write the process id into this file, which is removed at the end
    #[arg(long = "pidfile", value_name = "PATH")]
    pid_file: Option<PathBuf>,
    /// Write a line feed to this inherited descriptor once the switch forwards frames and takes commands, and
    /// close the descriptor: switchd --ready-fd 3 3>fifo
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(1..))]
    ready_fd: Option<i32>,
    /// Become this user after the start, and keep the capabilities that ports need. The folder of the socket
    /// and the directory of --state have to belong to the user; switchd makes them so if it makes them
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Allow only the files (landlock) and system calls (seccomp) that the switch needs. log: let other
    /// system calls happen, and have the kernel log them; files: allow all system calls, which makes
    /// TAP ports some percent faster
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    sandbox: Sandbox,
    /// Allow ports in named network namespaces (netns:NAMESPACE/NAME), now and later, for
    /// which the process keeps CAP_SYS_ADMIN
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    netns: OnOff,
    /// Run as an ordinary user: devices (internal:NAME, tap:NAME) are in a network namespace that the switch
    /// makes, where the user is root, and tunnels (vxlan:NAME, geneve:NAME) are in the one where it is started.
    /// "nsenter -t PID -U -n --preserve-credentials" enters the former
    #[arg(long, conflicts_with = "user")]
    rootless: bool,
    /// Have the kernel forward the frames of established flows between network devices (docs/kernel-cache.md).
    /// auto: if Linux is 6.6 or newer and the program is started with CAP_BPF and CAP_PERFMON, which root has;
    /// off: do not; require: do not start without
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    kernel_cache: KernelCacheMode,
    /// Take over from the switch that has started this program
    #[arg(long = crate::takeover::OPTION, hide = true)]
    take_over: bool,
    /// Start this program again with --take-over, for the switch that has started this program
    #[arg(long = crate::takeover::START_OPTION, hide = true)]
    start_successor: bool,
    /// Log more events; given twice, all of them. The environment variable RUST_LOG overrides it
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// A choice between two states, the first of which is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnOff {
    #[default]
    On,
    Off,
}

impl std::fmt::Display for OnOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::On { "on" } else { "off" })
    }
}

impl Options {
    /// Reads a command line, the program's name not included.
    ///
    /// # Errors
    /// The command line is not valid, or names no port and no file. `--help` and `--version` are an error, too:
    /// it has the text to print.
    pub fn read<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let program = std::iter::once(OsString::from("switchd"));
        let all = program.chain(arguments.into_iter().map(Into::into));
        let matches = command().try_get_matches_from(all).map_err(name_port_option)?;
        let arguments = Arguments::from_arg_matches(&matches)?;
        if let Some(page) = manual::page(command(), arguments.man, arguments.completions) {
            // clap prints the text of this kind of error on standard output, and exits with status 0.
            return Err(clap::Error::raw(ErrorKind::DisplayHelp, page));
        }
        let bridges = bridges(&arguments, &matches);
        let ssl = ssl_files(&arguments)
            .map_err(|message| command().error(ErrorKind::ValueValidation, printable(&message)))?;
        if bridges.is_empty() && arguments.config.is_none() && arguments.state.is_none() {
            let message = "no port is given: name at least one, for example --port veth0";
            return Err(command().error(ErrorKind::MissingRequiredArgument, message));
        }
        let command_line = CommandLine { settings: arguments.settings, ssl, bridges };
        let Arguments { config, state, state_sync, socket, pid_file, ready_fd, .. } = arguments;
        let Arguments { user, sandbox, netns, take_over, start_successor, verbose, .. } = arguments;
        let Arguments { socket_mode, socket_group, detach, detached, kernel_cache, .. } = arguments;
        let is_rootless = arguments.rootless;
        Ok(Self {
            command_line,
            config,
            state,
            state_sync,
            socket,
            socket_mode,
            socket_group,
            detach,
            is_detached: detached,
            pid_file,
            ready_fd,
            user,
            sandbox,
            kernel_cache,
            // This process and its successors enter the network namespace of devices behind their confinement.
            enters_namespaces: netns == OnOff::On || is_rootless,
            is_rootless,
            take_over,
            start_successor,
            verbose,
        })
    }

    /// What is wanted, by the command line and the file.
    ///
    /// # Errors
    /// The file cannot be read, or one of them says something that is wrong or contradicts the other.
    pub fn desired(&self) -> Result<Desired, OptionsError> {
        let file = self.config.as_deref().map(read_file).transpose()?;
        Ok(self.command_line.merge(file)?)
    }
}

/// Reads the mode of a file: octal digits for owner, group and others.
fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "a mode is octal, 0 to 0777: 0660 lets the group use the socket".to_owned())
}

/// Reads a place where a bridge waits for connections.
fn listening_controller(text: &str) -> Result<Controller, String> {
    let controller: Controller = text.parse()?;
    match controller.target.is_active() {
        false => Ok(controller),
        true => Err(format!(
            "\"{text}\" is a controller to connect to: write --controller {text}, or ptcp:[PORT][:IP], pssl: or \
             punix:PATH to wait for connections"
        )),
    }
}

/// The files for TLS. A path that does not begin with a slash belongs to the folder in
/// which the program is started.
fn ssl_files(arguments: &Arguments) -> Result<Option<SslFiles>, String> {
    let files = [&arguments.private_key, &arguments.certificate, &arguments.ca_cert];
    let [Some(key), Some(certificate), Some(ca_cert)] = files else { return Ok(None) };
    let full = |path: &Path| {
        std::path::absolute(path).map_err(|error| format!("\"{}\": {error}", path.display()))
    };
    SslFiles::new(full(key)?, full(certificate)?, full(ca_cert)?).map(Some)
}

fn read_file(path: &Path) -> Result<FromFile, OptionsError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| OptionsError::Read { name: name.clone(), source })?;
    let desired = file::read(&text, &name)?;
    Ok(FromFile { name, desired })
}

/// The command line or the file that it names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("read {name}")]
    Read {
        /// The name of the file, as it was given.
        name: String,
        /// Why the kernel did not read the file.
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error(transparent)]
    File(#[from] FileError),
    /// The command line is not valid, or contradicts the file.
    #[error(transparent)]
    CommandLine(#[from] ContradictionError),
}

impl OptionsError {
    /// Ends the process with clap's usage message if the command line is wrong; returns any other error.
    pub(crate) fn exit_if_usage(self) -> Self {
        match self {
            Self::CommandLine(error) => {
                let message = error.to_string();
                let kind = ErrorKind::ValueValidation;
                command().error(kind, printable(&message)).exit()
            }
            other => other,
        }
    }
}

/// The command line, with the default of each setting in its help.
fn command() -> clap::Command {
    let command = Arguments::command().version(edition().version);
    let mut command = command.mut_arg("socket", |argument| {
        let help = argument.get_help().map(|help| help.to_string()).unwrap_or_default();
        let (path, rule) = (control::socket_path(), control::path::RULE);
        argument.help(format!("{help} [default: {}, by the rule {rule}]", path.display()))
    });
    for (key, default) in Settings::defaults().words() {
        if matches!(&*default, "true" | "false") {
            continue;
        }
        let id = key.replace('-', "_");
        command = command.mut_arg(id, |argument| {
            let help = argument.get_help().map(|help| help.to_string()).unwrap_or_default();
            argument.help(format!("{help} [default: {default}]"))
        });
    }
    command
}

/// The error of a word without an option, which is likely the name of a device, names `--port`. Any other error
/// is returned as it is.
fn name_port_option(error: clap::Error) -> clap::Error {
    let kinds = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    let word = kinds.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word),
        _ => None,
    });
    let is_unknown =
        matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    match word {
        Some(word) if is_unknown && !word.starts_with('-') => {
            let word = printable(word);
            let message = format!("\"{word}\" has no option in front; a port is --port {word}");
            command().error(ErrorKind::UnknownArgument, message)
        }
        _ => error,
    }
}

/// The `--bridge`s of the command line in their order, each with those options after it
/// that belong to a bridge.
fn bridges(arguments: &Arguments, matches: &ArgMatches) -> Vec<BridgeWords> {
    enum Word<'a> {
        Bridge(&'a str),
        Id(DatapathId),
        FailMode(FailMode),
        Protocols(&'a AllowedVersions),
        Controller(&'a Controller),
        Port(&'a str),
        Overlay(&'a Overlay),
    }
    let places = |id| matches.indices_of(id).into_iter().flatten();
    let mut words: Vec<(usize, Word<'_>)> = Vec::new();
    words.extend(places("bridges").zip(arguments.bridges.iter().map(|name| Word::Bridge(name))));
    words.extend(places("datapath_ids").zip(arguments.datapath_ids.iter().map(|id| Word::Id(*id))));
    let modes = arguments.fail_modes.iter().map(|mode| Word::FailMode(*mode));
    words.extend(places("fail_modes").zip(modes));
    words.extend(places("protocols").zip(arguments.protocols.iter().map(Word::Protocols)));
    words.extend(places("controllers").zip(arguments.controllers.iter().map(Word::Controller)));
    words.extend(places("listens").zip(arguments.listens.iter().map(Word::Controller)));
    words.extend(places("ports").zip(arguments.ports.iter().map(|port| Word::Port(port))));
    words.extend(places("overlays").zip(arguments.overlays.iter().map(Word::Overlay)));
    words.sort_by_key(|(place, _)| *place);
    let mut bridges: Vec<BridgeWords> = Vec::new();
    for (_, word) in words {
        if let Word::Bridge(name) = word {
            bridges.push(BridgeWords { name: Some(name.to_owned()), ..BridgeWords::default() });
            continue;
        }
        let needs_new = match (&word, bridges.last()) {
            (_, None) => true,
            // A second value becomes a second entry of the same bridge, which
            // merging reports as a contradiction.
            (Word::Id(_), Some(bridge)) => bridge.datapath_id.is_some(),
            (Word::FailMode(_), Some(bridge)) => bridge.fail_mode.is_some(),
            (Word::Protocols(_), Some(bridge)) => bridge.protocols.is_some(),
            _ => false,
        };
        if needs_new {
            let name = bridges.last().and_then(|b| b.name.clone());
            bridges.push(BridgeWords { name, ..BridgeWords::default() });
        }
        if let Some(bridge) = bridges.last_mut() {
            match word {
                Word::Id(id) => bridge.datapath_id = Some(id),
                Word::FailMode(mode) => bridge.fail_mode = Some(mode),
                Word::Protocols(versions) => bridge.protocols = Some(versions.clone()),
                Word::Controller(controller) => bridge.controllers.push(controller.clone()),
                Word::Port(port) => bridge.ports.push(port.to_owned()),
                Word::Overlay(overlay) => bridge.ports.extend_from_slice(overlay.ports()),
                Word::Bridge(_) => {}
            }
        }
    }
    bridges
}

const EXAMPLES: &str = "\
Examples:
  switchd --port veth0 --port veth1
  switchd --port veth0 --port tap:vm1
  switchd --bridge br0 --port veth0 --port veth1 --bridge br1 --port veth2
  ofctl show-config > switch.toml; switchd --config switch.toml
  ofctl add-flow \"priority=100,ip,nw_dst=10.0.0.2,actions=output:2\"";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Poll;
    use flowtable::datapath::CacheConfig;
    use flowtable::overload::UpcallLimit;
    use std::time::Duration;

    fn desired(arguments: &[&str]) -> Desired {
        Options::read(arguments.iter().copied()).unwrap().desired().unwrap()
    }

    fn refused(arguments: &[&str]) -> String {
        match Options::read(arguments.iter().copied()) {
            Ok(options) => options.desired().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// The bridges with their ports.
    fn bridges(arguments: &[&str]) -> Vec<String> {
        let desired = desired(arguments);
        let told = |b: &crate::desired::Bridge| {
            let ports: Vec<String> = b.ports.iter().map(|p| p.to_string()).collect();
            let id = b.datapath_id.map(|id| format!(" {id}")).unwrap_or_default();
            format!("{}{id}: {}", b.name, ports.join(" "))
        };
        desired.bridges.iter().map(told).collect()
    }

    #[test]
    fn the_limit_of_new_flows_is_a_rate_or_off() {
        let cache = |arguments: &[&str]| {
            let all = [&["--port", "veth0"], arguments].concat();
            desired(&all).settings.resolved().cache
        };
        assert_eq!(cache(&[]), CacheConfig::default());
        let changed = cache(&["--upcall-limit", "100000", "--flow-limit", "7"]);
        assert_eq!(changed.upcalls, Some(UpcallLimit { rate: 100_000, burst: 10_000 }));
        assert_eq!(changed.max_flows, 7);
        assert_eq!(cache(&["--upcall-limit", "off"]).upcalls, None);
        for wrong in ["0", "-1", "many", "5000000000", ""] {
            let error = refused(&["--port", "veth0", &format!("--upcall-limit={wrong}")]);
            assert!(error.contains("must be a number of new flows a second"), "{error}");
        }
    }

    #[test]
    fn the_command_line_describes_the_switch() {
        let arguments = ["--port", "veth0,tag=10", "--mac-ageing", "60", "--poll", "block"];
        let desired = desired(&[&arguments[..], &["--cpu", "1", "--lenient"]].concat());
        assert_eq!(desired.bridges[0].ports[0].settings.to_string(), "vlan_mode=access tag=10");
        let settings = desired.settings.resolved();
        assert_eq!(settings.mac_ageing, Duration::from_secs(60));
        assert_eq!((settings.poll, settings.cpus), (Poll::Block, vec![1]));
        assert!(settings.lenient && !settings.require);
    }

    #[test]
    fn numbers_have_limits() {
        let error = refused(&["--port", "veth0", "--workers", "0"]);
        assert!(
            error.contains("'0' for '--workers <N>': must be a number from 1 to 64"),
            "{error}"
        );
    }

    #[test]
    fn ports_belong_to_the_bridge_named_before_them() {
        assert_eq!(bridges(&["--port", "a", "-p", "b"]), ["br0: a,number=1 b,number=2"]);
        assert_eq!(
            bridges(&["--port", "a", "--bridge", "br1", "--port=b", "-p", "c", "-b", "br2"]),
            ["br0: a,number=1", "br1: b,number=1 c,number=2", "br2: "]
        );
        assert_eq!(
            bridges(&["--bridge", "x", "-p", "a", "--bridge", "y", "--bridge", "x", "-p", "b"]),
            ["x: a,number=1 b,number=2", "y: "]
        );
        assert_eq!(bridges(&["-p", "internal:br0"]), ["br0: internal:br0,number=LOCAL"]);
    }

    #[test]
    fn datapath_ids_belong_to_the_bridge_named_before_them() {
        let ids = ["00000000000000aa", "00000000000000bb"];
        assert_eq!(
            bridges(&["-b", "x", "--datapath-id", ids[0], "-b", "y", "--datapath-id", ids[1]]),
            ["x 00000000000000aa: ", "y 00000000000000bb: "]
        );
        let twice = refused(&["-b", "x", "--datapath-id", ids[0], "--datapath-id", ids[1]]);
        assert_eq!(
            twice,
            "bridge \"x\": --datapath-id is 00000000000000bb, but 00000000000000aa is given as well; \
             leave one of them out"
        );
        assert!(refused(&["-b", "x", "--datapath-id", "1"]).contains("16 hexadecimal digits"));
    }

    #[test]
    fn controllers_belong_to_the_bridge_named_before_them() {
        let all = desired(
            &[
                &[
                    "-b",
                    "x",
                    "--controller",
                    "tcp:10.0.0.1,max_backoff=1000",
                    "--fail-mode",
                    "secure",
                ][..],
                &[
                    "-b",
                    "y",
                    "--listen=ptcp:",
                    "--controller",
                    "unix:c",
                    "--protocols",
                    "OpenFlow13",
                ],
            ]
            .concat(),
        );
        let told = |b: &crate::desired::Bridge| {
            let all: Vec<String> = b.controllers.iter().map(ToString::to_string).collect();
            format!("{} {} {}: {}", b.name, b.fail_mode(), b.protocols, all.join(" "))
        };
        let bridges: Vec<String> = all.bridges.iter().map(told).collect();
        let every = AllowedVersions::default();
        assert_eq!(
            bridges,
            [
                format!("x secure {every}: tcp:10.0.0.1,max_backoff=1000"),
                "y standalone OpenFlow13: ptcp: unix:c".to_owned()
            ]
        );
        let twice = refused(&["-b", "x", "--fail-mode", "secure", "--fail-mode", "standalone"]);
        assert!(
            twice.contains("--fail-mode is standalone, but secure is given as well"),
            "{twice}"
        );
        let active = refused(&["-b", "x", "--listen", "tcp:10.0.0.1"]);
        assert!(active.contains("write --controller tcp:10.0.0.1"), "{active}");
        let one = refused(&["-b", "x", "--private-key", "k"]);
        assert!(one.contains("--certificate"), "{one}");
    }

    #[test]
    fn a_word_without_an_option_is_taken_for_a_port() {
        for (arguments, word) in [
            (&["veth0", "veth1"][..], "veth0"),
            (&["--port", "veth0", "veth1"], "veth1"),
            (&["-b", "br0", "tap:vm1"], "tap:vm1"),
        ] {
            let error = refused(arguments);
            assert_eq!(
                error.lines().next(),
                Some(&*format!(
                    "error: \"{word}\" has no option in front; a port is --port {word}"
                )),
                "{arguments:?}"
            );
        }
        let error = refused(&["--prot", "veth0"]);
        assert!(error.starts_with("error: unexpected argument '--prot' found"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(refused(&[]).contains("no port is given: name at least one"));
        assert!(refused(&["-b", "a/b"]).starts_with("bridge \"a/b\": not a bridge's name"));
        assert_eq!(
            refused(&["-p", "a", "-p", "a"]),
            "port \"a\": bridge \"br0\" has a port of that name already"
        );
        assert_eq!(
            refused(&["-b", "x", "-p", "a", "-b", "y", "-p", "a"]),
            "port \"a\": its device belongs to port \"a\" of bridge \"x\"; to move it, take it away there \
             with \"ofctl del-port x a\", then add it to \"y\""
        );
        assert!(refused(&["--config", "/no/file.toml"]).starts_with("read /no/file.toml"));
    }

    #[test]
    fn the_help_tells_the_defaults() {
        let help = command().render_help().to_string();
        let socket = format!("[default: {}", control::socket_path().display());
        assert!(
            help.replace('\n', " ").contains(&socket) && help.contains("/tmp/switchd-UID"),
            "{help}"
        );
        for default in ["[default: 200000]", "[default: adaptive]", "[default: 300]"] {
            assert!(help.contains(default), "{default} in {help}");
        }
    }
}
