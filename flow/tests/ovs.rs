//! Compares parser and printer with Open vSwitch 3.1: how it parsed rules, and how it dumped them in four
//! versions of OpenFlow, is recorded in a file.

use flow::flow_mod::FlowMod;
use flow::text::{FlowLine, NoPortNames, ParseContext, PrintOptions, parse_flow};
use flow::types::OfVersion;
use std::time::Duration;

const RECORD: &str = include_str!("data/ovs-rules.txt");

const DUMPED: [OfVersion; 4] =
    [OfVersion::OpenFlow10, OfVersion::OpenFlow11, OfVersion::OpenFlow13, OfVersion::OpenFlow15];

struct Recorded {
    version: OfVersion,
    rule: &'static str,
    dumps: Vec<&'static str>,
}

fn version(digits: &str) -> OfVersion {
    match digits {
        "10" => OfVersion::OpenFlow10,
        "11" => OfVersion::OpenFlow11,
        "12" => OfVersion::OpenFlow12,
        "13" => OfVersion::OpenFlow13,
        "14" => OfVersion::OpenFlow14,
        "15" => OfVersion::OpenFlow15,
        _ => panic!("{digits} is no version"),
    }
}

fn section(title: &str) -> Vec<Recorded> {
    let (_, body) = RECORD.split_once(&format!("[{title}]\n")).unwrap();
    let body = body.split("\n[").next().unwrap();
    let mut out: Vec<Recorded> = Vec::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("    ") {
            Some(dump) => out.last_mut().unwrap().dumps.push(dump),
            None => {
                let (digits, rule) = line.split_once(' ').unwrap();
                out.push(Recorded { version: version(digits), rule, dumps: Vec::new() });
            }
        }
    }
    assert!(out.len() > 50, "{title} is short");
    out
}

fn context(version: OfVersion, lenient: bool) -> ParseContext<'static> {
    ParseContext { version, lenient, ..ParseContext::default() }
}

fn dump(rule: &FlowMod, version: OfVersion) -> String {
    let line = FlowLine {
        cookie: rule.cookie,
        table: rule.table.unwrap_or_default(),
        priority: rule.priority,
        matching: &rule.matching,
        actions: &rule.actions,
        idle_timeout: rule.idle_timeout,
        hard_timeout: rule.hard_timeout,
        importance: rule.importance,
        flags: rule.flags,
        name: None,
        label: None,
        learned_by: None,
        duration: Duration::ZERO,
        packets: 0,
        bytes: 0,
        idle_age: Duration::ZERO,
        hard_age: Duration::ZERO,
    };
    let mut out = String::new();
    line.write(&mut out, &PrintOptions { version, ports: &NoPortNames, stats: false, ages: true });
    out
}

fn check_dumps(recorded: &Recorded, rule: &FlowMod) {
    for (version, expected) in DUMPED.into_iter().zip(&recorded.dumps) {
        if *expected != "-" {
            assert_eq!(dump(rule, version), *expected, "{:?} of {}", version, recorded.rule);
        }
    }
}

#[test]
fn rules_that_open_vswitch_accepts_are_accepted_and_dumped_alike() {
    for recorded in section("accepted") {
        for lenient in [false, true] {
            let rule = parse_flow(recorded.rule, &context(recorded.version, lenient))
                .unwrap_or_else(|error| panic!("{}", error.render(recorded.rule)));
            check_dumps(&recorded, &rule);
        }
    }
}

#[test]
fn rules_that_open_vswitch_alters_are_refused_unless_lenient() {
    for recorded in section("altered") {
        assert!(parse_flow(recorded.rule, &context(recorded.version, false)).is_err());
        let rule = parse_flow(recorded.rule, &context(recorded.version, true))
            .unwrap_or_else(|error| panic!("{}", error.render(recorded.rule)));
        check_dumps(&recorded, &rule);
    }
}

#[test]
fn rules_that_open_vswitch_refuses_are_refused() {
    for recorded in section("refused") {
        for lenient in [false, true] {
            let result = parse_flow(recorded.rule, &context(recorded.version, lenient));
            assert!(result.is_err(), "{}", recorded.rule);
        }
    }
}

#[test]
fn dumps_of_open_vswitch_parse_back_to_the_same_dump() {
    for recorded in section("accepted") {
        let same = DUMPED.into_iter().zip(&recorded.dumps).find(|(v, _)| *v == recorded.version);
        if let Some((version, dumped)) = same.filter(|(_, dumped)| **dumped != "-") {
            let rule = parse_flow(dumped, &context(version, false))
                .unwrap_or_else(|error| panic!("{}", error.render(dumped)));
            assert_eq!(dump(&rule, version), *dumped);
        }
    }
}
