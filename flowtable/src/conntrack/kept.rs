//! Connections, and their limits, that one program gives to the next one.

use super::Connections;
use super::connection::ProtocolState;
use super::help::CtHelp;
use super::limits::KeptLimits;
use super::nat::{CtAlias, CtNat};
use super::shard::NewConnection;
use super::timeouts::{Timeout, ms};
use super::tuple::CtTuple;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;

/// A connection as another program has left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptConnection {
    original: CtTuple,
    nat: Option<CtNat>,
    #[serde(default)]
    help: Option<CtHelp>,
    state: ProtocolState,
    timeout: Timeout,
    mark: u32,
    label: u128,
    /// How long the connection would have been kept without a further packet, in milliseconds.
    left: u64,
    /// How long ago the connection was made, in milliseconds.
    #[serde(default)]
    age: u64,
}

impl Connections {
    /// The limits, for another program to take over.
    pub fn keep_limits(&self) -> KeptLimits {
        self.limits.keep()
    }

    /// Takes over the limits of another program.
    pub fn take_over_limits(&self, kept: &KeptLimits) {
        self.limits.take_over(kept);
    }

    /// All connections, for another program to take over.
    pub fn keep(&self, now: Duration) -> Vec<KeptConnection> {
        let now = ms(now);
        let mut all = Vec::new();
        let Ok(()) = self.in_slices::<Infallible>(|shard, slots| {
            let of_slot = |slot| Some((shard.get(slot)?, shard.expires(slot)));
            let alive = slots.filter_map(of_slot).filter(|(_, expires)| *expires > now);
            all.extend(alive.map(|(connection, expires)| KeptConnection {
                original: connection.original(),
                nat: connection.nat(),
                help: connection.help.as_deref().cloned(),
                state: connection.state,
                timeout: connection.timeout,
                mark: connection.mark,
                label: connection.label,
                left: expires - now,
                age: connection.age(now).as_millis() as u64,
            }));
            Ok(())
        });
        all
    }

    /// Takes over connections of another program. A connection that is known already learns what the other
    /// program has seen of its state, and its mark, label and helper where it has none. A connection is left
    /// out if there is no room for it, or if the table has given its translated address to another one.
    pub fn take_over(&self, now: Duration, kept: &[KeptConnection]) {
        let now = ms(now);
        let mut gone = Vec::new();
        for connection in kept {
            self.take_one(now, connection, &mut gone);
            self.remove_aliases(&mut gone);
        }
    }

    fn take_one(&self, now: u64, kept: &KeptConnection, gone: &mut Vec<CtAlias>) {
        let KeptConnection { original, nat, help, state, timeout, mark, label, left, age } = kept;
        let mut at = self.locate(original);
        if let Some(slot) = at.slot
            && let Some(known) = at.shard.get_to_alter(slot)
        {
            known.state.merge(state);
            known.mark = if known.mark == 0 { *mark } else { known.mark };
            known.label = if known.label == 0 { *label } else { known.label };
            if known.help.is_none() {
                known.help = help.clone().map(Box::new);
            }
            // Whose last packet came later knows which timeout holds.
            let (zone, period) = (original.zone, known.period());
            if at.shard.expires(slot) + at.shard.period(zone, *timeout) <= now + left + period {
                at.shard.begin_timeout_with(slot, *timeout, now, *left);
            }
            return;
        }
        drop(at);
        let alias = nat.as_ref().filter(|nat| nat.has_alias);
        let alias = alias.map(|nat| CtAlias { reply: nat.reply, original: *original });
        if alias.is_some_and(|alias| !self.add_alias(alias)) {
            return;
        }
        let mut at = self.locate(original);
        if at.slot.is_some() || !self.make_room(&mut at.shard, original, now, gone) {
            gone.extend(alias);
            return;
        }
        let new =
            NewConnection { original: *original, state: *state, nat: *nat, help: help.clone() };
        let slot = self.insert(&mut at, new, now);
        at.shard.begin_timeout_with(slot, *timeout, now, *left);
        if let Some(connection) = at.shard.get_to_alter(slot) {
            (connection.mark, connection.label) = (*mark, *label);
            connection.set_age(now, *age);
            self.count_answered(connection, *timeout);
        }
    }
}
