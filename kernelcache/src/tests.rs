//! The programs in the kernel against the switch's own code, by `BPF_PROG_TEST_RUN`: the keys of frames, and
//! what actions make of them. The tests need the privileges to load programs; without them they say so and
//! pass, unless `SWITCHD_REQUIRE` has the word `kernel-cache`.

mod tunnels;

use crate::layout::{KEY_WORDS, MASKS};
use crate::load::Programs;
use crate::maps::{FlowWords, KeyWords, Maps};
use crate::steps::Refusal;
use crate::{KernelCache, KernelPort, Side};
use aya::Ebpf;
use aya::programs::{SchedClassifier, SocketFilter, TestRun, TestRunOptions};
use flow::Headers;
use flow::compose::compose;
use flow::extract::{Arrival, extract};
use flow::key::{FLOW_WORDS, Segment, frag};
use flow::text::{ParseContext, parse_flow};
use flow::types::{MacAddr, OfPort, PortNo};
use flowtable::datapath::{CacheConfig, Datapath, Egress, KernelFlows, PortCounters};
use flowtable::policy::ports::PortInfo;
use flowtable::policy::{BridgeId, Policy};
use packet::{Batch, Frame, Offload, Tunneled};
use ports::PortStatus;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The loopback device, at which the kernel runs programs for tests.
const LOOPBACK: u32 = 1;
/// What the judge returns to leave a frame to the ring.
const TO_THE_RING: u32 = u32::MAX;
/// What the executor returns for a frame that has no flow, drops, and sends.
const NEXT: u32 = u32::MAX;
const DROP: u32 = 2;
const REDIRECT: u32 = 7;

/// The loaded programs; `None` if this process may not load them.
fn load() -> Option<(Programs, Ebpf)> {
    match Programs::load_with_owner() {
        Ok(loaded) => Some(loaded),
        Err(error) => {
            let required = std::env::var("SWITCHD_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|word| word == "kernel-cache"), "{error:?}");
            println!("skipped: {error}");
            None
        }
    }
}

/// The verdict of the judge about a frame: `true` if it has a flow.
fn judge(ebpf: &Ebpf, frame: &[u8]) -> bool {
    let program: &SocketFilter = ebpf.program("judge").unwrap().try_into().unwrap();
    // The kernel takes an Ethernet header off in front of a socket filter.
    let behind_header = [&[0; 14], frame].concat();
    let options = TestRunOptions { data_in: Some(&behind_header), ..TestRunOptions::new() };
    match program.test_run(options).unwrap().return_value {
        0 => true,
        TO_THE_RING => false,
        other => panic!("the judge returned {other}"),
    }
}

/// What the executor returns for a frame that has no mark, and what it has made of the frame.
fn execute(ebpf: &Ebpf, frame: &[u8]) -> (u32, Vec<u8>) {
    run_classifier(ebpf, "execute", frame)
}

fn run_classifier(ebpf: &Ebpf, name: &str, frame: &[u8]) -> (u32, Vec<u8>) {
    let program: &SchedClassifier = ebpf.program(name).unwrap().try_into().unwrap();
    let mut made = vec![0; frame.len() + 64];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut made), ..TestRunOptions::new() };
    let result = program.test_run(options).unwrap();
    made.truncate(result.data_size_out as usize);
    (result.return_value, made)
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }
}

/// Whole frames of many kinds.
fn whole_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for dl_type in [0x0800, 0x86dd, 0x0806, 0x8035, 0x8847, 0x88b5, 0x05ff] {
        for nw_proto in [1, 2, 6, 17, 58, 132, 47] {
            for nw_frag in [0, frag::ANY, frag::ANY | frag::LATER] {
                let mut key =
                    Headers { nw_proto, nw_frag, nw_ttl: 64, nw_tos: 0x28, ..Headers::default() };
                key.dl_dst = [2, 0, 0, 0, 0, 2];
                key.dl_src = [2, 0, 0, 0, 0, 1];
                key.dl_type.set(dl_type);
                key.tp_src.set(135);
                key.tp_dst.set(80);
                key.tcp_flags.set(0x18);
                key.nw_addrs = std::array::from_fn(|i| i as u8 + 1);
                frames.push(compose(&key));
            }
        }
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frame");
    for entry in std::fs::read_dir(corpus).unwrap() {
        frames.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    frames
}

/// Frames with some bytes changed and some cut off.
fn damaged(whole: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut frame = whole[numbers.below(whole.len())].clone();
    for _ in 0..numbers.below(4) {
        // Mostly in the headers.
        let at = numbers.below(frame.len().min(64));
        frame[at] = match numbers.below(3) {
            0 => numbers.next() as u8,
            1 => frame[at] ^ 1 << numbers.below(8),
            _ => [0, 1, 4, 5, 6, 8, 0x11, 0x45, 0x46, 0x81, 0x86, 0xff][numbers.below(12)],
        };
    }
    match numbers.below(4) {
        0 => frame.truncate(14 + numbers.below(60)),
        1 => frame.resize(frame.len() + numbers.below(20), 0),
        _ => {}
    }
    // The kernel runs no program for less.
    frame.resize(frame.len().max(14), 0);
    frame
}

/// Puts a flow with this mask and masked key under place 1, in place of the one before.
fn put(maps: &Maps, version: u32, mask: &KeyWords, key: &KeyWords) {
    for index in 0..MASKS {
        maps.remove_mask(index);
    }
    maps.put_mask(0, version, mask);
    let words = FlowWords {
        program: 0,
        mask_version: version,
        max_size: u64::MAX,
        max_total: u64::MAX,
        key: *key,
    };
    maps.put_flow(1, &words, 1);
    let hash = maps.hash(version, key);
    let entry = maps.empty_entry(hash).expect("one flow");
    maps.file(entry, hash, 1);
}

fn unfile_all(maps: &Maps, version: u32, key: &KeyWords) {
    let hash = maps.hash(version, key);
    let found = maps.find(hash, |place| place == 1);
    maps.unfile(found.expect("it was filed").0);
}

#[test]
fn the_kernel_reads_the_key_that_the_switch_reads() {
    let Some((programs, ebpf)) = load() else { return };
    let maps = &programs.maps;
    maps.begin(7, 9);
    maps.set_generation(1);
    let (whole, mut numbers) = (whole_frames(), Numbers(0x1234_5678_9abc_def1));
    let (mut read, mut left) = (0, 0);
    let frames = whole.clone().into_iter();
    let damaged = (0..20_000).map(|_| damaged(&whole, &mut numbers)).collect::<Vec<_>>();
    for (n, frame) in frames.chain(damaged).enumerate() {
        let (key, _) = extract(Arrival::on(PortNo(0)), &frame, 2);
        let mut mask: KeyWords = [u64::MAX; KEY_WORDS];
        let mut words: KeyWords = std::array::from_fn(|word| key.words()[word]);
        words[0] = LOOPBACK.into();
        // The segments that a frame has are no header: no mask looks at them.
        let segments: [u8; 8] = [255, 255, 255, 255, 255, 255, 0, 0];
        mask[4] = u64::from_ne_bytes(segments);
        words[4] &= mask[4];
        put(maps, 1, &mask, &words);
        let is_exact = judge(&ebpf, &frame);
        unfile_all(maps, 1, &words);
        // A flow for every frame of the device.
        let mut any: KeyWords = [0; KEY_WORDS];
        any[0] = u32::MAX.into();
        let loopback: KeyWords =
            std::array::from_fn(|word| if word == 0 { LOOPBACK.into() } else { 0 });
        put(maps, 2, &any, &loopback);
        let is_read = judge(&ebpf, &frame);
        unfile_all(maps, 2, &loopback);
        assert_eq!(is_exact, is_read, "frame {n}: another key than {key:?} of {frame:02x?}");
        if is_read {
            let is_arp = key.headers.dl_type.get() == 0x0806;
            for word in KEY_WORDS..FLOW_WORDS {
                let may_be = is_arp && Segment::ARP.words().contains(&word);
                assert!(
                    may_be || key.words()[word] == 0,
                    "frame {n}: rare headers of {frame:02x?}"
                );
            }
        }
        *(if is_read { &mut read } else { &mut left }) += 1;
    }
    assert!(read > 2000 && left > 2000, "{read} frames were read and {left} left to the switch");
}

/// A switch with two ports, of which the kernel takes both for the loopback device.
struct Bench {
    policy: Arc<Policy>,
    datapath: Datapath,
    cache: Arc<KernelCache>,
    ebpf: Ebpf,
    /// Frames wait at the port that came before those which are processed.
    has_more: bool,
}

impl Bench {
    fn new(rules: &[&str]) -> Option<Self> {
        let (programs, ebpf) = load()?;
        let policy = Arc::new(Policy::with_one_bridge(1));
        let bridge = policy.bridge(BridgeId::FIRST);
        bridge.with_ports(|ports| {
            for n in 1..=2 {
                ports.insert(PortInfo::new(PortNo(n - 1), OfPort(n), "p", MacAddr::default()));
            }
        });
        let lookups = Arc::clone(policy.lookups());
        let generation = policy.generation();
        let cache = KernelCache::start(programs, 5, Duration::ZERO, lookups, generation).unwrap();
        policy.tell_generations(Arc::<KernelCache>::clone(&cache));
        cache.resume();
        for n in 0..2 {
            cache.add_port(PortNo(n), port(1500));
        }
        let mut datapath = Datapath::new(Arc::clone(&policy), CacheConfig::default(), 1, 1);
        datapath.offer_to(Arc::<KernelCache>::clone(&cache));
        let bench = Self { policy, datapath, cache, ebpf, has_more: false };
        rules.iter().for_each(|rule| bench.add(rule));
        Some(bench)
    }

    fn add(&self, rule: &str) {
        let rule = parse_flow(rule, &ParseContext::default()).expect(rule);
        self.policy.bridge(BridgeId::FIRST).apply(&[rule], Duration::ZERO).unwrap();
    }

    /// Has the switch process a frame of the first port, and offer its flow. Returns the frames that are sent.
    fn process(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.process_at(PortNo(0), frame, None)
    }

    /// As [`Self::process`], of any port. If that is a tunnel port, `tunneled` is what the outer headers said.
    fn process_at(
        &mut self,
        in_port: PortNo,
        frame: &[u8],
        tunneled: Option<Tunneled<'_>>,
    ) -> Vec<Vec<u8>> {
        let mut batch = Batch::new();
        batch.push(Frame::owned(frame, Offload::NONE));
        if let Some(tunneled) = tunneled {
            batch.come_through(tunneled);
        }
        let (mut egress, counters) = (Egress::new(2), PortCounters::default());
        let now = Duration::from_secs(1);
        self.datapath.process(now, in_port, &mut batch, &mut egress, &counters);
        let queued = egress.touched().iter().flat_map(|&port| egress.queue(port));
        let sent = queued.map(|&id| batch.frame(id).bytes().to_vec()).collect();
        egress.clear(&mut batch);
        // A worker does not wait for the lock of the flows. The thread that frees places may not
        // hold it at this moment.
        let _rests = self.cache.freeing.lock();
        self.datapath.offer_flows(|| self.has_more);
        sent
    }

    /// As [`Self::process`], twice: flows are offered with their second batch.
    fn teach(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.process(frame);
        self.process(frame)
    }
}

fn port(mtu: u32) -> KernelPort {
    KernelPort {
        side: Side::Device,
        ifindex: LOOPBACK,
        status: PortStatus::new(true, mtu, false),
        counters: Arc::default(),
        receives: Ok(None),
        sends: Ok(()),
        to_peer: false,
    }
}

/// A frame with right checksums.
fn packet(dl_type: u16, nw_proto: u8) -> Vec<u8> {
    let mut key = Headers { nw_proto, nw_ttl: 64, nw_tos: 0x28, ..Headers::default() };
    key.dl_dst = [2, 0, 0, 0, 0, 2];
    key.dl_src = [2, 0, 0, 0, 0, 1];
    key.dl_type.set(dl_type);
    key.ipv6_label.set(0x54321);
    key.tp_src.set(8);
    key.tcp_flags.set(0x10);
    key.nw_addrs = std::array::from_fn(|i| 0x20 + i as u8);
    compose(&key)
}

#[test]
fn the_kernel_makes_of_a_frame_what_the_switch_makes_of_it() {
    const RULES: [(&str, u16, u8); 15] = [
        ("actions=2", 0x88b5, 0),
        ("actions=mod_dl_dst:06:05:04:03:02:01,2", 0x0800, 17),
        ("actions=mod_dl_src:06:05:04:03:02:01,mod_dl_dst:0a:0b:0c:0d:0e:0f,2", 0x0806, 1),
        ("ip,actions=dec_ttl,2", 0x0800, 17),
        ("ip,actions=mod_nw_tos:64,dec_ttl,2", 0x0800, 1),
        ("tcp,actions=mod_nw_src:1.2.3.4,2", 0x0800, 6),
        ("tcp,actions=mod_nw_dst:255.255.0.1,mod_nw_src:0.0.0.0,dec_ttl,2", 0x0800, 6),
        ("tcp,actions=mod_tp_src:65535,mod_tp_dst:1,2", 0x0800, 6),
        ("tcp,actions=mod_nw_dst:9.8.7.6,mod_tp_dst:443,mod_dl_dst:02:00:00:00:00:99,2", 0x0800, 6),
        ("icmp,actions=mod_nw_dst:9.8.7.6,2", 0x0800, 1),
        ("ipv6,actions=dec_ttl,2", 0x86dd, 17),
        ("ipv6,actions=set_field:0x12345->ipv6_label,mod_nw_tos:16,2", 0x86dd, 6),
        ("tcp6,actions=set_field:fe80::1:2:3->ipv6_src,2", 0x86dd, 6),
        ("tcp6,actions=set_field:2001:db8::7->ipv6_dst,mod_tp_dst:22,dec_ttl,2", 0x86dd, 6),
        ("ip,actions=set_field:0.0.5.0/0.0.255.0->nw_dst,2", 0x0800, 6),
    ];
    for (rule, dl_type, nw_proto) in RULES {
        let Some(mut bench) = Bench::new(&[rule]) else { return };
        let frame = packet(dl_type, nw_proto);
        let sent = bench.teach(&frame);
        assert_eq!(bench.cache.counts().flows, 1, "{rule} is not in the kernel");
        assert!(judge(&bench.ebpf, &frame), "{rule}: the frame reaches the switch");
        let (verdict, made) = execute(&bench.ebpf, &frame);
        assert_eq!((verdict, &[made][..]), (REDIRECT, &sent[..]), "{rule}");
    }
}

#[test]
fn no_flow_is_taken_while_frames_wait_that_came_before() {
    let Some(mut bench) = Bench::new(&["actions=2"]) else { return };
    let frame = packet(0x0800, 17);
    bench.has_more = true;
    bench.teach(&frame);
    assert_eq!(bench.cache.counts().flows, 0, "a frame could overtake those that wait");
    bench.has_more = false;
    bench.process(&frame);
    assert_eq!(bench.cache.counts().flows, 1, "no frame waits");

    bench.add("dl_type=0x0800,priority=40000,actions=drop");
    bench.has_more = true;
    bench.teach(&frame);
    assert!(!judge(&bench.ebpf, &frame), "a stale flow is not used while frames wait");
    // A port at which frames always wait would never have a flow in the kernel.
    for _ in 0..20 {
        bench.process(&frame);
    }
    assert!(judge(&bench.ebpf, &frame), "the frame reaches the switch");
}

#[test]
fn dropped_frames_are_counted_with_their_reason() {
    let Some(mut bench) = Bench::new(&["actions=drop"]) else { return };
    let frame = packet(0x0800, 17);
    assert!(bench.teach(&frame).is_empty());
    assert_eq!(execute(&bench.ebpf, &frame).0, DROP);
    bench.cache.collect();
    let flows = bench.datapath.registry().flows();
    assert_eq!(flows[0].totals(), (3, 3 * frame.len() as u64));
}

#[test]
fn a_change_makes_flows_stale_that_it_concerns_and_leaves_the_others() {
    let Some(mut bench) = Bench::new(&["dl_type=0x88b5,actions=2"]) else { return };
    let frame = packet(0x88b5, 0);
    bench.teach(&frame);
    assert!(judge(&bench.ebpf, &frame));
    bench.add("dl_type=0x88b6,actions=drop");
    assert!(judge(&bench.ebpf, &frame), "a rule for other frames concerns nobody here");
    bench.add("priority=40000,dl_src=02:00:00:00:00:01,actions=1");
    assert!(!judge(&bench.ebpf, &frame), "the frame has another rule now");
    bench.teach(&frame);
    // What the new rule says leads nowhere: the frame would go back.
    assert_eq!(execute(&bench.ebpf, &frame).0, DROP);
    bench.cache.suspend();
    assert!(!judge(&bench.ebpf, &frame), "nothing counts while the cache is suspended");
    assert_eq!(execute(&bench.ebpf, &frame).0, NEXT);
    bench.teach(&frame);
    assert_eq!(bench.cache.counts().flows, 0, "nothing is let in");
    bench.cache.resume();
    bench.teach(&frame);
    assert!(judge(&bench.ebpf, &frame));
}

#[test]
fn frames_that_an_output_does_not_take_are_left_to_the_switch() {
    let Some(mut bench) = Bench::new(&["actions=2"]) else { return };
    let mut frame = packet(0x88b5, 0);
    bench.teach(&frame);
    frame.resize(1514, 0);
    assert!(judge(&bench.ebpf, &frame), "1,500 bytes behind the Ethernet header");
    frame.resize(1515, 0);
    assert!(!judge(&bench.ebpf, &frame), "one byte more");
    frame.truncate(60);
    bench.cache.remove_port(PortNo(1));
    assert!(!judge(&bench.ebpf, &frame), "the output is gone");
    bench.cache.add_port(PortNo(1), port(40));
    bench.teach(&frame);
    assert!(judge(&bench.ebpf, &frame[..54]) && !judge(&bench.ebpf, &frame[..55]), "another MTU");
}

#[test]
fn what_the_kernel_cannot_do_stays_with_the_switch() {
    let rules = [
        "udp,actions=mod_tp_dst:5,2",
        "udp,actions=mod_nw_dst:1.2.3.4,2",
        "arp,actions=set_field:2->arp_op,2",
        "ip,actions=controller,2",
        "actions=push_mpls:0x8847,2",
        "ip,actions=ct(table=1)",
    ];
    for rule in rules {
        let Some(mut bench) = Bench::new(&[rule]) else { return };
        let frame = match rule {
            _ if rule.starts_with("arp") => packet(0x0806, 1),
            _ => packet(0x0800, 17),
        };
        bench.teach(&frame);
        assert!(!judge(&bench.ebpf, &frame), "{rule}");
        assert_eq!(bench.cache.counts().flows, 0, "{rule}");
    }
    assert!(Refusal::Flood.to_string().contains("storm"));
}

#[test]
fn places_are_used_again_and_counts_stay_right() {
    let Some(mut bench) = Bench::new(&["priority=1,dl_type=0x88b5,actions=2"]) else { return };
    let frame = packet(0x88b5, 0);
    let mut packets = 0;
    for round in 0..200 {
        bench.add(&format!(
            "priority=1,dl_type=0x88b5,actions=mod_dl_dst:02:00:00:00:01:{round:02x},2"
        ));
        let sent = bench.teach(&frame);
        let (verdict, made) = execute(&bench.ebpf, &frame);
        assert_eq!((verdict, &[made][..]), (REDIRECT, &sent[..]), "round {round}");
        packets += 3;
    }
    bench.cache.collect();
    lab::eventually("all places but one are free", || {
        bench.cache.collect();
        bench.cache.counts().flows == 1
    })
    .unwrap();
    bench.cache.collect();
    bench.datapath.registry().push_stats();
    let counted = bench.policy.lookups().get(flowtable::policy::TableRef::default());
    assert_eq!(counted.0, packets);
    bench.cache.offer(&mut std::iter::empty(), &|| true);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_object_is_that_of_the_source() {
    use std::process::Command;
    let version = Command::new("clang").arg("--version").output();
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let has_strip = Command::new("llvm-strip").arg("--version").output().is_ok();
    let Some(version) = version.ok().filter(|_| has_strip) else {
        return println!("skipped: there is no clang with llvm-strip");
    };
    if !version.contains("clang version 14.") {
        return println!("skipped: the object was made by clang 14, and this is {version}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf");
    let made = std::env::temp_dir().join(format!("flows-{}.bpf.o", std::process::id()));
    let status = Command::new(folder.join("build")).arg(&made).status().unwrap();
    let object = std::fs::read(&made);
    let _ = std::fs::remove_file(&made);
    assert!(status.success());
    let ours = std::fs::read(folder.join("flows.bpf.o")).unwrap();
    assert!(object.unwrap() == ours, "run kernelcache/bpf/build");
}
