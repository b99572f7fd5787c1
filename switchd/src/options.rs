//! The command line of the daemon.

use crate::switch::{Config, SPEC_KEYS};
use clap::{ArgAction, Parser, Subcommand};
use ports::spec::{PortSpec, SpecError};
use std::path::PathBuf;

/// A software switch for network namespaces, containers and virtual machines.
///
/// Joins the given ports to one Ethernet switch, at once. Rules are added with ofctl.
#[derive(Debug, Parser)]
#[command(name = "switchd", version, after_help = EXAMPLES)]
pub struct Options {
    /// A port: NAME of a network device, tap:NAME, internal:NAME, netns:NAMESPACE/NAME or dummy:NAME,
    /// with options: ",shield=off" lets the host's own stack hear it, ",qdisc=auto|bypass|honour",
    /// ",slots=N", ",slot-size=BYTES"; ",number=N" gives it a number, otherwise ports get 1, 2, 3 ...
    /// in the order given. VLANs as in Open vSwitch: ",tag=10", ",trunks=10,20", ",vlan_mode=MODE",
    /// ",cvlans=5", ",priority_tags=always"; ",protected=true" keeps it from other protected ports
    #[arg(short, long = "port", value_name = "PORT")]
    pub ports: Vec<String>,
    /// A port whose device is missing is an error instead of being waited for
    #[arg(long)]
    pub require: bool,
    /// Threads that move frames
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: u8,
    /// Entries of each worker's signature cache, four bytes each, rounded up to a power of two; 0 turns it off
    #[arg(long, value_name = "N", default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(0..=1 << 22))]
    pub emc_entries: u32,
    /// VLAN tags that rules can look at
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub vlan_limit: u8,
    /// Do what Open vSwitch does where it is wrong, too: take every rule as if ofctl --lenient had
    /// been said, and treat checksums of fragments and routed packets its way
    #[arg(long)]
    pub lenient: bool,
    /// Path of the control socket [default: switchd.sock in $SWITCH_RUNDIR, else in /run/switchd for
    /// root, else in $XDG_RUNTIME_DIR/switchd]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Says more; twice for everything. RUST_LOG overrides it
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// What to do instead of switching
    #[command(subcommand)]
    pub command: Option<Action>,
}

/// What to do instead of switching.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show what the switch can do, on real frames between hosts of its own. Needs no root
    Demo,
}

impl Options {
    /// How to run the switch.
    ///
    /// # Errors
    /// A port is described wrongly.
    pub fn switch_config(&self) -> Result<Config, SpecError> {
        let ports: Result<Vec<PortSpec>, _> =
            self.ports.iter().map(|text| PortSpec::parse(text, &SPEC_KEYS)).collect();
        let mut config = Config::new(ports?);
        config.require_ports = self.require;
        config.workers = usize::from(self.workers);
        config.cache.emc_entries = self.emc_entries as usize;
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
