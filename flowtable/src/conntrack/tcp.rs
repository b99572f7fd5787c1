//! The state of a TCP connection as somebody in the middle sees it (RFC 9293, as Open vSwitch reads it).
//!
//! The rules are those of `lib/conntrack-tcp.c`, which has them from OpenBSD's packet filter: each end has a
//! window of sequence numbers that it may send, which the other end's acknowledgements move ("Real Stateful TCP
//! Packet Filtering in IP Filter", G. van Rooij, 2001). A segment outside the window is invalid, unless the
//! check of windows is off.
//!
//! ```text
//! Closed ──SYN──► SynSent ──ACK of the other end──► Established ──FIN──► Closing ──ACK──► FinWait2
//!    any state ──RST──► TimeWait
//! ```

use super::timeouts::Timeout;
use super::tuple::TcpSegment;
use serde::{Deserialize, Serialize};
use std::fmt;

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const PSH: u16 = 0x08;
const ACK: u16 = 0x10;
const URG: u16 = 0x20;

/// How far an acknowledgement may be from what it should be, in octets: a window and a segment.
const MAX_ACK_WINDOW: i32 = 0xffff + 1500;
/// The largest shift of a window (RFC 7323 §2.3).
const MAX_SHIFT: u8 = 14;

/// The state of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TcpState {
    /// The end has sent nothing.
    #[default]
    Closed,
    /// The end has sent SYN, or is known from the middle of a connection.
    SynSent,
    /// The other end has acknowledged the SYN.
    Established,
    /// The end has sent FIN.
    Closing,
    /// The other end has acknowledged the FIN.
    FinWait2,
    /// One of the ends has sent RST.
    TimeWait,
}

impl fmt::Display for TcpState {
    /// The name as in dumps of Open vSwitch (`ct_dpif_tcp_state_string`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "CLOSED",
            Self::SynSent => "SYN_SENT",
            Self::Established => "ESTABLISHED",
            Self::Closing => "CLOSING",
            Self::FinWait2 => "FIN_WAIT_2",
            Self::TimeWait => "TIME_WAIT",
        })
    }
}

/// What is known of the scale of an end's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Scale {
    /// The end's SYN had no scale, or has not been seen.
    #[default]
    None,
    /// The shift that the end's SYN said.
    Known(u8),
    /// The connection was picked up behind its SYN.
    Unknown,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TcpEnd {
    /// The sequence number behind the last octet that the end has sent.
    low: u32,
    /// The sequence number behind the last octet that the end may send.
    high: u32,
    /// The largest window that the end has offered, without its scale.
    max_window: u16,
    scale: Scale,
    state: TcpState,
}

/// A TCP connection: the end that sent the first segment, and the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TcpConnection([TcpEnd; 2]);

/// What a packet is to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belonging {
    /// The packet belongs to the connection.
    Valid,
    /// The packet belongs to the connection, which has still to be answered.
    StillNew,
    /// The packet does not belong to the connection.
    Invalid,
    /// The connection is over, and the packet begins another one.
    BeginsAnother,
}

/// Whether no sound end sends a segment with these flags.
fn are_flags_absurd(flags: u16) -> bool {
    let has = |flag| flags & flag != 0;
    let is_odd = if has(SYN) { has(RST) || has(FIN) } else { !has(ACK) && !has(RST) };
    is_odd || !has(ACK) && (has(FIN) || has(PSH) || has(URG))
}

/// Whether sequence number `a` is `b` or behind it.
fn reaches(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl TcpConnection {
    /// Whether a segment of an unknown connection may begin one: a SYN, or a segment from
    /// the middle of a connection.
    pub(super) fn may_begin(segment: &TcpSegment) -> bool {
        !are_flags_absurd(segment.flags) && segment.flags & (SYN | ACK) != SYN | ACK
    }

    /// The connection that a segment begins.
    pub(super) fn begin(segment: &TcpSegment) -> Self {
        let is_syn = segment.flags & SYN != 0;
        let is_fin = segment.flags & FIN != 0;
        let scale = match (is_syn, segment.window_scale) {
            (true, Some(shift)) => Scale::Known(shift),
            (true, None) => Scale::None,
            (false, _) => Scale::Unknown,
        };
        let mut max_window = segment.window.max(1);
        if let Scale::Known(shift) = scale {
            max_window = unscaled(max_window, shift);
        }
        let low = segment.sequence;
        let high = low
            .wrapping_add(segment.payload + 1)
            .wrapping_add(u32::from(is_syn) + u32::from(is_fin));
        let source = TcpEnd { low, high, max_window, scale, state: TcpState::SynSent };
        let other = if is_syn { Scale::None } else { Scale::Unknown };
        let destination = TcpEnd { high: 1, max_window: 1, scale: other, ..TcpEnd::default() };
        Self([source, destination])
    }

    /// Learns what somebody else has seen of the same connection, before or meanwhile.
    pub(super) fn merge(&mut self, other: &Self) {
        for (end, other) in self.0.iter_mut().zip(&other.0) {
            if other.state == TcpState::Closed {
                continue;
            }
            if end.state == TcpState::Closed || reaches(other.low, end.low) {
                end.low = other.low;
            }
            if end.state == TcpState::Closed || reaches(other.high, end.high) {
                end.high = other.high;
            }
            end.max_window = end.max_window.max(other.max_window);
            end.state = end.state.max(other.state);
            if end.scale == Scale::Unknown {
                end.scale = other.scale;
            }
        }
    }

    /// The states of the two ends, the one that sent the first segment first.
    pub(super) fn states(&self) -> (TcpState, TcpState) {
        (self.0[0].state, self.0[1].state)
    }

    /// Whether both ends have sent FIN, or one has sent RST.
    pub(super) fn is_closed(&self) -> bool {
        let (a, b) = self.states();
        a.min(b) >= TcpState::Closing
    }

    /// The timeout that the states of the ends ask for.
    pub(super) fn timeout(&self) -> Timeout {
        use TcpState::{Closing, Established, FinWait2};
        let (a, b) = self.states();
        let (least, most) = (a.min(b), a.max(b));
        match () {
            () if least >= FinWait2 => Timeout::TcpClose,
            () if least >= Closing => Timeout::TcpTimeWait,
            () if least < Established => Timeout::TcpSynRecv,
            () if most >= Closing => Timeout::TcpFinWait,
            () => Timeout::TcpEstablished,
        }
    }

    /// Judges a segment, and moves the connection on. Returns the timeout that holds from now on; `None` leaves
    /// the one that holds.
    pub(super) fn update(
        &mut self,
        segment: &TcpSegment,
        is_reply: bool,
        checks_windows: bool,
    ) -> (Belonging, Option<Timeout>) {
        let flags = segment.flags;
        if are_flags_absurd(flags) {
            return (Belonging::Invalid, None);
        }
        let [first, second] = &mut self.0;
        let (src, dst) = if is_reply { (second, first) } else { (first, second) };
        if flags & (SYN | ACK) == SYN {
            if src.state >= TcpState::FinWait2 && dst.state >= TcpState::FinWait2 {
                return (Belonging::BeginsAnother, None);
            }
            if src.state <= TcpState::SynSent {
                src.state = TcpState::SynSent;
                return (Belonging::StillNew, Some(Timeout::TcpSynSent));
            }
        }
        let (is_in_window, ack, end, window, shift) = window_of(src, dst, segment);
        if is_in_window || !checks_windows {
            src.extend(end, window);
            dst.open(ack, window, shift);
            if flags & SYN != 0 && src.state < TcpState::SynSent {
                src.state = TcpState::SynSent;
            }
            if flags & FIN != 0 && src.state < TcpState::Closing {
                src.state = TcpState::Closing;
            }
            if flags & ACK != 0 {
                dst.state = match dst.state {
                    TcpState::SynSent => TcpState::Established,
                    TcpState::Closing => TcpState::FinWait2,
                    other => other,
                };
            }
            if flags & RST != 0 {
                (src.state, dst.state) = (TcpState::TimeWait, TcpState::TimeWait);
            }
            return (Belonging::Valid, Some(self.timeout()));
        }
        // Simultaneous and repeated SYNs, and segments that were on their way when the connection ended.
        let seq = if segment.payload == 0 && flags & (SYN | FIN) == 0 {
            src.low
        } else {
            segment.sequence
        };
        let is_loose = dst.state < TcpState::SynSent
            || dst.state >= TcpState::FinWait2
            || src.state >= TcpState::FinWait2;
        let is_near = reaches(src.high.wrapping_add(MAX_ACK_WINDOW as u32), end)
            && reaches(seq, src.low.wrapping_sub(MAX_ACK_WINDOW as u32));
        if !is_loose || !is_near {
            return (Belonging::Invalid, None);
        }
        src.extend(end, window);
        dst.open(ack, window, shift);
        if flags & FIN != 0 && src.state < TcpState::Closing {
            src.state = TcpState::Closing;
        }
        if flags & RST != 0 {
            (src.state, dst.state) = (TcpState::TimeWait, TcpState::TimeWait);
        }
        (Belonging::Valid, None)
    }
}

impl TcpEnd {
    /// Notes that the end has sent octets up to `end`, and offered a window.
    fn extend(&mut self, end: u32, window: u16) {
        self.max_window = self.max_window.max(window);
        if !reaches(self.low, end) {
            self.low = end;
        }
    }

    /// Notes that the other end has acknowledged up to `ack`, and offered a window with this shift.
    fn open(&mut self, ack: u32, window: u16, shift: u8) {
        let window = u32::from(window) << shift;
        if reaches(ack.wrapping_add(window), self.high) {
            self.high = ack.wrapping_add(window.max(1));
        }
    }
}

/// The window divided by its scale, rounded up.
fn unscaled(window: u16, shift: u8) -> u16 {
    u32::from(window).div_ceil(1 << shift) as u16
}

/// Whether a segment is inside the window of its sender, with the acknowledgement, the sequence number behind
/// the segment, the window and the shift to go on with. Learns the sender's scale and first sequence number
/// from its first segment.
fn window_of(
    src: &mut TcpEnd,
    dst: &mut TcpEnd,
    segment: &TcpSegment,
) -> (bool, u32, u32, u16, u8) {
    let flags = segment.flags;
    let is_syn = flags & SYN != 0;
    let mut window = segment.window;
    let (mut src_shift, mut dst_shift) = match (src.scale, dst.scale) {
        (Scale::Known(a), Scale::Known(b)) if !is_syn => (a, b),
        (Scale::Unknown, Scale::Unknown) if !is_syn => (MAX_SHIFT, MAX_SHIFT),
        _ => (0, 0),
    };
    let first_octet = segment.sequence;
    let mut end = first_octet
        .wrapping_add(segment.payload)
        .wrapping_add(u32::from(is_syn) + u32::from(flags & FIN != 0));
    let mut checks_acknowledgement = true;
    if src.state < TcpState::SynSent {
        if is_syn && let Scale::Known(shift) = dst.scale {
            match segment.window_scale {
                Some(own) => {
                    src.scale = Scale::Known(own);
                    window = unscaled(window, own);
                    (src_shift, dst_shift) = (own, shift);
                }
                None => {
                    src.scale = Scale::None;
                    // Without the option on both sides, no window is scaled.
                    dst.max_window = dst.max_window.checked_shl(shift.into()).unwrap_or(u16::MAX);
                    dst.scale = Scale::None;
                }
            }
        }
        src.low = first_octet;
        src.state = TcpState::SynSent;
        let high = end.wrapping_add((u32::from(dst.max_window) << dst_shift).max(1));
        if src.high == 1 || reaches(high, src.high) {
            src.high = high;
            checks_acknowledgement = false;
        }
        src.max_window = src.max_window.max(window);
    }
    let mut ack = segment.acknowledgement;
    let has_ack = flags & ACK != 0;
    if !has_ack || ack == 0 && flags & (ACK | RST) == ACK | RST {
        ack = dst.low;
    }
    let mut seq = first_octet;
    if seq == end {
        // A segment without octets may have any sequence number.
        (seq, end) = (src.low, src.low);
    }
    let skew = match checks_acknowledgement {
        true => dst.low.wrapping_sub(ack) as i32,
        false => 0,
    };
    let is_exact_reset = flags & RST == 0
        || first_octet == src.low
        || first_octet == src.low.wrapping_add(1)
        || first_octet.wrapping_add(1) == src.low;
    let is_in_window = reaches(src.high, end)
        && reaches(seq, src.low.wrapping_sub(u32::from(dst.max_window) << dst_shift))
        && skew >= -MAX_ACK_WINDOW
        && i64::from(skew) <= i64::from(MAX_ACK_WINDOW) << src_shift
        && is_exact_reset;
    (is_in_window, ack, end, window, src_shift)
}
