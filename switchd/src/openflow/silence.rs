//! How long the peer of a connection may be silent, and what follows from that: a question whether it is there,
//! and the end.

use super::connection::{Terms, Wire};
use super::controller_states::ControllerState;
use openflow::OfMessage;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How long the peer has been silent, and what follows from that.
pub(super) struct Silence<'a> {
    probe_interval: Option<Duration>,
    /// How long the peer may take for its HELLO; `None` once it has come, or if it may take its time.
    hello_patience: Option<Duration>,
    state: Option<&'a ControllerState>,
    /// When the peer was heard last, or the connection began.
    since: Instant,
    /// Whether the peer has not agreed on a version yet.
    is_opening: bool,
    /// Whether the peer was asked whether it is there.
    has_asked: bool,
}

impl<'a> Silence<'a> {
    pub(super) fn new(terms: &Terms<'a>) -> Self {
        Self {
            probe_interval: terms.probe_interval,
            hello_patience: terms.hello_patience,
            state: terms.state,
            since: Instant::now(),
            is_opening: true,
            has_asked: false,
        }
    }

    pub(super) fn is_opening(&self) -> bool {
        self.is_opening
    }

    /// A version was agreed on.
    pub(super) fn opens(&mut self) {
        (self.is_opening, self.hello_patience) = (false, None);
    }

    /// The peer was heard at the time `at`.
    pub(super) fn ends(&mut self, at: Instant) {
        // Bytes without a HELLO in them are no sign of a controller.
        if self.hello_patience.is_none() {
            self.since = at;
        }
        if std::mem::take(&mut self.has_asked)
            && let Some(state) = self.state
        {
            state.is_idle(false);
        }
    }

    /// When something has to be done; `None` if the peer may be silent for ever.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let patience = match (self.hello_patience, self.probe_interval) {
            (Some(patience), _) => patience,
            // There is no way to ask before a version is agreed on.
            (None, Some(interval)) if self.has_asked || self.is_opening => interval * 2,
            (None, Some(interval)) => interval,
            (None, None) => return None,
        };
        Some(self.since + patience)
    }

    /// Asks a silent peer whether it is there.
    ///
    /// # Errors
    /// The peer was asked and has not answered, or has not sent its HELLO in time.
    pub(super) fn check(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        let now = Instant::now();
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let seconds = now.saturating_duration_since(self.since).as_secs();
        let failed = |what: &str| {
            Err(io::Error::new(ErrorKind::TimedOut, format!("{what} for {seconds} s")))
        };
        match (self.is_opening, self.has_asked) {
            (true, _) => failed("the peer sent no HELLO"),
            (false, true) => failed("the peer was silent and did not answer an echo request"),
            (false, false) => {
                self.has_asked = true;
                if let Some(state) = self.state {
                    state.is_idle(true);
                }
                wire.send(&OfMessage::EchoRequest(Vec::new()), 0);
                Ok(())
            }
        }
    }
}
