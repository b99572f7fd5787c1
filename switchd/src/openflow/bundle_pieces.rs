//! The messages of a bundle, decoded in pieces: flow mods that stand together are one piece, every other
//! message is one.
//!
//! A large bundle is decoded by a thread of its own, while the thread that commits the bundle
//! applies the pieces before. The pieces that wait are few, because decoded flow mods take ten times
//! the memory of their messages.

use crossbeam::channel::{self, Receiver, Sender};
use flow::flow_mod::FlowMod;
use openflow::{Encoding, ErrorCode, OfMessage};

/// How many flow mods a piece has at most: about as many as a processor's cache has room for.
const FLOW_MODS: usize = 64;
/// The number of messages of a bundle from which another thread decodes them.
const MANY: usize = 1024;
/// How many decoded pieces wait to be applied at most.
const WAITING: usize = 4;

/// Messages of a bundle that are applied in one go.
pub(super) enum Piece {
    /// Flow mods whose messages follow one another.
    FlowMods {
        /// The number of the first flow mod's message in the bundle, counted from 0.
        first: usize,
        /// The flow mods of this message and of those behind it.
        flow_mods: Vec<FlowMod>,
    },
    /// A message that is no flow mod.
    Other {
        /// The number of the message in the bundle, counted from 0.
        at: usize,
        /// The decoded message.
        message: OfMessage,
    },
}

/// A message of a bundle that cannot be decoded: its number, and why.
pub(super) type Undecoded = (usize, ErrorCode);

/// Shows `apply` the messages of a bundle, piece by piece and in their order, until it returns an error.
/// `apply` gives back the lists of flow mods that it has seen, to be filled again.
///
/// # Errors
/// Those of `apply`, which is told of a message that cannot be decoded.
pub(super) fn each_piece<E>(
    messages: &[Vec<u8>],
    encoding: Encoding,
    mut apply: impl FnMut(Result<Piece, Undecoded>) -> Result<Option<Vec<FlowMod>>, E>,
) -> Result<(), E> {
    let pieces = || Pieces { messages, encoding, next: 0, spare: Vec::new() };
    if messages.len() < MANY {
        return pieces().each(apply);
    }
    std::thread::scope(|scope| {
        let (to_apply, decoded) = channel::bounded(WAITING);
        let (give_back, used) = channel::bounded(2 * WAITING);
        let decoder = pieces();
        let decode = move || decoder.decode_all(&to_apply, &used);
        let name = "openflow-decode".to_owned();
        if std::thread::Builder::new().name(name).spawn_scoped(scope, decode).is_err() {
            // There is no thread to be had: what it would have decoded is decoded here.
            return pieces().each(apply);
        }
        for piece in decoded {
            if let Some(list) = apply(piece)? {
                // A list that finds no room is freed.
                let _ = give_back.try_send(list);
            }
        }
        Ok(())
    })
}

/// The messages of a bundle from the message number `next` on.
struct Pieces<'a> {
    messages: &'a [Vec<u8>],
    encoding: Encoding,
    next: usize,
    /// Lists that were applied, and are filled again.
    spare: Vec<Vec<FlowMod>>,
}

impl Pieces<'_> {
    /// Decodes and applies one piece after the other, on this thread.
    fn each<E>(
        mut self,
        mut apply: impl FnMut(Result<Piece, Undecoded>) -> Result<Option<Vec<FlowMod>>, E>,
    ) -> Result<(), E> {
        while let Some(piece) = self.next_piece() {
            self.spare.extend(apply(piece)?);
        }
        Ok(())
    }

    /// Decodes all pieces for somebody else, who gives back lists. Ends early if nobody wants further pieces.
    fn decode_all(
        mut self,
        to_apply: &Sender<Result<Piece, Undecoded>>,
        used: &Receiver<Vec<FlowMod>>,
    ) {
        while let Some(piece) = self.next_piece() {
            if to_apply.send(piece).is_err() {
                return;
            }
            self.spare.extend(used.try_iter());
        }
    }

    /// The next piece, or why its message cannot be decoded. `None` behind the last message.
    fn next_piece(&mut self) -> Option<Result<Piece, Undecoded>> {
        let first = self.next;
        let mut flow_mods = self.spare.pop().unwrap_or_default();
        flow_mods.clear();
        let rest = self.messages.get(first..)?.iter().take(FLOW_MODS);
        let count = rest.take_while(|message| {
            OfMessage::append_flow_mod(message, self.encoding, &mut flow_mods)
        });
        self.next += count.count();
        if self.next > first {
            return Some(Ok(Piece::FlowMods { first, flow_mods }));
        }
        self.spare.push(flow_mods);
        let message = self.messages.get(first)?;
        self.next += 1;
        let decoded = OfMessage::decode(message, self.encoding);
        Some(decoded.map(|message| Piece::Other { at: first, message }).map_err(|e| (first, e.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::Match;
    use flow::flow_mod::Command;
    use flow::types::OfVersion;

    const VERSION: OfVersion = OfVersion::OpenFlow14;

    fn flow_mod(priority: u16) -> Vec<u8> {
        let flow_mod = FlowMod::new(Command::Add, priority, Match::any(), Vec::new());
        OfMessage::FlowMod(Box::new(flow_mod)).encode(Encoding::new(VERSION), 1)
    }

    /// The priorities of flow mods, and 0 for other messages, in the order in which they are shown.
    fn shown(messages: &[Vec<u8>]) -> Vec<u16> {
        let (mut shown, mut expected) = (Vec::new(), 0);
        let done: Result<(), ()> =
            each_piece(messages, Encoding::new(VERSION), |piece| match piece.unwrap() {
                Piece::FlowMods { first, flow_mods } => {
                    assert_eq!(first, expected);
                    expected += flow_mods.len();
                    shown.extend(flow_mods.iter().map(|flow_mod| flow_mod.priority));
                    Ok(Some(flow_mods))
                }
                Piece::Other { at, message } => {
                    assert_eq!((at, message), (expected, OfMessage::BarrierRequest));
                    expected += 1;
                    shown.push(0);
                    Ok(None)
                }
            });
        done.unwrap();
        shown
    }

    #[test]
    fn messages_are_shown_in_their_order_by_whatever_thread_they_are_decoded() {
        let other = OfMessage::BarrierRequest.encode(Encoding::new(VERSION), 1);
        for count in [0, 1, 5, FLOW_MODS, MANY - 1, MANY, 3 * MANY + 7] {
            let is_other = |n: usize| n % 100 == 3;
            let priority = |n: usize| if is_other(n) { 0 } else { 1 + n as u16 };
            let message = |n| if is_other(n) { other.clone() } else { flow_mod(priority(n)) };
            let messages: Vec<_> = (0..count).map(message).collect();
            assert_eq!(shown(&messages), (0..count).map(priority).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_the_look_however_many_messages_are_left() {
        for count in [10, 10 * MANY] {
            let mut messages = vec![flow_mod(1); count];
            messages[FLOW_MODS.min(5)] = vec![5, 14, 0, 8, 0, 0, 0, 1];
            let mut seen = Vec::new();
            let done = each_piece(&messages, Encoding::new(VERSION), |piece| match piece {
                Ok(Piece::FlowMods { flow_mods, .. }) => {
                    seen.push(flow_mods.len());
                    Ok(Some(flow_mods))
                }
                Ok(Piece::Other { .. }) => Ok(None),
                Err((at, _)) => Err(at),
            });
            assert_eq!((done, seen), (Err(5), vec![5]));
        }
    }
}
