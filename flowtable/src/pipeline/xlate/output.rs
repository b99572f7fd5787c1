//! Outputs: one port, several, or somebody who is no port.

use super::{Ctx, LeftOut, Note};
use crate::action::Subfield;
use crate::datapath::{ControllerMeta, DpAction, DropReason};
use crate::pipeline::ports::PortInfo;
use crate::types::OfPort;

/// `OFPR_ACTION`: the packet-in was asked for by an action.
const OFPR_ACTION: u8 = 1;

impl Ctx<'_> {
    /// `output:PORT` and the reserved ports.
    pub(super) fn output(&mut self, port: OfPort) {
        match port {
            OfPort::IN_PORT => self.send_to(self.in_port()),
            OfPort::NORMAL => self.normal(),
            OfPort::FLOOD => self.flood(|port| !port.config.no_flood),
            OfPort::ALL => self.flood(|_| true),
            OfPort::CONTROLLER => self.controller(u16::MAX, OFPR_ACTION, 0, &[]),
            OfPort::TABLE => {
                self.is_last = false;
                let in_port = self.in_port();
                self.table_lookup(in_port, crate::types::TableId::default(), true);
            }
            OfPort::NONE => {}
            port if port == self.in_port() => {
                self.report.note(|| Note::SkipInPort);
                self.hint = Some(DropReason::NoOutput);
            }
            port => self.send_to(port),
        }
    }

    /// A copy to every port but the ingress that `wants` it.
    fn flood(&mut self, wants: impl Fn(&PortInfo) -> bool) {
        let in_port = self.in_port();
        let ports = self.view.ports;
        self.out.depends.all_ports = true;
        let mut any = false;
        for port in ports.iter().filter(|p| p.of != in_port) {
            if wants(port) {
                any = true;
                self.send_to(port.of);
            } else {
                self.report.note(|| Note::LeftOut(port.of, LeftOut::NoFlood));
            }
        }
        if !any {
            self.hint = Some(DropReason::NoFloodTarget);
        }
    }

    /// Emits an output, whatever the ingress port is.
    pub(super) fn send_to(&mut self, of: OfPort) {
        self.out.depends.port(of);
        let ports = self.view.ports;
        let Some(port) = ports.get(of) else {
            self.report.note(|| Note::NoSuchPort(of));
            self.hint = Some(DropReason::NoOutput);
            return;
        };
        if port.config.no_fwd {
            self.report.note(|| Note::NoForward(of));
            self.hint = Some(DropReason::PortNoForward);
            return;
        }
        if port.config.down {
            self.report.note(|| Note::PortDown(of));
            self.hint = Some(DropReason::TxLinkDown);
            return;
        }
        self.commit();
        self.out.actions.push(DpAction::Output(port.no));
        self.outputs += 1;
    }

    pub(super) fn output_reg(&mut self, src: Subfield, _max_len: u16) {
        src.set_mask(&mut self.mask);
        let value = src.read(&self.key);
        match u16::try_from(value) {
            Ok(port) => {
                self.report.note(|| Note::OutputPortIs(OfPort(port)));
                self.output(OfPort(port));
            }
            Err(_) => self.hint = Some(DropReason::NoOutput),
        }
    }

    pub(super) fn output_truncated(&mut self, of: OfPort, max_len: u32) {
        self.out.depends.port(of);
        let ports = self.view.ports;
        let Some(port) = ports.get(of).filter(|p| p.of != self.in_port() && !p.config.no_fwd)
        else {
            self.hint = Some(DropReason::NoOutput);
            return;
        };
        // As in Open vSwitch, the length counts before tags and labels that are still to be pushed.
        let before = self.out.actions.len();
        self.commit();
        let growth: i32 = self.out.actions[before..].iter().map(growth).sum();
        let max_len = max_len.saturating_add_signed(growth);
        self.out.actions.push(DpAction::OutputTrunc { port: port.no, max_len });
        self.outputs += 1;
    }

    pub(super) fn controller(&mut self, max_len: u16, reason: u8, id: u16, userdata: &[u8]) {
        self.commit();
        self.out.actions.push(DpAction::Controller(Box::new(ControllerMeta {
            max_len,
            reason,
            controller_id: id,
            table: self.table.get(),
            cookie: self.cookie,
            userdata: userdata.to_vec(),
        })));
        self.outputs += 1;
    }
}

/// Bytes by which an action makes the frame longer.
fn growth(action: &DpAction) -> i32 {
    match action {
        DpAction::PushVlan { .. } | DpAction::PushMpls { .. } => 4,
        DpAction::PopVlan | DpAction::PopMpls { .. } => -4,
        _ => 0,
    }
}
