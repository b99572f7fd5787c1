//! Requests that share transactions are told, refused and in force as if each had a transaction of its own.

use super::*;
use crate::policy::effects::Effects;
use crate::policy::observer::{Observed, Observer};
use flow::table_mod::{TableSettings, VacancyThresholds};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::sync::Arc;

/// An observer that keeps what transactions did.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<Arc<Effects>>>);

impl Observer for Ear {
    fn is_listening(&self) -> bool {
        true
    }

    fn observe(&self, observed: Observed) {
        if let Observed::Effects(effects) = observed {
            self.0.lock().push(effects);
        }
    }
}

/// A policy whose table 1 has at most `limit` rules, and what is heard of its transactions.
fn observed(limit: u32, eviction: bool) -> (Policy, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    let observer: Arc<dyn Observer> = Arc::<Ear>::clone(&ear);
    let policy = policy(&[]).with_observer(observer);
    add_groups(&policy, &["group_id=1,type=all,bucket=output:1"]);
    let vacancy = Some(VacancyThresholds { down: 25, up: 50 });
    let settings =
        TableSettings { flow_limit: Some(limit), eviction, vacancy, ..Default::default() };
    policy.bridge(BridgeId::FIRST).configure_table(TableId::new(1).unwrap(), &settings);
    ear.0.lock().clear();
    (policy, ear)
}

/// What transactions did and what controllers hear of full tables, in words, in order.
fn heard(policy: &Policy, ear: &Ear) -> (Vec<String>, Vec<String>) {
    let effects = ear.0.lock();
    let statuses = effects.iter().flat_map(|effects| effects.vacancy_changes());
    let statuses = statuses.map(|status| format!("{status:?}")).collect();
    (effects.iter().flat_map(|effects| told(policy, effects)).collect(), statuses)
}

/// The rules that are in force, in words, sorted.
fn rules(policy: &Policy) -> Vec<String> {
    let snapshot = policy.bridge(BridgeId::FIRST).snapshot();
    let (tables, version) = (snapshot.tables(), policy.tables.version());
    let word = |entry: crate::classifier::Entry<'_, Arc<crate::policy::rule::Rule>>| {
        let rule = entry.value;
        let (flags, actions) = (rule.flags, &rule.actions);
        format!("{} {} {:?} {flags:?} {actions:?}", rule.table, entry.priority, entry.matches)
    };
    let mut rules: Vec<String> = tables.rules(None, version).map(word).collect();
    rules.sort_unstable();
    rules
}

fn request() -> impl Strategy<Value = FlowMod> {
    let matching = prop_oneof![Just("ip"), Just("arp"), Just("tcp"), Just("ip,nw_dst=10.0.0.1")];
    // Group 2 does not exist.
    let actions = prop_oneof![
        8 => Just("actions=output:1"),
        4 => Just("actions=output:2"),
        1 => Just("actions=group:1"),
        1 => Just("actions=group:2"),
    ];
    let command = prop_oneof![
        16 => Just(Command::Add),
        1 => Just(Command::Modify),
        1 => Just(Command::Delete),
        1 => Just(Command::DeleteStrict),
    ];
    (command, 0u8..2, 0u16..12, 0u16..3, matching, actions, prop::bool::weighted(0.1)).prop_map(
        |(command, table, priority, importance, matching, actions, checks)| {
            let is_strict = !matches!(command, Command::Modify | Command::Delete);
            let priority = if is_strict { format!("priority={priority},") } else { String::new() };
            let (importance, checks) = match command {
                Command::Add if checks => (format!("importance={importance},"), "check_overlap,"),
                Command::Add => (format!("importance={importance},"), "send_flow_rem,"),
                _ => (String::new(), ""),
            };
            let has_actions = matches!(command, Command::Add | Command::Modify);
            let actions = if has_actions { actions } else { "" };
            let text = format!("table={table},{priority}{importance}{checks}{matching},{actions}");
            let context = ParseContext { version: OfVersion::OpenFlow14, ..context(command) };
            parse_flow(text.trim_end_matches(','), &context).expect(&text)
        },
    )
}

proptest! {
    #[test]
    fn requests_in_turn_are_as_those_one_by_one(
        requests in proptest::collection::vec(request(), 0..150),
        limit in 1u32..20,
        eviction in any::<bool>(),
    ) {
        let (alone, heard_alone) = observed(limit, eviction);
        let mut errors_alone = Vec::new();
        for (n, request) in requests.iter().enumerate() {
            let applied = alone.bridge(BridgeId::FIRST).apply(std::slice::from_ref(request), NOW);
            errors_alone.extend(applied.err().map(|(_, error)| (n, error)));
        }
        let (in_turn, heard_in_turn) = observed(limit, eviction);
        let (mut errors_in_turn, mut done) = (Vec::new(), 0);
        let requests: Vec<&FlowMod> = requests.iter().collect();
        while done < requests.len() {
            let (count, refused) =
                in_turn.bridge(BridgeId::FIRST).apply_in_turn(&requests[done..], NOW);
            prop_assert!(count > 0 || refused.is_some());
            done += count;
            if let Some(error) = refused {
                errors_in_turn.push((done, error));
                done += 1;
            }
        }
        prop_assert_eq!(errors_in_turn, errors_alone);
        prop_assert_eq!(rules(&in_turn), rules(&alone));
        prop_assert_eq!(heard(&in_turn, &heard_in_turn), heard(&alone, &heard_alone));
    }
}

#[test]
fn additions_share_transactions() {
    let (policy, ear) = observed(1000, false);
    let request = |n| parse_flow(&format!("priority={n},actions=1"), &context(Command::Add));
    let requests: Vec<FlowMod> = (0..100).map(|n| request(n).unwrap()).collect();
    let requests: Vec<&FlowMod> = requests.iter().collect();
    let mut done = 0;
    while done < requests.len() {
        let (count, refused) = policy.bridge(BridgeId::FIRST).apply_in_turn(&requests[done..], NOW);
        assert_eq!(refused, None);
        done += count;
    }
    assert!(ear.0.lock().len() <= 4, "{} transactions", ear.0.lock().len());
}
