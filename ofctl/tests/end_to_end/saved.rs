//! The whole switch as a file: saved, planned, applied, confirmed, taken back.

use super::bench::Bench;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A switch with rules, groups and a host.
fn filled() -> Bench {
    let bench = Bench::new();
    bench.ok(&["add-group", "group_id=1,type=all,bucket=output:1,bucket=output:2"]);
    bench.ok(&["-OOpenFlow15", "add-group", "group_id=2,type=select,selection_method=hash,fields(ip_src),bucket=weight:3,actions=set_field:10.0.0.1->ip_dst,group:1"]);
    bench.ok(&["add-flow", "priority=5,tcp,in_port=p1,actions=mod_vlan_vid:5,output:p2"]);
    bench.ok(&["fdb-add", "p3", "0", "02:00:00:00:00:07"]);
    bench
}

#[test]
fn a_saved_switch_is_applied_to_an_empty_one() {
    let bench = filled();
    let text = bench.ok(&["save"]);
    let expected = "\
[[bridge]]
name = \"br0\"
groups = '''
group_id=1,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,actions=output:2
group_id=2,type=select,selection_method=hash,fields=ip_src,bucket=bucket_id:0,weight:3,actions=set_field:10.0.0.1->ip_dst,group:1
'''
meters = \"\"
flows = '''
priority=5,tcp,in_port=1 actions=mod_vlan_vid:5,output:2
priority=0 actions=NORMAL
'''
hosts = '''
3 0 02:00:00:00:00:07
'''

[[bridge.port]]
device = \"dummy:p1\"
number = 1

[[bridge.port]]
device = \"dummy:p2\"
number = 2

[[bridge.port]]
device = \"dummy:p3\"
number = 3
";
    assert_eq!(text, expected);
    let path = bench.file("saved.toml", "");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    bench.ok(&["save", &path]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "the file keeps its mode");
    let (status, _, errors) = bench.run(&["save", "/proc/nowhere/x"]);
    assert_eq!(status, 1);
    assert!(errors.starts_with("ofctl: write /proc/nowhere/x: "), "{errors}");

    let other = Bench::new();
    other.ok(&["del-br", "br0"]);
    let done = other.ok(&["apply", &path]);
    assert!(done.starts_with("+ bridge br0\n+ br0 port dummy:p1,number=1\n"), "{done}");
    assert_eq!(other.ok(&["save"]), text);
    assert_eq!(other.notes(&["apply", &path]), ["no difference: nothing is changed"]);
    let (status, done, _) = other.run_with(&["apply", "-"], "");
    assert_eq!((status, done.lines().count()), (0, 9), "an empty file is an empty switch: {done}");
    assert_eq!(other.ok(&["list-br"]), "");
    other.ok(&["rollback"]);
    assert_eq!(other.ok(&["save"]), text);
}

#[test]
fn a_plan_tells_differences_by_exit_status_and_as_json() {
    let bench = filled();
    let text = bench.ok(&["save"]);
    let same = bench.file("same.toml", &text);
    assert_eq!(bench.run(&["plan", "--exit-code", &same]).0, 0);
    assert_eq!(bench.notes(&["plan", &same]), ["no difference"]);
    let new = text.replace("priority=0 actions=NORMAL", "arp,actions=p3");
    let new = bench.file("new.toml", &new);
    let lines = "+ br0 flow arp actions=output:3\n- br0 flow priority=0 actions=NORMAL\n";
    assert_eq!(bench.ok(&["plan", &new]), lines);
    let (status, output, _) = bench.run(&["plan", "--exit-code", &new]);
    assert_eq!((status, output.as_str()), (2, lines));
    let json = bench.ok(&["plan", "--json", &new]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let first = serde_json::json!({
        "action": "add", "kind": "flow", "bridge": "br0",
        "after": "arp actions=output:3",
    });
    assert_eq!(json[0], first);
    assert_eq!(bench.ok(&["save"]), text, "nothing has changed");
    bench.ok(&["apply", &new]);
    assert_eq!(bench.ok(&["plan", "--history", "1"]).lines().count(), 2);
    assert_eq!(bench.run(&["plan"]).0, 2);
    assert_eq!(bench.run(&["plan", "--history", "1", &new]).0, 2);

    let bad = bench.file("bad.toml", &text.replace("priority=0 ", "ip,nw_dst=10.0.0.300 "));
    let (status, _, errors) = bench.run(&["apply", &bad]);
    assert_eq!(status, 1);
    insta::assert_snapshot!(errors.replace(&bench.folder(), ""), @r#"
    ofctl: /bad.toml:10: nw_dst: "10.0.0.300" is not an IPv4 address or prefix
      ip,nw_dst=10.0.0.300 actions=NORMAL
                ^^^^^^^^^^
    "#);
    let bad = bench.file("bad.toml", &text.replace("actions=NORMAL", "actions=group:9"));
    let (_, _, errors) = bench.run(&["plan", &bad]);
    assert!(
        errors.contains("/bad.toml:10: OFPBAC_BAD_OUT_GROUP: group 9 does not exist"),
        "{errors}"
    );
    assert!(errors.contains("\n  priority=0 actions=group:9\n"), "{errors}");
    let bad = bench.file("bad.toml", "[[bridge]]\nnam = 1\n");
    let (_, _, errors) = bench.run(&["plan", &bad]);
    assert!(errors.contains("bad.toml:2: unknown key \"nam\""), "{errors}");
}

#[test]
fn a_change_waits_for_its_confirmation() {
    let bench = filled();
    let text = bench.ok(&["save"]);
    let new = bench.file("new.toml", &text.replace("priority=0", "priority=1"));
    let (status, _, errors) = bench.run(&["confirm"]);
    assert_eq!((status, errors.as_str()), (1, "ofctl: no change waits to be confirmed\n"));
    let told = bench.notes(&["apply", &new, "--confirm", "1h"]);
    assert_eq!(told, ["the switch takes this back in 3600 s unless ofctl confirm comes"]);
    let shown = bench.ok(&["show"]);
    assert!(
        shown.contains("/new.toml\" of ") && shown.contains("waits for ofctl confirm"),
        "{shown}"
    );
    let (status, _, errors) = bench.run(&["apply", &new]);
    assert_eq!(status, 1);
    assert!(
        errors.contains("new.toml\" of ") && errors.contains("hint: ofctl confirm"),
        "{errors}"
    );
    assert_eq!(bench.ok(&["rollback"]).lines().count(), 2);
    assert_eq!(bench.ok(&["save"]), text);
    bench.ok(&["apply", &new, "--confirm=1h"]);
    bench.ok(&["confirm"]);
    assert!(!bench.ok(&["show"]).contains("confirm"));
    assert_eq!(bench.run(&["apply", &new, "--confirm", "soon"]).0, 2);

    let history = bench.ok(&["history"]);
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 3, "{history}");
    assert!(lines[0].starts_with("1: before \"apply /"), "{history}");
    assert!(lines[1].contains("before \"rollback of apply /"), "{history}");
    assert!(lines[2].ends_with("Z (+1 -1 ~0)"), "{history}");
    bench.ok(&["replace-flows", &bench.file("flows", "arp,actions=1\n")]);
    let history = bench.ok(&["history", "--json"]);
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    assert!(history[3]["what"].as_str().unwrap().starts_with("replace-flows br0 "), "{history}");
    assert_eq!((&history[3]["n_added"], &history[3]["n_removed"]), (&1.into(), &2.into()));
    bench.ok(&["rollback", "1"]);
    assert_eq!(bench.ok(&["save"]), text);
    let (status, _, errors) = bench.run(&["rollback", "77"]);
    assert_eq!(status, 1);
    assert_eq!(
        errors,
        "ofctl: the history has no state 77\nhint: ofctl history lists the states\n"
    );
}

#[test]
fn a_dump_of_groups_can_be_fed_back() {
    for version in ["OpenFlow10", "OpenFlow11", "OpenFlow13", "OpenFlow15"] {
        let bench = Bench::new();
        let version = format!("-O{version}");
        for group in [
            "group_id=1,type=all,bucket=output:1,bucket=dec_ttl,output:2",
            "group_id=2,type=select,bucket=weight:3,actions=group:1,bucket=drop",
            "group_id=3,type=ff,bucket=watch_port:p1,actions=output:1",
            "group_id=4,type=indirect,bucket=output:3",
        ] {
            bench.ok(&[&version, "add-group", group]);
        }
        let dump = bench.ok(&[&version, "dump-groups"]);
        let named = bench.ok(&[&version, "--names", "dump-groups"]);
        for text in [&dump, &named] {
            bench.ok(&["del-groups"]);
            bench.ok(&[&version, "add-groups", &bench.file("groups", text)]);
            assert_eq!(bench.ok(&[&version, "dump-groups"]), dump);
        }
    }
}
