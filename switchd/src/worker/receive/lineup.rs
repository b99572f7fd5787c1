//! Queues come, go, are replaced by others, and are handed over to another program.

use super::super::DescribedQueue;
use super::{Receivers, RxPort, State};
use crossbeam::channel::Sender;
use flow::types::PortNo;
use flowtable::datapath::PortCounters;
use ports::handover::RingPositions;
use ports::{RxQueue, RxStats};
use std::sync::Arc;
use std::time::Instant;

/// A queue that takes the place of another one when that is empty.
pub(super) struct Successor {
    queue: Box<dyn RxQueue>,
    /// Who takes the old one.
    done: Sender<Box<dyn Send>>,
}

impl Receivers {
    /// Takes over a queue of a port, which waits until it has frames.
    pub(in crate::worker) fn add(
        &mut self,
        port_no: PortNo,
        queue: Box<dyn RxQueue>,
        counters: Arc<PortCounters>,
        now: Instant,
    ) {
        let state = if queue.poll_fd().is_some() { State::Aside } else { State::Polled };
        self.added += 1;
        let port = RxPort {
            port_no,
            number: self.added,
            queue,
            counters,
            tunnel_counters: None,
            stats: RxStats::default(),
            state,
            last_frame: now,
            turn: self.first_turn,
            false_alarms: 0,
            is_failing: false,
            is_in_use: false,
            successor: None,
        };
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.places[place] = Some(port);
        match state {
            State::Polled => self.polled.push(place),
            _ => self.begin_waiting(place),
        }
    }

    /// Hands the queues of a port over, when what they counted has been read.
    pub(in crate::worker) fn remove(&mut self, port_no: PortNo) -> Vec<RxPort> {
        let is_ports = |rx: &Option<RxPort>| rx.as_ref().is_some_and(|rx| rx.port_no == port_no);
        let places: Vec<usize> =
            (0..self.places.len()).filter(|place| is_ports(&self.places[*place])).collect();
        for &place in &places {
            self.read_stats_of(place);
            self.stop_waiting(place, State::Aside);
        }
        for list in [&mut self.busy, &mut self.polled, &mut self.aside, &mut self.in_use] {
            list.retain(|place| !places.contains(place));
        }
        places.into_iter().filter_map(|place| self.places[place].take()).collect()
    }

    /// Prepares new queues of a port, which are still closed, to take the places of its queues, in the order in
    /// which these were added. From now on frames arrive at the new queues; the old ones are emptied first.
    pub(in crate::worker) fn replace(
        &mut self,
        port_no: PortNo,
        queues: Vec<Box<dyn RxQueue>>,
        done: &Sender<Box<dyn Send>>,
    ) {
        let is_ports = |rx: &Option<RxPort>| rx.as_ref().is_some_and(|rx| rx.port_no == port_no);
        let mut places: Vec<usize> =
            (0..self.places.len()).filter(|place| is_ports(&self.places[*place])).collect();
        places.sort_by_key(|place| self.places[*place].as_ref().map(|port| port.number));
        for (place, mut queue) in places.into_iter().zip(queues) {
            let Some(port) = &mut self.places[place] else { continue };
            if let Err(error) = port.queue.give_way_to(&mut *queue) {
                tracing::warn!("port {}: its receive ring stays as it is: {error}", port_no.0);
                // The other side closes it.
                let _ = done.send(Box::new(queue));
                continue;
            }
            port.successor = Some(Successor { queue, done: done.clone() });
            if matches!(port.state, State::Waiting | State::Aside) {
                // It is asked in the next round, and has nothing or is emptied.
                self.aside.retain(|aside| *aside != place);
                self.stop_waiting(place, State::Busy);
                self.busy.push(place);
            }
        }
    }

    /// Lets the successor of an empty queue take its place.
    pub(super) fn succeed(&mut self, place: usize) {
        self.read_stats_of(place);
        let Some(port) = &mut self.places[place] else { return };
        if let Some(Successor { queue, done }) = port.successor.take() {
            let old = std::mem::replace(&mut port.queue, queue);
            port.stats = RxStats::default();
            // The other side waits for it.
            let _ = done.send(Box::new(old));
        }
    }

    /// Describes all queues, those of a port in the order in which they were added.
    pub(in crate::worker) fn describe(&self) -> Vec<DescribedQueue> {
        let mut ports: Vec<&RxPort> = self.places.iter().flatten().collect();
        ports.sort_by_key(|port| port.number);
        let describe =
            |port: &RxPort| DescribedQueue { port_no: port.port_no, queue: port.queue.hand_over() };
        ports.into_iter().map(describe).collect()
    }

    /// Counts what the kernel has dropped, and tells the places in the rings at which another program goes on.
    pub(in crate::worker) fn pause(&mut self) -> RingPositions {
        let mut positions = RingPositions::new();
        for place in 0..self.places.len() {
            self.read_stats_of(place);
            if let Some(port) = &self.places[place] {
                port.queue.tell_position(&mut positions);
            }
        }
        self.in_use.clear();
        positions
    }

    /// Goes on at these places in the rings.
    pub(in crate::worker) fn go_on(&mut self, positions: &RingPositions) {
        self.places.iter_mut().flatten().for_each(|port| port.queue.go_on_at(positions));
    }

    /// All queues, to be closed by somebody with more time.
    pub(in crate::worker) fn into_queues(self) -> impl Iterator<Item = Box<dyn Send>> {
        let ports = self.places.into_iter().flatten();
        ports.map(|port| Box::new(port.queue) as Box<dyn Send>)
    }
}
