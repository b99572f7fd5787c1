//! The old program's side of a hand-over.

use super::channel::{Channel, ChannelError, Message};
use super::gate::CloseError;
use super::sections::{When, sections};
use super::start::NewProcess;
use super::{Core, FORMAT, HandoverHello, PATIENCE, Program, SWITCH_OVER, message};
use crate::edition;
use crate::server::Listener;
use crate::state::{self, StateError};
use crate::supervisor;
use crate::switch::Switch;
use kernelcache::KeptExecutors;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How long a new program that has failed may take to end by itself, before it is killed.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// The program that has taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) pid: u32,
    /// Name and version.
    pub(crate) program: String,
}

/// Why no other program has taken over. But for [`GiveError::Lost`], this program goes on
/// as if nothing had happened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GiveError {
    /// Changes are under way.
    #[error(transparent)]
    Busy(#[from] CloseError),
    /// A port or the state cannot be handed over.
    #[error("{0}")]
    Unsupported(String),
    /// State cannot be kept, so that the new program would not find it.
    #[error("state cannot be kept: {0}")]
    State(#[from] StateError),
    /// The new program could not be started.
    #[error("start {path}: {source}")]
    Start {
        /// The path of the program file.
        path: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The new program has ended, or says why it cannot take over.
    #[error("the new program {0}")]
    Failed(String),
    /// Frames are the new program's, and something has failed in it after that.
    #[error("the new program, which has taken over, {0}")]
    Lost(String),
}

/// Starts `program`, has it take over from this one, and returns when it forwards and takes commands. This
/// program has nothing to do any more then but to end, and must not put back its devices. `progress` is called
/// now and then, and `release` when the new program forwards: it frees what the new program makes anew.
///
/// # Errors
/// [`GiveError`]
pub(crate) fn give(
    switch: &Switch,
    listener: &Listener,
    program: &Program,
    progress: impl Fn(),
    release: impl FnOnce(),
) -> Result<Successor, GiveError> {
    if std::process::id() == 1 {
        let why = "the end of process 1 ends all processes of a container: restart the container";
        return Err(GiveError::Unsupported(why.to_owned()));
    }
    let closed = switch.gate().close(PATIENCE, &progress)?;
    if let Some((author, left)) = switch.waiting() {
        let (what, who, left) = (author.what, author.who, left.as_secs());
        let why = format!("\"{what}\" of {who} waits to be confirmed, {left} s left");
        return Err(GiveError::Unsupported(why));
    }
    switch.wait_until_kept()?;
    // Frames wait in the rings while one program stops and the other begins.
    switch.fit_rings_to_traffic();
    progress();
    let mut hand = Hand::start(switch, listener, program, progress)?;
    let (pid, prepared) = match hand.switch_over() {
        Ok(successor) => successor,
        Err(error) => {
            let why = hand.why(error);
            warn!("this program goes on: the new program {why}");
            return Err(GiveError::Failed(why));
        }
    };
    ::ports::give_up_locks();
    // Before systemd is told, which asks for the parent of the new process.
    hand.process.let_go();
    supervisor::main_process_is(pid);
    // Whatever becomes of the new program, the devices are its own.
    closed.hand_over();
    release();
    let given = hand.give_late_sections();
    match given {
        Ok(()) => {
            info!("process {pid} has taken over");
            Ok(Successor { pid, program: prepared })
        }
        Err(error) => Err(GiveError::Lost(hand.why(error))),
    }
}

/// A hand-over that is under way.
struct Hand<'a, F: Fn()> {
    switch: &'a Switch,
    channel: Channel,
    process: NewProcess,
    core: Vec<u8>,
    fds: Vec<OwnedFd>,
    state: Vec<u8>,
    progress: F,
    /// The new program takes over the executors that `core` has.
    _executors: Option<KeptExecutors<'a>>,
}

impl<'a, F: Fn()> Hand<'a, F> {
    fn start(
        switch: &'a Switch,
        listener: &Listener,
        program: &Program,
        progress: F,
    ) -> Result<Self, GiveError> {
        let unsupported = |error: io::Error| GiveError::Unsupported(error.to_string());
        let _executors = switch.kernel_side().cache().map(|cache| cache.keep_executors());
        let (ports, queues) = switch.describe_ports(&progress).map_err(GiveError::Unsupported)?;
        let lock = switch.state_lock();
        let (kernel, programs) = switch.kernel_side().give().unzip();
        let (epoch, seed, keeps_state) = (switch.epoch(), switch.seed(), lock.is_some());
        let core = Core { epoch, seed, keeps_state, ports, kernel };
        let mut fds = Vec::from(listener.descriptors().map_err(unsupported)?);
        if let Some(lock) = lock {
            fds.push(lock.try_clone_to_owned().map_err(unsupported)?);
        }
        fds.extend(queues);
        for fd in programs.into_iter().flatten() {
            fds.push(fd.try_clone_to_owned().map_err(unsupported)?);
        }
        let core = serde_json::to_vec(&core).map_err(|error| unsupported(error.into()))?;
        let (policy, wanted) = (switch.policy(), switch.desired());
        let state = state::snapshot(policy, &switch.configured(), &wanted, switch.now())?;
        let (channel, theirs) = Channel::pair().map_err(unsupported)?;
        let path = program.path.display().to_string();
        let process = NewProcess::start(program, theirs)
            .map_err(|source| GiveError::Start { path, source })?;
        Ok(Self { switch, channel, process, core, fds, state, progress, _executors })
    }

    /// Has the new program take over. Returns the id of its process, and its name and version. After an error
    /// the workers of this program go on.
    fn switch_over(&mut self) -> Result<(u32, String), ChannelError> {
        let started = self.receive(message::STARTED, PATIENCE)?;
        let pid = self.process.is(&started.body, started.fds)?;
        info!("process {pid} prepares to take over");
        let program = self.prepare()?;
        self.exchange_workers()?;
        Ok((pid, program))
    }

    /// Has the new program prepare. Returns its name and version.
    fn prepare(&self) -> Result<String, ChannelError> {
        let sections = sections().map(|section| section.name.to_owned()).collect();
        let program = edition::program();
        let hello = HandoverHello { format: FORMAT, program, sections };
        let hello = serde_json::to_vec(&hello).map_err(io::Error::from)?;
        self.send(message::HELLO, &hello, &[])?;
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(AsFd::as_fd).collect();
        self.send(message::CORE, &self.core, &fds)?;
        self.send(message::STATE, &self.state, &[])?;
        self.give_sections(When::Early)?;
        self.send(message::PREPARE, b"", &[])?;
        let prepared = self.receive(message::PREPARED, PATIENCE)?;
        // Hosts may have moved meanwhile.
        self.give_sections(When::Early)?;
        self.send(message::PREPARE, b"", &[])?;
        self.receive(message::REFRESHED, PATIENCE)?;
        Ok(prepared.text())
    }

    /// Stops the workers, and lets those of the new program go on where they have stopped. If that fails, the
    /// workers go on themselves.
    fn exchange_workers(&mut self) -> Result<(), ChannelError> {
        let start = Instant::now();
        let positions = self.switch.pause();
        let body = serde_json::to_vec(&positions).map_err(io::Error::from);
        let switched = body.map_err(ChannelError::from).and_then(|body| {
            self.channel.send(message::POSITIONS, &body, &[], SWITCH_OVER)?;
            self.receive(message::COMMITTED, SWITCH_OVER).map(drop)
        });
        match &switched {
            Ok(()) => info!("frames have waited for {} µs", start.elapsed().as_micros()),
            Err(_) => {
                // Two programs must not read the same rings.
                self.process.wait(LAST_MOMENTS);
                self.process.kill();
                self.switch.go_on(positions);
            }
        }
        switched
    }

    fn give_late_sections(&self) -> Result<(), ChannelError> {
        self.switch.push_stats();
        self.give_sections(When::Late)?;
        self.send(message::END, b"", &[])?;
        self.receive(message::RUNNING, PATIENCE).map(drop)
    }

    fn give_sections(&self, when: When) -> Result<(), ChannelError> {
        sections().filter(|section| section.when == when).try_for_each(|section| {
            let body = (section.give)(self.switch).map_err(io::Error::from)?;
            self.send(section.name, &body, &[])
        })
    }

    fn send(&self, name: &str, body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        (self.progress)();
        self.channel.send(name, body, fds, PATIENCE)
    }

    /// Waits for the message of this name.
    fn receive(&self, name: &str, limit: Duration) -> Result<Message, ChannelError> {
        let message = self.channel.receive(limit, &self.progress)?;
        match message.name == name {
            true => Ok(message),
            false if message.name == message::FAILED => Err(ChannelError::Refused(message.text())),
            false if message.name == message::ENDED => Err(ChannelError::Ended(message.text())),
            false => Err(ChannelError::Malformed),
        }
    }

    /// Ends the new program after an error, and says what has become of it.
    fn why(&mut self, error: ChannelError) -> String {
        // What it said before it ended explains more than that it has ended.
        let error = match error {
            ChannelError::Closed => match self.receive(message::FAILED, Duration::ZERO) {
                Ok(last_word) => ChannelError::Refused(last_word.text()),
                Err(error) => error,
            },
            error => error,
        };
        self.process.wait(LAST_MOMENTS);
        let starter = self.process.kill();
        match (error, starter) {
            (ChannelError::Ended(status), _) => {
                format!("ended before it was ready ({status}); see its log")
            }
            (ChannelError::Closed, Some(status)) => {
                format!("ended before it was ready ({status}); see its log")
            }
            (ChannelError::Closed, None) => "has ended; see its log".to_owned(),
            (ChannelError::Late(limit), _) => {
                format!("did not get ready within {} s", limit.as_secs())
            }
            (error, _) => format!("cannot take over: {error}"),
        }
    }
}
