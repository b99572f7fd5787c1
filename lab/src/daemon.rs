//! The switch under test, as a child process in the laboratory's own namespace.

use crate::{LabError, within};
use control::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a daemon may take to begin, to answer or to end: with a thousand ports, and on a busy
/// machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tells apart the folders and files that this process makes.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder for control sockets that goes away with this value.
#[derive(Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// A new, empty folder for this user only.
    ///
    /// # Errors
    /// The folder for temporary files is not writable.
    pub fn new() -> Result<Self, LabError> {
        // Short, because the address of a Unix socket is.
        let name =
            format!("switchd-lab-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(LabError::os("create", path.display().to_string()))?;
        Ok(Self(path))
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The control socket of a daemon that runs with this folder.
    pub fn socket(&self) -> PathBuf {
        self.0.join("switchd.sock")
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // What stays is a small folder among temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running switch. It is killed if this value is dropped before [`Daemon::stop`].
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    child: Child,
    run_dir: Arc<RunDir>,
    log: PathBuf,
}

impl Daemon {
    /// Starts `program` with `arguments` and waits until it answers at its control socket.
    ///
    /// # Errors
    /// It could not be started, ended at once, or does not answer.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        Self::start_in(Arc::new(RunDir::new()?), program, arguments)
    }

    /// As [`Daemon::start`], with its socket in `run_dir`.
    ///
    /// # Errors
    /// As there.
    pub fn start_in<S: AsRef<OsStr>>(
        run_dir: Arc<RunDir>,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        let mut daemon = Self::spawn_in(run_dir, program, arguments)?;
        let mut ended = None;
        within(PATIENCE, &format!("{} answers at its socket", program.display()), || {
            ended = daemon.child.try_wait().ok().flatten();
            // Greetings, not the mere socket: that is there before the ports are.
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

    /// Starts `program` without waiting for anything: for a daemon that is expected to refuse.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        Self::spawn_in(Arc::new(RunDir::new()?), program, arguments)
    }

    /// As [`Daemon::spawn`], with its socket in `run_dir`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn spawn_in<S: AsRef<OsStr>>(
        run_dir: Arc<RunDir>,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, LabError> {
        let name = format!("log-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let log = run_dir.path().join(name);
        let file = File::create(&log).map_err(LabError::os("create", log.display().to_string()))?;
        let failed = || LabError::os("start", program.display().to_string());
        let child = Command::new(program)
            .args(arguments)
            .env("SWITCH_RUNDIR", run_dir.path())
            // What it says is read by programs.
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed())?)
            .stderr(file)
            .spawn()
            .map_err(failed())?;
        Ok(Self { program: program.to_owned(), child, run_dir, log })
    }

    /// The path of the daemon's control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.socket()
    }

    /// A session with it, as `ofctl` has one.
    ///
    /// # Errors
    /// It does not answer, or is of another version.
    pub fn client(&self) -> Result<Client, LabError> {
        let socket = self.socket();
        let failed = || LabError::os("connect to", socket.display().to_string());
        let stream = UnixStream::connect(&socket).map_err(failed())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed())?;
        let reader = stream.try_clone().map_err(failed())?;
        Ok(Client::open(reader, stream, env!("CARGO_PKG_NAME"))?)
    }

    /// The number of the daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the daemon has said so far, on both outputs.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for the daemon to end by itself.
    ///
    /// # Errors
    /// It does not end within two minutes.
    pub fn wait(&mut self) -> Result<ExitStatus, LabError> {
        let what = format!("{} ends", self.program.display());
        let mut ended = None;
        within(PATIENCE, &what, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some()
        })?;
        ended.ok_or(LabError::Late { what, waited: PATIENCE })
    }

    /// Asks it to end (SIGTERM), waits until it has, and returns how, with all it said.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(mut self) -> Result<(ExitStatus, String), LabError> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait()?;
        Ok((status, self.log()))
    }

    /// Kills it without a chance to tidy up, as a crash would.
    ///
    /// # Errors
    /// It had ended before.
    pub fn crash(mut self) -> Result<(), LabError> {
        self.signal(Signal::SIGKILL)?;
        self.wait().map(drop)
    }

    /// The folder with the daemon's socket: a successor, or a rival, may be started with it.
    pub fn run_dir(&self) -> Arc<RunDir> {
        self.run_dir.clone()
    }

    fn signal(&self, signal: Signal) -> Result<(), LabError> {
        kill(Pid::from_raw(self.child.id() as i32), signal)
            .map_err(|e| LabError::os("end", self.program.display().to_string())(e.into()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
