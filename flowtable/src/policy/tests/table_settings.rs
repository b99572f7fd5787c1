//! Tables that are full, that tell how full they are, and that send packets on to the next table.

use super::*;
use crate::policy::rule::Removal;
use crate::policy::table_settings::VacancyEvent;
use flow::table_mod::{OverflowPolicy, TableMiss, TableSettings, VacancyThresholds};

fn table(number: u8) -> TableId {
    TableId::new(number).unwrap()
}

fn limited(limit: u32) -> TableSettings {
    TableSettings { flow_limit: Some(limit), ..TableSettings::default() }
}

fn evicting(limit: u32) -> TableSettings {
    TableSettings { eviction: true, ..limited(limit) }
}

fn configure(policy: &Policy, settings: &TableSettings) -> Vec<String> {
    told(policy, &policy.bridge(BridgeId::FIRST).configure_table(table(1), settings))
}

/// The priorities of the rules of table 1, the highest first.
fn priorities(policy: &Policy) -> Vec<u16> {
    let snapshot = policy.bridge(BridgeId::FIRST).snapshot();
    let (tables, version) = (snapshot.tables(), policy.tables.version());
    let rules = tables.rules(Some(table(1)), version).map(|entry| entry.priority);
    let mut priorities: Vec<u16> = rules.collect();
    priorities.sort_unstable_by(|a, b| b.cmp(a));
    priorities
}

fn add_rules(policy: &Policy, rules: &[&str], now: Duration) -> Result<(), FlowModError> {
    let context = ParseContext { version: OfVersion::OpenFlow14, ..context(Command::Add) };
    let rules: Vec<FlowMod> = rules
        .iter()
        .map(|rule| parse_flow(&format!("table=1,{rule},actions=1"), &context).expect(rule))
        .collect();
    policy.bridge(BridgeId::FIRST).apply(&rules, now).map(drop).map_err(|(_, error)| error)
}

#[test]
fn a_full_table_refuses_rules_and_replaces_them() {
    let policy = policy(&[]);
    configure(&policy, &limited(2));
    add_rules(&policy, &["priority=1", "priority=2"], NOW).unwrap();
    let full = FlowModError::TableFull { table: table(1), limit: 2 };
    assert_eq!(add_rules(&policy, &["priority=3"], NOW), Err(full.clone()));
    add_rules(&policy, &["priority=2,idle_timeout=5"], NOW).unwrap();
    assert_eq!(add_rules(&policy, &["priority=2", "priority=4"], NOW), Err(full));
    assert_eq!(priorities(&policy), [2, 1], "a refused request changes nothing");
    configure(&policy, &TableSettings::default());
    add_rules(&policy, &["priority=3"], NOW).unwrap();
    configure(&policy, &limited(1));
    assert_eq!(priorities(&policy), [3, 2, 1], "a table that refuses keeps what it has");
}

#[test]
fn rules_of_low_importance_are_evicted_first_and_then_those_that_expire_soon() {
    let policy = policy(&[]);
    add_rules(
        &policy,
        &[
            "priority=1,importance=5,hard_timeout=10",
            "priority=2,importance=3,hard_timeout=90",
            "priority=3,importance=3,idle_timeout=80",
            "priority=4,importance=1",
        ],
        NOW,
    )
    .unwrap();
    configure(&policy, &evicting(4));
    add_rules(&policy, &["priority=5"], NOW).unwrap();
    assert_eq!(priorities(&policy), [5, 4, 2, 1], "80 seconds are over before 90");
    add_rules(&policy, &["priority=6"], NOW).unwrap();
    assert_eq!(priorities(&policy), [6, 5, 4, 1]);
    add_rules(&policy, &["priority=7"], NOW).unwrap();
    let full = FlowModError::TableFull { table: table(1), limit: 4 };
    assert_eq!(add_rules(&policy, &["priority=8"], NOW), Err(full), "without timeouts");
    assert_eq!(priorities(&policy), [7, 6, 5, 4]);
}

#[test]
fn traffic_keeps_a_rule_with_an_idle_timeout() {
    let policy = policy(&[]);
    configure(&policy, &evicting(2));
    add_rules(&policy, &["priority=1,idle_timeout=10", "priority=2,idle_timeout=11"], NOW).unwrap();
    let later = NOW + Duration::from_secs(5);
    {
        let snapshot = policy.bridge(BridgeId::FIRST).snapshot();
        let mut rules = snapshot.tables().rules(Some(table(1)), policy.tables.version());
        let used = rules.find(|entry| entry.priority == 1).unwrap();
        used.value.stats.add(1, 64, later);
    }
    add_rules(&policy, &["priority=3"], later).unwrap();
    assert_eq!(priorities(&policy), [3, 1]);
}

#[test]
fn a_refused_transaction_evicts_nothing() {
    let policy = policy(&[]);
    configure(&policy, &evicting(2));
    add_rules(&policy, &["priority=1,idle_timeout=10", "priority=2,idle_timeout=20"], NOW).unwrap();
    assert!(add_rules(&policy, &["priority=3", "priority=4", "priority=5"], NOW).is_err());
    assert_eq!(priorities(&policy), [2, 1]);
    add_rules(&policy, &["priority=3"], NOW).unwrap();
    assert_eq!(priorities(&policy), [3, 2], "the order is as before");
}

#[test]
fn the_largest_group_loses_a_rule() {
    let policy = policy(&[]);
    let groups = vec![flow::action::Subfield::whole(flow::fields::FieldId::InPort)];
    let overflow = OverflowPolicy::Evict;
    configure(&policy, &TableSettings { overflow, groups, ..limited(3) });
    let rules = [
        "priority=1,in_port=1,idle_timeout=1",
        "priority=2,in_port=2,idle_timeout=60",
        "priority=3,in_port=2,idle_timeout=50",
    ];
    add_rules(&policy, &rules, NOW).unwrap();
    add_rules(&policy, &["priority=4,in_port=3,idle_timeout=9"], NOW).unwrap();
    assert_eq!(priorities(&policy), [4, 2, 1], "port 2 has two rules");
}

#[test]
fn a_smaller_limit_evicts_what_is_too_much() {
    let policy = policy(&[]);
    let rules: Vec<String> = (1..=200).map(|n| format!("priority={n},hard_timeout={n}")).collect();
    add_rules(&policy, &rules.iter().map(String::as_str).collect::<Vec<_>>(), NOW).unwrap();
    let gone = configure(&policy, &evicting(2));
    assert_eq!(gone.len(), 198);
    assert!(gone.iter().all(|effect| effect.starts_with("removed eviction in 1")), "{gone:?}");
    assert_eq!(priorities(&policy), [200, 199]);
    assert_eq!(Removal::Eviction.name(), "eviction");
}

#[test]
fn a_table_tells_once_that_it_is_nearly_full_and_that_it_has_room() {
    let policy = policy(&[]);
    let thresholds = VacancyThresholds { down: 30, up: 60 };
    configure(&policy, &TableSettings { vacancy: Some(thresholds), ..limited(10) });
    let bridge = policy.bridge(BridgeId::FIRST);
    let run = |commands: &[(Command, u16)]| -> Vec<(VacancyEvent, u8)> {
        let mut transaction = bridge.begin();
        for (command, priority) in commands {
            let mut request =
                parse_flow("table=1,priority=0,actions=1", &context(Command::Add)).unwrap();
            (request.command, request.priority) = (*command, *priority);
            transaction.apply(&request, NOW).unwrap();
        }
        let effects = transaction.commit();
        effects.vacancy_changes().iter().map(|status| (status.event, status.vacancy)).collect()
    };
    let add = |range: std::ops::RangeInclusive<u16>| -> Vec<_> {
        range.map(|priority| (Command::Add, priority)).collect()
    };
    let delete = |range: std::ops::RangeInclusive<u16>| -> Vec<_> {
        range.map(|priority| (Command::DeleteStrict, priority)).collect()
    };
    assert_eq!(run(&add(1..=7)), []);
    // The event tells how full the whole transaction has left the table.
    assert_eq!(run(&add(8..=9)), [(VacancyEvent::Down, 10)]);
    assert_eq!(run(&[delete(4..=9), add(4..=9)].concat()), []);
    assert_eq!(run(&delete(1..=5)), []);
    assert_eq!(run(&delete(6..=6)), [(VacancyEvent::Up, 70)]);
    assert_eq!(bridge.vacancy(table(1)), 70);
    let mut transaction = bridge.begin();
    for (command, priority) in add(1..=8) {
        let mut request = parse_flow("table=1,actions=1", &context(command)).unwrap();
        request.priority = priority;
        // The eleventh rule would be too much, so none of these is there afterwards.
        transaction.apply(&request, NOW).unwrap();
    }
    drop(transaction);
    let told = run(&add(1..=5));
    assert_eq!(told, [(VacancyEvent::Down, 20)], "what never happened is not told");
}

#[test]
fn rules_count_only_what_they_shall() {
    let policy = policy(&[]);
    add_rules(
        &policy,
        &["priority=1,no_packet_counts", "priority=2,no_byte_counts", "priority=3"],
        NOW,
    )
    .unwrap();
    let snapshot = policy.bridge(BridgeId::FIRST).snapshot();
    let totals = snapshot.tables().rules(Some(table(1)), policy.tables.version()).map(|entry| {
        entry.value.stats.add(2, 128, NOW + Duration::from_secs(3));
        (entry.priority, entry.value.stats.totals(), entry.value.stats.used().as_secs())
    });
    let mut totals: Vec<_> = totals.collect();
    totals.sort_unstable();
    assert_eq!(totals, [(1, (0, 128), 4), (2, (2, 0), 4), (3, (2, 128), 4)]);
}

#[test]
fn a_table_may_send_packets_without_a_rule_to_the_next_one() {
    let policy = policy(&["table=3,ip,actions=2", "table=5,actions=3"]);
    let bridge = policy.bridge(BridgeId::FIRST);
    let outputs = || {
        let context = ParseContext::default();
        let matching = parse_match("in_port=1,ip", &context).unwrap();
        let translation = bridge.translate_packet_out(
            matching.key(),
            &[flow::action::Action::GotoTable(TableId::default())],
        );
        translation.actions.len()
    };
    assert_eq!(outputs(), 0);
    let continues = TableSettings { miss: Some(TableMiss::Continue), ..TableSettings::default() };
    let generation = policy.changes.generation();
    for number in 0..3 {
        bridge.configure_table(table(number), &continues);
    }
    assert!(policy.changes.generation() > generation, "cached flows have to look again");
    assert_eq!(outputs(), 1);
    add_to(&policy, BridgeId::FIRST, &["priority=7,actions=resubmit(,1)"]).unwrap();
    assert_eq!(outputs(), 0, "behind a resubmit");
    add_to(&policy, BridgeId::FIRST, &["priority=7,actions=goto_table:1"]).unwrap();
    assert_eq!(outputs(), 1);
    bridge.configure_table(table(1), &TableSettings::default());
    assert_eq!(outputs(), 0);
}
