//! Lint: finds rules that OpenFlow allows but that their author can hardly have meant (`ofctl lint`).
//!
//! | problem | check | found in |
//! | --- | --- | --- |
//! | another rule of higher priority matches every packet of the rule | [`Problem::Shadowed`] | `cover` |
//! | rules of one priority overlap and act differently | [`Problem::Ambiguous`], [`Problem::Replaced`] | `overlap` |
//! | packets can come back to the rule without end | [`Problem::Loop`] | `loops`, `region` |
//! | a conjunction lacks a clause, or the rule that it leads to | [`Problem::MissingClause`], [`Problem::IdleConjunction`] | `conjunctions` |
//! | the rule looks connections up, and no rule behind it asks for them | [`Problem::UnusedConnection`] | `connections` |
//! | the rule translates connections whose answers nobody translates back | [`Problem::OneWayNat`] | `connections` |
//! | the rule learns into a table that packets do not come to | [`Problem::IdleLearning`] | `destination` |
//! | the rule names a table, port or group that does not exist | [`Problem::EmptyTable`] and the like | `destination` |
//!
//! A rule counts as shadowed only if a single rule shadows it, not if several do together. Rules are compared
//! by their masks, so that a hundred thousand rules take seconds. A check that would take too long is given up,
//! and the report says which one. Lint reads rules and changes nothing.

mod conjunctions;
mod connections;
mod cover;
mod destination;
mod loops;
mod overlap;
mod region;
#[cfg(test)]
mod tests;

use crate::Match;
use crate::action::{Action, Clause};
use crate::flow_mod::FlowMod;
use crate::types::{GroupId, OfPort, TableId};
use cover::Cover;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How many comparisons of two rules one report may take. On common hardware these take a few seconds.
pub const MAX_STEPS: u64 = 100_000_000;

/// A rule as lint sees it.
#[derive(Clone, Debug)]
pub struct LintRule<'a> {
    /// The table that the rule is in.
    pub table: TableId,
    /// The rule's priority. Of the rules that match a packet, the one with the highest priority is carried out.
    pub priority: u16,
    /// The match of the rule.
    pub matching: &'a Match,
    /// The actions of the rule.
    pub actions: &'a [Action],
}

impl LintRule<'_> {
    /// Whether the rule is an alternative of a conjunction. Such a rule is never carried out itself.
    fn is_alternative(&self) -> bool {
        Clause::all_in(self.actions).next().is_some()
    }
}

impl<'a> From<&'a FlowMod> for LintRule<'a> {
    /// The rule that the request adds. A request without a table adds to table 0.
    fn from(rule: &'a FlowMod) -> Self {
        Self {
            table: rule.table.unwrap_or_default(),
            priority: rule.priority,
            matching: &rule.matching,
            actions: &rule.actions,
        }
    }
}

/// The ports and groups of the bridge that the rules are for, if the caller knows them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The ports that exist, `LOCAL` included if the bridge has it. `None` leaves outputs unchecked.
    pub ports: Option<BTreeSet<OfPort>>,
    /// The groups that exist. `None` leaves `group` actions unchecked.
    pub groups: Option<BTreeSet<GroupId>>,
}

/// One problem of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule, as an index into the rules that [`lint`] was given.
    pub rule: usize,
    /// The problem of the rule.
    pub problem: Problem,
}

/// A problem of a rule, *the rule* below. Other rules are named by their indices into the
/// rules that [`lint`] was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A rule of higher priority matches every packet that the rule matches, so the rule is never carried out.
    Shadowed {
        /// The rule of higher priority.
        by: usize,
    },
    /// A rule of the same priority matches some of the packets that the rule matches and has other actions.
    /// OpenFlow does not define which of the two is carried out.
    Ambiguous {
        /// The rule of the same priority.
        with: usize,
    },
    /// The rule is an alternative of a conjunction of which another clause has no alternative at this priority,
    /// so the conjunction never matches. The warning is about the conjunction's first rule.
    MissingClause {
        /// The number of the conjunction.
        id: u32,
        /// The clause without an alternative, 1 to the number of clauses.
        clause: u8,
    },
    /// The rule is an alternative of a conjunction, but no rule of the table matches `conj_id=ID`. Told of the
    /// conjunction's first rule.
    IdleConjunction {
        /// The number of the conjunction.
        id: u32,
    },
    /// A later rule of the input has the same table, match and priority. Adding the
    /// later rule replaces this one.
    Replaced {
        /// The later rule.
        by: usize,
    },
    /// Packets of the rule can come back to the rule by resubmits, without end.
    Loop {
        /// The rules that such packets go through, beginning with the rule: all, or the first
        /// ten of a long loop.
        rules: Vec<usize>,
        /// The tables of `rules`, in the same order.
        tables: Vec<TableId>,
        /// How many rules the loop has.
        len: usize,
    },
    /// The rule sends packets to a table without rules.
    EmptyTable {
        /// The table that has no rules.
        table: TableId,
    },
    /// The rule learns into a table that no rule sends packets to, so that what is
    /// learned is never carried out.
    IdleLearning {
        /// The table that learned rules are added to.
        table: TableId,
    },
    /// The rule looks the packet's connection up, and no rule that the packet comes to then matches or copies
    /// what was found.
    UnusedConnection {
        /// The table that goes on with the packet.
        table: TableId,
    },
    /// The rule has connections translated, and no rule translates their answers back: none with `nat` is for
    /// the same zone and meets other packets than first ones.
    OneWayNat,
    /// The rule outputs to a port that does not exist.
    MissingPort {
        /// The number that no port has.
        port: OfPort,
    },
    /// The rule uses a group that does not exist.
    MissingGroup {
        /// The number that no group has.
        group: GroupId,
    },
}

impl Problem {
    /// The name that `ofctl lint --json` gives the kind of problem, such as `empty_table`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shadowed { .. } => "shadowed",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Replaced { .. } => "replaced",
            Self::MissingClause { .. } => "missing_clause",
            Self::IdleConjunction { .. } => "idle_conjunction",
            Self::Loop { .. } => "loop",
            Self::EmptyTable { .. } => "empty_table",
            Self::IdleLearning { .. } => "idle_learning",
            Self::UnusedConnection { .. } => "unused_connection",
            Self::OneWayNat => "one_way_nat",
            Self::MissingPort { .. } => "missing_port",
            Self::MissingGroup { .. } => "missing_group",
        }
    }

    /// How many other rules have a part in the problem that [`others`](Self::others) does not name.
    pub fn unnamed(&self) -> usize {
        match self {
            Self::Loop { rules, len, .. } => len - rules.len(),
            _ => 0,
        }
    }

    /// The indices of the other rules that have a part in the problem, up to nine of them.
    pub fn others(&self) -> &[usize] {
        match self {
            Self::Shadowed { by } | Self::Replaced { by } => std::slice::from_ref(by),
            Self::Ambiguous { with } => std::slice::from_ref(with),
            Self::Loop { rules, .. } => rules.get(1..).unwrap_or_default(),
            Self::MissingClause { .. } | Self::IdleConjunction { .. } => &[],
            Self::EmptyTable { .. } | Self::IdleLearning { .. } => &[],
            Self::UnusedConnection { .. } | Self::OneWayNat => &[],
            Self::MissingPort { .. } | Self::MissingGroup { .. } => &[],
        }
    }

    /// What a user can do about the problem, in English, lower case, without full stop.
    pub fn advice(&self) -> String {
        match self {
            Self::Shadowed { .. } => "delete it, or give it a higher priority".into(),
            Self::Ambiguous { .. } => {
                "give one of them a higher priority: here the rule that was added first wins, which \
                 OpenFlow leaves undefined"
                    .into()
            }
            Self::Replaced { .. } => "delete one of them".into(),
            Self::Loop { .. } => {
                "end the way with a rule that does not resubmit, or match a register that it sets"
                    .into()
            }
            Self::MissingClause { id, clause } => format!(
                "add a rule with conjunction({id},{clause}/...) and the priority of this one"
            ),
            Self::IdleConjunction { id } => {
                format!("add a rule with the match conj_id={id}, whose actions are carried out")
            }
            Self::EmptyTable { table } => {
                format!("add a rule to table {table}, or do not send packets there")
            }
            Self::IdleLearning { table } => {
                format!("send packets to table {table}, or learn into a table that they come to")
            }
            Self::UnusedConnection { table } => format!(
                "add a rule with ct_state=+trk+est or the like to table {table}, or do not look connections up"
            ),
            Self::OneWayNat => {
                "have packets of both directions meet ct(nat,table=...) before they meet this rule".into()
            }
            Self::MissingPort { .. } => "add the port, or output to another one".into(),
            Self::MissingGroup { .. } => "add the group first".into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadowed { .. } => f.write_str("can never match: a better rule covers it"),
            Self::Ambiguous { .. } => {
                f.write_str("overlaps with a rule of the same priority that does something else")
            }
            Self::Replaced { .. } => {
                f.write_str("has no effect: a later rule has the same match and priority")
            }
            Self::Loop { tables, .. } => {
                f.write_str("its packets can go round: tables ")?;
                for table in tables {
                    write!(f, "{table} → ")?;
                }
                if self.unnamed() > 0 {
                    f.write_str("… → ")?;
                }
                write!(f, "{}", tables.first().copied().unwrap_or_default())
            }
            Self::MissingClause { id, clause } => write!(
                f,
                "conjunction {id} can never match: no rule of this priority is for its clause {clause}"
            ),
            Self::IdleConjunction { id } => {
                write!(
                    f,
                    "conjunction {id} has no effect: no rule of the table matches conj_id={id}"
                )
            }
            Self::EmptyTable { table } => {
                write!(f, "sends packets to table {table}, which has no rule")
            }
            Self::IdleLearning { table } => {
                write!(f, "learns into table {table}, to which no rule sends packets")
            }
            Self::UnusedConnection { table } => write!(
                f,
                "looks connections up for table {table}, from where no rule asks what was found"
            ),
            Self::OneWayNat => f.write_str(
                "translates connections whose answers nobody translates back: no rule with nat meets them",
            ),
            Self::MissingPort { port } => write!(f, "outputs to port {port}, which does not exist"),
            Self::MissingGroup { group } => {
                write!(f, "uses group {}, which does not exist", group.0)
            }
        }
    }
}

/// The problems of a set of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The problems in the order of the rules' indices.
    pub findings: Vec<Finding>,
    /// The checks that were given up because they took too many steps, such as `loops`. There may be more
    /// problems of these kinds than `findings` has.
    pub unfinished: Vec<&'static str>,
}

/// Checks all rules, with at most `steps` comparisons of two rules (usually [`MAX_STEPS`]).
pub fn lint(rules: &[LintRule<'_>], surroundings: &Surroundings, steps: u64) -> Report {
    let mut report = Report::default();
    let mut steps = Steps { left: steps };
    let mut tables: BTreeMap<TableId, Vec<usize>> = BTreeMap::new();
    for (i, rule) in rules.iter().enumerate() {
        tables.entry(rule.table).or_default().push(i);
    }
    for members in tables.values_mut() {
        overlap::replaced(rules, members, &mut report.findings);
    }
    let tables: BTreeMap<TableId, Table> = tables
        .into_iter()
        .map(|(id, members)| {
            let carried_out: Vec<usize> =
                members.iter().copied().filter(|&rule| !rules[rule].is_alternative()).collect();
            (id, Table { cover: Cover::new(rules, &carried_out), members })
        })
        .collect();
    for table in tables.values() {
        if !pairs(rules, table, &mut report.findings, &mut steps) {
            report.unfinished.push("rules that hide or overlap each other");
            break;
        }
    }
    for table in tables.values() {
        conjunctions::check(rules, &table.members, &mut report.findings);
    }
    connections::check(rules, &tables, &mut report.findings);
    destination::check(rules, &tables, surroundings, &mut report.findings);
    if !loops::check(rules, &tables, &mut report.findings, &mut steps) {
        report.unfinished.push("loops");
    }
    report.findings.sort_by_key(|f| f.rule);
    report
}

/// The rules of one table, without those that a later rule replaces.
struct Table {
    /// Indices of the rules, ascending.
    members: Vec<usize>,
    /// The rules that hide others: all but the alternatives of conjunctions.
    cover: Cover,
}

/// The number of comparisons that are left to a report.
struct Steps {
    left: u64,
}

impl Steps {
    /// Takes `n` comparisons off; `false` when none is left afterwards.
    fn take(&mut self, n: usize) -> bool {
        self.left = self.left.saturating_sub(n as u64);
        self.left > 0
    }
}

/// Compares each rule with the other rules of its table; `false` if the steps did not suffice.
fn pairs(
    rules: &[LintRule<'_>],
    table: &Table,
    findings: &mut Vec<Finding>,
    steps: &mut Steps,
) -> bool {
    let mut visible = Vec::with_capacity(table.members.len());
    for &rule in &table.members {
        let LintRule { matching, priority, .. } = rules[rule];
        if !steps.take(table.cover.len()) {
            return false;
        }
        match table.cover.above(matching, priority) {
            Some(by) => findings.push(Finding { rule, problem: Problem::Shadowed { by } }),
            None if rules[rule].is_alternative() => {}
            None => visible.push(rule),
        }
    }
    overlap::check(rules, &visible, findings, steps)
}

/// Calls `visit` with every action, including those inside `clone` and `write_actions`.
fn each_action<'a>(actions: &'a [Action], visit: &mut dyn FnMut(&'a Action)) {
    for action in actions {
        visit(action);
        each_action(action.nested().actions(), visit);
    }
}
