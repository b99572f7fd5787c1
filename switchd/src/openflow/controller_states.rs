//! How the connections to controllers are doing, for those who show it.

use super::hub::Member;
use control::version;
use openflow::ControllerRole;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The states of all controllers of all bridges.
#[derive(Debug, Default)]
pub(crate) struct ControllerStates(Mutex<HashMap<(String, String), Arc<ControllerState>>>);

/// How one controller is doing: one that a bridge connects to, or a place at which
/// the bridge waits for controllers.
#[derive(Debug, Default)]
pub(crate) struct ControllerState(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    phase: ControllerPhase,
    members: Vec<Arc<Member>>,
    /// When the last connection came to be; `None` before the first one.
    connected: Option<Instant>,
    /// When the last connection ended; `None` before.
    disconnected: Option<Instant>,
    last_error: Option<String>,
    /// The pause before the next attempt.
    backoff: Duration,
    /// Where a place to wait for controllers really is; `None` if nobody listens there.
    listening: Option<SocketAddr>,
}

/// What a connection to a controller does (`lib/reconnect.c` of Open vSwitch has the same names).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ControllerPhase {
    /// Nothing has been tried yet.
    #[default]
    Void,
    /// The last attempt has failed or the last connection has ended, and the next attempt comes later.
    Backoff,
    /// An attempt is under way.
    Connecting,
    /// The controller is connected.
    Active,
    /// The controller is connected and silent: it was asked whether it is there.
    Idle,
    /// The bridge waits for controllers, and none is connected.
    Listening,
}

impl ControllerPhase {
    /// The word of Open vSwitch.
    fn name(self) -> &'static str {
        match self {
            Self::Void => "VOID",
            Self::Backoff => "BACKOFF",
            Self::Connecting => "CONNECTING",
            Self::Active => "ACTIVE",
            Self::Idle => "IDLE",
            Self::Listening => "LISTENING",
        }
    }
}

/// The state of a controller, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControllerStatus {
    /// What the connection does, in the words of Open vSwitch.
    pub(crate) state: &'static str,
    /// The connections that have agreed on a version.
    pub(crate) connections: usize,
    /// `other`, `master` or `slave`; `None` unless there is exactly one connection.
    pub(crate) role: Option<&'static str>,
    /// The version of OpenFlow; `None` unless there is exactly one connection.
    pub(crate) version: Option<&'static str>,
    pub(crate) sec_since_connect: Option<u64>,
    pub(crate) sec_since_disconnect: Option<u64>,
    pub(crate) last_error: Option<String>,
    /// Seconds of the pause before the next attempt; `None` unless the controller waits for it.
    pub(crate) backoff: Option<u64>,
    /// The address and port at which the bridge listens.
    pub(crate) listening: Option<SocketAddr>,
}

impl Default for ControllerStatus {
    /// A controller that nobody has begun to serve.
    fn default() -> Self {
        ControllerState::default().status()
    }
}

impl ControllerStates {
    /// A new state for a controller of a bridge.
    pub(super) fn begin(&self, bridge: &str, target: &str) -> Arc<ControllerState> {
        let state = Arc::<ControllerState>::default();
        self.0.lock().insert((bridge.to_owned(), target.to_owned()), Arc::clone(&state));
        state
    }

    /// Forgets a controller, unless another state has taken the place of `state`.
    pub(super) fn end(&self, bridge: &str, target: &str, state: &Arc<ControllerState>) {
        let key = (bridge.to_owned(), target.to_owned());
        let mut states = self.0.lock();
        if states.get(&key).is_some_and(|current| Arc::ptr_eq(current, state)) {
            states.remove(&key);
        }
    }

    /// How a controller is doing; `None` if nobody serves it.
    pub(crate) fn status(&self, bridge: &str, target: &str) -> Option<ControllerStatus> {
        let key = (bridge.to_owned(), target.to_owned());
        let state = self.0.lock().get(&key).cloned();
        state.map(|state| state.status())
    }
}

impl ControllerState {
    /// An attempt to connect begins.
    pub(super) fn connects(&self) {
        self.0.lock().phase = ControllerPhase::Connecting;
    }

    /// The bridge waits for controllers at this place.
    pub(super) fn listens(&self, at: Option<SocketAddr>) {
        let mut inner = self.0.lock();
        (inner.phase, inner.listening, inner.last_error) = (ControllerPhase::Listening, at, None);
    }

    /// A connection has agreed on a version.
    pub(super) fn opens(&self, member: &Arc<Member>) {
        let mut inner = self.0.lock();
        inner.members.push(Arc::clone(member));
        inner.phase = ControllerPhase::Active;
        inner.connected = Some(Instant::now());
    }

    /// The peer was silent and is asked whether it is there, or has spoken again.
    pub(super) fn is_idle(&self, is_idle: bool) {
        let mut inner = self.0.lock();
        if matches!(inner.phase, ControllerPhase::Active | ControllerPhase::Idle) {
            inner.phase = if is_idle { ControllerPhase::Idle } else { ControllerPhase::Active };
        }
    }

    /// A connection has ended, for this reason if it is known.
    pub(super) fn closes(&self, member: &Arc<Member>, error: Option<String>) {
        let mut inner = self.0.lock();
        let before = inner.members.len();
        inner.members.retain(|other| !Arc::ptr_eq(other, member));
        if inner.members.len() < before {
            inner.disconnected = Some(Instant::now());
        }
        if inner.members.is_empty() && inner.phase != ControllerPhase::Connecting {
            inner.phase = match inner.listening {
                Some(_) => ControllerPhase::Listening,
                None => ControllerPhase::Backoff,
            };
        }
        inner.last_error = error.or(inner.last_error.take());
    }

    /// A connection was refused.
    pub(super) fn fails(&self, error: String) {
        self.0.lock().last_error = Some(error);
    }

    /// An attempt has failed, or the last connection has ended, and the next attempt comes after a pause.
    pub(super) fn waits(&self, pause: Duration, error: Option<String>) {
        let mut inner = self.0.lock();
        (inner.phase, inner.backoff) = (ControllerPhase::Backoff, pause);
        inner.last_error = error.or(inner.last_error.take());
    }

    fn status(&self) -> ControllerStatus {
        let inner = self.0.lock();
        let seconds = |since: Option<Instant>| since.map(|since| since.elapsed().as_secs());
        let only = match &inner.members[..] {
            [member] => Some(member.settings()),
            _ => None,
        };
        let role = |role| match role {
            ControllerRole::Master => "master",
            ControllerRole::Slave => "slave",
            _ => "other",
        };
        ControllerStatus {
            state: inner.phase.name(),
            connections: inner.members.len(),
            role: only.as_ref().map(|settings| role(settings.role)),
            version: only.and_then(|settings| Some(version::name(settings.encoding?.version))),
            sec_since_connect: seconds(inner.connected),
            sec_since_disconnect: seconds(inner.disconnected),
            last_error: inner.last_error.clone(),
            backoff: (inner.phase == ControllerPhase::Backoff).then(|| inner.backoff.as_secs()),
            listening: inner.listening,
        }
    }
}
