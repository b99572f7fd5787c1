//! A session that watches: events are written as they come, until the client leaves.
//!
//! The session's thread sleeps until there are events or the client hangs up. A client that reads slowly holds
//! up this thread alone: its queue of events fills up meanwhile, and what finds no room is counted and told.

use super::answer::Sender;
use super::event_record;
use super::names::{NameTable, port_names, shown};
use super::refuse;
use crate::bridge::event::{Event, Kinds};
use crate::bridge::subscription::{Interest, Item, Subscription};
use crate::event_text;
use crate::switch::Switch;
use control::frame::{Kind, TEXT_SIZE};
use control::record::EventRecord;
use control::stream::StreamError;
use control::{EventKind, Format, MonitorQuery, Refusal};
use flow::text::PrintOptions;
use flowtable::conntrack::CtEvent;
use flowtable::policy::Bridge;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A session of a client that watches, and its queue of events.
pub(super) struct Watch<'a> {
    switch: &'a Switch,
    query: &'a MonitorQuery,
    subscription: Subscription,
    /// Events of several bridges may come: each line names its bridge.
    names_bridges: bool,
}

impl<'a> Watch<'a> {
    /// Begins to gather events of one bridge, or of all.
    pub(super) fn new(
        switch: &'a Switch,
        bridge: Option<Bridge<'_>>,
        query: &'a MonitorQuery,
    ) -> Result<Self, Box<Refusal>> {
        let names_bridges = bridge.is_none();
        let interest = Interest { bridge: bridge.map(Bridge::name), kinds: kinds(&query.kinds) };
        let subscription =
            switch.bridge_events().subscribe(interest).map_err(|e| refuse::subscription(&e))?;
        Ok(Self { switch, query, subscription, names_bridges })
    }

    /// Writes events until the client hangs up, or says anything.
    pub(super) fn follow(
        self,
        stream: &UnixStream,
        to: &mut Sender<'_>,
    ) -> Result<(), StreamError> {
        // A client may look at a page of events for as long as it likes.
        stream.set_write_timeout(None)?;
        loop {
            let mut fds = [
                PollFd::new(stream.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.subscription.as_fd(), PollFlags::POLLIN),
            ];
            // An interrupted wait is a short one.
            let _ = poll(&mut fds, PollTimeout::NONE);
            if fds[0].any() == Some(true) {
                return Ok(());
            }
            self.write_all(to)?;
        }
    }

    /// Writes the events that have gathered in the queue.
    fn write_all(&self, to: &mut Sender<'_>) -> Result<(), StreamError> {
        let mut text = String::new();
        let mut names = HashMap::new();
        for item in self.subscription.take() {
            match item {
                Item::Event(event) => {
                    let bridge = Arc::clone(&event.bridge);
                    let names = names.entry(bridge).or_insert_with(|| self.port_names(&event));
                    self.write(&mut text, &event, names);
                }
                Item::Connection(event) => self.write_connection(&mut text, &event),
                Item::Lost(count) => self.write_lost(&mut text, count),
            }
            text.push('\n');
            if text.len() >= TEXT_SIZE / 2 {
                to.put(Kind::Text, text.as_bytes())?;
                to.flush()?;
                text.clear();
            }
        }
        if !text.is_empty() {
            to.put(Kind::Text, text.as_bytes())?;
        }
        to.flush()
    }

    fn port_names(&self, event: &Event) -> NameTable {
        let bridge = self.switch.policy().find_bridge(&event.bridge);
        bridge.map(port_names).unwrap_or_default()
    }

    fn write(&self, text: &mut String, event: &Event, names: &NameTable) {
        let names = shown(names, self.query.names);
        let version = self.query.version;
        let options = PrintOptions { version, ports: &names, ..PrintOptions::default() };
        match self.query.format {
            Format::Text => {
                if self.names_bridges {
                    text.push_str(&event.bridge);
                    text.push_str(": ");
                }
                event_text::write(text, event, &options);
            }
            Format::Json => {
                let record = event_record::of(event, version, names);
                super::status::write_record(text, &record);
            }
        }
    }

    /// Writes an event of a connection, which belongs to no bridge.
    fn write_connection(&self, text: &mut String, event: &CtEvent) {
        match self.query.format {
            Format::Text => {
                let connection = event_record::connection_of(event);
                event_text::write_connection(text, event.what, &connection);
            }
            Format::Json => {
                super::status::write_record(text, &event_record::of_connection(event));
            }
        }
    }

    fn write_lost(&self, text: &mut String, count: u64) {
        match self.query.format {
            Format::Text if count == 1 => text.push_str("1 event lost"),
            Format::Text => text.push_str(&format!("{count} events lost")),
            Format::Json => super::status::write_record(text, &EventRecord::Lost { count }),
        }
    }
}

/// The kinds that are asked for; none is all of a bridge.
fn kinds(wanted: &[EventKind]) -> Kinds {
    if wanted.is_empty() {
        return Kinds::ALL;
    }
    let kind = |kind: &EventKind| match kind {
        EventKind::Flows => Kinds::RULES,
        EventKind::Groups => Kinds::GROUPS,
        EventKind::Meters => Kinds::METERS,
        EventKind::Ports => Kinds::PORTS,
        EventKind::Hosts => Kinds::HOSTS,
        EventKind::Bridges => Kinds::BRIDGES,
        EventKind::Connections => Kinds::CONNECTIONS,
    };
    wanted.iter().map(kind).fold(Kinds::default(), |all, kind| all | kind)
}
