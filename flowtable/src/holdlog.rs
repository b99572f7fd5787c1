#![allow(missing_docs, unsafe_code, clippy::all)]
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Mutex;
pub static LOG: Mutex<Option<HashMap<(String, String), Vec<u32>>>> = Mutex::new(None);
thread_local! { pub static PHASE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) }; }
pub fn cpu() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
pub fn note(at: &Location<'_>, ns: u64) {
    let mut log = LOG.lock().unwrap();
    let phase = PHASE.with(|p| p.borrow().clone());
    let key = (phase, format!("{}:{}", at.file().rsplit('/').next().unwrap(), at.line()));
    log.get_or_insert_default().entry(key).or_default().push(ns.min(u32::MAX as u64) as u32);
}
pub fn phase(name: &str) { PHASE.with(|p| *p.borrow_mut() = name.to_owned()); }
pub fn report() {
    let mut log = LOG.lock().unwrap().take().unwrap_or_default().into_iter().collect::<Vec<_>>();
    log.sort();
    for ((phase, at), mut v) in log {
        v.sort();
        let q = |p: f64| v[((v.len() - 1) as f64 * p) as usize] as f64 / 1000.0;
        println!("{phase:14} {at:24} n={:7} p50={:8.1} p99={:8.1} p999={:8.1} top={:?}", v.len(), q(0.5), q(0.99), q(0.999), v.iter().rev().take(5).map(|n| n/1000).collect::<Vec<_>>());
    }
}
