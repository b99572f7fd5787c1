//! What happens by itself: devices come and go, time passes.
//!
//! One thread listens to the kernel's device events and runs the periodic work of the switch.

use crate::switch::Switch;
use crate::worker::Event;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use ports::netlink::{Events, LinkEvent, Netlink, NetlinkError};
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::warn;

/// Time between two rounds of periodic work.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// The running thread. Dropping it ends it.
pub struct Monitor {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Begins to watch over a switch. Where device events cannot be had (no network namespace of our
    /// own to listen in), only time passes.
    ///
    /// # Errors
    /// No thread or no descriptor could be had.
    pub fn start(switch: Arc<Switch>) -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let stop = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let events = Events::open().inspect_err(|e| warn!("{e}: ports do not follow their devices"));
        let told = Arc::clone(&stop);
        let run = move || watch(&switch, events.ok(), &told);
        let thread = std::thread::Builder::new().name("monitor".to_owned()).spawn(run)?;
        let monitor = Self { stop, thread: Some(thread) };
        Ok(monitor)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(switch: &Switch, mut events: Option<Events>, stop: &EventFd) {
    // Events that came before we listened.
    look_at_all(switch);
    let mut last_sweep = Instant::now();
    loop {
        let mut fds = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        if let Some(events) = &events {
            fds.push(PollFd::new(events.as_fd(), PollFlags::POLLIN));
        }
        let left = SWEEP_INTERVAL.saturating_sub(last_sweep.elapsed());
        let timeout = PollTimeout::try_from(left.max(Duration::from_millis(1)));
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, timeout.unwrap_or(PollTimeout::ZERO));
        if fds[0].any() == Some(true) {
            return;
        }
        if let Some(events) = &mut events
            && let Err(error) = hear(switch, events)
        {
            warn!("{error}: looking at all devices instead");
            look_at_all(switch);
        }
        for Event::RxFailed { no, error } in switch.take_events() {
            tracing::debug!("port {}: {error}", switch.port_name(no));
        }
        if last_sweep.elapsed() >= SWEEP_INTERVAL {
            last_sweep = Instant::now();
            switch.sweep();
        }
    }
}

fn hear(switch: &Switch, events: &mut Events) -> Result<(), NetlinkError> {
    let mut heard = Vec::new();
    events.drain(|event| heard.push(event))?;
    for event in heard {
        match event {
            LinkEvent::Present(link) => switch.link_present(&link),
            LinkEvent::Gone { index, .. } => switch.link_gone(index),
            LinkEvent::QdiscChanged { index } => {
                if let Some(link) = Netlink::open()?.find_link_by_index(index)? {
                    switch.link_present(&link);
                }
            }
            LinkEvent::Lost => look_at_all(switch),
        }
    }
    Ok(())
}

/// Compares all devices with what the ports believe.
fn look_at_all(switch: &Switch) {
    let links = match Netlink::open().and_then(|mut netlink| netlink.links()) {
        Ok(links) => links,
        Err(error) => return warn!("{error}"),
    };
    let present: HashSet<u32> = links.iter().map(|l| l.index).collect();
    for index in switch.open_devices() {
        if !present.contains(&index) {
            switch.link_gone(index);
        }
    }
    for link in &links {
        switch.link_present(link);
    }
    switch.retry_ports();
}
