//! The command line of the daemon.

use crate::switch::{Config, Poll, SPEC_KEYS, check_settings};
use clap::{ArgAction, Parser};
use flowtable::overload::UpcallLimit;
use ports::spec::PortSpec;
use std::path::PathBuf;
use std::time::Duration;

/// A software switch for network namespaces, containers and virtual machines.
///
/// Joins the given ports to one Ethernet switch, at once. Rules are added with ofctl.
#[derive(Debug, Parser)]
#[command(name = "switchd", version, after_help = EXAMPLES)]
pub struct Options {
    /// A port: NAME of a network device, tap:NAME, internal:NAME, netns:NAMESPACE/NAME or dummy:NAME,
    /// with options: ",shield=off" lets the host's own stack hear it, ",qdisc=auto|bypass|honour",
    /// ",queues=N", ",slots=N", ",slot-size=BYTES"; ",number=N" gives it a number, otherwise ports get 1, 2, 3 ...
    /// in the order given, and ",name=NAME" a name. VLANs as in Open vSwitch: ",tag=10", ",trunks=10,20",
    /// ",vlan_mode=access|trunk|native-tagged|native-untagged|dot1q-tunnel", ",cvlans=5",
    /// ",qinq-ethtype=802.1ad|802.1q", ",priority_tags=never|if-nonzero|always"; ",protected=true" keeps it
    /// from other protected ports, ",storm=N|off" limits the frames a second that are flooded from it
    #[arg(short, long = "port", value_name = "PORT")]
    pub ports: Vec<String>,
    /// A port whose device is missing is an error instead of being waited for
    #[arg(long)]
    pub require: bool,
    /// Threads that move frames
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: u8,
    /// What workers do while nothing comes
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub poll: Poll,
    /// Processors that workers are bound to, in turn: 0,2-3
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub cpu: Option<Cpus>,
    /// Seconds until a silent host is forgotten
    #[arg(long, value_name = "SEC", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub mac_ageing: u32,
    /// Hosts that are remembered at most
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub mac_entries: u32,
    /// Entries of each worker's signature cache, four bytes each, rounded up to a power of two; 0 turns it off
    #[arg(long, value_name = "N", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(0..=1 << 22))]
    pub emc_entries: u32,
    /// Flows that each worker caches at most; 0 turns caching off
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub flow_limit: u32,
    /// New flows a second that a port may cause, and a tenth of that at once, while cached traffic has to be
    /// protected from them; "off" is any number. What is over it is dropped as upcall_budget
    #[arg(long, value_name = "N|off", default_value = "40000", value_parser = parse_upcall_limit)]
    pub upcall_limit: Upcalls,
    /// VLAN tags that rules can look at
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub vlan_limit: u8,
    /// Do what Open vSwitch does where it is wrong, too: take every rule as if ofctl --lenient had
    /// been said, treat checksums of fragments and routed packets its way, recirculate as it does
    #[arg(long)]
    pub lenient: bool,
    /// Path of the control socket [default: switchd.sock in $SWITCH_RUNDIR, else in /run/switchd for
    /// root, else in $XDG_RUNTIME_DIR/switchd]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Says more; twice for everything. RUST_LOG overrides it
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// Numbers of processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(pub Vec<usize>);

/// Reads numbers and ranges of numbers, as in `taskset --cpu-list`.
fn parse_cpus(text: &str) -> Result<Cpus, String> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n < 4096);
    let mut cpus = Vec::new();
    for piece in text.split(',') {
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err(format!("\"{piece}\" is not a processor: write 0,2-3")),
        }
    }
    Ok(Cpus(cpus))
}

/// New flows that a port may cause, if there is a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upcalls(pub Option<UpcallLimit>);

fn parse_upcall_limit(text: &str) -> Result<Upcalls, String> {
    if text == "off" {
        return Ok(Upcalls(None));
    }
    match text.parse() {
        Ok(rate) if rate > 0 => Ok(Upcalls(Some(UpcallLimit::per_second(rate)))),
        _ => Err("must be a number of new flows a second above 0, or off".to_owned()),
    }
}

impl Options {
    /// How to run the switch.
    ///
    /// # Errors
    /// A port is described wrongly.
    pub fn switch_config(&self) -> anyhow::Result<Config> {
        let read = |text: &String| {
            let spec = PortSpec::parse(text, &SPEC_KEYS)?;
            check_settings(&spec)?;
            anyhow::Ok(spec)
        };
        let ports: anyhow::Result<Vec<PortSpec>> = self.ports.iter().map(read).collect();
        let mut config = Config::new(ports?);
        config.require_ports = self.require;
        config.workers = usize::from(self.workers);
        config.poll = self.poll;
        config.cpus = self.cpu.as_ref().map(|cpus| cpus.0.clone()).unwrap_or_default();
        config.mac_ageing = Duration::from_secs(self.mac_ageing.into());
        config.mac_entries = self.mac_entries as usize;
        config.cache.emc_entries = self.emc_entries as usize;
        config.cache.max_flows = self.flow_limit as usize;
        config.cache.upcalls = self.upcall_limit.0;
        config.vlan_limit = self.vlan_limit;
        config.lenient = self.lenient;
        Ok(config)
    }
}

const EXAMPLES: &str = "\
Examples:
  switchd --port veth0 --port veth1
  switchd --port veth0 --port tap:vm1
  ofctl add-flow \"priority=100,ip,nw_dst=10.0.0.2,actions=output:2\"";

#[cfg(test)]
mod tests {
    use super::*;
    use flowtable::datapath::CacheConfig;

    #[test]
    fn processors_are_numbers_and_ranges() {
        assert_eq!(parse_cpus("0,2-4").unwrap().0, [0, 2, 3, 4]);
        assert_eq!(parse_cpus("3-1").unwrap_err(), "\"3-1\" is not a processor: write 0,2-3");
        assert!(parse_cpus("").is_err());
        assert!(parse_cpus("99999").is_err());
    }

    #[test]
    fn the_limit_of_new_flows_is_a_rate_or_off() {
        let cache = |arguments: &[&str]| {
            let all = std::iter::once("switchd").chain(arguments.iter().copied());
            Options::try_parse_from(all).map(|options| options.switch_config().unwrap().cache)
        };
        assert_eq!(cache(&[]).unwrap(), CacheConfig::default());
        let changed = cache(&["--upcall-limit", "100000", "--flow-limit", "7"]).unwrap();
        assert_eq!(changed.upcalls, Some(UpcallLimit { rate: 100_000, burst: 10_000 }));
        assert_eq!(changed.max_flows, 7);
        assert_eq!(cache(&["--upcall-limit", "off"]).unwrap().upcalls, None);
        for wrong in ["0", "-1", "many", "5000000000", ""] {
            let error = cache(&[&format!("--upcall-limit={wrong}")]).unwrap_err().to_string();
            assert!(error.contains("must be a number of new flows a second"), "{error}");
        }
    }

    #[test]
    fn the_command_line_describes_the_switch() {
        let options = Options::try_parse_from([
            "switchd",
            "--port",
            "veth0,tag=10",
            "--mac-ageing",
            "60",
            "--poll",
            "block",
            "--cpu",
            "1",
        ]);
        let config = options.unwrap().switch_config().unwrap();
        assert_eq!(config.ports[0].others, [("tag".to_owned(), "10".to_owned())]);
        assert_eq!(config.mac_ageing, Duration::from_secs(60));
        assert_eq!((config.poll, config.cpus), (Poll::Block, vec![1]));
    }
}
