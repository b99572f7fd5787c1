//! Rules a second by wall clock, end to end, and the memory that they take.

use super::process::Process;
use crate::programs::{Folder, ofctl};
use anyhow::{Context, ensure};
use std::path::Path;
use std::time::Duration;

/// What one daemon's life gave.
pub(super) struct Rates {
    pub(super) rules: u64,
    /// Thousand rules a second: added, replaced by themselves, listed, deleted.
    pub(super) add: f64,
    pub(super) replace: f64,
    pub(super) list: f64,
    pub(super) delete: f64,
    /// Bytes a rule that stay, and at most while adding.
    pub(super) size: f64,
    pub(super) peak: f64,
    /// Bytes by which listing makes the daemon larger for a while.
    pub(super) list_memory: u64,
}

/// Lives through one: `lines` rules of a file are added, listed, replaced and deleted.
pub(super) fn measure(folder: &Folder, file: &Path, lines: usize) -> anyhow::Result<Rates> {
    let daemon = Process::start(folder)?;
    let ofctl = |arguments: &[&str]| ofctl(&daemon.socket, arguments);
    // Whatever is allocated once is allocated now.
    ofctl(&["add-flow", "priority=1,actions=drop"])?;
    ofctl(&["del-flows"])?;
    let before = daemon.memory()?;
    daemon.reset_peak()?;
    let per_second = |rules: u64, time: Duration| rules as f64 / time.as_secs_f64() / 1e3;
    let file = file.to_str().context("a path of text")?;
    let add = ofctl(&["add-flows", file])?;
    let peak = daemon.peak()?.saturating_sub(before);
    let size = daemon.memory()?.saturating_sub(before);
    let rules = daemon.rules()?;
    daemon.reset_peak()?;
    let at_rest = daemon.memory()?;
    let list = ofctl(&["dump-flows"])?;
    let list_memory = daemon.peak()?.saturating_sub(at_rest);
    let replace = ofctl(&["add-flows", file])?;
    let delete = ofctl(&["del-flows"])?;
    ensure!(daemon.rules()? == 0, "rules were left");
    Ok(Rates {
        rules,
        add: per_second(lines as u64, add),
        replace: per_second(lines as u64, replace),
        list: per_second(rules, list),
        delete: per_second(rules, delete),
        size: size as f64 / rules as f64,
        peak: peak as f64 / rules as f64,
        list_memory,
    })
}
