//! Flow mods outside of bundles. Those that follow one another in what was received are carried out together.
//!
//! Each flow mod counts for itself: it is refused with an error of its own, and the ones in front of it and
//! behind it are carried out. Together they cost less, because a transaction costs as much as an addition.
//! Everything is committed before another message is handled.

use super::connection::Wire;
use super::hub::Member;
use super::journal::Author;
use super::refuse;
use crate::switch::OnBridge;
use flow::flow_mod::FlowMod;
use flow::types::OfVersion;
use openflow::{ErrorCode, TakenFlowMod, check_flow_mod};
use std::sync::Arc;

/// How many flow mods are carried out together at most.
pub(super) const TOGETHER: usize = 64;

/// Puts the flow mods that are next in what was received into `taken`, as many as are carried out together.
/// None if another message is next, or the rest of a message has not come.
pub(super) fn take(wire: &mut Wire<'_>, taken: &mut Vec<TakenFlowMod>) {
    // A monitor of the peer tells of a flow mod of the peer by the flow mod's transaction id, of which a
    // transaction has one.
    let most = if wire.has_monitors() { 1 } else { TOGETHER };
    taken.clear();
    wire.session.take_flow_mods(most, taken);
}

/// Carries out the flow mods of a peer, and refuses those that cannot be carried out. Returns whether something
/// may have changed.
pub(super) fn carry_out(
    on: &OnBridge<'_>,
    member: &Arc<Member>,
    taken: &[TakenFlowMod],
    wire: &mut Wire<'_>,
) -> bool {
    let Some(encoding) = wire.session.encoding() else {
        return false;
    };
    let xid = taken.first().map_or(0, |first| first.xid);
    let mut requests = Vec::with_capacity(taken.len());
    // The place in `taken` of each request.
    let mut places = Vec::with_capacity(taken.len());
    let mut refused = Vec::new();
    for (place, one) in taken.iter().enumerate() {
        match check_flow_mod(&one.flow_mod, encoding.version) {
            Ok(()) => {
                requests.push(&one.flow_mod);
                places.push(place);
            }
            Err(code) => refused.push((place, code)),
        }
    }
    let (mut done, now) = (0, on.now());
    Author::of(member, xid).carry_out(|| {
        while done < requests.len() {
            let (count, error) = on.bridge().apply_in_turn(&requests[done..], now);
            done += count;
            if let Some(error) = error {
                refused.push((places[done], refuse::error_code(&error)));
                done += 1;
            }
        }
    });
    let has_changed = refused.len() < taken.len();
    refused.sort_unstable_by_key(|(place, _)| *place);
    for (place, code) in refused {
        wire.session.refuse_flow_mod(code, &taken[place]);
    }
    has_changed
}

/// Carries out one flow mod: one that came behind a message which the session has answered itself.
///
/// # Errors
/// Why it is refused; nothing has changed.
pub(super) fn carry_out_one(
    on: &OnBridge<'_>,
    flow_mod: &FlowMod,
    version: OfVersion,
) -> Result<(), ErrorCode> {
    check_flow_mod(flow_mod, version)?;
    match on.bridge().apply_in_turn(&[flow_mod], on.now()) {
        (_, Some(error)) => Err(refuse::error_code(&error)),
        (_, None) => Ok(()),
    }
}
