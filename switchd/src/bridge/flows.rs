//! Rules: replaced as a whole, and added up.
//!
//! Single changes are the policy's [`Transaction`]s, which take [`FlowMod`]s as they are.

use flow::action::do_the_same;
use flow::flow_mod::{FlowFlags, FlowMod};
use flowtable::policy::effects::Effects;
use flowtable::policy::rule::Rule;
use flowtable::policy::rule::RuleRef;
use flowtable::policy::{Bridge, FlowModError, Transaction};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Makes the rules of a bridge those of a list, all at once. Rules that are there already, and do the same,
/// keep their counters.
///
/// The list is gone through twice: first [`keep`](Self::keep) for each rule, then
/// [`delete_others`](Self::delete_others), so that a full table has room, and then [`add`](Self::add) for each.
pub struct Replacement<'a> {
    transaction: Transaction<'a>,
    /// Rules at whose place the list has one.
    kept: HashSet<RuleRef>,
    changed: u64,
}

impl<'a> Replacement<'a> {
    /// Nothing is changed yet. Others who change rules wait until the end.
    pub fn begin(bridge: Bridge<'a>) -> Self {
        Self { transaction: bridge.begin(), kept: HashSet::new(), changed: 0 }
    }

    /// Says that the list has this rule.
    pub fn keep(&mut self, wanted: &FlowMod) {
        self.kept.extend(self.transaction.rule_like(wanted).map(|old| old.place()));
    }

    /// Deletes the rules that the list does not have.
    pub fn delete_others(&mut self) {
        self.changed += self.transaction.delete_all_but(&self.kept) as u64;
    }

    /// Adds a rule of the list, unless it is there already.
    ///
    /// # Errors
    /// Why it is refused. The replacement should be dropped then, and nothing has changed.
    pub fn add(&mut self, wanted: &FlowMod, now: Duration) -> Result<(), FlowModError> {
        if self.transaction.rule_like(wanted).is_some_and(|old| does_the_same(wanted, &old)) {
            return Ok(());
        }
        self.changed += 1;
        self.transaction.apply(wanted, now)
    }

    /// Makes it so. Returns what that did, and how many rules were deleted or added.
    pub fn commit(self) -> (Arc<Effects>, u64) {
        (self.transaction.commit(), self.changed)
    }
}

fn does_the_same(wanted: &FlowMod, rule: &Rule) -> bool {
    wanted.cookie == rule.cookie
        && lasting(wanted.flags) == lasting(rule.flags)
        && wanted.idle_timeout == rule.idle_timeout()
        && wanted.hard_timeout == rule.hard_timeout()
        && wanted.importance == rule.importance
        && wanted.name.as_ref() == rule.name()
        && wanted.label.as_ref() == rule.label()
        && do_the_same(&wanted.actions, &rule.actions)
}

/// The flags that are about the rule, and not about the request that has added it.
fn lasting(flags: FlowFlags) -> FlowFlags {
    FlowFlags { check_overlap: false, reset_counts: false, ..flags }
}

/// Counters of several rules together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets that the rules matched.
    pub packets: u64,
    /// The bytes of these packets, Ethernet headers included.
    pub bytes: u64,
    /// The number of rules.
    pub rules: u64,
}

/// Adds up the rules that `filter` names.
pub fn totals(bridge: Bridge<'_>, filter: &FlowMod) -> Totals {
    let mut totals = Totals::default();
    let mut walk = bridge.walk(filter);
    while walk.next_slice(|entry| {
        let (packets, bytes) = entry.value.stats.totals();
        totals.packets = totals.packets.wrapping_add(packets);
        totals.bytes = totals.bytes.wrapping_add(bytes);
        totals.rules += 1;
    }) {}
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::flow_mod::Command;
    use flow::text::{ParseContext, parse_flow};
    use flowtable::policy::effects::Effect;
    use flowtable::policy::{BridgeId, Policy};

    const NOW: Duration = Duration::from_secs(1);

    fn rule(text: &str, command: Command) -> FlowMod {
        parse_flow(text, &ParseContext { command, ..ParseContext::default() }).expect(text)
    }

    fn replace(policy: &Policy, list: &[&str]) -> Result<(Arc<Effects>, u64), FlowModError> {
        let list: Vec<FlowMod> = list.iter().map(|text| rule(text, Command::Add)).collect();
        let mut replacement = Replacement::begin(policy.bridge(BridgeId::FIRST));
        list.iter().for_each(|rule| replacement.keep(rule));
        replacement.delete_others();
        list.iter().try_for_each(|rule| replacement.add(rule, NOW))?;
        Ok(replacement.commit())
    }

    #[test]
    fn rules_that_stay_keep_their_counters() {
        let policy = Policy::with_one_bridge(1);
        let bridge = policy.bridge(BridgeId::FIRST);
        let old = ["ip,actions=1", "arp,actions=1", "table=2,udp,actions=1"];
        assert_eq!(replace(&policy, &old).unwrap().1, 3);
        let every = rule("", Command::Delete);
        let mut walk = bridge.walk(&every);
        while walk.next_slice(|entry| entry.value.stats.add(5, 300, NOW)) {}
        drop(walk);
        let (effects, changed) = replace(&policy, &["ip,actions=1", "arp,actions=2"]).unwrap();
        assert_eq!(changed, 2, "one deleted, one replaced");
        let (mut walk, mut told) = (policy.effects(&effects), Vec::new());
        while walk.next_slice(|effect| {
            told.push(match effect {
                Effect::RuleAdded(entry) => format!("added in {}", entry.value.table),
                Effect::RuleRemoved(entry, why) => {
                    format!("{} in {}", why.name(), entry.value.table)
                }
                other => format!("{other:?}"),
            });
        }) {}
        assert_eq!(told, ["delete in 2", "replaced in 0", "added in 0"]);
        assert_eq!(totals(bridge, &every), Totals { packets: 5, bytes: 300, rules: 2 });
    }

    #[test]
    fn a_refused_rule_leaves_all_as_it_was() {
        let policy = Policy::with_one_bridge(1);
        replace(&policy, &["ip,actions=1"]).unwrap();
        assert!(replace(&policy, &["arp,actions=1", "ip,actions=group:9"]).is_err());
        let every = rule("", Command::Delete);
        assert_eq!(totals(policy.bridge(BridgeId::FIRST), &every).rules, 1);
        assert_eq!(totals(policy.bridge(BridgeId::FIRST), &rule("arp", Command::Delete)).rules, 0);
    }
}
