//! Runs the switch under test as a child process, in the namespace of the calling thread.

use crate::{LabError, within};
use control::{Client, ClientError, Operation, Reply};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a daemon may take to start, to answer or to end. With a thousand ports on a busy machine it takes
/// most of this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The option `--kernel-cache`, if the environment variable `SWITCHD_KERNEL_CACHE` says how: the whole suite
/// can be run with and without. Arguments that say it already have the last word.
fn kernel_cache_option(arguments: &[OsString]) -> Option<String> {
    const OPTION: &str = "--kernel-cache";
    let mode = std::env::var("SWITCHD_KERNEL_CACHE").ok().filter(|mode| !mode.is_empty())?;
    let is_said = arguments.iter().any(|argument| argument.to_string_lossy().starts_with(OPTION));
    (!is_said).then(|| format!("{OPTION}={mode}"))
}

/// The next number for the name of a directory or file, so that names in this process differ.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory for control sockets and logs, which is deleted when this value is dropped.
#[derive(Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Creates a directory among the temporary files, for this user alone.
    ///
    /// # Errors
    /// The directory of temporary files is not writable, or something else has the
    /// name of the directory already.
    pub fn new() -> Result<Self, LabError> {
        // The name is short, because the path of a Unix socket has 107 bytes at most.
        let name =
            format!("switchd-lab-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(LabError::os("create", path.display().to_string()))?;
        Ok(Self(path))
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of the control socket of a daemon that runs with this directory.
    pub fn socket(&self) -> PathBuf {
        self.0.join("switchd.sock")
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // If this fails, a small directory is left among the temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running switch. Dropping this value kills the process; [`Daemon::stop`] ends it properly.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    child: Child,
    /// The process that has taken over from `child`, which has ended; `None` before the first restart.
    successor: Option<Pid>,
    run_dir: Arc<RunDir>,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` with `arguments` and waits until the daemon answers at its control socket.
    ///
    /// # Errors
    /// The program could not be started, has ended, or does not answer within two minutes.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        Self::start_in(Arc::new(RunDir::new()?), program, arguments)
    }

    /// As [`Daemon::start`], with the control socket in `run_dir`.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_in<S: AsRef<OsStr>>(
        run_dir: Arc<RunDir>,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        let mut daemon = Self::spawn_in(run_dir, program, arguments)?;
        let mut ended = None;
        within(PATIENCE, &format!("{} answers at its socket", program.display()), || {
            ended = daemon.child.try_wait().ok().flatten();
            // The daemon must answer a Hello. The socket alone exists before the ports are ready.
            ended.is_some() || daemon.client().is_ok()
        })?;
        match ended {
            None => Ok(daemon),
            Some(status) => Err(LabError::DaemonEnded {
                program: program.display().to_string(),
                status,
                said: daemon.log(),
            }),
        }
    }

    /// Starts `program` without waiting until it answers, for a daemon that is expected to end with an error.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn spawn<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        Self::spawn_in(Arc::new(RunDir::new()?), program, arguments)
    }

    /// As [`Daemon::spawn`], with the control socket in `run_dir`.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn spawn_in<S: AsRef<OsStr>>(
        run_dir: Arc<RunDir>,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        let name = format!("log-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let log = run_dir.path().join(name);
        let file = File::create(&log).map_err(LabError::os("create", log.display().to_string()))?;
        let failed = || LabError::os("start", program.display().to_string());
        let arguments: Vec<OsString> =
            arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let child = Command::new(program)
            .args(&arguments)
            .args(kernel_cache_option(&arguments))
            .env("SWITCH_RUNDIR", run_dir.path())
            // Tests compare the log with plain text.
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed())?)
            .stderr(file)
            .spawn()
            .map_err(failed())?;
        Ok(Self { program: program.to_owned(), child, successor: None, run_dir, log })
    }

    /// The path of the daemon's control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.socket()
    }

    /// Opens a control session with the daemon.
    ///
    /// # Errors
    /// The daemon does not answer, or speaks another version of the protocol.
    pub fn client(&self) -> Result<Client, LabError> {
        let socket = self.socket();
        let failed = || LabError::os("connect to", socket.display().to_string());
        let stream = UnixStream::connect(&socket).map_err(failed())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed())?;
        let reader = stream.try_clone().map_err(failed())?;
        Ok(Client::open(reader, stream, env!("CARGO_PKG_NAME"))?)
    }

    /// The process id of the daemon, which changes with each restart.
    pub fn pid(&self) -> u32 {
        self.process().as_raw() as u32
    }

    fn process(&self) -> Pid {
        self.successor.unwrap_or(Pid::from_raw(self.child.id() as i32))
    }

    /// Has another process take over from the daemon, and waits until the old process has ended.
    ///
    /// # Errors
    /// The daemon refuses, and goes on; or the old process has not ended within two minutes.
    pub fn restart(&mut self) -> Result<(), LabError> {
        // The new process is the old one's child. When that ends, it becomes the
        // child of the closest subreaper.
        set_child_subreaper(true)
            .map_err(|e| LabError::os("adopt", self.program.display().to_string())(e.into()))?;
        match self.client()?.ask(Operation::Restart)? {
            Reply::Restarted(record) => {
                self.wait()?;
                self.successor = Some(Pid::from_raw(record.pid as i32));
                Ok(())
            }
            _ => Err(ClientError::UnexpectedReply.into()),
        }
    }

    /// The text that the daemon has written so far to standard output and standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the daemon has ended by itself, and returns its exit status.
    ///
    /// # Errors
    /// The daemon has not ended within two minutes.
    pub fn wait(&mut self) -> Result<ExitStatus, LabError> {
        let what = format!("{} ends", self.program.display());
        let mut ended = None;
        within(PATIENCE, &what, || {
            ended = self.try_wait();
            ended.is_some()
        })?;
        ended.ok_or(LabError::Late { what, waited: PATIENCE })
    }

    /// The exit status of the process; `None` while it runs.
    fn try_wait(&mut self) -> Option<ExitStatus> {
        let Some(successor) = self.successor else {
            return self.child.try_wait().ok().flatten();
        };
        match waitpid(successor, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus::from_raw(code << 8)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(ExitStatus::from_raw(signal as i32)),
            _ => None,
        }
    }

    /// Sends SIGTERM, waits until the daemon has ended, and returns its exit status and its log.
    ///
    /// # Errors
    /// The daemon has not ended within two minutes.
    pub fn stop(mut self) -> Result<(ExitStatus, String), LabError> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait()?;
        Ok((status, self.log()))
    }

    /// Sends SIGKILL, so that the daemon cannot clean up, as in a crash, and waits until it has ended.
    ///
    /// # Errors
    /// The daemon had ended before.
    pub fn crash(mut self) -> Result<(), LabError> {
        self.signal(Signal::SIGKILL)?;
        self.wait().map(drop)
    }

    /// The directory of the daemon's control socket, with which a test can start a second daemon.
    pub fn run_dir(&self) -> Arc<RunDir> {
        self.run_dir.clone()
    }

    /// Sends a signal to the daemon.
    ///
    /// # Errors
    /// The daemon has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        kill(self.process(), signal)
            .map_err(|e| LabError::os("signal", self.program.display().to_string())(e.into()))
    }

    /// Suspends the daemon (`SIGSTOP`) until it gets `SIGCONT`, and returns when none of its threads runs: the
    /// signal reaches one thread, which stops the others when it runs.
    ///
    /// # Errors
    /// The daemon has ended, or its threads cannot be looked at.
    pub fn suspend(&self) -> Result<(), LabError> {
        self.signal(Signal::SIGSTOP)?;
        let tasks = format!("/proc/{}/task", self.process());
        let is_stopped = |task: std::io::Result<fs::DirEntry>| {
            let status = fs::read_to_string(task?.path().join("status"))?;
            std::io::Result::Ok(status.lines().any(|line| line == "State:\tT (stopped)"))
        };
        crate::eventually("all threads are suspended", || {
            let tasks = fs::read_dir(&tasks);
            tasks.is_ok_and(|mut tasks| tasks.all(|task| is_stopped(task).is_ok_and(|is| is)))
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // These calls fail if the daemon has ended already.
        match self.successor {
            Some(pid) => {
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, None);
            }
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}
