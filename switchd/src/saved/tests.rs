//! Switches that are saved, planned, changed and taken back.

use super::{Author, SavedSwitch, plan};
use crate::bridge::{groups, hosts};
use crate::desired::{Desired, file};
use crate::switch::{ApplyError, Config, Switch};
use flow::flow_mod::{Command, FlowMod};
use flow::group::GroupMod;
use flow::text::{
    FlowLine, GroupCommand, NoPortNames, ParseContext, parse_flow, parse_group_file_line,
    parse_saved_flow,
};
use flow::types::{MacAddr, OfPort, OfVersion};
use flowtable::policy::mac_table::MacKey;
use std::time::Duration;

const PORTS: &[&str] = &["dummy:p1", "dummy:p2,tag=7"];

fn start(bridges: &[(&str, &[&str])]) -> Switch {
    Switch::start(Config::new(Desired::of(bridges))).unwrap()
}

fn author(what: &str) -> Author {
    Author { who: "root".to_owned(), what: what.to_owned() }
}

fn rules(switch: &Switch, bridge: &str, version: OfVersion, rules: &[&str]) {
    let context = ParseContext { version, command: Command::Add, ..ParseContext::default() };
    let parse = |text: &&str| parse_flow(text, &context).expect(text);
    let rules: Vec<FlowMod> = rules.iter().map(parse).collect();
    switch.on(bridge).unwrap().bridge().apply(&rules, switch.now()).unwrap();
}

fn group(switch: &Switch, bridge: &str, text: &str) {
    let context = ParseContext { version: OfVersion::OpenFlow15, ..ParseContext::default() };
    let change: GroupMod = parse_group_file_line(text, GroupCommand::Add, &context).expect(text);
    groups::change(switch.on(bridge).unwrap(), &[change]).unwrap();
}

fn save(switch: &Switch) -> String {
    SavedSwitch::of(switch).write()
}

fn read(text: &str) -> SavedSwitch {
    SavedSwitch::read(text, "f.toml", &|| {}).unwrap()
}

fn apply(switch: &Switch, text: &str) -> Result<Vec<String>, ApplyError> {
    let lines = switch.apply(read(text), author("apply f.toml"), None, &|| {})?;
    Ok(lines.iter().map(ToString::to_string).collect())
}

/// A switch with something of everything.
fn full() -> Switch {
    let switch = start(&[("br0", PORTS), ("br1", &["dummy:q1"])]);
    group(&switch, "br0", "group_id=2,type=all,bucket=output:1,bucket=mod_vlan_vid:5,output:2");
    group(&switch, "br0", "group_id=7,type=select,bucket=weight:3,actions=group:2,bucket=drop");
    let v10 = ["priority=9,ip,nw_dst=10.0.0.0/8,actions=mod_vlan_vid:5,group:7", "arp,actions=2"];
    rules(&switch, "br0", OfVersion::OpenFlow10, &v10);
    let v15 = [
        "table=3,importance=4,cookie=0x9,idle_timeout=60,send_flow_rem,name=web,label=x,tcp,tcp_dst=80,\
         actions=set_field:5->reg0,write_actions(output:1),goto_table:4",
        "table=3,priority=9,ip,actions=push_vlan:0x8100,set_field:4101->vlan_vid,output:2",
    ];
    rules(&switch, "br0", OfVersion::OpenFlow15, &v15);
    let on = switch.on("br0").unwrap();
    let key = MacKey { vlan: 7, mac: MacAddr([2, 0, 0, 0, 0, 9]) };
    hosts::give(on, key, OfPort(2)).unwrap();
    switch.change_bridge("br1", |bridge| bridge.frags = flow::types::Fragments::Drop).unwrap();
    switch
}

#[test]
fn a_saved_switch_is_made_again_from_nothing() {
    let text = save(&full());
    assert!(
        text.contains("priority=9,ip,nw_dst=10.0.0.0/8 actions=mod_vlan_vid:5,group:7\n"),
        "{text}"
    );
    let empty = start(&[]);
    let done = apply(&empty, &text).unwrap();
    assert_eq!(save(&empty), text);
    assert!(done.contains(&"+ br0 host 2 7 02:00:00:00:00:09".to_owned()), "{done:?}");
    assert!(apply(&empty, &text).unwrap().is_empty(), "nothing is left to be done");
    let config = file::read(&text, "").unwrap();
    assert_eq!(config, full().desired(), "--config reads the same file");
}

#[test]
fn a_plan_says_what_is_different_and_changes_nothing() {
    let switch = full();
    let before = save(&switch);
    let text = before
        .replace("priority=9,ip,nw_dst=10.0.0.0/8 actions=mod_vlan_vid:5,group:7", "udp,actions=1")
        .replace("weight:3", "weight:4")
        .replace("2 7 02:00:00:00:00:09", "1 7 02:00:00:00:00:09")
        .replace("frags = \"drop\"\n", "mac-ageing = 60\n")
        .replace("tag = 7\n", "")
        .replace("vlan_mode = \"access\"\n", "");
    let lines = switch.plan(read(&text), &|| {}).unwrap();
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "~ br0 port dummy:p2,number=2 (was: dummy:p2,number=2,vlan_mode=access,tag=7)",
            "~ br0 group group_id=7,type=select,bucket=bucket_id:0,weight:4,actions=group:2,\
             bucket=bucket_id:1,actions=drop (was: group_id=7,type=select,bucket=bucket_id:0,weight:3,\
             actions=group:2,bucket=bucket_id:1,actions=drop)",
            "+ br0 flow udp actions=output:1",
            "- br0 flow priority=9,ip,nw_dst=10.0.0.0/8 actions=mod_vlan_vid:5,group:7",
            "~ br0 host 1 7 02:00:00:00:00:09 (was: 2 7 02:00:00:00:00:09)",
            "~ bridge br1 mac-ageing=60 (was: frags=drop)",
        ]
    );
    assert_eq!(save(&switch), before);
    assert_eq!(apply(&switch, &text).unwrap(), lines);
    assert_eq!(switch.plan(read(&before), &|| {}).unwrap().len(), lines.len());
}

#[test]
fn rules_that_stay_and_those_that_change_keep_their_counters() {
    let switch = full();
    let every = FlowMod::new(Command::Delete, 0, flow::Match::any(), Vec::new());
    let bridge = switch.on("br0").unwrap().bridge();
    let mut walk = bridge.walk(&every);
    while walk.next_slice(|entry| entry.value.stats.add(5, 300, switch.now())) {}
    drop(walk);
    let text = save(&switch).replace("arp actions=output:2", "arp actions=output:1");
    assert_eq!(apply(&switch, &text).unwrap().len(), 1);
    let totals = crate::bridge::flows::totals(bridge, &every);
    assert_eq!((totals.rules, totals.packets), (5, 25));
}

#[test]
fn what_a_file_leaves_out_of_a_bridge_stays() {
    let switch = full();
    let before = save(&switch);
    let config = file::write(&switch.desired());
    assert!(apply(&switch, &config).unwrap().is_empty());
    assert_eq!(save(&switch), before);
    let new = format!("{config}\n[[bridge]]\nname = \"br2\"\n");
    let done = apply(&switch, &new).unwrap();
    assert_eq!(done, ["+ bridge br2", "+ br2 flow priority=0 actions=NORMAL"]);
}

#[test]
fn groups_that_turn_round_are_no_loop() {
    let switch = start(&[("br0", PORTS)]);
    group(&switch, "br0", "group_id=1,type=all,bucket=group:2");
    group(&switch, "br0", "group_id=2,type=all,bucket=output:1");
    rules(&switch, "br0", OfVersion::OpenFlow15, &["ip,actions=group:1"]);
    let turned = save(&switch)
        .replace("group_id=1,type=all,bucket=bucket_id:0,actions=group:2", "@")
        .replace(
            "group_id=2,type=all,bucket=bucket_id:0,actions=output:1",
            "group_id=2,type=all,bucket=group:1",
        )
        .replace('@', "group_id=1,type=all,bucket=output:1");
    assert_eq!(apply(&switch, &turned).unwrap().len(), 2);
    assert!(plan(&SavedSwitch::of(&switch), &read(&turned)).is_empty());
}

#[test]
fn what_cannot_be_leaves_all_as_it_is() {
    let switch = full();
    let before = save(&switch);
    let check = |from: &str, to: &str, message: &str| {
        assert!(before.contains(from), "{from}");
        let text = before.replacen(from, to, 1);
        let error = match SavedSwitch::read(&text, "f.toml", &|| {}) {
            Ok(wanted) => switch.apply(wanted, author("x"), None, &|| {}).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(message), "{error}");
        assert_eq!(save(&switch), before);
        assert!(switch.history().is_empty());
    };
    check(
        "arp actions=output:2",
        "arp actions=group:9",
        "arp actions=group:9: group 9 does not exist",
    );
    check(
        "arp actions=output:2",
        "ip,nw_dst=10.0.0.300,actions=1",
        "f.toml:9:11: nw_dst: \"10.0.0.300\" is not an IPv4 address or prefix\n  \
         ip,nw_dst=10.0.0.300,actions=1\n            ^^^^^^^^^^",
    );
    check("arp actions=output:2", "tcp_dst=80,actions=1", "tcp_dst needs tcp");
    check(
        "arp actions=output:2",
        "arp actions=drop\narp,actions=1",
        "f.toml:10:1: line 9 has a rule",
    );
    check("2 7 02:00:00:00:00:09", "5 7 02:00:00:00:00:09", "\"5\" is no port of this bridge");
    check("group_id=2,type=all,", "group_id=7,type=all,", "line 4 has a group already");
    check(
        "[[bridge]]",
        "[switch]\nworkers = 3\n\n[[bridge]]",
        "the file says workers = 3, and the switch runs with 1",
    );
    // Found only after rules and ports have changed: the MAC table is too small.
    let hosts: String = (0..11).map(|n| format!("1 0 02:00:00:00:01:{n:02x}\n")).collect();
    check(
        "frags = \"drop\"\ngroups = \"\"\nmeters = \"\"\nflows = '''\npriority=0 actions=NORMAL\n'''\nhosts = \"\"\n",
        &format!("mac-entries = 10\nflows = \"\"\nhosts = \"\"\"\n{hosts}\"\"\"\n"),
        "static host 1 0 02:00:00:00:01:0a: the MAC table is full of static entries",
    );
}

#[test]
fn a_change_is_taken_back_unless_it_is_confirmed() {
    let switch = full();
    let before = save(&switch);
    let other = before.replace("arp actions=output:2", "arp actions=output:1");
    let tried =
        |time| switch.apply(read(&other), author("apply o.toml"), Some(time), &|| {}).unwrap();
    assert!(matches!(switch.confirm(), Err(ApplyError::NothingWaits)));
    tried(Duration::ZERO);
    assert_eq!(save(&switch), other);
    switch.sweep();
    assert_eq!(save(&switch), before, "the time was over");

    let hour = Duration::from_secs(3600);
    tried(hour);
    switch.sweep();
    assert_eq!(save(&switch), other);
    let (waiting, left) = switch.waiting().unwrap();
    assert!(waiting == author("apply o.toml") && left > hour / 2, "{waiting:?}");
    let refused = apply(&switch, &before).unwrap_err().to_string();
    assert!(refused.starts_with("\"apply o.toml\" of root waits to be confirmed, 35"), "{refused}");
    assert!(matches!(switch.roll_back(Some(1), "root", &|| {}), Err(ApplyError::Waits { .. })));
    assert_eq!(switch.roll_back(None, "root", &|| {}).unwrap().len(), 1);
    assert_eq!(save(&switch), before);
    assert!(switch.waiting().is_none());

    tried(hour);
    assert_eq!(switch.confirm().unwrap(), author("apply o.toml"));
    switch.sweep();
    assert_eq!(save(&switch), other);
}

#[test]
fn the_last_ten_states_can_be_returned_to() {
    let switch = start(&[("br0", PORTS)]);
    assert!(matches!(switch.roll_back(None, "root", &|| {}), Err(ApplyError::NoHistory)));
    let state = |n: u32| format!("{}\n", save_with(&switch, n));
    let states: Vec<String> = (0..12).map(state).collect();
    for state in &states {
        apply(&switch, state).unwrap();
    }
    let entries = switch.history();
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, Vec::from_iter(3..=12));
    assert_eq!((entries[9].added, entries[9].removed, entries[9].changed), (0, 0, 1));
    let wanted = |n: usize| read(&states[n]).write();
    // The state before change 5 is that of the fourth file.
    switch.roll_back(Some(5), "root", &|| {}).unwrap();
    assert_eq!(save(&switch), wanted(3));
    assert_eq!(switch.history().last().unwrap().what, "rollback 5");
    switch.roll_back(None, "root", &|| {}).unwrap();
    assert_eq!(save(&switch), wanted(11), "a rollback is taken back likewise");
    assert!(matches!(switch.roll_back(Some(1), "root", &|| {}), Err(ApplyError::NoState(1))));
}

/// The state of a switch with one rule that has the cookie `n`.
fn save_with(switch: &Switch, n: u32) -> String {
    let mut saved = SavedSwitch::of(switch);
    let rule = format!("cookie={n},actions=1");
    let rule = parse_saved_flow(&rule, &NoPortNames).unwrap();
    let line = FlowLine::of(&rule);
    let flow = super::SavedFlow::new(&line, 0, &mut String::new());
    saved.tables.get_mut("br0").unwrap().flows = Some(vec![flow]);
    saved.write()
}

/// Xorshift numbers that are the same in each run (Marsaglia's xorshift).
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn is_heads(&mut self) -> bool {
        self.below(2) == 0
    }
}

const MATCHES: &[&str] = &[
    "",
    "ip,",
    "arp,",
    "tcp,tcp_dst=80,",
    "udp6,",
    "in_port=1,",
    "dl_vlan=5,",
    "vlan_tci=0x1000/0x1000,",
    "icmp,nw_ttl=9,",
    "dl_vlan=5,dl_vlan_pcp=3,ip,nw_dst=10.0.0.0/9,",
    "ip,nw_src=1.2.3.4,metadata=0x5/0xff,",
    "ipv6,ipv6_dst=fe80::/64,reg0=7,",
];
const ACTIONS: &[&str] = &[
    "drop",
    "1",
    "output:2,1",
    "mod_vlan_vid:5,1",
    "set_vlan_vid:5,1",
    "strip_vlan,2",
    "push_vlan:0x88a8,set_field:4101->vlan_vid,2",
    "dec_ttl,output:1",
    "load:5->NXM_NX_REG0[3..9],1",
    "set_field:5/0xf->reg0,1",
    "resubmit(,9),normal",
    "goto_table:77",
    "write_actions(output:1,group:1),goto_table:77",
    "clone(set_field:02:00:00:00:00:01->eth_src,1),2",
    "note:01.02.03,1",
    "group:1",
    "group:2,1",
    "meter:1,output:2",
    "controller:64",
    "write_metadata:0x5/0xf",
    "enqueue:1:2",
    "set_queue:3,1,pop_queue",
    "check_pkt_larger(100)->reg1[0],1",
];
const ATTRIBUTES: &[&str] = &[
    "",
    "cookie=0x7,",
    "idle_timeout=600,",
    "hard_timeout=900,importance=3,",
    "send_flow_rem,",
    "no_byte_counts,label=l,",
];

/// A file with random bridges, ports, groups, rules and hosts.
fn random_file(random: &mut Xorshift) -> String {
    let mut out = String::new();
    for bridge in (0..3).filter(|bridge| *bridge == 0 || random.is_heads()).collect::<Vec<_>>() {
        out += &format!("[[bridge]]\nname = \"br{bridge}\"\n");
        out += random.pick(&["", "frags = \"drop\"\n", "mac-ageing = 77\n", "persist = false\n"]);
        out += "groups = '''\n";
        // A group refers to groups behind it in this order only.
        let mut order: Vec<usize> = (1..=5).collect();
        (0..5).for_each(|n| order.swap(n, n + random.below(5 - n)));
        for (n, id) in order.iter().enumerate().filter(|(_, id)| **id <= 2 || **id == 4) {
            let kind = random.pick(&["all", "select"]);
            let weight = if kind == "select" { random.pick(&["", "weight:3,"]) } else { "" };
            let action = match order.get(n + 1 + random.below(5)) {
                Some(next) => format!("group:{next}"),
                None => random.pick(&["1", "drop", "mod_vlan_vid:5,2", "dec_ttl,2"]).to_owned(),
            };
            out += &format!("group_id={id},type={kind},bucket={weight}actions={action}\n");
        }
        out += "'''\nmeters = '''\n";
        for id in [1, 2, 7] {
            // Rules need meter 1.
            if id == 1 || random.is_heads() {
                let unit = random.pick(&["kbps", "pktps", "kbps,stats"]);
                let rate = 1 + random.below(5);
                out += &format!("meter={id},{unit},bands=type=drop,rate={rate}\n");
            }
        }
        out += "'''\nflows = '''\n";
        for n in 0..random.below(12) {
            let (table, priority) = (random.below(3), 10 * n + random.below(10));
            let attributes = random.pick(ATTRIBUTES);
            let (matching, actions) = (random.pick(MATCHES), random.pick(ACTIONS));
            let rule = format!(
                "table={table},priority={priority},{attributes}{matching}actions={actions}"
            );
            // Not every action fits every match.
            if parse_saved_flow(&rule, &NoPortNames).is_ok() {
                out += &format!("{rule}\n");
            }
        }
        out += "'''\nhosts = '''\n";
        for n in 0..random.below(3) {
            out += &format!("{} 0 02:00:00:00:00:{n:02x}\n", 1 + random.below(2));
        }
        out += "'''\n";
        for port in 1..=2 + random.below(2) {
            let settings =
                random.pick(&["", "tag = 7\n", "protected = true\n", "no-flood = true\n"]);
            let name = random.pick(&["p", "q"]);
            out += &format!(
                "[[bridge.port]]\ndevice = \"dummy:{name}{bridge}{port}\"\nnumber = {port}\n{settings}"
            );
        }
    }
    out
}

#[test]
fn from_every_state_to_every_other_one_and_back() {
    let switch = start(&[]);
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut last = save(&switch);
    for round in 0..300 {
        let wanted = random_file(&mut random);
        let normal = read(&wanted).write();
        let done = apply(&switch, &wanted).unwrap_or_else(|error| panic!("{error}: {wanted}"));
        assert_eq!(save(&switch), normal, "round {round}: {wanted}\n{done:#?}");
        assert_eq!(read(&normal).write(), normal);
        if random.is_heads() && !done.is_empty() {
            let back = switch.roll_back(None, "root", &|| {}).unwrap();
            assert_eq!(back.len(), done.len());
            assert_eq!(save(&switch), last, "round {round}");
        }
        last = save(&switch);
    }
}

#[test]
fn controllers_and_their_settings_are_planned_and_applied() {
    let switch = start(&[("br0", &[])]);
    let file = "\
[ssl]
private_key = \"/k\"
certificate = \"/c\"
ca_cert = \"/a\"

[[bridge]]
name = \"br0\"
fail_mode = \"secure\"
protocols = [\"OpenFlow13\"]
groups = \"\"
meters = \"\"
flows = \"\"
hosts = \"\"

[[bridge.controller]]
target = \"tcp:10.0.0.1\"
max_backoff = 1000
";
    let lines = [
        "+ ssl private_key=/k certificate=/c ca_cert=/a",
        "~ bridge br0 fail_mode=secure protocols=OpenFlow13 (was: defaults)",
        "+ br0 controller tcp:10.0.0.1,max_backoff=1000",
        "- br0 flow priority=0 actions=NORMAL",
    ];
    assert_eq!(apply(&switch, file).unwrap(), lines);
    assert_eq!(save(&switch), file);
    let back = switch.roll_back(None, "root", &|| {}).unwrap();
    assert_eq!(back.len(), 4);
    // A file without rules leaves them alone, but a controller begins with none.
    let short = "[[bridge]]\nname = \"br0\"\ncontroller = [{ target = \"tcp:10.0.0.1\" }]\n";
    let lines = ["+ br0 controller tcp:10.0.0.1", "- br0 flow priority=0 actions=NORMAL"]
        .map(str::to_owned);
    assert_eq!(apply(&switch, short).unwrap(), lines);
}
