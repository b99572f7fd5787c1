//! What happens while the worker is watched, in this order: whatever changes all rules, groups or hosts, or
//! looks through them.
//!
//! Most steps are commands of `ofctl`, in the words that a user would type. `lint` is none of them: it lists
//! rules and groups like `dump-flows` and `dump-groups`, and compares them in its own process.

use super::daemon::Daemon;
use crate::programs::{Folder, ofctl};
use crate::sets;
use anyhow::{Context, ensure};
use benches::generate::RuleSet;
use benches::interrupt;
use flow::compose::compose;
use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The packet that is traced: a frame of one of the worker's flows.
const FLOW: &str = "in_port=1,udp,nw_src=10.0.0.7,nw_dst=11.0.0.1,tp_src=1024,tp_dst=5007";
/// Addresses of two of the hosts that [`Daemon::learn_hosts`] makes known.
const HOSTS: [&str; 2] = ["02:01:00:00:00:07", "02:01:00:00:00:08"];
/// Groups of the daemon.
const GROUPS: usize = 10_000;
/// Frames, each of another flow, that the daemon's own worker receives.
const FRAMES: usize = 10_000;
/// Adds or replaces the groups.
const ADD_GROUPS: &[&str] = &["add-groups", "GROUPS"];
/// Adds or replaces the rules.
const ADD_RULES: &[&str] = &["add-flows", "RULES"];
/// How long a step without work takes.
const REST: Duration = Duration::from_millis(700);
/// How long another processor counts: about as long as the longest steps take.
const COUNTING: Duration = Duration::from_secs(3);
/// Freeing and expiring are waited for, but not longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thing that happens.
pub(super) struct Step {
    /// What tables and goals call the step.
    pub(super) name: &'static str,
    /// What has to be there, and comes about before the worker is watched.
    before: Option<Before>,
    work: Work,
}

/// What a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Hosts in the MAC table.
    Hosts,
    /// Flows in the caches of the daemon's own worker.
    CachedFlows,
    /// The rules, and the groups that they use.
    Rules,
    /// All of these but the cached flows.
    Everything,
}

/// What is done in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// The daemon is left alone, for the pause that it has by itself.
    Rest,
    /// The daemon is left alone, and another processor counts.
    Count,
    /// The daemon's monitor frees the rules and groups that were removed.
    Free,
    /// The daemon's monitor removes rules, all of which have outlived their timeout, and frees them.
    Expire,
    /// `ofctl` is called with these arguments, some of which stand for [`Inputs`].
    Command(&'static [&'static str]),
}

impl Step {
    /// Every step, in order.
    pub(super) const ALL: &'static [Self] = &[
        step("idle", Work::Rest),
        command("adding groups", ADD_GROUPS),
        command("adding rules", ADD_RULES),
        step("loaded", Work::Rest),
        step("another core counts", Work::Count),
        command("dump-flows", &["dump-flows"]),
        command("dump-flows of a cookie", &["dump-flows", "cookie=7/-1"]),
        command("dump-flows of a group", &["dump-flows", "out_group=7"]),
        command("dump-aggregate", &["dump-aggregate"]),
        command("dump-tables", &["dump-tables"]),
        command("trace --explain", &["trace", FLOW, "--explain"]),
        command(
            "trace from host to host",
            &["trace", "udp,tp_dst=5007", "--from", HOSTS[0], "--to", HOSTS[1], "--explain"],
        )
        .after(Before::Hosts),
        command("dump-cached-flows", &["dump-cached-flows"]).after(Before::CachedFlows),
        command("dump-cached-flows --why", &["dump-cached-flows", "--why"])
            .after(Before::CachedFlows),
        command("dump-groups", &["dump-groups"]),
        command("dump-group-stats", &["dump-group-stats"]),
        command("add-flow check_overlap", &["add-flow", "APART"]),
        command("mod-flows", &["mod-flows", "ip,actions=output:3,group:9"]),
        command("replace-flows", &["replace-flows", "RULES"]),
        step("freeing what was replaced", Work::Free),
        command("replacing rules", ADD_RULES),
        command("del-flows of a protocol", &["del-flows", "tcp"]),
        command("del-flows", &["del-flows"]),
        step("freeing rules", Work::Free),
        command("del-groups", &["del-groups"]).after(Before::Rules),
        step("freeing groups", Work::Free),
        command("adding rules with timeouts", &["add-flows", "TIMED"]),
        step("expiring", Work::Expire),
        command("fdb-show", &["fdb-show"]).after(Before::Hosts),
        command("fdb-flush of a port", &["fdb-flush", "null1"]),
        command("fdb-flush", &["fdb-flush"]),
        command("fdb-config to fewer hosts", &["fdb-config", "entries=1000"]).after(Before::Hosts),
        command("del-br", &["del-br", "br0"]).after(Before::Everything),
    ];

    const fn after(self, before: Before) -> Self {
        Self { before: Some(before), ..self }
    }

    /// Whether a pause is to be short: something happens, other than in the steps that
    /// are there to compare with.
    pub(super) fn has_goal(&self) -> bool {
        !matches!(self.work, Work::Rest | Work::Count)
    }

    /// Brings about what the step needs.
    ///
    /// # Errors
    /// `ofctl` failed.
    pub(super) fn prepare(&self, daemon: &Daemon, inputs: &Inputs) -> anyhow::Result<()> {
        let Some(before) = self.before else { return Ok(()) };
        if matches!(before, Before::Hosts | Before::Everything) {
            daemon.learn_hosts();
        }
        if before == Before::CachedFlows {
            daemon.cache_flows(&inputs.frames, PATIENCE)?;
        }
        if matches!(before, Before::Rules | Before::Everything) {
            inputs.call(daemon, ADD_GROUPS)?;
            inputs.call(daemon, ADD_RULES)?;
        }
        Ok(())
    }

    /// Does the work of the step.
    ///
    /// # Errors
    /// `ofctl` failed, the daemon did not come to an end in time, or the benchmark was interrupted.
    pub(super) fn run(&self, daemon: &Daemon, inputs: &Inputs) -> anyhow::Result<()> {
        match self.work {
            Work::Rest => std::thread::sleep(REST),
            Work::Count => count(),
            Work::Free => wait_for("all that was removed to be freed", || daemon.is_tidy())?,
            Work::Expire => {
                wait_for("all rules to expire", || daemon.is_tidy() && daemon.is_empty())?
            }
            Work::Command(arguments) => inputs.call(daemon, arguments)?,
        }
        interrupt::check()
    }
}

const fn step(name: &'static str, work: Work) -> Step {
    Step { name, before: None, work }
}

const fn command(name: &'static str, arguments: &'static [&'static str]) -> Step {
    step(name, Work::Command(arguments))
}

/// Waits until the daemon has come to an end of its own accord.
fn wait_for(what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    // The monitor begins with its next round of periodic work.
    std::thread::sleep(REST);
    while !is_so() {
        ensure!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What stands for the words in capital letters of a command.
pub(super) struct Inputs {
    /// `RULES`: a file with the rules of the set. One in ten uses a group.
    rules: PathBuf,
    /// `TIMED`: a file with the rules of the set, each with a timeout of a second, and none with a group.
    timed: PathBuf,
    /// `GROUPS`: a file with [`GROUPS`] groups.
    groups: PathBuf,
    /// `APART`: a rule with the priority of others that overlaps with none of them, which only a look at all
    /// rules can tell.
    apart: String,
    /// Frames whose flows match rules of the set.
    frames: Vec<Vec<u8>>,
}

impl Inputs {
    /// Writes the files.
    ///
    /// # Errors
    /// A file cannot be written, or the set is empty.
    pub(super) fn write(folder: &Folder, set: &RuleSet) -> anyhow::Result<Self> {
        let rules = folder.file("rules");
        let actions = |out: &mut String, n: usize| {
            let _ = match n % 10 {
                0 => write!(out, "group:{}", 1 + n / 10 % GROUPS),
                _ => write!(out, "output:{}", 1 + n % 4),
            };
        };
        fs::write(&rules, sets::text(set, actions))?;
        let timed = folder.file("timed");
        let text = sets::text(set, |out, n| {
            let _ = write!(out, "output:{}", 1 + n % 4);
        });
        let lines = text.lines().map(|line| format!("hard_timeout=1,{line}\n"));
        fs::write(&timed, lines.collect::<String>())?;
        let groups = folder.file("groups");
        let lines = (1..=GROUPS).map(|id| {
            let port = 1 + id % 4;
            format!("add_or_mod group_id={id},type=select,bucket=output:{port},bucket=output:1\n")
        });
        fs::write(&groups, lines.collect::<String>())?;
        let (priority, _) = set.rules.get(set.rules.len() / 2).context("a set without rules")?;
        let apart = format!("check_overlap,priority={priority},arp,actions=output:2");
        let frames = set.keys(FRAMES).iter().map(|key| compose(&key.headers)).collect();
        Ok(Self { rules, timed, groups, apart, frames })
    }

    fn call(&self, daemon: &Daemon, arguments: &[&str]) -> anyhow::Result<()> {
        let path = |path: &PathBuf| path.display().to_string();
        let word = |word: &&str| match *word {
            "RULES" => path(&self.rules),
            "TIMED" => path(&self.timed),
            "GROUPS" => path(&self.groups),
            "APART" => self.apart.clone(),
            other => other.to_owned(),
        };
        let words: Vec<String> = arguments.iter().map(word).collect();
        let mut with_version = vec!["-OOpenFlow15"];
        with_version.extend(words.iter().map(String::as_str));
        ofctl(&daemon.socket, &with_version).map(drop)
    }
}

/// Keeps one of the other processors busy, and asks nothing of the kernel or the switch.
fn count() {
    let start = Instant::now();
    while start.elapsed() < COUNTING {
        black_box((0..10_000_u64).map(black_box).sum::<u64>());
    }
}
