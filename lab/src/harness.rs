//! A test harness that runs each test in a process and a laboratory of its own.
//!
//! Test programs with `harness = false` call [`run`] from `main` with a list of tests. The arguments of the
//! program are parts of test names, or options of libtest. If the machine does not allow a laboratory, a test
//! is skipped, or fails if the environment has `SWITCHD_REQUIRE=netns`.
//!
//! libtest cannot run such tests, because `unshare(CLONE_NEWUSER)` works only in a process with a single
//! thread. So for each test, [`run`] starts the same program again in a new process group, with the test's name
//! in the environment. At the deadline the whole group is killed, including the switch under test.

use crate::{LabError, RunDir, enter, within};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The name of a test and its function. The test fails if the function panics or returns
/// an error other than [`Unsupported`].
pub type Test = (&'static str, fn() -> anyhow::Result<()>);

/// The error of a test that needs something which this machine does not have, such as a kernel module. The test
/// is skipped. The text names the missing thing.
#[derive(Debug)]
pub struct Unsupported(pub String);

impl std::error::Error for Unsupported {}

impl Unsupported {
    /// The error of a test that needs `thing`, such as `VXLAN`.
    pub fn lacking(thing: impl Into<String>) -> anyhow::Error {
        Self(thing.into()).into()
    }
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this machine has no {}", self.0)
    }
}

/// Turns the error of a kernel that does not support `thing` into [`Unsupported`].
///
/// # Errors
/// [`Unsupported`], or the error of `result` if it has another cause.
pub fn unsupported_if_missing<T>(
    result: Result<T, impl Into<LabError>>,
    thing: &str,
) -> anyhow::Result<T> {
    result.map_err(|e| match e.into() {
        LabError::Netlink(n) if is_missing(n.errno()) => Unsupported::lacking(thing),
        e => e.into(),
    })
}

/// Whether the error is that of a kernel without support for a kind of device or queueing discipline.
fn is_missing(errno: Option<i32>) -> bool {
    [nix::Error::EOPNOTSUPP as i32, nix::Error::ENOENT as i32].map(Some).contains(&errno)
}

/// The environment variable with the name of the test that a child process runs.
const TEST: &str = "SWITCHD_NETNS_TEST";
/// The environment variable with a list of features whose lack fails tests instead of skipping them.
const REQUIRE: &str = "SWITCHD_REQUIRE";
/// Exit status of a child that is not allowed a laboratory. The reason is the last line of its output.
const DENIED: i32 = 77;
/// Exit status of a child whose test is unsupported. The reason is the last line of its output.
const UNSUPPORTED: i32 = 78;
/// How long a test may take. Creating a thousand devices takes the kernel ten seconds, and minutes if thirty
/// processes share two CPUs.
const DEADLINE: Duration = Duration::from_secs(600);

/// How a child process ended. The text is its output, or the reason why the test was skipped.
enum Outcome {
    Passed,
    Failed(String),
    Denied(String),
    Unsupported(String),
}

/// The options of the command line that select tests. Other options of libtest are accepted and ignored.
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
        // These tests are never marked as ignored, so `--ignored` selects none.
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }
}

/// Runs the tests that the command line selects, prints their results as libtest does,
/// and returns whether all passed.
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

/// The main function of a child process: enters a laboratory and runs one test.
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
    // The parent owns the directory of temporary files, so that it is deleted even if the child is killed.
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
    // `spawn` has consumed the command, and with it this process's copies of the pipe's writing end.
    let reading = std::thread::spawn(move || {
        let mut output = Vec::new();
        // If reading fails, the output ends there.
        let _ = reader.read_to_end(&mut output);
        String::from_utf8_lossy(&output).into_owned()
    });
    let mut ended = None;
    let in_time = within(DEADLINE, name, || {
        ended = child.try_wait().ok().flatten();
        ended.is_some()
    });
    // Kills the processes that the test left running, which also closes the pipe.
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
