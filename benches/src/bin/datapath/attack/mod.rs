//! Cached traffic while somebody sends what makes most work.
//!
//! Each attack runs at three speeds on top of 1,000 established flows, each between two hosts of its own. The
//! tables tell the rate of the established frames against that right before and right after, what the attack
//! got into the caches, and how many of 1,000 new connections of an established host got through with their
//! first frame and with one of three. The first tenth of a second after an attack is measured, and how long it
//! takes until all is as before. Attacks from another port than that of the established hosts have tables of
//! their own: `states` and `segments`.

mod field;
mod segments;
mod states;

use crate::Bench;
use benches::attack::Attack;
use benches::report::{Better, Goal, Role, Table, progress};
use field::Field;
use flow::metric::CacheMetric;

/// Frames a second, and how much of the rate without is wanted, in percent.
const SPEEDS: [(&str, f64, Option<f64>); 3] =
    [("100k/s", 100e3, Some(80.0)), ("300k/s", 300e3, None), ("1M/s", 1e6, Some(60.0))];
/// Seconds after which all is to be as before.
const BACK_WITHIN: f64 = 1.0;

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let mut results = Table::new("attack", "frames of 1,000 established flows during an attack");
    let calm = results.column("no attack", "Mpps", Better::Higher);
    let shares = SPEEDS.map(|(speed, ..)| results.column(speed, "%", Better::Higher));
    let after = results.column("after", "%", Better::Higher);
    let back = results.column("back in", "s", Better::Lower);
    let facts = ["flows", "masks", "probed"].map(|name| results.column(name, "", Better::Neither));
    let mut news = Table::new(
        "connections",
        "new connections that get through, with the first frame and with one of three",
    );
    let mut columns = |what, unit, better| {
        SPEEDS.map(|(speed, ..)| news.column(&format!("{what}, {speed}"), unit, better))
    };
    let firsts = columns("at once", "%", Better::Higher);
    let anys = columns("of three", "%", Better::Higher);
    let refusals = columns("refused", "k/s", Better::Neither);
    for attack in Attack::ALL {
        let name = attack.name();
        let (row, new) = (results.row(name, Role::Ours), news.row(name, Role::Ours));
        let mut field = Field::new(attack);
        for run in 1..=bench.args.runs {
            progress(&format!("attack: {name}, run {run}"));
            for (n, (_, speed, _)) in SPEEDS.into_iter().enumerate() {
                let spell = field.spell(bench.args.seconds, speed);
                results.record(row, calm, spell.calm);
                results.record(row, shares[n], 100.0 * spell.rate / spell.calm);
                results.record(row, after, 100.0 * spell.tenth / spell.calm);
                results.record(row, back, spell.recovery);
                news.record(new, firsts[n], 100.0 * spell.first);
                news.record(new, anys[n], 100.0 * spell.any);
                news.record(new, refusals[n], spell.refused / 1e3);
            }
        }
        let stats = field.switch.datapath.stats();
        let values = [
            &stats[CacheMetric::Flows],
            &stats[CacheMetric::Masks],
            &stats[CacheMetric::ActiveMasks],
        ];
        facts.iter().zip(values).for_each(|(fact, n)| results.record(row, *fact, n.get() as f64));
        for ((speed, _, wanted), share) in SPEEDS.into_iter().zip(shares) {
            if let Some(wanted) = wanted {
                let goal = format!("attack, {name}, {speed}: % of the rate without");
                bench.goal(Goal::at_least(&goal, results.median(row, share), wanted));
            }
        }
        let goal = format!("attack, {name}: seconds until all is as before");
        bench.goal(Goal::at_most(&goal, results.median(row, back), BACK_WITHIN));
    }
    bench.report.add(results);
    bench.report.add(news);
    states::run(bench);
    segments::run(bench)
}
