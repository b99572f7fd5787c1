//! A controller that a bridge connects to, again and again.
//!
//! ```text
//!            ┌──────────── pause is over ───────────┐
//!            ▼                                      │
//! begin ─► connecting ── refused, or no HELLO ──► pausing
//!            │                                      ▲
//!            └── HELLO ──► connected ── lost ───────┘
//! ```
//!
//! The pause is one second after a connection that lasted longer than the pause before, else twice the pause
//! before, and `max_backoff` at most, as in Open vSwitch (`disconnect` in lib/rconn.c).

use super::connection::{self, Terms};
use super::controller_states::ControllerState;
use super::dial::{self, DialError, Resolver};
use super::service::BridgeContext;
use super::snoop::Snooped;
use super::tls;
use super::transport::Transport;
use crate::desired::{Bounded, Controller, ControllerHost, ControllerPlace};
use crate::log_limit::{EVENTS, limited};
use nix::sys::eventfd::EventFd;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::info;

/// The shortest pause between two attempts.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The thread that connects to a controller. Dropping it ends the connection.
pub(super) struct ControllerLink {
    end: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl ControllerLink {
    /// Connects to a controller from now on.
    ///
    /// # Errors
    /// No thread or no descriptor could be had.
    pub(super) fn start(context: &Arc<BridgeContext>, controller: Controller) -> io::Result<Self> {
        let end = Arc::new(crate::server::event_fd()?);
        let target = controller.target.to_string();
        let state = context.states().begin(&context.bridge, &target);
        let (told, context, at_end) = (Arc::clone(&end), Arc::clone(context), Arc::clone(&state));
        let thread = std::thread::Builder::new().name("openflow".to_owned()).spawn(move || {
            let link = Link { context: &context, controller: &controller, state, end: &told };
            link.run();
            context.states().end(&context.bridge, &target, &at_end);
        })?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for ControllerLink {
    fn drop(&mut self) {
        let _ = self.end.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many bytes of a packet that no rule matches a controller gets that
/// has said nothing (`OFP_DEFAULT_MISS_SEND_LEN`).
pub(super) const DEFAULT_MISS_SEND_LEN: u16 = 128;

/// What the thread of a controller knows.
struct Link<'a> {
    context: &'a Arc<BridgeContext>,
    controller: &'a Controller,
    state: Arc<ControllerState>,
    /// Readable once the controller is not wanted any more.
    end: &'a EventFd,
}

impl Link<'_> {
    fn run(&self) {
        let (bridge, target) = (&self.context.bridge, &self.controller.target);
        let mut resolver = Resolver::default();
        let mut pauses = Pauses::new(self.controller.longest_backoff());
        loop {
            self.state.connects();
            let patience = pauses.current.max(SHORTEST_PAUSE);
            let error = match self.connect(&mut resolver, Instant::now() + patience) {
                Ok(transport) => {
                    let mut transport = Snooped::new(transport, &self.context.snoopers);
                    match self.serve(&mut transport, patience, &mut pauses) {
                        Ok(()) => "the controller closed the connection".to_owned(),
                        Err(error) => reason(&error),
                    }
                }
                Err(DialError::Ended) => return,
                Err(DialError::Failed(error)) => reason(&error),
            };
            let pause = pauses.next(Instant::now());
            limited!(
                info,
                "openflow",
                EVENTS,
                "bridge {bridge}: controller {target}: {error}; the next attempt comes in {} s",
                pause.as_secs()
            );
            self.state.waits(pause, Some(error));
            if dial::pause(self.end.as_fd(), pause) {
                return;
            }
        }
    }

    fn connect(
        &self,
        resolver: &mut Resolver,
        deadline: Instant,
    ) -> Result<Box<dyn Transport>, DialError> {
        let end = self.end.as_fd();
        match self.controller.target.place() {
            ControllerPlace::Remote { tls, host, port } => {
                let addresses = match host {
                    ControllerHost::Address(address) => vec![SocketAddr::new(*address, *port)],
                    ControllerHost::Name(name) => resolver.resolve(name, *port, end, deadline)?,
                };
                let stream = dial::tcp(&addresses, end, deadline)?;
                if !tls {
                    return Ok(Box::new(stream));
                }
                let secured = tls::begin(stream, self.context.ssl().as_ref(), true);
                Ok(Box::new(secured.map_err(io::Error::other)?))
            }
            ControllerPlace::Unix(path) => {
                Ok(Box::new(dial::unix(&self.context.folder.join(path))?))
            }
            ControllerPlace::Listen { .. } | ControllerPlace::ListenUnix(_) => {
                Err(io::Error::other("nobody can connect to a place to listen at").into())
            }
        }
    }

    /// Serves the connection until it ends.
    fn serve(
        &self,
        transport: &mut dyn Transport,
        patience: Duration,
        pauses: &mut Pauses,
    ) -> io::Result<()> {
        let context = self.context;
        let member = context.hub.join()?;
        member.change_settings(|settings| {
            (settings.is_primary, settings.miss_send_len) = (true, DEFAULT_MISS_SEND_LEN);
        });
        if let Some(rate) = self.controller.controller_rate_limit.map(Bounded::get) {
            let burst = self.controller.controller_burst_limit.map_or(rate / 4, Bounded::get);
            member.packet_in_limit().set(rate, burst, Instant::now());
        }
        let attendance = &context.attendance;
        let mut has_arrived = false;
        let terms = Terms {
            versions: context.versions(),
            probe_interval: self.controller.probe_interval(),
            hello_patience: Some(patience),
            end: Some(self.end.as_fd()),
            state: Some(&self.state),
            on_open: &mut || {
                pauses.connected(Instant::now());
                has_arrived = true;
                self.state.opens(&member);
                attendance.arrives();
                info!(
                    "bridge {}: connected to controller {}",
                    context.bridge, self.controller.target
                );
            },
        };
        let served = connection::serve(
            transport,
            &context.hub,
            &member,
            &context.bridge,
            &context.switch,
            terms,
        );
        context.hub.leave(&member);
        self.state.closes(&member, None);
        if has_arrived {
            attendance.leaves();
        }
        served
    }
}

/// An error in words, without the number that the standard library puts behind those of the system.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// The pauses between attempts.
struct Pauses {
    longest: Duration,
    /// The pause that was made last; zero before the first one.
    current: Duration,
    /// A failure from then on is the first one of a new series.
    deadline: Option<Instant>,
}

impl Pauses {
    fn new(longest: Duration) -> Self {
        Self { longest, current: Duration::ZERO, deadline: None }
    }

    /// An attempt has succeeded.
    fn connected(&mut self, now: Instant) {
        self.deadline = Some(now + self.current);
    }

    /// The pause to make now, after a failure or the end of a connection.
    fn next(&mut self, now: Instant) -> Duration {
        let is_new_series = self.deadline.take().is_some_and(|deadline| now >= deadline);
        self.current = match is_new_series {
            true => SHORTEST_PAUSE,
            false => (self.current * 2).clamp(SHORTEST_PAUSE, self.longest),
        };
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_a_connection_has_lasted() {
        let mut pauses = Pauses::new(Duration::from_secs(8));
        let mut now = Instant::now();
        let mut seconds = |now| pauses.next(now).as_secs();
        assert_eq!([0; 5].map(|_| seconds(now)), [1, 2, 4, 8, 8]);
        pauses.connected(now);
        now += Duration::from_secs(3);
        assert_eq!(pauses.next(now).as_secs(), 8, "it was lost too soon");
        pauses.connected(now);
        now += Duration::from_secs(8);
        assert_eq!(pauses.next(now).as_secs(), 1);
        let mut short = Pauses::new(Duration::from_secs(1));
        assert_eq!([0; 3].map(|_| short.next(now).as_secs()), [1, 1, 1]);
    }
}
