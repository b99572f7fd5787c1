//! Executes a list of [`DpAction`]s on one frame.

use super::answer::answer;
use super::edit;
use super::egress::Egress;
use super::meter_use::MeterUse;
use super::nat;
use super::punt::Punts;
use super::segment;
use crate::conntrack::{FoundConnection, Kept, Tracked, Tracker};
use flow::verdict::{ControllerMeta, CtAction, DpAction, DropReason, MeterRef};
use packet::{Batch, Frame, FrameId, Segmentation};
use std::sync::Arc;
use std::time::Duration;

/// Number of actions that one frame may take, those on its copies and in branches included.
const MAX_STEPS: u32 = 16_384;

/// A frame to recirculate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recirculation {
    /// The received frame or a copy of it.
    pub frame: FrameId,
    /// The id of the state with which the next pass goes on.
    pub recirc_id: u32,
    /// What is known of the frame's connection: the index in [`Env::found`] plus one; 0 for nothing.
    pub found: u32,
}

/// The arguments that every action works with.
pub struct Env<'e, 'a> {
    /// The received frames and their copies.
    pub batch: &'e mut Batch<'a>,
    /// Where outputs are queued.
    pub egress: &'e mut Egress,
    /// Gets the frames to recirculate, in the order of the actions that ask for it.
    pub recirculations: &'e mut Vec<Recirculation>,
    /// The way to controllers; `None` if there is none, so that packets for them are dropped.
    pub punts: Option<Punts<'e>>,
    /// The meters that the actions name. Frames pass a meter that is not there.
    pub meters: &'e [MeterUse],
    /// Looks up connections.
    pub tracker: Tracker<'e>,
    /// Gets what was found of the frames to recirculate.
    pub found: &'e mut Vec<FoundConnection>,
    /// The time on the switch's monotonic clock.
    pub now: Duration,
}

/// What the actions have done with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Number of outputs that were queued.
    pub outputs: u32,
    /// Number of packets that wait for controllers because of the frame.
    pub punted: u32,
    /// Why the latest packet for controllers that was refused was; `None` if none was.
    pub refused: Option<DropReason>,
    /// Why actions were left out; `None` if they were all executed.
    pub cut: Option<DropReason>,
    /// Whether the frame or a copy of it waits for the other fragments of its packet.
    pub waits: bool,
    /// Number of frames that the actions went on with in place of one fragment, because a packet was complete.
    pub fragments: u32,
}

/// Executes `actions` on the frame of `subject`, which stands for the received frame `origin`. The subject's
/// recirculation id does not matter.
pub fn execute(
    actions: &[DpAction],
    env: Env<'_, '_>,
    subject: Recirculation,
    origin: u16,
) -> Executed {
    let mut run = Run {
        env,
        id: subject.frame,
        origin,
        found: subject.found,
        queued: false,
        waits: false,
        steps: 0,
        done: Executed::default(),
    };
    // What has become of the frame is in `done`.
    let _ = run.list(actions);
    run.done
}

/// Why no further action of a list is executed on the frame.
enum Stop {
    /// The frame is dropped, or kept elsewhere.
    Gone,
    /// The frame was the last fragment of a packet to come. The actions go on with the frames of all of them.
    Reassembled(Vec<FrameId>),
}

struct Run<'e, 'a> {
    env: Env<'e, 'a>,
    /// The frame as the actions so far have made it.
    id: FrameId,
    origin: u16,
    /// What is known of the frame's connection, as in [`Recirculation::found`].
    found: u32,
    /// Whether the frame is queued for a port, so that an edit needs a copy.
    queued: bool,
    /// Whether the frame is to be recirculated, and may then be edited in place. Every further
    /// action needs a copy.
    waits: bool,
    steps: u32,
    done: Executed,
}

impl<'a> Run<'_, 'a> {
    fn list(&mut self, actions: &[DpAction]) -> Result<(), Stop> {
        for (index, action) in actions.iter().enumerate() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                self.done.cut = Some(DropReason::TooManyActions);
                return Ok(());
            }
            match self.step(action) {
                Ok(()) => {}
                Err(Stop::Reassembled(fragments)) => {
                    return self.go_on_with(&fragments, &actions[index + 1..]);
                }
                Err(gone) => return Err(gone),
            }
        }
        Ok(())
    }

    /// Executes the rest of a list on each fragment of a packet, in place of the one frame.
    /// All have the packet's connection.
    #[cold]
    fn go_on_with(&mut self, fragments: &[FrameId], rest: &[DpAction]) -> Result<(), Stop> {
        let found = self.found;
        for &fragment in fragments {
            (self.id, self.queued, self.waits) = (fragment, false, false);
            self.found = found;
            // A meter of the list drops this fragment only.
            let _ = self.list(rest);
        }
        Err(Stop::Gone)
    }

    #[inline]
    fn step(&mut self, action: &DpAction) -> Result<(), Stop> {
        match action {
            DpAction::Output(port) => {
                if self.waits && self.editable().is_none() {
                    return Ok(());
                }
                self.env.egress.push(*port, self.id);
                self.queued = true;
                self.done.outputs += 1;
            }
            DpAction::OutputQueued { port, priority } => {
                if self.waits && self.editable().is_none() {
                    return Ok(());
                }
                self.env.egress.push_prioritized(*port, self.id, *priority);
                self.queued = true;
                self.done.outputs += 1;
            }
            DpAction::OutputTrunc { port, max_len, priority } => {
                if let Some(copy) = self.truncated_copy(*max_len) {
                    self.env.egress.push_prioritized(*port, copy, *priority);
                    self.done.outputs += 1;
                }
            }
            DpAction::TunnelTrunc { port, key, max_len } => {
                if let Some(copy) = self.truncated_copy(*max_len) {
                    self.env.egress.push_tunneled(*port, copy, key);
                    self.done.outputs += 1;
                }
            }
            DpAction::Tunnel { port, key } => {
                if self.waits && self.editable().is_none() {
                    return Ok(());
                }
                self.env.egress.push_tunneled(*port, self.id, key);
                self.queued = true;
                self.done.outputs += 1;
            }
            DpAction::Answer { port, mac } => {
                if let Some(copy) = self.copy()
                    && answer(self.env.batch.frame_mut(copy), mac.0)
                {
                    self.env.egress.push(*port, copy);
                    self.done.outputs += 1;
                }
            }
            DpAction::Controller(meta) => self.punt(meta),
            DpAction::Meter(meter) => {
                if !self.passes(*meter) {
                    return Err(Stop::Gone);
                }
            }
            DpAction::CheckLen { len, longer, fits } => {
                let is_longer = size_on_the_wire(self.env.batch.frame(self.id)) > usize::from(*len);
                self.list(if is_longer { longer } else { fits })?;
            }
            DpAction::Clone(actions) => {
                let saved = (self.id, self.queued, self.waits);
                let found = self.found;
                if let Some(copy) = self.copy() {
                    (self.id, self.queued, self.waits) = (copy, false, false);
                    // A meter of the list drops the copy only.
                    let _ = self.list(actions);
                    (self.id, self.queued, self.waits) = saved;
                    self.found = found;
                }
            }
            DpAction::Ct(action) => self.track(action)?,
            DpAction::CtClear => self.found = 0,
            DpAction::Recirculate(id) => {
                if self.editable().is_some() {
                    let (frame, found) = (self.id, self.found);
                    let asked = Recirculation { frame, recirc_id: *id, found };
                    self.env.recirculations.push(asked);
                    self.waits = true;
                }
            }
            edit => {
                if let Some(frame) = self.editable() {
                    apply(edit, frame);
                }
            }
        }
        Ok(())
    }

    /// Makes a copy of the frame that is cut off behind `max_len` bytes; `None` if there is no room for a copy.
    fn truncated_copy(&mut self, max_len: u32) -> Option<FrameId> {
        let copy = self.copy()?;
        let frame = self.env.batch.frame_mut(copy);
        if frame.size() > max_len as usize {
            frame.truncate(max_len as usize);
            // A truncated frame cannot be segmented, and its checksum is wrong in any case.
            frame.offload = packet::Offload::NONE;
        }
        Some(copy)
    }

    /// Sends the frame through a meter. Returns whether the frame goes on.
    fn passes(&mut self, meter: MeterRef) -> bool {
        let Some(meter) = self.env.meters.get(usize::from(meter.index)) else { return true };
        let size = self.env.batch.frame(self.id).size() as u32;
        let judged = meter.charge(self.env.now, &[size]);
        if judged.drops(0) {
            self.done.cut = Some(DropReason::Meter);
            return false;
        }
        let level = judged.prec_level(0);
        if level > 0
            && let Some(frame) = self.editable()
        {
            edit::raise_drop_precedence(frame, level);
        }
        true
    }

    /// Gives a copy of the frame to controllers. Not inlined, so that other actions do not pay for it.
    #[inline(never)]
    fn punt(&mut self, meta: &Arc<ControllerMeta>) {
        if meta.meter.is_some_and(|meter| !self.passes(meter)) {
            return;
        }
        let frame = self.env.batch.frame(self.id);
        let put = self.env.punts.map_or(Err(meta.unwanted), |punts| punts.put(frame, meta));
        match put {
            Ok(count) => self.done.punted += count,
            Err(reason) => self.done.refused = Some(reason),
        }
    }

    /// Looks the frame's connection up, and translates the frame.
    #[inline(never)]
    fn track(&mut self, action: &CtAction) -> Result<(), Stop> {
        let frame = self.env.batch.frame(self.id);
        let before = (self.found as usize).checked_sub(1).and_then(|at| self.env.found.get(at));
        let Tracked { mut found, translation, is_helped } =
            self.env.tracker.track(self.env.now, frame, action, before).map_err(|reason| {
                self.done.cut = Some(reason);
                Stop::Gone
            })?;
        // The tracker has not been able to read the packet. That may be because it is a fragment.
        if found.original.is_none() {
            self.track_fragment(action)?;
        }
        let mut edit = None;
        if is_helped {
            let (table, frame) = (self.env.tracker.table, self.env.batch.frame(self.id));
            edit = table.help(self.env.now, frame, &mut found, translation.is_some());
        }
        self.env.found.push(found);
        self.found = self.env.found.len() as u32;
        if let Some(translation) = translation
            && let Some(frame) = self.editable()
        {
            nat::translate(frame, &translation);
            if let Some(edit) = edit {
                segment::apply(frame, &edit);
            }
        }
        Ok(())
    }

    /// Keeps a fragment until its packet is complete, and then tracks the packet. Returns if the frame has no
    /// fragment that could be part of a packet.
    #[cold]
    fn track_fragment(&mut self, action: &CtAction) -> Result<(), Stop> {
        let frame = self.env.batch.frame(self.id);
        let mut packet = match self.env.tracker.keep_fragment(self.env.now, frame, action.zone) {
            Kept::Unusable => return Ok(()),
            Kept::Waits => {
                self.done.waits = true;
                return Err(Stop::Gone);
            }
            Kept::Refused(reason) => {
                self.done.cut = Some(reason);
                return Err(Stop::Gone);
            }
            Kept::Complete(packet) => packet,
        };
        let tracked = self.env.tracker.track(self.env.now, &packet.whole, action, None);
        // Fragments of a control connection are not read by a helper.
        let Tracked { found, translation, .. } = tracked.map_err(|reason| {
            self.done.cut = Some(reason);
            Stop::Gone
        })?;
        self.env.found.push(found.of_fragment());
        self.found = self.env.found.len() as u32;
        if let Some(translation) = translation {
            nat::translate(&mut packet.whole, &translation);
        }
        let Env { egress, batch, .. } = &mut self.env;
        let frames = packet.into_pieces();
        let fragments: Vec<FrameId> =
            frames.map_while(|frame| egress.add(batch, frame, self.origin)).collect();
        self.done.fragments += fragments.len() as u32;
        Err(Stop::Reassembled(fragments))
    }

    fn copy(&mut self) -> Option<FrameId> {
        let copy = self.env.egress.copy(self.env.batch, self.id, self.origin);
        if copy.is_none() {
            self.done.cut = Some(DropReason::TooManyActions);
        }
        copy
    }

    /// The frame to edit: a copy, if the frame is needed as it is now.
    fn editable(&mut self) -> Option<&mut Frame<'a>> {
        if self.queued || self.waits {
            self.id = self.copy()?;
            (self.queued, self.waits) = (false, false);
        }
        Some(self.env.batch.frame_mut(self.id))
    }
}

fn apply(action: &DpAction, frame: &mut Frame<'_>) {
    match *action {
        DpAction::SetEth { src, dst } => edit::set_eth(frame, src, dst),
        DpAction::PushVlan { tpid, tci } => edit::push_vlan(frame, tpid, tci),
        DpAction::PopVlan => edit::pop_vlan(frame),
        DpAction::SetIpv4 { src, dst, tos, ttl, sums } => {
            edit::set_ipv4(frame, src, dst, tos, ttl, sums);
        }
        DpAction::SetIpv6 { src, dst, label, tclass, hop_limit, sums } => {
            edit::set_ipv6(frame, (src, dst), label, tclass, hop_limit, sums);
        }
        DpAction::SetArp { op, spa, tpa, sha, tha } => edit::set_arp(frame, op, spa, tpa, sha, tha),
        DpAction::SetPorts { transport, src, dst } => edit::set_ports(frame, transport, src, dst),
        DpAction::SetIcmp { icmp_type, code } => edit::set_icmp(frame, icmp_type, code),
        DpAction::SetNdExt { reserved, option_type } => {
            edit::set_nd_ext(frame, reserved, option_type);
        }
        DpAction::SetNd { target, sll, tll } => edit::set_nd(frame, target, sll, tll),
        DpAction::PushMpls { lse, ethertype } => edit::push_mpls(frame, lse, ethertype),
        DpAction::PopMpls { ethertype } => edit::pop_mpls(frame, ethertype),
        DpAction::SetMpls(lse) => edit::set_mpls(frame, lse),
        DpAction::Output(_)
        | DpAction::OutputTrunc { .. }
        | DpAction::OutputQueued { .. }
        | DpAction::Tunnel { .. }
        | DpAction::TunnelTrunc { .. }
        | DpAction::Answer { .. }
        | DpAction::Controller(_)
        | DpAction::Meter(_)
        | DpAction::CheckLen { .. }
        | DpAction::Clone(_)
        | DpAction::Ct(_)
        | DpAction::CtClear
        | DpAction::Recirculate(_) => {}
    }
}

/// Size in bytes of the largest frame that this one will be on the wire: the size of one segment, if the frame
/// is to be segmented. What the sender says about the size of the headers is not believed. As in Open vSwitch,
/// padding behind the IP packet does not count.
fn size_on_the_wire(frame: &Frame<'_>) -> usize {
    let size = frame.size().saturating_sub(frame.layers.padding.into());
    if !frame.offload.is_gso() {
        return size;
    }
    // A frame that cannot be segmented is not sent by any port.
    Segmentation::new(frame).map_or(size, |segmentation| {
        size.min(segmentation.header_size() + usize::from(frame.offload.gso_size))
    })
}
