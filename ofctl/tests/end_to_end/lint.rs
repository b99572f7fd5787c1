//! The verb `lint`, for files and for a bridge.

use crate::bench::Bench;

#[test]
fn rules_of_the_switch_are_compared_with_each_other_and_with_its_ports() {
    let bench = Bench::new();
    assert_eq!(bench.ok(&["lint"]), "1 rule: no findings\n");
    bench.ok(&["add-flow", "priority=9,ip,actions=output:1,output:77"]);
    bench.ok(&["add-flow", "cookie=7,priority=5,tcp,actions=output:p2"]);
    bench.ok(&["add-flow", "priority=4,arp,actions=resubmit(,9)"]);
    let (status, text, errors) = bench.run(&["lint", "br0"]);
    assert_eq!((status, errors.as_str()), (1, ""));
    insta::assert_snapshot!(text, @r"
    priority=9,ip actions=output:1,output:77
      outputs to port 77, which does not exist
      add the port, or output to another one

    cookie=0x7, priority=5,tcp actions=output:2
      can never match: a better rule covers it
        priority=9,ip actions=output:1,output:77
      delete it, or give it a higher priority

    priority=4,arp actions=resubmit(,9)
      sends packets to table 9, which has no rule
      add a rule to table 9, or do not send packets there

    4 rules: 3 findings
    ");
    let (status, text, _) = bench.run(&["--json", "lint"]);
    assert_eq!(status, 1);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let problems: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| f["problem"].as_str()).collect();
    assert!(problems.contains(&Some("shadowed")), "{text}");
}

#[test]
fn a_file_is_looked_at_among_the_ports_of_the_switch_if_there_is_one() {
    let bench = Bench::new();
    let rules = "# two\npriority=3,in_port=1,actions=7\n\ntcp,actions=1\nudp,actions=2\n\
                 ip,nw_dst=10.0.0.1,actions=drop\ndelete arp\n";
    let file = bench.file("rules", rules);
    let (status, text, _) = bench.run(&["lint", &file]);
    assert_eq!(status, 1);
    insta::assert_snapshot!(text.replace(&bench.folder(), ""), @r"
    /rules:2: priority=3,in_port=1 actions=output:7
      outputs to port 7, which does not exist
      add the port, or output to another one

    /rules:6: ip,nw_dst=10.0.0.1 actions=drop
      overlaps with a rule of the same priority that does something else
        /rules:4: tcp actions=output:1
      give one of them a higher priority: here the rule that was added first wins, which OpenFlow leaves undefined

    4 rules: 2 findings
    not checked: lines that delete or modify rules (1)
    ");
    // Without a switch, ports and groups are not checked.
    let empty = bench.folder() + "/none";
    let (status, text, _) = bench.run_with(&["lint", "-"], "actions=resubmit(,0)\n");
    assert_eq!(status, 1, "{text}");
    let (status, text, errors) = bench.run(&["lint", "--socket", &empty, &file]);
    assert_eq!((status, text.as_str()), (1, ""));
    assert!(errors.contains("no switchd answers"), "{errors}");
}

#[test]
fn what_is_no_rule_is_told_with_its_place() {
    let bench = Bench::new();
    let (status, _, errors) = bench.run_with(&["lint", "-"], "ip,actions=1\nfrob\n");
    assert_eq!(status, 1);
    assert!(errors.starts_with("ofctl: <stdin>:2: unknown keyword"), "{errors}");
    let (status, _, errors) = bench.run(&["lint", "nothing"]);
    assert_eq!(status, 1);
    assert!(errors.starts_with("ofctl: \"nothing\" is not a file: it is not a bridge"), "{errors}");
    assert_eq!(bench.run(&["lint", "a", "b"]).0, 2);
}
