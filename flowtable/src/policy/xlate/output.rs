//! Outputs: to one port, and to several ports.

use super::controller::ToController;
use super::{Ctx, LeftOut, Note, TranslationObserver};
use crate::policy::ports::{Attachment, PortInfo};
use flow::action::Subfield;
use flow::types::OfPort;
use flow::verdict::{DpAction, DropReason};
use std::sync::Arc;

impl<'a, O: TranslationObserver> Ctx<'a, O> {
    /// Executes `output:PORT`, where the port may be a reserved one.
    pub(super) fn output(&mut self, port: OfPort) {
        match port {
            OfPort::IN_PORT => self.send_to(self.in_port()),
            OfPort::NORMAL => self.normal(),
            OfPort::FLOOD => self.flood(|port| !port.config.no_flood),
            OfPort::ALL => self.flood(|_| true),
            OfPort::CONTROLLER => {
                let reason = self.output_reason();
                self.controller(&ToController::plain(reason));
            }
            OfPort::TABLE => self.output_to_table(),
            OfPort::NONE => {}
            port if port == self.in_port() => self.skip_in_port(),
            port => self.send_to(port),
        }
    }

    /// Notes that an output to the ingress port was left out: only `IN_PORT` sends a packet back.
    fn skip_in_port(&mut self) {
        self.observer.note(|| Note::SkipInPort);
        self.hint = Some(DropReason::NoOutput);
    }

    /// Sends a copy to every port for which `wants` is true, except the ingress port.
    fn flood(&mut self, wants: impl Fn(&PortInfo) -> bool) {
        let in_port = self.in_port();
        self.depend_on_all_ports();
        // More outputs follow.
        let is_last = std::mem::replace(&mut self.is_last, false);
        let mut any = false;
        for port in self.ports().iter().filter(|p| p.of_port != in_port) {
            if port.is_peer_down {
                self.observer.note(|| Note::LeftOut(port.of_port, LeftOut::PeerDown));
            } else if wants(port) {
                any = true;
                self.send_to(port.of_port);
            } else {
                self.observer.note(|| Note::LeftOut(port.of_port, LeftOut::NoFlood));
            }
        }
        if !any {
            self.hint = Some(DropReason::NoFloodTarget);
        }
        self.is_last = is_last;
    }

    /// Sends the packet out of a port, which may be the ingress port.
    pub(super) fn send_to(&mut self, of_port: OfPort) {
        let Some(port) = self.egress(of_port) else {
            return;
        };
        match &port.attachment {
            Attachment::Queues(port_no) if let Some(tunnel) = &port.tunnel => {
                self.send_through(*port_no, tunnel);
            }
            Attachment::Queues(port_no) => {
                self.commit();
                self.out.actions.push(match self.priority {
                    0 => DpAction::Output(*port_no),
                    priority => DpAction::OutputQueued { port: *port_no, priority },
                });
                self.outputs += 1;
            }
            Attachment::Patch(patch) => self.cross(port, patch),
        }
    }

    /// The port with a number, if packets that came in on this packet's ingress port may leave there. `None`,
    /// with a note and a hint, if they may not.
    fn egress(&mut self, of_port: OfPort) -> Option<&'a PortInfo> {
        let (ports, in_port) = (self.ports(), self.in_port());
        self.depend_on_port(of_port);
        self.depend_on_port(in_port);
        let is_protected = |of_port| ports.get(of_port).is_some_and(|port| port.protected);
        let (note, why) = match ports.get(of_port) {
            None => (Note::NoSuchPort(of_port), DropReason::NoOutput),
            Some(port) if port.config.no_fwd => {
                (Note::NoForward(of_port), DropReason::PortNoForward)
            }
            Some(port) if port.config.down => (Note::PortDown(of_port), DropReason::TxLinkDown),
            Some(_) if is_protected(of_port) && is_protected(in_port) => {
                (Note::Protected(of_port), DropReason::Protected)
            }
            Some(port) => return Some(port),
        };
        self.observer.note(|| note);
        self.hint = Some(why);
        None
    }

    pub(super) fn output_reg(&mut self, src: Subfield, _max_len: u16) {
        let value = self.packet.read(src);
        match u16::try_from(value) {
            Ok(port) => {
                self.observer.note(|| Note::OutputPortIs(OfPort(port)));
                self.output(OfPort(port));
            }
            Err(_) => {
                self.observer.note(|| Note::OutputPortOutOfRange(value));
                self.hint = Some(DropReason::NoOutput);
            }
        }
    }

    pub(super) fn output_truncated(&mut self, of_port: OfPort, max_len: u32) {
        if of_port == self.in_port() {
            return self.skip_in_port();
        }
        let Some(port) = self.egress(of_port) else {
            return;
        };
        let Attachment::Queues(port_no) = port.attachment else {
            self.observer.note(|| Note::CannotTruncate(of_port));
            self.hint = Some(DropReason::NoOutput);
            return;
        };
        let key = match &port.tunnel {
            None => None,
            Some(tunnel) => match self.outer_headers(tunnel) {
                Some(key) => Some(Arc::new(key)),
                None => return,
            },
        };
        // As in Open vSwitch, the length counts before tags and labels that are still to be pushed.
        let before = self.out.actions.len();
        self.commit();
        let growth: i32 = self.out.actions[before..].iter().map(growth).sum();
        let (port, max_len) = (port_no, max_len.saturating_add_signed(growth));
        self.out.actions.push(match key {
            None => DpAction::OutputTrunc { port, max_len, priority: self.priority },
            Some(key) => DpAction::TunnelTrunc { port, key, max_len },
        });
        self.outputs += 1;
    }
}

/// Number of bytes by which an action makes the frame longer; negative if it makes the frame shorter.
pub(crate) fn growth(action: &DpAction) -> i32 {
    match action {
        DpAction::PushVlan { .. } | DpAction::PushMpls { .. } => 4,
        DpAction::PopVlan | DpAction::PopMpls { .. } => -4,
        _ => 0,
    }
}
