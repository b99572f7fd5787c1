//! What a bridge with `fail_mode=standalone` does while none of its controllers is connected: it forwards as a
//! learning switch until one is back.
//!
//! ```text
//!            no controller for three probe intervals
//! controlled ──────────────────────────────────────► standing alone
//!      ▲                                                  │
//!      └──────────────────────────────────────────────────┘
//!            a controller has agreed on a version
//! ```
//!
//! A bridge that begins to stand alone loses all rules, as in Open vSwitch, and has one named [`RULE_NAME`]
//! instead. The rule goes before the first message of the controller is carried out. The name of the rule alone
//! says that the bridge stands alone, so a switch that was restarted knows it as well.

use crate::log_limit::{EVENTS, limited};
use crate::switch::Switch;
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use parking_lot::{Condvar, Mutex};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The name of the rule that a bridge has while it stands alone.
pub(super) const RULE_NAME: &str = "fail-open";

/// The controllers of a bridge that are connected, and the thread that acts when there are none. Dropping it
/// ends the thread.
pub(super) struct Attendance {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    bridge: String,
    switch: Weak<Switch>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    /// How many controllers are connected that the bridge has connected to.
    connected: usize,
    /// When the last of them went, or when the first one was configured.
    since: Instant,
    /// The time without a controller after which the bridge stands alone; `None` if it never does.
    patience: Option<Duration>,
    stands_alone: bool,
    is_over: bool,
}

impl Attendance {
    /// Watches over a bridge.
    ///
    /// # Errors
    /// No thread could be had.
    pub(super) fn start(bridge: &str, switch: &Arc<Switch>) -> std::io::Result<Self> {
        let inner = Inner {
            connected: 0,
            since: Instant::now(),
            patience: None,
            stands_alone: false,
            is_over: false,
        };
        let shared = Arc::new(Shared {
            bridge: bridge.to_owned(),
            switch: Arc::downgrade(switch),
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        });
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("openflow".to_owned())
            .spawn(move || watched.watch())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sets the time without a controller after which the bridge stands alone; `None` is never.
    pub(super) fn set_patience(&self, patience: Option<Duration>) {
        let mut inner = self.shared.inner.lock();
        if inner.patience != patience {
            if inner.patience.is_none() {
                inner.since = Instant::now();
                inner.stands_alone = false;
            }
            inner.patience = patience;
            self.shared.changed.notify_all();
        }
    }

    /// One more controller is connected. When the function returns the bridge does not stand alone any more.
    pub(super) fn arrives(&self) {
        let mut inner = self.shared.inner.lock();
        inner.connected += 1;
        inner.stands_alone = false;
        self.shared.end_standing_alone();
    }

    /// A controller that has arrived is connected no more.
    pub(super) fn leaves(&self) {
        let mut inner = self.shared.inner.lock();
        inner.connected = inner.connected.saturating_sub(1);
        inner.since = Instant::now();
        self.shared.changed.notify_all();
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.shared.inner.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self) {
        let mut inner = self.inner.lock();
        while !inner.is_over {
            let patience = inner.patience.filter(|_| inner.connected == 0 && !inner.stands_alone);
            let Some(patience) = patience else {
                self.changed.wait(&mut inner);
                continue;
            };
            let deadline = inner.since + patience;
            if Instant::now() < deadline {
                let _ = self.changed.wait_until(&mut inner, deadline);
                continue;
            }
            // Under the lock: a controller that comes now removes the rule after it was added.
            inner.stands_alone = true;
            self.begin_standing_alone(patience);
        }
    }

    fn begin_standing_alone(&self, patience: Duration) {
        let Some(switch) = self.switch.upgrade() else { return };
        let Ok(_passage) = switch.gate().enter() else { return };
        let (Some(on), bridge) = (switch.on(&self.bridge), &self.bridge) else { return };
        let everything = FlowMod::new(Command::Delete, 0, Match::any(), Vec::new());
        let rule = FlowMod { name: Some(RULE_NAME.into()), ..Switch::default_rule() };
        match on.bridge().apply(&[everything, rule], on.now()) {
            Ok(_) => warn!(
                "bridge {bridge}: no controller for {} s: it forwards as a learning switch until one is back",
                patience.as_secs()
            ),
            Err((_, error)) => warn!("bridge {bridge}: it cannot stand alone: {error}"),
        }
    }

    fn end_standing_alone(&self) {
        let Some(switch) = self.switch.upgrade() else { return };
        let Some(on) = switch.on(&self.bridge) else { return };
        let rule = FlowMod {
            name: Some(RULE_NAME.into()),
            ..FlowMod::new(Command::DeleteStrict, 0, Match::any(), Vec::new())
        };
        match on.bridge().apply(&[rule], on.now()) {
            Ok(_) => info!("bridge {}: a controller is connected", self.bridge),
            Err((_, error)) => {
                limited!(warn, "openflow", EVENTS, "bridge {}: {error}", self.bridge);
            }
        }
    }
}
