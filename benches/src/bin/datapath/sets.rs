//! Which sets of rules are measured: ClassBench files of a folder, or made ones that stand in for them.

use crate::Bench;
use anyhow::{Context, ensure};
use benches::classbench::Set;
use benches::classbench_like::{self, SetKind};
use benches::generate::{FAMILIES, RuleSet};
use flow::text::{NoPortNames, write_match};
use std::fmt::Write;
use std::path::PathBuf;

/// Rules of a set that is loaded into a daemon, before ClassBench rules are expanded to masks.
const LOADED: usize = 100_000;

/// A set that can be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A made set, of about as many filters as the number says.
    Made(SetKind, usize),
    /// The set with this name in the folder of `--classbench`.
    File(PathBuf, String),
}

/// The name of the ClassBench file of a kind and size.
fn file(kind: SetKind, size: usize) -> String {
    format!("{}1_{size}", kind.name())
}

impl Wanted {
    /// All sets of the folder of `--classbench`; without a folder the made sets of `kinds_and_sizes`.
    ///
    /// # Errors
    /// The folder cannot be read, or has no set.
    pub(crate) fn all(
        bench: &Bench,
        kinds_and_sizes: impl IntoIterator<Item = (SetKind, usize)>,
    ) -> anyhow::Result<Vec<Self>> {
        let Some(dir) = &bench.args.classbench else {
            return Ok(kinds_and_sizes.into_iter().map(|(kind, n)| Self::Made(kind, n)).collect());
        };
        let names = Set::names(dir).with_context(|| dir.display().to_string())?;
        ensure!(
            !names.is_empty(),
            "{}: no file NAME.rules.gz or NAME.rules with a NAME.trace.gz or NAME.trace beside it",
            dir.display()
        );
        Ok(names.into_iter().map(|name| Self::File(dir.clone(), name)).collect())
    }

    /// Whether goals of this kind and size are about the set.
    pub(crate) fn is(&self, kind: SetKind, size: usize) -> bool {
        match self {
            Self::Made(own_kind, own_size) => (*own_kind, *own_size) == (kind, size),
            Self::File(_, name) => *name == file(kind, size),
        }
    }

    /// The name of what is measured.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Made(kind, size) => classbench_like::name(*kind, *size),
            Self::File(_, name) => name.clone(),
        }
    }

    /// As a goal calls it, which was set for the file.
    pub(crate) fn goal_name(&self) -> String {
        match self {
            Self::Made(kind, size) => format!("{} (made) for {}", self.name(), file(*kind, *size)),
            Self::File(_, name) => name.clone(),
        }
    }

    /// Reads it, or makes it.
    pub(crate) fn get(&self) -> anyhow::Result<Set> {
        match self {
            Self::Made(kind, size) => Ok(classbench_like::set(*kind, *size)),
            Self::File(dir, name) => {
                Set::load(dir, name).with_context(|| format!("{}: {name}", dir.display()))
            }
        }
    }
}

/// The sets that daemons are loaded with: one made set; or, of the folder of `--classbench`, the sets with the
/// largest number at the end of their names, or those that `--sets` names.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn loaded(bench: &Bench) -> anyhow::Result<Vec<RuleSet>> {
    if bench.args.classbench.is_none() {
        let set = RuleSet::generate(FAMILIES[0], LOADED);
        return Ok(if bench.wants(&set.name) { vec![set] } else { Vec::new() });
    }
    let size = |wanted: &Wanted| {
        let name = wanted.name();
        name.rsplit('_').next().and_then(|size| size.parse::<usize>().ok())
    };
    let all = Wanted::all(bench, [])?;
    let largest = all.iter().map(size).max().flatten();
    all.iter()
        .filter(|wanted| {
            bench.wants(&wanted.name()) && (!bench.args.sets.is_empty() || size(wanted) == largest)
        })
        .map(|wanted| Ok(RuleSet::from(&wanted.get()?)))
        .collect()
}

/// A set that daemons are loaded with, as goals call it.
pub(crate) fn loaded_goal_name(bench: &Bench, set: &RuleSet) -> String {
    match &bench.args.classbench {
        Some(_) => set.name.clone(),
        None => format!("{} (made)", set.name),
    }
}

/// The rules as a file for `ofctl add-flows`, a line each. `actions` writes the actions of
/// the rule with a number.
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

/// The actions that rules have unless a scenario says otherwise: an output, and before it a register of the
/// rule's own if rules are not to share their actions.
pub(crate) fn common_actions(bench: &Bench) -> impl Fn(&mut String, usize) {
    let own_actions = bench.args.own_actions;
    move |out, n| {
        let register = if own_actions { format!("set_field:{n}->reg0,") } else { String::new() };
        let _ = write!(out, "{register}output:{}", 1 + n % 4);
    }
}
