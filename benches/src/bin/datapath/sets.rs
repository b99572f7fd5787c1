//! Which sets of rules are measured: ClassBench files of a folder, or made ones that stand in for them.

use crate::Bench;
use anyhow::Context;
use benches::classbench::Set;
use benches::classbench_like::{self, SetKind};
use benches::generate::{FAMILIES, RuleSet};
use flow::text::{NoPortNames, write_match};
use std::fmt::Write;

/// Rules of a set that is loaded into a daemon, before ClassBench rules are expanded to masks.
const LOADED: usize = 100_000;

/// A set that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted(pub(crate) SetKind, pub(crate) usize);

impl Wanted {
    /// The name of its file.
    fn file(self) -> String {
        format!("{}1_{}", self.0.name(), self.1)
    }

    /// The name of what is measured.
    pub(crate) fn name(self, bench: &Bench) -> String {
        match &bench.args.classbench {
            Some(_) => self.file(),
            None => classbench_like::name(self.0, self.1),
        }
    }

    /// As a goal calls it, which was set for the file.
    pub(crate) fn goal_name(self, bench: &Bench) -> String {
        match &bench.args.classbench {
            Some(_) => self.file(),
            None => format!("{} (made) for {}", self.name(bench), self.file()),
        }
    }

    /// Reads it, or makes it.
    pub(crate) fn get(self, bench: &Bench) -> anyhow::Result<Set> {
        match &bench.args.classbench {
            Some(dir) => {
                let file = self.file();
                Set::load(dir, &file).with_context(|| format!("{}: {file}", dir.display()))
            }
            None => Ok(classbench_like::set(self.0, self.1)),
        }
    }
}

/// The sets that daemons are loaded with: the largest files of the folder, or one made set.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn loaded(bench: &Bench) -> anyhow::Result<Vec<RuleSet>> {
    if bench.args.classbench.is_none() {
        let set = RuleSet::generate(FAMILIES[0], LOADED);
        return Ok(if bench.wants(&set.name) { vec![set] } else { Vec::new() });
    }
    SetKind::ALL
        .into_iter()
        .map(|kind| Wanted(kind, LOADED))
        .filter(|wanted| bench.wants(&wanted.name(bench)))
        .map(|wanted| Ok(RuleSet::from(&wanted.get(bench)?)))
        .collect()
}

/// A set that daemons are loaded with, as goals call it.
pub(crate) fn loaded_goal_name(bench: &Bench, set: &RuleSet) -> String {
    match &bench.args.classbench {
        Some(_) => set.name.clone(),
        None => format!("{} (made)", set.name),
    }
}

/// The rules as a file for `ofctl add-flows`, a line each. `actions` writes the actions of the rule with a number.
pub(crate) fn text(set: &RuleSet, mut actions: impl FnMut(&mut String, usize)) -> String {
    let mut out = String::new();
    for (n, (priority, matching)) in set.rules.iter().enumerate() {
        write_match(&mut out, matching, *priority, &NoPortNames);
        out.push_str(" actions=");
        actions(&mut out, n);
        out.push('\n');
    }
    out
}

/// The actions that rules have unless a scenario says otherwise: an output, and before it a register of the rule's
/// own if rules are not to share their actions.
pub(crate) fn common_actions(bench: &Bench) -> impl Fn(&mut String, usize) {
    let own_actions = bench.args.own_actions;
    move |out, n| {
        let register = if own_actions { format!("set_field:{n}->reg0,") } else { String::new() };
        let _ = write!(out, "{register}output:{}", 1 + n % 4);
    }
}
