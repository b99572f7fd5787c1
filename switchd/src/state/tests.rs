//! Switches that end in every way, and the ones that are started after them.

use super::directory::StateDirectory;
use super::journal::Contents;
use super::kept::Reading;
use super::{AddedRules, Keeper, Kept, StateError, StateSync, Timeouts};
use crate::bridge::{groups, hosts, meters};
use crate::desired::{Bridge, Desired, Port, SslFiles, file};
use crate::switch::{Config, StartError, Switch};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command, FlowMod};
use flow::text::write_group;
use flow::text::{
    FlowLine, GroupCommand, MeterCommand, ParseContext, PrintOptions, parse_flow, parse_group,
    parse_meter,
};
use flow::types::{MacAddr, OfPort, OfVersion};
use flowtable::policy::mac_table::MacKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A directory of a test's own, which ends with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("switchd-state-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Another directory with a journal of these bytes.
    fn with_journal(bytes: &[u8]) -> Self {
        let folder = Self::new();
        fs::write(folder.journal(), bytes).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn try_start(path: &Path, configured: Desired) -> Result<Switch, StartError> {
    let state = Some((path.to_owned(), StateSync::Always));
    Switch::start(Config { state, ..Config::new(configured) })
}

fn start(folder: &Folder, configured: &Desired) -> Switch {
    try_start(&folder.0, configured.clone()).unwrap()
}

fn rule(command: Command, text: &str, version: OfVersion) -> FlowMod {
    parse_flow(text, &ParseContext { command, version, ..ParseContext::default() }).expect(text)
}

/// Changes rules in one transaction; a text that begins with `-` deletes.
fn change(switch: &Switch, bridge: &str, rules: &[&str]) {
    let rules: Vec<FlowMod> = rules
        .iter()
        .map(|text| match text.strip_prefix('-') {
            Some(text) => rule(Command::Delete, text, OfVersion::OpenFlow15),
            None => rule(Command::Add, text, OfVersion::OpenFlow15),
        })
        .collect();
    switch.on(bridge).unwrap().bridge().apply(&rules, switch.now()).unwrap();
    switch.wait_until_kept().unwrap();
}

fn change_group(switch: &Switch, command: GroupCommand, text: &str) {
    let context = ParseContext { version: OfVersion::OpenFlow15, ..ParseContext::default() };
    let request = parse_group(text, command, &context).expect(text);
    groups::change(switch.on("br0").unwrap(), &[request]).unwrap();
    switch.wait_until_kept().unwrap();
}

fn change_meter(switch: &Switch, command: MeterCommand, text: &str) {
    let request = parse_meter(text, command).expect(text);
    meters::change(switch.on("br0").unwrap(), &[request]).unwrap();
    switch.wait_until_kept().unwrap();
}

#[test]
fn a_rule_keeps_the_numbers_that_only_controllers_see() {
    let folder = Folder::new();
    let configured = Desired { bridges: vec![Bridge::new("br0")], ..Desired::default() };
    let outputs = |max_len| vec![Action::Output { port: OfPort(1), max_len }];
    {
        let switch = start(&folder, &configured);
        let flow_mod = |priority, max_len| {
            FlowMod::new(Command::Add, priority, Match::any(), outputs(max_len))
        };
        let rules = [flow_mod(1, 0), flow_mod(2, 0xffe5)];
        switch.on("br0").unwrap().bridge().apply(&rules, switch.now()).unwrap();
        switch.wait_until_kept().unwrap();
    }
    let switch = start(&folder, &configured);
    let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
    let mut walk = switch.on("br0").unwrap().bridge().walk(&every);
    let mut kept = Vec::new();
    while walk.next_slice(|entry| kept.push((entry.priority, entry.value.actions.to_vec()))) {}
    // Without a controller, the bridge has a rule with the priority 0.
    kept.retain(|(priority, _)| *priority > 0);
    kept.sort_by_key(|(priority, _)| *priority);
    assert_eq!(kept, [(1, outputs(0)), (2, outputs(0xffe5))]);
}

/// Everything of a switch that is to survive, in words.
fn account(switch: &Switch) -> Vec<String> {
    let mut lines = vec![file::write(&switch.desired())];
    let options = PrintOptions { stats: false, ..PrintOptions::default() };
    for name in switch.bridge_names() {
        let bridge = switch.on(&name).unwrap();
        let every = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let mut walk = bridge.bridge().walk(&every);
        let mut rules = Vec::new();
        while walk.next_slice(|entry| {
            let line = crate::event_text::flow_line(
                entry.value,
                &entry.matches,
                entry.priority,
                Duration::ZERO,
            );
            let mut text = format!("{name}: ");
            FlowLine { matching: &entry.matches, ..line }.write(&mut text, &options);
            rules.push(format!("{text} {:?}", entry.value.actions));
        }) {}
        rules.sort();
        lines.extend(rules);
        let mut walk = bridge.bridge().walk_groups();
        while let Some(slice) = walk.next_slice() {
            for entry in slice {
                let mut text = format!("{name}: ");
                write_group(&mut text, &entry.group, &options);
                lines.push(text);
            }
        }
        let mut walk = bridge.bridge().walk_meters();
        while let Some(slice) = walk.next_slice() {
            lines.extend(slice.iter().map(|entry| format!("{name}: {:?}", entry.meter)));
        }
        for host in hosts::list(bridge).into_iter().filter(|host| host.age.is_none()) {
            lines.push(format!("{name}: host {:?} {}", host.key, host.port));
        }
    }
    lines
}

const PORTS: &[&str] = &["dummy:p1", "dummy:p2,tag=7"];

/// Makes changes of every kind, a transaction each. Calls `after` after each of them.
fn make_changes(switch: &Switch, mut after: impl FnMut(&Switch)) {
    let steps: [&dyn Fn(); 18] = [
        &|| change(switch, "br0", &["priority=9,ip,cookie=5,actions=2", "arp,actions=flood"]),
        &|| {
            change_group(
                switch,
                GroupCommand::Add,
                "group_id=7,type=select,bucket=weight:2,output:1",
            )
        },
        &|| change_meter(switch, MeterCommand::Add, "meter=3,kbps,bands=type=drop,rate=9"),
        &|| change_meter(switch, MeterCommand::Add, "meter=4,pktps,stats,bands=type=drop,rate=9"),
        &|| change_meter(switch, MeterCommand::Modify, "meter=3,pktps,bands=type=drop,rate=8"),
        &|| change(switch, "br0", &["table=3,udp,actions=group:7", "-arp"]),
        &|| switch.add_port("br0", Port::parse("dummy:p3").unwrap()).map(drop).unwrap(),
        &|| switch.add_bridge(Bridge::new("br1")).unwrap(),
        &|| switch.set_controllers("br1", vec!["tcp:127.0.0.1:1".parse().unwrap()]).unwrap(),
        &|| {
            let [key, certificate, ca_cert] = ["/k", "/c", "/a"].map(Into::into);
            switch.set_ssl(Some(SslFiles::new(key, certificate, ca_cert).unwrap())).unwrap();
        },
        &|| {
            change(
                switch,
                "br1",
                &["-", "name=one,label=all,importance=3,idle_timeout=900,actions=1"],
            )
        },
        &|| {
            let key = MacKey { vlan: 7, mac: MacAddr([2, 0, 0, 0, 0, 1]) };
            hosts::give(switch.on("br0").unwrap(), key, OfPort(2)).unwrap();
        },
        &|| change_group(switch, GroupCommand::Modify, "group_id=7,type=all,bucket=output:2"),
        &|| assert!(switch.change_port("br0", OfPort(1), |port| port.settings.protected = true)),
        &|| change(switch, "br0", &["priority=9,ip,actions=set_field:2->reg1,resubmit(,3)"]),
        &|| {
            // Actions that other versions have other words for.
            let rules = [
                "dl_vlan=5,actions=mod_vlan_vid:6,enqueue:1:2",
                "actions=mod_dl_src:02:00:00:00:00:09,1",
            ];
            let rules = rules.map(|text| rule(Command::Add, text, OfVersion::OpenFlow10));
            switch.on("br0").unwrap().bridge().apply(&rules, switch.now()).unwrap();
        },
        &|| assert!(switch.remove_port("br0", OfPort(2))),
        &|| switch.remove_bridge("br1").unwrap(),
    ];
    for step in steps {
        step();
        switch.wait_until_kept().unwrap();
        after(switch);
    }
}

#[test]
fn a_switch_begins_as_the_last_one_ended() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    make_changes(&switch, |_| {});
    let before = account(&switch);
    assert!(before.len() > 5, "{before:#?}");
    drop(switch);
    for _ in 0..2 {
        let switch = start(&folder, &configured);
        assert_eq!(account(&switch), before);
    }
}

#[test]
fn rules_end_with_the_first_controller_of_the_configuration() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    change(&switch, "br0", &["priority=9,ip,actions=2"]);
    let with_rule = account(&switch);
    drop(switch);
    let mut controlled = configured.clone();
    controlled.set_controllers("br0", vec!["tcp:127.0.0.1:1".parse().unwrap()]).unwrap();
    let rules =
        |switch: &Switch| account(switch).iter().filter(|line| line.contains("Output")).count();
    assert_eq!(with_rule.iter().filter(|line| line.contains("Output")).count(), 2);
    let switch = start(&folder, &controlled);
    assert_eq!(rules(&switch), 0);
    change(&switch, "br0", &["priority=9,ip,actions=2"]);
    drop(switch);
    let switch = start(&folder, &controlled);
    assert_eq!(rules(&switch), 1, "a controller that stays keeps its rules");
    drop(switch);
    assert_eq!(rules(&start(&folder, &configured)), 1, "the rule of a learning switch");
}

/// A switch that is killed leaves the journal as it is after the last change that was waited for.
#[test]
fn a_killed_switch_has_kept_every_change() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    make_changes(&switch, |switch| {
        let copy = Folder::with_journal(&fs::read(folder.journal()).unwrap());
        assert_eq!(account(&start(&copy, &configured)), account(switch));
    });
}

/// Wherever a write was cut off, what is kept is what was so before the record that was being written.
#[test]
fn a_journal_that_is_cut_off_anywhere_is_before_or_after_a_change() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    let first = fs::read(folder.journal()).unwrap().len();
    make_changes(&switch, |_| {});
    let bytes = fs::read(folder.journal()).unwrap();
    let ends: Vec<usize> = (first..=bytes.len())
        .filter(|end| *end == bytes.len() || bytes[*end..].starts_with(b"record "))
        .collect();
    let (mut whole, mut states) = (String::new(), 0);
    for size in first..=bytes.len() {
        let (kept, is_torn) = kept(&bytes[..size]);
        if ends.contains(&size) {
            states += usize::from(kept != whole);
            whole = kept;
            assert!(!is_torn, "{size} bytes");
        } else {
            assert_eq!(kept, whole, "{size} bytes");
            assert!(is_torn, "{size} bytes");
        }
    }
    assert!(states > 13, "each of 13 changes is seen: {states}");
}

/// What these bytes of a journal keep, in words, and whether their end is torn.
fn kept(bytes: &[u8]) -> (String, bool) {
    let contents = Contents::new(Path::new("journal"), bytes.to_vec()).unwrap();
    let Reading { kept, torn, .. } = Kept::read(&contents).unwrap();
    (format!("{:?} {:?}", kept.wanted, sorted(&kept)), torn.is_some())
}

fn sorted(kept: &Kept<'_>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (name, bridge) in &kept.bridges {
        lines.extend(bridge.rules.values().map(|rule| format!("{name} {rule:?}")));
        lines.extend(bridge.groups.values().map(|group| format!("{name} {group:?}")));
        lines.extend(bridge.meters.values().map(|meter| format!("{name} {meter:?}")));
        lines.extend(bridge.hosts.iter().map(|host| format!("{name} {host:?}")));
    }
    lines.sort();
    lines
}

#[test]
fn a_torn_end_is_left_out_and_copied() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    change(&switch, "br0", &["ip,actions=1"]);
    let before = account(&switch);
    change(&switch, "br0", &["arp,actions=1"]);
    drop(switch);
    let mut bytes = fs::read(folder.journal()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let folder = Folder::with_journal(&bytes);
    assert_eq!(account(&start(&folder, &configured)), before);
    assert_eq!(fs::read(folder.journal().with_extension("torn")).unwrap(), bytes);
}

/// A bridge without rules forwards nothing. The rule that a new bridge has must not come back.
#[test]
fn a_bridge_without_rules_stays_without() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    change(&switch, "br0", &["-"]);
    let before = account(&switch);
    drop(switch);
    // The journal's torn end has the next switch write a new one.
    let torn = [fs::read(folder.journal()).unwrap(), b"record 0".to_vec()].concat();
    fs::write(folder.journal(), torn).unwrap();
    for _ in 0..3 {
        assert_eq!(account(&start(&folder, &configured)), before);
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let refused = |bytes: &[u8]| {
        let folder = Folder::with_journal(bytes);
        let error = try_start(&folder.0, Desired::of(&[])).err().expect("refused").to_string();
        assert_eq!(fs::read(folder.journal()).unwrap(), bytes, "it stays as it is");
        error.replace(folder.0.to_str().unwrap(), "DIR")
    };
    assert_eq!(refused(b"hello\n"), "DIR/journal is not a journal of switchd: move it away");
    assert_eq!(
        refused(b"switchd journal, format 9\n"),
        "DIR/journal: has format 9, this version reads up to 2; start the newer version again, or another --state"
    );
    let lines = "{\"bridge\":\"br0\"}\n{\"teapot\":{}}\n";
    let error = refused(&journal(1, lines.as_bytes()));
    assert!(
        error.starts_with("DIR/journal: the record at byte 26: unknown variant `teapot`"),
        "{error}"
    );
}

#[test]
fn an_older_format_is_read_and_written_anew() {
    let rules = ["priority=9,tcp,nw_dst=10.0.0.0/8,tp_dst=80,actions=2", "dl_vlan=5,actions=drop"];
    let configured = Desired::of(&[("br0", PORTS)]);
    let switch = start(&Folder::new(), &configured);
    change(&switch, "br0", &[&["-"], &rules[..]].concat());
    let expected = account(&switch);
    let lines = [
        r#"{"bridge":"br0"}"#,
        r#"{"rule":{"table":0,"priority":9,"match":"tcp,nw_dst=10.0.0.0/8,tp_dst=80","flags":{"reset_counts":true},"actions":[{"output":{"port":2}}]}}"#,
        r#"{"rule":{"table":0,"priority":8,"match":"arp,arp_op=1","actions":[{"output":{"port":2}}]}}"#,
        r#"{"rule":{"table":0,"priority":32768,"match":"dl_vlan=5"}}"#,
        r#"{"no-rule":{"table":0,"priority":8,"match":"arp,arp_op=1"}}"#,
    ];
    let older = journal(1, (lines.join("\n") + "\n").as_bytes());
    let folder = Folder::with_journal(&older);
    let switch = start(&folder, &configured);
    assert_eq!(without_flags(account(&switch)), without_flags(expected));
    assert!(fs::read(folder.journal()).unwrap().starts_with(b"switchd journal, format 2\n"));
    // A rule of the older format has the same place as one of the newer.
    change(&switch, "br0", &["-tcp,nw_dst=10.0.0.0/8,tp_dst=80"]);
    let expected = account(&switch);
    drop(switch);
    assert_eq!(account(&start(&folder, &configured)), expected);
}

/// Rules that were added by another version of OpenFlow have other flags.
fn without_flags(account: Vec<String>) -> Vec<String> {
    account.into_iter().map(|line| line.replace("reset_counts ", "")).collect()
}

/// A journal of one record.
fn journal(format: u32, changes: &[u8]) -> Vec<u8> {
    let (size, crc) = (changes.len(), crc32fast::hash(changes));
    let head = format!("switchd journal, format {format}\nrecord {size:012} {crc:08x}\n");
    [head.as_bytes(), changes].concat()
}

/// Another version may number the parts of matches otherwise.
#[test]
fn a_journal_with_other_parts_of_matches_is_read_and_written_anew() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    let changes = [
        &br#"{"match-parts":[{"field":"eth_dst","offset":0,"n_bits":48},{"field":"eth_type","offset":0,"n_bits":16}]}"#[..],
        b"\n{\"bridge\":\"br0\"}\n",
        // Table 0, priority 9, and part 1; no attributes; an output to port 2.
        &[1, 13, 0, 0, 0, 0, 9, 0, 4, 0, 2, 0, 8, 6, 0, 1, 2, 0],
        // The rule of part 0 is not there any more.
        &[2, 13, 0, 0, 0, 0, 9, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 9],
    ];
    let folder = Folder::with_journal(&journal(2, &changes.concat()));
    change(&switch, "br0", &["-", "priority=9,arp,actions=2"]);
    let expected = without_flags(account(&switch));
    let switch = start(&folder, &configured);
    assert_eq!(without_flags(account(&switch)), expected);
    drop(switch);
    assert_eq!(without_flags(account(&start(&folder, &configured))), expected);
    let error = |changes: &[u8]| {
        let folder = Folder::with_journal(&journal(2, changes));
        let error = try_start(&folder.0, configured.clone()).err().expect("refused").to_string();
        error.split_once("byte 26: ").expect("the place").1.to_owned()
    };
    assert_eq!(error(changes[2]), "no record names the parts of matches");
    let cut = [changes[0], changes[1], &changes[2][..9]].concat();
    let place = changes[0].len() + changes[1].len();
    assert_eq!(error(&cut), format!("the bytes from its byte {place} on are no rule"));
}

/// What a session tells of the requests that it has read is what the tables have afterwards.
#[test]
fn rules_that_were_read_as_bytes_are_kept_as_those_of_the_tables() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", PORTS)]));
    let switch = start(&folder, &configured);
    let texts = [
        "table=3,priority=7,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=group:7,2",
        "ip,cookie=5,idle_timeout=9,importance=4,actions=set_field:2->reg1,resubmit(,3),2",
        "ipv6,ipv6_dst=2001:db8::/33,idle_timeout=900,name=a:b,label=x,actions=goto_table:4",
        "arp,actions=1",
        "arp,actions=drop",
    ];
    let add = |switch: &Switch, deleted: Option<&str>| {
        change_group(switch, GroupCommand::Add, "group_id=7,type=all,bucket=output:1");
        let mut added = AddedRules::default();
        let on = switch.on("br0").unwrap();
        let mut transaction = on.bridge().begin();
        let adds = texts.map(|text| rule(Command::Add, text, OfVersion::OpenFlow15));
        let deletions = deleted.map(|text| rule(Command::Delete, text, OfVersion::OpenFlow15));
        for request in adds.iter().chain(&deletions) {
            added.push(request);
            transaction.apply(request, switch.now()).unwrap();
        }
        transaction.annotate(Box::new(added));
        transaction.commit();
        switch.wait_until_kept().unwrap();
    };
    for deleted in [None, Some("tcp,table=3")] {
        change(&switch, "br0", &["-"]);
        change_group(&switch, GroupCommand::Delete, "group_id=7");
        add(&switch, deleted);
        let before = account(&switch);
        let copy = Folder::with_journal(&fs::read(folder.journal()).unwrap());
        assert_eq!(account(&start(&copy, &configured)), before);
        let rules = before.iter().filter(|line| line.ends_with(']')).count();
        assert_eq!(rules, if deleted.is_some() { 3 } else { 4 }, "{before:#?}");
    }
}

#[test]
fn a_directory_belongs_to_one_switch() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", &[])]));
    let _switch = start(&folder, &configured);
    let error = try_start(&folder.0, configured).err().expect("in use");
    assert!(matches!(error, StartError::State(StateError::InUse(_))), "{error}");
}

#[test]
fn a_hard_timeout_goes_on_while_the_switch_is_off() {
    let (folder, configured) = (Folder::new(), Desired::of(&[("br0", &[])]));
    let switch = start(&folder, &configured);
    change(
        &switch,
        "br0",
        &["-", "ip,hard_timeout=1000,actions=1", "arp,hard_timeout=10,actions=1"],
    );
    drop(switch);
    let directory = StateDirectory::open(&folder.0).unwrap();
    let contents = directory.read().unwrap();
    let (mut kept, _) = directory.keep(contents.as_ref()).unwrap();
    let later = |end: u64| end - 100;
    let mut left = Vec::new();
    for rule in kept.bridges.get_mut("br0").unwrap().rules.values_mut() {
        rule.expires = rule.expires.map(later);
        left.push(rule.to_flow_mod(Timeouts::Rest).unwrap().map(|rule| rule.hard_timeout));
    }
    left.sort();
    assert!(matches!(left[..], [None, Some(898..=900)]), "{left:?}");
}

#[test]
fn the_configuration_counts_where_it_has_changed() {
    let names = |desired: &Desired| -> Vec<String> {
        let ports = |bridge: &Bridge| {
            let ports: Vec<String> = bridge.ports.iter().map(ToString::to_string).collect();
            format!("{}: {}", bridge.name, ports.join(" "))
        };
        desired.bridges.iter().map(ports).collect()
    };
    let configured = Desired::of(&[("br0", &["dummy:a", "dummy:b", "dummy:c"]), ("br1", &[])]);
    let mut wanted = configured.clone();
    wanted.remove_port("br0", OfPort(2)).unwrap();
    wanted.add_port("br0", Port::parse("dummy:x").unwrap()).unwrap();
    wanted.add_bridge(Bridge::new("br2")).unwrap();
    let kept =
        Kept { configured: Some(configured.clone()), wanted: Some(wanted), ..Kept::default() };
    // As before: what commands did stays.
    assert_eq!(
        names(&kept.merge(&configured).unwrap()),
        ["br0: dummy:a,number=1 dummy:c,number=3 dummy:x,number=2", "br1: ", "br2: "]
    );
    // One port with another setting, one taken away, one new; and a bridge taken away.
    let now = Desired::of(&[("br0", &["dummy:a,tag=5", "dummy:b", "dummy:d,number=9"])]);
    assert_eq!(
        names(&kept.merge(&now).unwrap()),
        ["br0: dummy:a,number=1,vlan_mode=access,tag=5 dummy:x,number=2 dummy:d,number=9", "br2: "]
    );
    // What cannot be is refused by name.
    let now = Desired::of(&[("br0", &["dummy:a", "dummy:c,number=3", "dummy:d,number=2"])]);
    let error = kept.merge(&now).unwrap_err().to_string();
    assert!(error.contains("number 2"), "{error}");
    // Without a configuration there is a bridge.
    assert_eq!(names(&Kept::default().merge(&Desired::default()).unwrap()), ["br0: "]);
}

#[test]
fn whoever_waits_for_a_slow_disk_gives_signs_of_life() {
    // Nobody takes the messages, as if the disk took for ever.
    let (keeper, intake) = Keeper::new();
    let steps = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            keeper.wait(&|| {
                steps.fetch_add(1, Ordering::Relaxed);
            })
        });
        lab::eventually("signs of life", || steps.load(Ordering::Relaxed) > 1).unwrap();
        assert!(!waiting.is_finished());
        drop(intake);
        assert!(waiting.join().unwrap().is_ok(), "the switch has ended");
    });
}
