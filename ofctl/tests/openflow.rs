//! `ofctl` as a client of real Open vSwitch, beside real `ovs-ofctl`: the same commands in six versions of
//! OpenFlow have the same output and the same exit status.
//!
//! The test starts an Open vSwitch of its own in a temporary folder, with simulated ports, which needs no
//! privilege. Without Open vSwitch it is skipped, unless `SWITCHD_REQUIRE` names `interop`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The schema of Open vSwitch's database, as Debian installs it.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A running Open vSwitch with a bridge `br0` and ports `p1` and `p2`. Dropping it ends the processes.
struct OpenVSwitch {
    folder: PathBuf,
}

impl OpenVSwitch {
    /// Starts Open vSwitch; `None` if it is not installed.
    fn start() -> Option<Self> {
        let is_there = ["ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovsdb-tool", "ovs-ofctl"]
            .iter()
            .all(|program| Command::new(program).arg("--version").output().is_ok());
        if !is_there || !std::path::Path::new(SCHEMA).exists() {
            let required = std::env::var("SWITCHD_REQUIRE").unwrap_or_default();
            let hint = "Open vSwitch is missing: install openvswitch-switch";
            assert!(!required.contains("interop"), "{hint}");
            eprintln!("skipped: {hint}");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ofctl-ovs-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let started = Self { folder };
        let (database, socket) = (started.path("conf.db"), started.path("db.sock"));
        started.run("ovsdb-tool", &["create", &database, SCHEMA]);
        let remote = format!("--remote=punix:{socket}");
        started.run("ovsdb-server", &[&database, &remote, "--pidfile", "--detach", "--log-file"]);
        let at = format!("unix:{socket}");
        let dummy =
            ["--enable-dummy=system", "--disable-system", "--pidfile", "--detach", "--log-file"];
        started.run("ovs-vswitchd", &[&[at.as_str()], &dummy[..]].concat());
        let setup = "add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=secure \
             -- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1 \
             -- add-port br0 p2 -- set interface p2 type=dummy ofport_request=2";
        let database = format!("--db={at}");
        let words: Vec<&str> =
            [database.as_str()].into_iter().chain(setup.split_whitespace()).collect();
        started.run("ovs-vsctl", &words);
        Some(started)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A command that looks for sockets in this folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "SWITCH_RUNDIR"] {
            command.env(variable, &self.folder);
        }
        command
    }

    fn run(&self, program: &str, words: &[&str]) {
        // A daemon keeps the descriptors that it gets: with pipes, nobody would see their end.
        let mut command = self.command(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{program} {words:?}");
    }

    /// What a program prints of a command line, with its exit status, and without what
    /// differs from call to call.
    fn output(&self, program: &str, words: &[&str]) -> String {
        self.output_of(program, words, "")
    }

    /// As [`OpenVSwitch::output`], with this on standard input.
    fn output_of(&self, program: &str, words: &[&str], input: &str) -> String {
        let mut command = self.command(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read has closed its end.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        format!("{}= {}\n", plain(&text), output.status.code().unwrap())
    }
}

impl Drop for OpenVSwitch {
    fn drop(&mut self) {
        for program in ["ovs-vswitchd", "ovsdb-server"] {
            let pid = std::fs::read_to_string(self.path(&format!("{program}.pid")));
            if let Ok(pid) = pid {
                let _ = Command::new("kill").arg(pid.trim()).status();
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Text without transaction ids, times and the names of the programs.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line =
            line.strip_prefix("ovs-ofctl: ").or(line.strip_prefix("ofctl: ")).unwrap_or(line);
        let hidden = ["(xid=", "duration=", "duration:", "idle_age=", "hard_age=", "xid=", "time="];
        let words = line.split(' ').filter_map(|word| {
            let name = hidden.iter().find(|name| word.starts_with(**name));
            match name.copied() {
                // Ages are told only if they are not those of the rule.
                Some("idle_age=" | "hard_age=") => None,
                Some(name) => Some(format!("{name}*")),
                None => Some(word.to_owned()),
            }
        });
        let line = words.collect::<Vec<_>>().join(" ");
        let line = match line.split_once(",duration=") {
            Some((before, after)) => {
                format!("{before},{}", after.split_once(',').map_or("", |(_, after)| after))
            }
            None => line,
        };
        // ovs-ofctl logs what it thinks of a switch, and ofctl says what else to try.
        if !line.contains("|WARN|") && !line.starts_with("hint: ") {
            out += &line;
            out.push('\n');
        }
    }
    out
}

/// Commands that read, and change what both programs see.
const COMMANDS: &[&str] = &[
    "show br0",
    "dump-desc br0",
    "dump-tables br0",
    "dump-ports br0",
    "dump-ports br0 p1",
    "dump-ports-desc br0",
    "get-frags br0",
    "set-frags br0 nx-match",
    "get-frags br0",
    "set-frags br0 normal",
    "probe br0",
    "add-flow br0 in_port=1,tcp,tp_dst=80,actions=mod_nw_tos:8,output:2",
    "add-flow br0 in_port=p1,actions=p2",
    "add-flow br0 table=3,cookie=5,idle_timeout=60,ip,actions=resubmit(,4),controller:128",
    "dump-flows br0",
    "dump-flows br0 in_port=p1",
    "--names dump-flows br0",
    "--no-stats dump-flows br0",
    "--sort dump-flows br0",
    "--rsort=in_port dump-flows br0 table=0",
    "mod-flows br0 table=3,cookie=5/-1,actions=drop",
    "dump-flows br0 cookie=5/-1",
    "dump-aggregate br0 out_port=2",
    "add-flow br0 tcp,check_overlap,actions=drop",
    "add-flow br0 tcp,tp_src=5,check_overlap,actions=drop",
    "--strict del-flows br0 in_port=1",
    "del-flows br0",
    "dump-flows br0",
    "dump-group-features br0",
    "mod-port br0 p1 no-packet-in",
    "dump-ports-desc br0",
    "mod-port br0 p1 packet-in",
    "mod-port br0 nosuch up",
    "packet-out br0 1 2 0200000000010200000000020800",
    "packet-out br0 in_port=1,packet=0200000000010200000000020800,actions=2",
    "queue-stats br0",
    "queue-get-config br0",
    "dump-tlv-map br0",
    "dump-table-desc br0",
    "ping br0 20",
    "dump-ports br0 1",
    "dump-ports br0 LOCAL",
    "dump-ports br0 99",
    "dump-ports br0 nosuch",
    "--names dump-ports br0 p1",
    "dump-ports-desc br0 p1",
    "mod-port br0 p1 no-flood",
    "dump-ports-desc br0",
    "mod-port br0 p1 flood",
    "mod-port br0 p1 noflood",
    "mod-port br0 1 flood",
    "mod-port br0 1 no-receive",
    "mod-port br0 1 receive",
    "mod-port br0 1 no-forward",
    "dump-ports-desc br0",
    "mod-port br0 1 forward",
    "mod-port br0 p2 down",
    "dump-ports-desc br0",
    "mod-port br0 p2 up",
    "mod-port br0 p2 no-stp",
    "mod-port br0 p2 no-receive-stp",
    "dump-ports-desc br0",
    "mod-port br0 p2 stp",
    "mod-port br0 p2 receive-stp",
    "mod-table br0 0 evict",
    "mod-table br0 0 vacancy:20,80",
    "dump-table-desc br0",
    "mod-table br0 0 novacancy",
    "mod-table br0 0 noevict",
    "mod-table br0 0 continue",
    "mod-table br0 0 controller",
    "mod-table br0 7 name:seven",
    "dump-tables br0",
    "queue-stats br0 1",
    "queue-stats br0 ALL all",
    "queue-get-config br0 1",
    "queue-get-config br0 ANY",
    "dump-group-stats br0",
    "packet-out br0 none 2 0200000000010200000000020800",
    "packet-out br0 p1 p2 0200000000010200000000020800 0200000000010200000000020801",
    "packet-out br0 99 2 0200000000010200000000020800",
    "packet-out br0 in_port=1,packet=0200000000010200000000020800,actions=group:88",
    "-F NXM,OXM,OpenFlow11 dump-flows br0",
    "-F any dump-flows br0",
    "meter-features br0",
    "dump-meters br0",
    "meter-stats br0",
    "mod-meter br0 meter=9,pktps,bands=type=drop,rate=7",
    "del-meters br0 meter=9",
];

/// As [`COMMANDS`], but the lines behind a tab are standard input.
const INPUTS: &[&str] = &[
    "add-flow br0 -\tin_port=1,actions=2\n\n# a comment\nip,actions=drop",
    "mod-flows br0 -\tip,actions=2",
    "add-flows br0 -\tadd tcp,actions=1\ndelete in_port=1\nmodify_strict ip,actions=1",
    "--no-stats --sort dump-flows br0\t",
    "replace-flows br0 -\tip,actions=2\nudp,actions=1",
    "--readd replace-flows br0 -\tip,actions=2\nudp,actions=1",
    "--sort=nw_proto dump-flows br0\t",
    "del-flows br0 -\tudp\nip",
    "dump-flows br0\t",
    "bundle br0 -\tflow add in_port=3,actions=2\nflow delete in_port=3",
    "ofp-print -\t04 02 00 0c 00 00 00 01\t12 34 56 78\n",
    "--bundle add-flows br0 -\tin_port=1,actions=1\nin_port=2,actions=1\ndelete",
];

/// Commands that change something, one for each program, so that both meet the same state; the last one takes
/// the change back.
const CHANGES: &[&[&str]] = &[
    &[
        "add-group br0 group_id=1,type=select,bucket=output:1,bucket=weight:2,output:2",
        "del-groups br0",
    ],
    &[
        "add-group br0 group_id=1,type=all,bucket=output:1",
        "dump-groups br0",
        "dump-group-stats br0 group_id=1",
        "mod-group br0 group_id=1,type=all,bucket=output:2",
        "dump-groups br0 1",
        "del-groups br0",
    ],
    &[
        "add-tlv-map br0 {class=0xffff,type=0x80,len=4}->tun_metadata0",
        "dump-tlv-map br0",
        "del-tlv-map br0",
    ],
    &["--bundle add-flow br0 in_port=1,actions=drop", "del-flows br0"],
    &[
        "add-meter br0 meter=1,kbps,bands=type=drop,rate=1000",
        "add-meter br0 meter=1,kbps,bands=type=drop,rate=1000",
        "add-meter br0 meter=2,pktps,burst,stats,bands=type=drop,rate=9,burst_size=5,type=drop,rate=8,burst_size=3",
        "dump-meters br0",
        "meter-stats br0",
        "mod-meter br0 meter=1,pktps,bands=type=drop,rate=7",
        "dump-meter br0 meter=1",
        "meter-stats br0 meter=2",
        "del-meter br0 meter=2",
        "add-meter br0 meter=controller,pktps,bands=type=drop,rate=7",
        "dump-meters br0 meter=all",
        "del-meters br0",
        "dump-meters br0",
    ],
    &[
        "add-group br0 group_id=1,type=select,bucket=output:1",
        "insert-buckets br0 group_id=1,command_bucket_id=last,bucket=bucket_id:7,output:1",
        "insert-buckets br0 group_id=1,command_bucket_id=first,bucket=bucket_id:7,output:1",
        "dump-groups br0 1",
        "--may-create mod-group br0 group_id=1,type=indirect,bucket=output:2",
        "mod-group br0 group_id=2,type=indirect,bucket=output:2",
        "dump-groups br0",
        "dump-group-stats br0",
        "--bundle del-groups br0 group_id=1",
        "dump-groups br0",
        "del-groups br0",
    ],
];

#[test]
fn commands_have_the_output_of_ovs_ofctl() {
    let Some(switch) = OpenVSwitch::start() else {
        return;
    };
    let ofctl = env!("CARGO_BIN_EXE_ofctl");
    let mut wrong = String::new();
    for version in
        ["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
    {
        let words = |line: &'static str| -> Vec<&str> {
            ["-O", version].into_iter().chain(line.split(' ')).collect()
        };
        for line in COMMANDS {
            let expected = switch.output("ovs-ofctl", &words(line));
            let printed = switch.output(ofctl, &words(line));
            if printed != expected {
                wrong += &format!("{version} {line}\nexpected {expected}printed  {printed}\n");
            }
        }
        for line in INPUTS {
            let (command, input) = line.split_once('\t').unwrap();
            let run = |program| switch.output_of(program, &words(command), input);
            let (expected, printed) = (run("ovs-ofctl"), run(ofctl));
            if printed != expected {
                wrong += &format!("{version} {line}\nexpected {expected}printed  {printed}\n");
            }
        }
        for lines in CHANGES {
            let run = |program: &str| -> String {
                lines.iter().map(|line| switch.output(program, &words(line))).collect()
            };
            let (expected, printed) = (run("ovs-ofctl"), run(ofctl));
            if printed != expected {
                wrong += &format!("{version} {lines:?}\nexpected {expected}printed  {printed}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn rules_of_a_switch_are_replaced_and_compared() {
    let Some(switch) = OpenVSwitch::start() else {
        return;
    };
    let ofctl = env!("CARGO_BIN_EXE_ofctl");
    let file = switch.path("rules");
    let mut rules = std::fs::File::create(&file).unwrap();
    writeln!(rules, "in_port=1,actions=2\ntable=1,tcp,tp_dst=80,actions=drop").unwrap();
    for version in ["OpenFlow10", "OpenFlow13"] {
        let run = |words: &[&str]| switch.output(ofctl, &[&["-O", version], words].concat());
        assert_eq!(run(&["add-flow", "br0", "udp,actions=drop"]), "= 0\n");
        assert!(run(&["diff-flows", "br0", &file]).ends_with("= 2\n"));
        assert_eq!(run(&["replace-flows", "br0", &file]), "= 0\n");
        assert_eq!(run(&["diff-flows", "br0", &file]), "= 0\n");
        assert_eq!(run(&["del-flows", "br0"]), "= 0\n");
    }
}

#[test]
fn a_monitor_prints_packets_and_resumes_them() {
    let Some(switch) = OpenVSwitch::start() else {
        return;
    };
    let ofctl = env!("CARGO_BIN_EXE_ofctl");
    let run = |words: &[&str]| assert_eq!(switch.output(ofctl, words), "= 0\n", "{words:?}");
    run(&["add-flow", "br0", "in_port=1,actions=controller(pause,userdata=01.02),resubmit(,1)"]);
    run(&["add-flow", "br0", "table=1,actions=output:2"]);
    let is_counted = |packets: usize| {
        let rules = switch.output("ovs-ofctl", &["dump-flows", "br0", "table=1"]);
        rules.contains(&format!("n_packets={packets},"))
    };
    let monitors = [&["-O", "OpenFlow10"][..], &["-O", "OpenFlow13", "--timestamp"]];
    for (before, options) in monitors.into_iter().enumerate() {
        let mut command = switch.command(ofctl);
        command.args(options).args(["monitor", "br0", "resume"]);
        let mut monitor = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut errors = BufReader::new(monitor.stderr.take().unwrap());
        errors.read_line(&mut said).unwrap();
        assert!(said.contains("watching"), "{said}");
        run(&["packet-out", "br0", "1", "table", "ffffffffffff0200000000020900"]);
        let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines().map(Result::unwrap);
        let packet_in = lines.next().unwrap();
        let is_timed = options.contains(&"--timestamp");
        assert_eq!(packet_in.starts_with("NXT_PACKET_IN2 "), !is_timed, "{packet_in}");
        assert_eq!(packet_in.find(": NXT_PACKET_IN2 ").is_some(), is_timed, "{packet_in}");
        lines.find(|line| line.starts_with("send: NXT_RESUME ")).unwrap();
        // It prints the message before it sends it.
        let start = Instant::now();
        while !is_counted(before + 1) {
            assert!(start.elapsed() < Duration::from_secs(60), "the packet did not go on");
        }
        monitor.kill().unwrap();
        monitor.wait().unwrap();
    }
}

#[test]
fn a_monitor_asks_for_the_form_of_packet_ins() {
    let Some(switch) = OpenVSwitch::start() else {
        return;
    };
    let ofctl = env!("CARGO_BIN_EXE_ofctl");
    let run = |words: &[&str]| assert_eq!(switch.output(ofctl, words), "= 0\n", "{words:?}");
    run(&["add-flow", "br0", "in_port=1,actions=controller"]);
    for (form, name) in [
        ("standard", "OFPT_PACKET_IN "),
        ("nxt_packet_in", "NXT_PACKET_IN "),
        ("nxt_packet_in2", "NXT_PACKET_IN2 "),
    ] {
        let mut command = switch.command(ofctl);
        command.args(["-P", form, "monitor", "br0", "65534", "invalid_ttl"]);
        let mut monitor = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(monitor.stderr.take().unwrap());
        errors.read_line(&mut String::new()).unwrap();
        run(&["packet-out", "br0", "1", "table", "ffffffffffff0200000000020900"]);
        let mut first = String::new();
        BufReader::new(monitor.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with(name), "{form}: {first}");
        monitor.kill().unwrap();
        monitor.wait().unwrap();
    }
    for (words, expected) in [
        (
            "-O OpenFlow13 monitor br0 invalid_ttl",
            "invalid_ttl requires one of the OpenFlow versions",
        ),
        ("--read-only mod-table br0 0 drop", "'mod-table' command does not work in read only mode"),
        ("monitor br0 5 frob", "frob: unsupported \"monitor\" argument"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        for program in ["ovs-ofctl", ofctl] {
            let printed = switch.output(program, &words);
            assert!(printed.contains(expected), "{program} {words:?}: {printed}");
        }
    }
}
