//! The classifier alone: how fast it finds rules, how few bits its masks keep, and whether it is right.
//!
//! One thread, no cache in front, rules expanded to masks. The sets are those of ClassBench, or, without
//! its files, made ones like them and the [families](benches::generate) that it has no files of.
//! Answers are compared with linear search after building, and after deleting and inserting a tenth
//! again several times; "subtables after" and "churned" say what that left behind.

mod contents;
mod noise;
mod table;

use crate::Bench;
use crate::sets::Wanted;
use benches::classbench_like::SetKind;
use benches::generate::{FAMILIES, RuleSet};
use benches::report::{Better, ColumnId, Goal, Role, RowId, Table, progress};
use contents::Contents;
use table::Classified;

/// Rules, or filters, of the sets.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Million lookups a second that are wanted for each size, in the order of the trace. In any order half
/// of it is enough.
const WANTED: [(SetKind, [f64; 3]); 3] = [
    (SetKind::Acl, [10.0, 4.5, 2.4]),
    (SetKind::Fw, [3.4, 3.4, 2.8]),
    (SetKind::Ipc, [6.0, 3.3, 1.9]),
];
/// Bytes of memory for a rule.
const BYTES: f64 = 150.0;
/// Million rules that are inserted, and removed, in a second.
const CHANGES: f64 = 1.0;
/// Times a tenth is deleted and inserted again.
const CHURNS: u64 = 4;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut board = Board::new();
    let goals = || {
        let sizes = SIZES.into_iter().enumerate();
        sizes.flat_map(|(place, size)| WANTED.map(|(kind, speeds)| (kind, size, speeds[place])))
    };
    let mut rows = SIZES.map(|size| (size, Vec::new()));
    for wanted in Wanted::all(bench, goals().map(|(kind, size, _)| (kind, size)))? {
        let name = wanted.name();
        if !bench.wants(&name) {
            continue;
        }
        let row = board.results.row(&name, Role::Ours);
        let set = match wanted.get() {
            Ok(set) => set,
            Err(error) => {
                board.results.miss(row, board.trace, format!("{error:#}"));
                continue;
            }
        };
        let all = bench.args.classbench.is_some();
        board.measure(bench, row, Contents::of_set(set, all));
        let Some((_, size, speed)) = goals().find(|(kind, size, _)| wanted.is(*kind, *size)) else {
            continue;
        };
        board.speed_goals(bench, row, &wanted.goal_name(), speed);
        rows.iter_mut().filter(|(of, _)| *of == size).for_each(|(_, rows)| rows.push(row));
    }
    for (size, rows) in rows.iter().filter(|(_, rows)| !rows.is_empty()) {
        board.cost_goals(bench, rows, *size);
    }
    if bench.args.classbench.is_none() {
        for family in FAMILIES {
            for size in SIZES {
                let name = RuleSet::name(family, size);
                if bench.wants(&name) {
                    let row = board.results.row(&name, Role::Ours);
                    board.measure(bench, row, Contents::generate(family, size));
                }
            }
        }
    }
    let name = "classifier, all sets: answers that linear search does not give";
    if board.all_wrong.is_some() {
        bench.goal(Goal::at_most(name, board.all_wrong, 0.0));
    }
    bench.report.add(board.results);
    bench.report.add(board.masks);
    Ok(())
}

/// The table of results, and its columns.
struct Board {
    results: Table,
    rules: ColumnId,
    subtables: [ColumnId; 2],
    trace: ColumnId,
    shuffled: ColumnId,
    churned: ColumnId,
    bytes: ColumnId,
    build: ColumnId,
    remove: ColumnId,
    insert: ColumnId,
    compared: ColumnId,
    wrong: ColumnId,
    bits: ColumnId,
    /// The bits of the masks, field by field.
    masks: Table,
    bits_of: [ColumnId; 5],
    all_wrong: Option<f64>,
}

impl Board {
    fn new() -> Self {
        let mut results = Table::new("classifier", "lookups without a cache, and changes");
        let mut masks = Table::new("masks", "how much of each field the masks of lookups keep");
        let (lookups, changes) = ("M lookups/s", "M rules/s");
        let mut column = |name, unit, better| results.column(name, unit, better);
        Self {
            rules: column("rules", "", Better::Neither),
            subtables: ["subtables", "subtables after"]
                .map(|name| column(name, "", Better::Neither)),
            trace: column("trace", lookups, Better::Higher),
            shuffled: column("shuffled", lookups, Better::Higher),
            churned: column("churned", lookups, Better::Higher),
            bytes: column("memory", "bytes/rule", Better::Lower),
            build: column("build", changes, Better::Higher),
            remove: column("remove", changes, Better::Higher),
            insert: column("insert", changes, Better::Higher),
            compared: column("compared", "", Better::Neither),
            wrong: column("wrong", "", Better::Neither),
            bits: column("mask", "bits", Better::Lower),
            results,
            bits_of: ["nw_src", "nw_dst", "tp_src", "tp_dst", "nw_proto"]
                .map(|name| masks.column(name, "bits", Better::Neither)),
            masks,
            all_wrong: None,
        }
    }

    fn measure(&mut self, bench: &Bench, row: RowId, contents: Contents) {
        let (name, seconds) = (contents.name.clone(), bench.args.seconds);
        let step = |what| progress(&format!("classifier: {name}, {what}"));
        step("build");
        let mut table = Classified::new(&contents);
        let mut record = |column, value| self.results.record(row, column, value);
        record(self.build, table.build());
        let rules = table.len() as f64;
        record(self.rules, rules);
        record(self.subtables[0], table.subtables_len() as f64);
        record(self.bytes, table.heap_size() as f64 / rules);
        step("linear search");
        let mut wrong = table.wrong();
        step("lookups");
        let keys = &contents.keys;
        let shuffled = contents.shuffled_keys();
        for _ in 0..bench.args.runs {
            record(self.trace, table.lookups(keys, seconds));
            record(self.shuffled, table.lookups(&shuffled, seconds));
        }
        let (all, fields) = table.mean_bits(keys);
        record(self.bits, all);
        if contents.is_of_ip() {
            let row = self.masks.row(&contents.name, Role::Ours);
            let columns = self.bits_of.iter().zip(fields);
            columns.for_each(|(column, bits)| self.masks.record(row, *column, bits));
        }
        step("churn");
        for round in 0..CHURNS {
            let (remove, insert) = table.churn(round);
            record(self.remove, remove);
            record(self.insert, insert);
        }
        record(self.subtables[1], table.subtables_len() as f64);
        for _ in 0..bench.args.runs {
            record(self.churned, table.lookups(keys, seconds));
        }
        step("linear search");
        wrong += table.wrong();
        record(self.compared, 2.0 * contents.compared_len() as f64);
        record(self.wrong, wrong as f64);
        self.all_wrong = Some(self.all_wrong.unwrap_or(0.0) + wrong as f64);
    }

    fn speed_goals(&self, bench: &mut Bench, row: RowId, set: &str, wanted: f64) {
        for (what, column, wanted) in
            [("trace", self.trace, wanted), ("shuffled", self.shuffled, wanted / 2.0)]
        {
            let name = format!("classifier, {set}, {what}: M lookups/s");
            bench.goal(Goal::at_least(&name, self.results.median(row, column), wanted));
        }
    }

    /// Of the worst of these sets, which have this size.
    fn cost_goals(&self, bench: &mut Bench, rows: &[RowId], size: usize) {
        let worst = |column, worse: fn(f64, f64) -> f64| {
            rows.iter().filter_map(|row| self.results.median(*row, column)).reduce(worse)
        };
        let (bytes, slowest) = (worst(self.bytes, f64::max), |column| worst(column, f64::min));
        let name = format!("classifier, sets of {size}: bytes a rule");
        bench.goal(Goal::at_most(&name, bytes, BYTES));
        for (what, column) in [("inserted", self.insert), ("removed", self.remove)] {
            let name = format!("classifier, sets of {size}: M rules {what} a second");
            bench.goal(Goal::at_least(&name, slowest(column), CHANGES));
        }
    }
}
