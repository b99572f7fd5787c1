//! Which ClassBench sets are measured: files of a folder, or made ones that stand in for them.

use crate::Bench;
use anyhow::Context;
use benches::classbench::Set;
use benches::classbench_like::{self, SetKind};

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
