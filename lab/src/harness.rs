//! Runs each test in a process of its own, inside a laboratory of its own, and tells how it went.
//!
//! For test programs with `harness = false`, whose `main` calls [`run`] with a list of tests. Arguments
//! are parts of test names, or options of libtest. `SWITCHD_REQUIRE=netns` turns a test that cannot have
//! a laboratory from a skipped one into a failed one.
//!
//! `unshare(CLONE_NEWUSER)` works only in a process without threads, so libtest cannot do it. The
//! parent starts this same program once a test, in a process group of its own, with the test's name
//! in the environment; at the deadline the whole group ends, the switch under test included.

use crate::{LabError, RunDir, enter, within};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A name and what to do. An error or a panic is a failure, but for [`Unsupported`].
pub type Test = (&'static str, fn() -> anyhow::Result<()>);

/// The test needs something that this machine does not have, such as a part of the kernel.
#[derive(Debug)]
pub struct Unsupported(pub String);

impl std::error::Error for Unsupported {}

impl Unsupported {
    /// The error of a test that needs `thing`.
    pub fn lacking(thing: impl Into<String>) -> anyhow::Error {
        Self(thing.into()).into()
    }
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this machine has no {}", self.0)
    }
}

/// Turns the refusal of a kernel that lacks `thing` into [`Unsupported`].
///
/// # Errors
/// That, or `result`'s own error if it is another one.
pub fn unsupported_if_missing<T>(
    result: Result<T, impl Into<LabError>>,
    thing: &str,
) -> anyhow::Result<T> {
    result.map_err(|e| match e.into() {
        LabError::Netlink(n) if is_missing(n.errno()) => Unsupported::lacking(thing),
        e => e.into(),
    })
}

/// What a kernel answers that was built without the kind of device or queueing discipline asked for.
fn is_missing(errno: Option<i32>) -> bool {
    [nix::Error::EOPNOTSUPP as i32, nix::Error::ENOENT as i32].map(Some).contains(&errno)
}

/// The variable that names the test to the child.
const TEST: &str = "SWITCHD_NETNS_TEST";
/// The variable that lists what must not be skipped.
const REQUIRE: &str = "SWITCHD_REQUIRE";
/// Exit status of a child that cannot have a laboratory; the reason is its last line.
const DENIED: i32 = 77;
/// Exit status of a child whose test the kernel cannot serve; the reason is its last line.
const UNSUPPORTED: i32 = 78;
/// The longest any test takes on a slow and busy machine, with room: the kernel needs ten seconds to
/// give a thousand devices to somebody, and minutes where thirty processes want two processors.
const DEADLINE: Duration = Duration::from_secs(600);

enum Outcome {
    Passed,
    Failed(String),
    Denied(String),
    Unsupported(String),
}

/// The command line, as far as it concerns which tests to run. What else libtest knows is accepted
/// and means nothing here.
#[derive(Default)]
struct Selection {
    list: bool,
    exact: bool,
    ignored: bool,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Selection {
    fn from_args() -> Self {
        let mut selection = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => selection.list = true,
                "--exact" => selection.exact = true,
                "--ignored" => selection.ignored = true,
                "--skip" => selection.skips.extend(args.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => {
                    args.next();
                }
                flag if flag.starts_with('-') => {}
                _ => selection.filters.push(arg),
            }
        }
        selection
    }

    fn takes(&self, name: &str) -> bool {
        let matches = |f: &String| if self.exact { name == f } else { name.contains(f.as_str()) };
        // No test here is marked as ignored.
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }
}

/// Runs the tests that the command line asks for, and tells whether all of them passed.
pub fn run(tests: &[Test]) -> ExitCode {
    if let Ok(name) = std::env::var(TEST) {
        return be_child(tests, &name);
    }
    let selection = Selection::from_args();
    let selected: Vec<_> = tests.iter().filter(|(name, _)| selection.takes(name)).collect();
    if selection.list {
        selected.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    let must_run = std::env::var(REQUIRE).is_ok_and(|v| v.split(',').any(|w| w == "netns"));
    println!("\nrunning {} tests", selected.len());
    let (mut passed, mut failures, mut skips) = (0, Vec::new(), Vec::new());
    for (name, _) in &selected {
        match run_child(name) {
            Outcome::Denied(reason) if must_run => {
                println!("test {name} ... FAILED");
                failures.push((name, format!("skipped, though {REQUIRE}=netns: {reason}")));
            }
            Outcome::Passed => {
                println!("test {name} ... ok");
                passed += 1;
            }
            Outcome::Failed(output) => {
                println!("test {name} ... FAILED");
                failures.push((name, output));
            }
            Outcome::Denied(reason) | Outcome::Unsupported(reason) => {
                println!("test {name} ... ignored, {reason}");
                skips.push(reason);
            }
        }
    }
    for (name, output) in &failures {
        println!("\n---- {name} ----\n{}", output.trim_end());
    }
    println!("\n{passed} passed, {} failed, {} skipped", failures.len(), skips.len());
    skips.sort();
    skips.dedup();
    for reason in &skips {
        println!("skipped because {reason}");
    }
    println!(
        "test result: {}. {passed} passed; {} failed; {} ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        if failures.is_empty() { "ok" } else { "FAILED" },
        failures.len(),
        selected.len() - passed - failures.len(),
        tests.len() - selected.len(),
        start.elapsed().as_secs_f64(),
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The child's life: into the laboratory, one test, and out.
fn be_child(tests: &[Test], name: &str) -> ExitCode {
    let Some((_, test)) = tests.iter().find(|(n, _)| *n == name) else {
        eprintln!("no test is called {name}");
        return ExitCode::FAILURE;
    };
    match enter().map_err(anyhow::Error::from).and_then(|()| test()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::from(if e.downcast_ref().is_some_and(LabError::is_denied) {
                DENIED as u8
            } else if e.is::<Unsupported>() {
                UNSUPPORTED as u8
            } else {
                1
            })
        }
    }
}

fn run_child(name: &str) -> Outcome {
    try_run_child(name).unwrap_or_else(|e| Outcome::Failed(format!("{e:#}")))
}

fn try_run_child(name: &str) -> anyhow::Result<Outcome> {
    // Outside of the child, so that nothing stays behind when it has to be killed.
    let temporary = RunDir::new()?;
    let (mut reader, writer) = std::io::pipe()?;
    let mut child = Command::new(std::env::current_exe()?)
        .env(TEST, name)
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    // The command still holds the pipe's other end until here: `spawn` consumed a temporary.
    let reading = std::thread::spawn(move || {
        let mut output = Vec::new();
        // An error ends the output, which is all that can be done about it.
        let _ = reader.read_to_end(&mut output);
        String::from_utf8_lossy(&output).into_owned()
    });
    let mut ended = None;
    let in_time = within(DEADLINE, name, || {
        ended = child.try_wait().ok().flatten();
        ended.is_some()
    });
    // Whatever the test left running goes with it, and lets go of the pipe.
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    let status = match ended {
        Some(status) => status,
        None => child.wait()?,
    };
    let output = reading.join().unwrap_or_default();
    Ok(match in_time {
        Err(_) => Outcome::Failed(format!("{output}\nnot finished within {DEADLINE:?}")),
        Ok(()) => outcome(status, output),
    })
}

fn outcome(status: ExitStatus, output: String) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Passed,
        (Some(DENIED), _) => Outcome::Denied(last_line(&output)),
        (Some(UNSUPPORTED), _) => Outcome::Unsupported(last_line(&output)),
        (Some(_), _) => Outcome::Failed(output),
        (None, signal) => Outcome::Failed(format!("{output}\nended by signal {signal:?}")),
    }
}

fn last_line(output: &str) -> String {
    output.lines().last().unwrap_or("it did not say why").to_owned()
}
