//! `--json` of every verb, compared with docs/json.md: each field of an answer stands on the page with its
//! type, and each field of the page that is not optional is in the answer.

use crate::bench::Bench;
use lab::eventually;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};

const PAGE: &str = include_str!("../../../docs/json.md");

/// The words of each verb, and the exit status, in an order in which all of them succeed. `FILE` and `WRONG`
/// stand for the paths of a file of rules and of a file with mistakes, `GROUPS` for that of a file of groups,
/// and `SAVED` for that of a whole switch.
const LINES: &[(&str, i32)] = &[
    ("add-br br1", 0),
    ("add-br br2", 0),
    ("list-br", 0),
    ("add-flow br0 cookie=7,name=web,label=shop,in_port=1,tcp,actions=resubmit(,1),output:77", 0),
    ("-O OpenFlow13 add-flow br0 table=1,tcp,actions=write_actions(output:2)", 0),
    ("add-flows br0 FILE", 0),
    ("mod-flows br0 arp,actions=output:2", 0),
    ("-O OpenFlow13 add-group br0 group_id=1,type=ff,bucket=watch_port:1,actions=output:1", 0),
    ("-O OpenFlow13 add-group br0 group_id=3,type=ff,bucket=watch_group:1,actions=output:1", 0),
    ("-O OpenFlow13 add-groups br0 GROUPS", 0),
    ("-O OpenFlow13 mod-group br0 group_id=2,type=all,bucket=output:2", 0),
    (
        "-O OpenFlow15 insert-buckets br0 group_id=2,command_bucket_id=last,bucket=bucket_id:7,actions=output:3",
        0,
    ),
    ("-O OpenFlow15 remove-buckets br0 group_id=2,command_bucket_id=last", 0),
    ("dump-groups br0", 0),
    ("dump-group-stats br0", 0),
    ("add-meter br0 meter=1,kbps,burst,stats,bands=type=drop,rate=1000,burst_size=100", 0),
    ("mod-meter br0 meter=1,kbps,burst,bands=type=dscp_remark,rate=9,burst_size=9,prec_level=1", 0),
    ("dump-meters br0", 0),
    ("meter-stats br0 meter=1", 0),
    ("meter-features br0", 0),
    ("packet-out br0 in_port=1,packet=02000000000202000000000188b5,actions=TABLE", 0),
    ("packet-out br0 in_port=1,packet=02000000000202000000000188b5,actions=drop", 0),
    ("dump-flows br0", 0),
    ("dump-flows br0 --sort", 0),
    ("dump-aggregate br0 tcp", 0),
    ("dump-tables br0", 0),
    ("mod-table br0 3 vacancy:10,20", 0),
    ("dump-table-desc br0", 0),
    ("diff-flows br0 FILE", 2),
    ("fdb-add br0 p2 5 02:00:00:00:00:01", 0),
    ("fdb-show br0", 0),
    ("fdb-config br0 ageing=60", 0),
    ("fdb-stats br0", 0),
    ("add-flow br0 priority=60000,ip,actions=ct(commit,zone=5)", 0),
    (PACKET_OF_A_CONNECTION, 0),
    ("del-flows --strict br0 priority=60000,ip", 0),
    ("dump-conntrack zone=5", 0),
    ("ct-stats", 0),
    ("ct-bkts", 0),
    ("ct-set-limits default=9 zone=5,limit=7", 0),
    ("ct-get-limits", 0),
    ("ct-del-limits zone=5,6", 0),
    ("ct-set-maxconns 1000000", 0),
    ("ct-get-maxconns", 0),
    ("add-zone-tp zone=5 udp_first=10 icmp_reply=7", 0),
    ("list-zone-tp", 0),
    ("del-zone-tp zone=5", 0),
    ("flush-conntrack zone=5 mark=0/1", 0),
    ("ct-flush-zone br0 5", 0),
    ("add-port br0 dummy:d1 tag=7", 0),
    ("add-port br0 nosuch0", 0),
    ("set-port br0 d1 tag=8", 0),
    ("mod-port br0 d1 no-flood", 0),
    ("show br0", 0),
    ("dump-ports br0", 0),
    ("dump-ports-desc br0", 0),
    ("list-ports br0", 0),
    ("overlay add br1 vxlan:net vni=7 peer=192.0.2.2 peer=192.0.2.3 dst_port=14789", 0),
    ("overlay add-peer br1 net 192.0.2.4", 0),
    ("overlay del-peer br1 net 192.0.2.2", 0),
    ("overlay set br1 net suppress=on", 0),
    ("overlay add-host br1 net 192.0.2.4 02:00:00:00:00:05 vlan=5 ip=10.0.0.5,fe80::5", 0),
    ("overlay list br1", 0),
    ("overlay del-host br1 net 02:00:00:00:00:05", 0),
    ("overlay set br1 net bfd=on", 0),
    ("bfd-show br1", 0),
    ("overlay del br1 net", 0),
    ("set-frags br0 nx-match", 0),
    ("get-frags br0", 0),
    (
        "set-controller br0 ptcp:0:127.0.0.1 inactivity_probe=0 max_backoff=1000 controller_rate_limit=100 \
         controller_burst_limit=25 connection_mode=in-band",
        0,
    ),
    ("get-controller br0", 0),
    ("show br0", 0),
    ("del-controller br0", 0),
    ("set-fail-mode br0 standalone", 0),
    ("get-fail-mode br0", 0),
    ("del-fail-mode br0", 0),
    ("set-protocols br0 OpenFlow10,OpenFlow13", 0),
    ("get-protocols br0", 0),
    ("set-protocols br0 all", 0),
    ("set-ssl /nonexistent/key.pem /nonexistent/cert.pem /nonexistent/ca.pem", 0),
    ("get-ssl", 0),
    ("del-ssl", 0),
    ("show-config", 0),
    ("workers", 0),
    ("log", 0),
    ("dump-desc br0", 0),
    ("-O OpenFlow13 dump-group-features br0", 0),
    ("-O OpenFlow13 dump-table-features br0", 0),
    ("queue-stats br0", 0),
    ("queue-get-config br0 p1", 0),
    ("probe br0", 0),
    ("ping br0 20", 0),
    ("benchmark br0 20 3", 0),
    ("ofp-print 040e", 0),
    ("ofp-print 0402000c0000000112345678", 0),
    ("compose-packet tcp,tp_dst=80", 0),
    ("ofp-parse-pcap CAPTURE", 0),
    ("parse-actions OpenFlow13", 0),
    ("parse-oxm OpenFlow13", 0),
    ("parse-nx-match", 0),
    ("ofp-parse MESSAGES", 0),
    ("bundle br0 -O OpenFlow14 BUNDLE", 0),
    ("completions bash", 0),
    ("cache-show", 0),
    ("dump-cached-flows br0 --why", 0),
    ("drops", 0),
    ("trace br0 in_port=1,tcp --explain", 0),
    ("add-flow br0 in_port=2,udp,actions=resubmit(,7)", 0),
    ("trace br0 in_port=2,udp --explain", 0),
    ("trace br0 in_port=1,dl_src=02:00:00:00:00:09,dl_type=0x1234 --names", 0),
    ("parse-flow ip,actions=drop", 0),
    ("parse-flows FILE", 0),
    ("check FILE", 0),
    ("check WRONG", 1),
    ("lint br0", 1),
    ("lint FILE", 1),
    ("help", 0),
    ("monitor br0 flows,groups,meters,ports,hosts,bridges,conntrack", 0),
    ("fdb-del br0 5 02:00:00:00:00:01", 0),
    ("fdb-flush br0", 0),
    ("del-port br0 d1", 0),
    ("replace-flows br0 FILE", 0),
    ("del-flows br0 tcp", 0),
    ("del-groups br0", 0),
    ("del-meters br0", 0),
    ("del-br br2", 0),
    ("save", 0),
    ("plan SAVED", 0),
    ("plan SAVED --exit-code", 2),
    ("apply SAVED --confirm 1h", 0),
    ("show br0", 0),
    ("confirm", 0),
    ("history", 0),
    ("rollback", 0),
];

/// A packet-out of a UDP datagram, whose connection a rule commits.
const PACKET_OF_A_CONNECTION: &str = "packet-out br0 in_port=1,packet=02000000000202000000000108004500001c00000000401166cf0a0000010a00000203e8003500080000,actions=TABLE";

/// Command lines that fail, and the kind of the error.
const ERRORS: &[(&str, &str)] = &[
    ("dump-ipfix-bridge br0", "rejected"),
    ("dump-ipfix-flow br0", "rejected"),
    ("add-flow br0 ip,nw_dst=10.0.0.300,actions=drop", "text"),
    ("add-flows br0 WRONG", "text"),
    ("parse-flow frob", "text"),
    ("parse-flows WRONG", "text"),
    ("lint WRONG", "text"),
    ("add-flow br0 actions=group:99", "switch"),
    ("add-meter br0 meter=1,kbps,bands=type=drop", "text"),
    ("mod-meter br0 meter=99,kbps,bands=type=drop,rate=1", "switch"),
    ("dump-meters br0 meter=99", "not_found"),
    ("dump-meters br0 99", "usage"),
    ("restart", "switch"),
    ("show br7", "not_found"),
    ("bfd-show br0 p1", "not_found"),
    ("overlay del br0 net", "not_found"),
    ("overlay add br0 vxlan:net vni=7", "text"),
    ("overlay add-peer br0 net there", "usage"),
    ("set-controller br0 tcp:10.0.0.300", "text"),
    ("set-controller br0 max_backoff=1000", "usage"),
    ("set-fail-mode br0 open", "text"),
    ("set-protocols br0 OpenFlow9", "text"),
    ("del-port br0 p9", "not_found"),
    ("confirm", "not_found"),
    ("rollback 7", "not_found"),
    ("apply WRONG", "text"),
    ("add-flows br0 /nonexistent", "file"),
    ("show --socket /nonexistent", "connection"),
    ("mod-port br0 p1 sideways", "usage"),
    ("frob", "usage"),
    ("help frob-frob", "usage"),
    ("snoop tcp:127.0.0.1", "usage"),
    ("add-tlv-map br0 frob", "usage"),
    ("del-tlv-map br0 frob", "usage"),
    ("dump-tlv-map br0 frob", "usage"),
    ("dump-flows tcp:", "usage"),
    ("-F oxm show", "usage"),
];

/// Fields of a type by their names: the type of a field's value, and whether the field may be missing.
type Fields = BTreeMap<String, (String, bool)>;

/// What the page says.
struct Page {
    /// The type of each verb's answer.
    verbs: BTreeMap<String, String>,
    types: BTreeMap<String, Fields>,
}

impl Page {
    fn read() -> Self {
        let (mut verbs, mut types) = (BTreeMap::new(), BTreeMap::<String, Fields>::new());
        let mut heading = "";
        for line in PAGE.lines() {
            if let Some(title) = line.trim_start_matches('#').strip_prefix(' ')
                && line.starts_with('#')
            {
                heading = title;
                if line.starts_with("### ") {
                    types.insert(title.to_owned(), Fields::new());
                }
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            match cells[..] {
                ["", names, kind, ""] if heading == "Verbs" && names.starts_with('`') => {
                    let names = names.split(", ").map(|name| name.trim_matches('`').to_owned());
                    verbs.extend(names.map(|name| (name, kind.to_owned())));
                }
                ["", name, kind, _, ""] if name.starts_with('`') => {
                    let (kind, is_optional) = match kind.strip_suffix(", optional") {
                        Some(kind) => (kind, true),
                        None => (kind, false),
                    };
                    let fields = types.get_mut(heading).expect("a table of fields has a heading");
                    let name = name.trim_matches('`').to_owned();
                    fields.insert(name, (kind.to_owned(), is_optional));
                }
                _ => {}
            }
        }
        Self { verbs, types }
    }

    /// Checks that a value has a type. `seen` collects the types and fields that values had.
    fn check(&self, value: &Value, kind: &str, place: &str, seen: &mut BTreeSet<String>) {
        if let Some(kind) = kind.strip_prefix("list of ") {
            let list = value.as_array().unwrap_or_else(|| panic!("{place}: {value} is no list"));
            let places = (0..).map(|n| format!("{place}[{n}]"));
            list.iter().zip(places).for_each(|(one, place)| self.check(one, kind, &place, seen));
            return;
        }
        let is_right = match kind {
            "text" => value.is_string(),
            "number" => value.is_number(),
            "flag" => value.is_boolean(),
            _ => value.is_object(),
        };
        assert!(is_right, "{place}: {value} is no {kind}");
        let Some(object) = value.as_object() else { return };
        seen.insert(kind.to_owned());
        let fields = self.types.get(kind).unwrap_or_else(|| panic!("{place}: what is a {kind}?"));
        if kind == "configuration" {
            return;
        }
        for (name, value) in object {
            let Some((kind, _)) = fields.get(name) else {
                panic!("{place}: docs/json.md has no field {name} in {kind}");
            };
            self.check(value, kind, &format!("{place}.{name}"), seen);
        }
        for (name, (_, is_optional)) in fields {
            assert!(*is_optional || object.contains_key(name), "{place}: {name} is missing");
        }
    }
}

/// A capture of packets with an OpenFlow echo request.
fn capture() -> Vec<u8> {
    let message = [4, 2, 0, 8, 0, 0, 0, 1];
    let mut frame = [&[0; 12][..], &[8, 0]].concat();
    frame.extend([0x45, 0, 0, 48, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    frame.extend([0x19, 0xfd, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    frame.extend(message);
    let words =
        |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let len = frame.len() as u32;
    // The head of the file with link type Ethernet, then that of the packet.
    let head = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1, 0, 0, len, len]);
    [head, frame].concat()
}

/// A switch, and files for the command lines above.
struct Stage {
    bench: Bench,
    files: [(&'static str, String); 7],
}

impl Stage {
    fn new() -> Self {
        let bench = Bench::new();
        let rules = "arp,actions=NORMAL\npriority=9,ip,actions=output:1\npriority=5,ip,nw_src=10.0.0.1,actions=2\n";
        let saved = "[[bridge]]\nname = \"br0\"\nflows = \"arp,actions=drop\"\n[[bridge.port]]\ndevice = \"dummy:p1\"\n";
        let files = [
            ("CAPTURE", bench.file("capture", "")),
            ("FILE", bench.file("rules", rules)),
            ("WRONG", bench.file("wrong", "arp,actions=drop\nip,nw_dts=10.0.0.1,actions=drop\n")),
            ("SAVED", bench.file("saved.toml", saved)),
            ("MESSAGES", bench.file("messages", "\u{4}\0\0\u{8}\0\0\0\u{1}")),
            (
                "BUNDLE",
                bench.file("bundle", "flow table=9,in_port=1,actions=drop\nflow delete table=9\n"),
            ),
            ("GROUPS", bench.file("groups", "group_id=2,type=select,bucket=output:1\n")),
        ];
        std::fs::write(&files[0].1, capture()).expect("a file of our own");
        Self { bench, files }
    }

    fn words<'a>(&'a self, line: &'a str) -> Vec<&'a str> {
        let real = |word| self.files.iter().find(|(name, _)| *name == word);
        let words = line.split(' ').map(|word| real(word).map_or(word, |(_, path)| path));
        std::iter::once("--json").chain(words).collect()
    }
}

/// The verb of a command line.
fn verb(line: &str) -> &str {
    let words: Vec<&str> = line.split(' ').collect();
    if words[0].starts_with('-') { words[2] } else { words[0] }
}

#[test]
fn every_answer_is_as_the_page_describes_it() {
    let stage = Stage::new();
    // A frame that no rule forwards, for `drops` and `dump-cached-flows`.
    stage.bench.ok(&["add-flow", "br0", "dl_type=0x88b5,actions=drop"]);
    let frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5][..], &[0; 50]].concat();
    stage.bench.ports[0].inject(&frame);
    eventually("the frame is dropped", || !stage.bench.ok(&["drops"]).starts_with("no frame"))
        .expect("the worker drops");
    let page = Page::read();
    let mut seen = BTreeSet::new();
    for (line, expected) in LINES {
        let kind = page.verbs.get(verb(line)).unwrap_or_else(|| panic!("{line}: not on the page"));
        if let Some(kind) = kind.strip_prefix("lines of ") {
            watch(&stage, line, |event| page.check(&event, kind, line, &mut seen));
            continue;
        }
        let (status, output, errors) = stage.bench.run(&stage.words(line));
        assert_eq!((status, errors.as_str()), (*expected, ""), "{line}: {output}");
        if kind.starts_with("prints text") {
            continue;
        }
        let value =
            serde_json::from_str(&output).unwrap_or_else(|e| panic!("{line}: {e}: {output}"));
        page.check(&value, kind, line, &mut seen);
    }
    for (verb, input) in [
        ("parse-actions OpenFlow10", "0000 0008 0001 0000\n0000 0007\n"),
        ("parse-nx-match", "NXM_OF_ETH_TYPE(0800)\nNXM_OF_IP_SRC(01020304)\n"),
    ] {
        let (status, output, errors) = stage.bench.run_with(&stage.words(verb), input);
        assert_eq!((status, errors.as_str()), (0, ""), "{verb}: {output}");
        let value = serde_json::from_str(&output).expect("JSON");
        page.check(&value, "list of part", verb, &mut seen);
    }
    // Errors have a test of their own. Nobody runs sessions of BFD here. Ports in memory have no rings and no
    // tunnel, a switch without privileges has no kernel cache, no trace here is too long, and this program
    // cannot start itself again.
    let of_errors = ["answer-error", "error", "openflow-error"];
    let elsewhere = ["bfd", "bfd-end", "kernel-cache", "omitted", "restarted", "rx-ring", "tunnel"];
    seen.extend(of_errors.iter().chain(&elsewhere).map(|kind| (*kind).to_owned()));
    let missing: Vec<_> = page.types.keys().filter(|kind| !seen.contains(*kind)).collect();
    assert!(missing.is_empty(), "no answer had these types: {missing:?}");
}

/// Starts `monitor`, makes events, and hands them over.
fn watch(stage: &Stage, line: &str, mut check: impl FnMut(Value)) {
    let mut child = stage.bench.spawn(&stage.words(line));
    drop(child.stdin.take());
    let mut told = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut first = String::new();
    told.read_line(&mut first).expect("it says that it watches");
    assert!(first.contains("watching"), "{first}");
    let of13 = |words: &str| {
        let words = ["-O", "OpenFlow13"].into_iter().chain(words.split(' '));
        stage.bench.ok(&words.collect::<Vec<_>>());
    };
    of13("add-flow br0 priority=60000,udp,actions=ct(commit),output:2");
    of13(PACKET_OF_A_CONNECTION);
    of13("flush-conntrack br0");
    of13("--strict del-flows br0 priority=60000,udp");
    of13("add-group br0 group_id=9,type=all,bucket=output:1");
    of13("del-groups br0 group_id=9");
    of13("add-meter br0 meter=9,kbps,bands=type=drop,rate=1");
    of13("mod-meter br0 meter=9,kbps,bands=type=drop,rate=2");
    of13("del-meters br0 meter=9");
    of13("add-port br0 dummy:d9");
    of13("del-port br0 d9");
    of13("fdb-add br0 p1 9 02:00:00:00:00:99");
    of13("fdb-del br0 9 02:00:00:00:00:99");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    // Connections are in no line with other events.
    let mut awaited = BTreeSet::from(["host_deleted", "connection_deleted"]);
    for line in lines {
        let event: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        awaited.remove(event["event"].as_str().expect("text"));
        check(event);
        if awaited.is_empty() {
            break;
        }
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn every_verb_is_on_the_page_and_is_run() {
    let page = Page::read();
    let help = Bench::new().ok(&["--help"]);
    let (_, verbs) = help.split_once("Commands:\n").expect("a list of verbs");
    let verbs = verbs.lines().take_while(|line| !line.is_empty());
    let verbs = verbs.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let verbs: BTreeSet<&str> = verbs.filter(|verb| !verb.is_empty()).collect();
    assert!(verbs.len() > 40, "{verbs:?}");
    for name in &verbs {
        assert!(page.verbs.contains_key(*name), "docs/json.md does not have {name}");
        let lines = LINES.iter().map(|(line, _)| line).chain(ERRORS.iter().map(|(line, _)| line));
        let is_run = lines.into_iter().any(|line| verb(line) == *name);
        assert!(is_run, "LINES in ofctl/tests/end_to_end/json.rs does not run {name}");
    }
    for name in page.verbs.keys() {
        assert!(verbs.contains(name.as_str()), "docs/json.md has {name}, and ofctl does not");
    }
}

#[test]
fn every_error_is_as_the_page_describes_it() {
    let stage = Stage::new();
    let page = Page::read();
    let mut seen = BTreeSet::new();
    for (line, kind) in ERRORS {
        let (status, output, errors) = stage.bench.run(&stage.words(line));
        let expected = if *kind == "usage" { 2 } else { 1 };
        assert_eq!((status, output.as_str()), (expected, ""), "{line}");
        let value: Value =
            serde_json::from_str(&errors).unwrap_or_else(|e| panic!("{line}: {e}: {errors}"));
        page.check(&value, "answer-error", line, &mut seen);
        assert_eq!(value["error"]["kind"], *kind, "{line}: {errors}");
    }
    for kind in ["place", "openflow-error"] {
        assert!(seen.contains(kind), "{kind}");
    }
}

#[test]
fn the_caret_of_an_error_has_its_place() {
    let stage = Stage::new();
    let (_, _, errors) = stage.bench.run(&stage.words("add-flows br0 WRONG"));
    let error: Value = serde_json::from_str(&errors).expect("JSON");
    let place = &error["error"]["place"];
    assert_eq!(place["file"], stage.words("WRONG")[1]);
    assert_eq!((place["line"].as_u64(), place["column"].as_u64()), (Some(2), Some(4)));
    assert_eq!(place["length"], "nw_dts".len());
}

#[test]
fn an_answer_of_a_quiet_verb_is_one_json_value() {
    let stage = Stage::new();
    let mut child = stage.bench.spawn(&stage.words("add-flow br0 actions=output:77"));
    child.stdin.take();
    let output = child.wait_with_output().expect("it ends");
    let change: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((change["n_changed"].as_u64(), output.stderr.len()), (Some(1), 0));
    assert_eq!(change["notes"].as_array().map(Vec::len), Some(1));
}
