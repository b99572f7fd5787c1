//! Sound ends of TCP, each a plain machine of RFC 9293, talk over a network that loses, repeats and
//! reorders segments. The tracker in the middle has to believe each of their segments, and its states
//! have to be those of a table that looks at nothing but flags. A segment that somebody else makes up
//! outside the windows is invalid.

use super::tcp::{Belonging, TcpConnection, TcpState};
use super::tuple::TcpSegment;
use proptest::prelude::*;
use std::collections::VecDeque;

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;
const SEGMENT: u32 = 1000;
/// What each end offers; scales of up to 3 divide it.
const WINDOW: u32 = 8_000;

/// What one end does: RFC 9293 without options but the window scale, without delayed acknowledgements, and
/// without a buffer for what comes out of order.
#[derive(Clone, Debug)]
struct End {
    is_client: bool,
    first: u32,
    /// The number of octets that the end has to send.
    size: u32,
    /// What the other end has acknowledged, as an offset from `first`: 1 for the SYN.
    acknowledged: u32,
    /// What the end has sent.
    sent: u32,
    /// The next octet that the end expects; `None` before the other's SYN.
    expected: Option<u32>,
    scale: Option<u8>,
    uses_scale: bool,
}

impl End {
    /// The offset behind the FIN.
    fn end(&self) -> u32 {
        1 + self.size + 1
    }

    fn segment(&self, offset: u32, flags: u16, payload: u32) -> TcpSegment {
        let is_syn = flags & SYN != 0;
        let shift = self.scale.filter(|_| self.uses_scale && !is_syn).unwrap_or(0);
        TcpSegment {
            flags: flags | if self.expected.is_some() { ACK } else { 0 },
            sequence: self.first.wrapping_add(offset),
            acknowledgement: self.expected.unwrap_or(0),
            window: (WINDOW >> shift) as u16,
            // The one who answers takes the option up, or has none.
            window_scale: self.scale.filter(|_| is_syn && (self.is_client || self.uses_scale)),
            payload,
        }
    }

    /// The next segment, or with `again` the first that is not acknowledged. `None` if the
    /// end has nothing to say.
    fn speak(&mut self, again: bool) -> Option<TcpSegment> {
        let from = if again { self.acknowledged } else { self.sent };
        if from == 0 {
            // The server waits for the other's SYN.
            let may = self.is_client || self.expected.is_some();
            return may.then(|| {
                self.sent = self.sent.max(1);
                self.segment(0, SYN, 0)
            });
        }
        self.expected?;
        if self.acknowledged == 0 {
            return None;
        }
        let left = (1 + self.size).saturating_sub(from).min(SEGMENT);
        let room = (self.acknowledged + WINDOW).saturating_sub(from);
        if left > 0 {
            let payload = left.min(room);
            self.sent = self.sent.max(from + payload);
            return (payload > 0).then(|| self.segment(from, 0, payload));
        }
        if from == 1 + self.size && room > 0 {
            self.sent = self.end();
            return Some(self.segment(from, FIN, 0));
        }
        None
    }

    fn acknowledgement(&self) -> Option<TcpSegment> {
        // Before its SYN is acknowledged, an end sends nothing but that.
        (self.expected.is_some() && self.acknowledged > 0).then(|| self.segment(self.sent, 0, 0))
    }

    fn hear(&mut self, segment: &TcpSegment) {
        if segment.flags & SYN != 0 {
            if self.expected.is_none() {
                self.expected = Some(segment.sequence.wrapping_add(1));
                self.uses_scale = self.scale.is_some() && segment.window_scale.is_some();
            }
        } else if self.expected == Some(segment.sequence) {
            let fin = u32::from(segment.flags & FIN != 0);
            self.expected = Some(segment.sequence.wrapping_add(segment.payload + fin));
        }
        if segment.flags & ACK != 0 {
            let offset = segment.acknowledgement.wrapping_sub(self.first);
            if offset <= self.sent && offset >= self.acknowledged {
                self.acknowledged = offset;
            }
        }
    }
}

/// The state of an end by the flags of the segments that passed.
fn after(states: [TcpState; 2], sender: usize, flags: u16) -> [TcpState; 2] {
    use TcpState::{Closed, Closing, Established, FinWait2, SynSent};
    let mut states = states;
    if states[sender] == Closed {
        states[sender] = SynSent;
    }
    if flags & FIN != 0 && states[sender] < Closing {
        states[sender] = Closing;
    }
    if flags & ACK != 0 {
        states[1 - sender] = match states[1 - sender] {
            SynSent => Established,
            Closing => FinWait2,
            other => other,
        };
    }
    states
}

/// What happens next: who is concerned, what it is, and what becomes of the segment.
type Step = (bool, u8, u8);

fn ends() -> impl Strategy<Value = [End; 2]> {
    let one = (any::<u32>(), 0..40_000u32, proptest::option::of(0..4u8));
    (one.clone(), one).prop_map(|(client, server)| {
        [(client, true), (server, false)].map(|((first, size, scale), is_client)| End {
            is_client,
            first,
            size,
            acknowledged: 0,
            sent: 0,
            expected: None,
            scale,
            uses_scale: false,
        })
    })
}

proptest! {
    #[test]
    fn sound_ends_are_believed_whatever_the_network_does(
        mut ends in ends(),
        steps in proptest::collection::vec(any::<Step>(), 20..400),
        forged in 1..1_000_000u32,
    ) {
        let mut connection = None::<TcpConnection>;
        let mut states = [TcpState::Closed; 2];
        let mut network: [VecDeque<TcpSegment>; 2] = Default::default();
        for (is_server, kind, fate) in steps {
            let sender = usize::from(is_server);
            let said = match kind % 8 {
                0..=2 => ends[sender].speak(false),
                3 => ends[sender].speak(true),
                4 => ends[sender].acknowledgement(),
                _ => {
                    // The end hears one of the segments on their way to it.
                    let on_their_way = &mut network[sender];
                    let at = usize::from(fate) % on_their_way.len().max(1);
                    let heard = on_their_way.remove(if fate % 4 == 0 { at } else { 0 });
                    if let Some(segment) = heard {
                        if fate % 16 == 1 {
                            on_their_way.push_back(segment);
                        }
                        ends[sender].hear(&segment);
                    }
                    None
                }
            };
            // A part is lost in front of the tracker, and another one behind it.
            let Some(segment) = said.filter(|_| fate % 8 != 0) else { continue };
            match &mut connection {
                None => {
                    prop_assert_eq!(segment.flags, SYN);
                    prop_assert!(TcpConnection::may_begin(&segment));
                    connection = Some(TcpConnection::begin(&segment));
                    states[0] = TcpState::SynSent;
                }
                Some(tracked) => {
                    let is_again = segment.flags & (SYN | ACK) == SYN
                        && states[sender] <= TcpState::SynSent;
                    let (belonging, _) = tracked.update(&segment, is_server, true);
                    let expected =
                        if is_again { Belonging::StillNew } else { Belonging::Valid };
                    prop_assert_eq!(belonging, expected, "{:?} of {:?}", segment, ends);
                    states = after(states, sender, segment.flags);
                    prop_assert_eq!(tracked.states(), (states[0], states[1]));
                }
            }
            if fate % 8 != 1 {
                network[1 - sender].push_back(segment);
            }
        }
        let established = states.iter().all(|state| *state == TcpState::Established);
        if let (Some(tracked), true) = (connection, established) {
            for (sender, end) in ends.iter().enumerate() {
                // Behind the largest window, whatever its scale.
                let offset = end.sent.wrapping_add((u32::from(u16::MAX) << 14) + forged);
                let segment = TcpSegment { payload: 1, ..end.segment(offset, 0, 1) };
                let mut tracked = tracked;
                let (belonging, _) = tracked.update(&segment, sender == 1, true);
                prop_assert_eq!(belonging, Belonging::Invalid);
                let (belonging, _) = tracked.update(&segment, sender == 1, false);
                prop_assert_eq!(belonging, Belonging::Valid, "nobody looks at windows");
            }
        }
    }
}
