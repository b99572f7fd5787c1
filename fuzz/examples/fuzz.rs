//! A simple fuzzer that runs on any machine with Rust: calls the targets with random mutants of the corpus.
//!
//! libFuzzer (`fuzz/run`) prefers inputs that reach new code, and finds more bugs, but needs a C++ compiler.
//! This program is for continuous integration: the same seed gives the same inputs on every machine. An input
//! that makes a target panic is written to `fuzz/crashes`.
//!
//!     cargo run -p fuzz --example fuzz -- [SEED] [FACTOR]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// The name of a target, its function, and how many inputs it gets. These take a few seconds.
type Target = (&'static str, fn(&[u8]), u32);

const TARGETS: [Target; 9] = [
    ("frame", fuzz::frame, 1_500_000),
    ("offload", fuzz::offload, 40_000),
    ("connections", fuzz::connections, 60_000),
    ("rule", fuzz::rule, 400_000),
    ("file", fuzz::file, 4_000),
    ("control", fuzz::control, 2_000_000),
    ("openflow", fuzz::openflow, 400_000),
    ("tunnel", fuzz::tunnel, 1_000_000),
    ("verdict", fuzz::verdict, 12_000),
];

/// The size of the longest input in bytes.
const MAX_SIZE: usize = 512;
/// How many mutants are kept to be mutated again. Without knowledge of coverage none is better than another, so
/// few are enough.
const POOL: usize = 256;

/// The name of the running target and its input, for the panic hook.
static CURRENT: Mutex<(&str, Vec<u8>)> = Mutex::new(("", Vec::new()));

fn main() {
    let mut words = std::env::args().skip(1);
    let mut number = |default: u64| words.next().and_then(|w| w.parse().ok()).unwrap_or(default);
    let (seed, factor) = (number(1), number(1) as u32);
    println!("seed {seed}");
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        keep_crash();
    }));
    for (name, target, rounds) in TARGETS {
        let start = Instant::now();
        let rounds = rounds * factor;
        run(name, target, rounds, Random(seed));
        println!("{name}: {rounds} inputs in {:.1} s", start.elapsed().as_secs_f64());
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn keep_crash() {
    let Ok(current) = CURRENT.lock() else { return };
    let path = folder("crashes").join(format!("{}-mutant", current.0));
    let _ = fs::create_dir_all(folder("crashes"));
    match fs::write(&path, &current.1) {
        Ok(()) => eprintln!("the input is in {}", path.display()),
        Err(error) => eprintln!("{}: {error}: the input is {:?}", path.display(), current.1),
    }
}

fn run(name: &'static str, target: fn(&[u8]), rounds: u32, mut random: Random) {
    let corpus =
        fs::read_dir(folder("corpus").join(name)).expect("the corpus is in the repository");
    let mut paths: Vec<PathBuf> =
        corpus.map(|file| file.expect("a readable folder").path()).collect();
    // The order of directory entries differs between machines.
    paths.sort();
    let seeds: Vec<Vec<u8>> =
        paths.iter().map(|path| fs::read(path).expect("a readable file")).collect();
    let mut pool = seeds.clone();
    for _ in 0..rounds {
        // Half of the inputs are mutants of the corpus itself. Mutants of mutants of mutants are mostly noise.
        let base = if random.below(2) == 0 { &seeds } else { &pool };
        let mut input = base[random.below(base.len())].clone();
        for _ in 0..=random.below(4) {
            let other = &pool[random.below(pool.len())];
            mutate(&mut input, other, &mut random);
        }
        input.truncate(MAX_SIZE);
        *CURRENT.lock().expect("no crash yet") = (name, input.clone());
        target(&input);
        if pool.len() < POOL {
            pool.push(input);
        } else {
            let at = random.below(POOL);
            pool[at] = input;
        }
    }
}

/// Changes a few bytes of an input. Some changes insert a piece of `other`.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const SPECIAL: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b',', b'=', b'/', b'(', b')', b':', b'9'];
    let at = random.below(input.len() + 1);
    let end = (at + 1 + random.below(8)).min(input.len());
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.below(256) as u8,
        2 if at < input.len() => input[at] = SPECIAL[random.below(SPECIAL.len())],
        3 => input.insert(at, SPECIAL[random.below(SPECIAL.len())]),
        4 => drop(input.drain(at.min(end)..end)),
        5 => {
            let piece = input[at.min(end)..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        6 if !other.is_empty() => {
            let from = random.below(other.len());
            let to = from + random.below(other.len() - from) + 1;
            input.splice(at..at, other[from..to].iter().copied());
        }
        7 => input.truncate(at),
        _ => {}
    }
}

/// The pseudo-random number generator SplitMix64. The value is its state.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
