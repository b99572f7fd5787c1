//! State that survives the process: bridges, ports, rules, groups and static hosts,
//! kept in a directory (`--state`).
//!
//! ```text
//! policy ─ Observed ─┐
//! reconciler ─ Desired ─┴→ Keeper → queue → thread ─ records → Journal (DIR/journal)
//! start: Journal → Kept → Desired, rules, groups and hosts of each bridge
//! ```
//!
//! The [`Keeper`] observes the policy, and the reconciler tells it of changed bridges and ports. The keeper's
//! thread makes a record of each transaction and appends the record to a `journal`. Before a session answers a
//! command, it waits until the journal has the changes of the command ([`Keeper::wait`]). Changes of several
//! sessions share one write.
//!
//! A [`Change`] gives the new state of one thing ("the rule at this place has these actions"), never a
//! difference to the old state. Reading a change twice therefore does no harm. The thread relies on it when it
//! writes the journal anew from the tables while other threads change them: a change that the tables had
//! already is appended once more. The thread writes the journal anew at the first start, when the journal has
//! grown, when too many changes waited in the queue, and after a write that failed.
//!
//! At the start [`Kept`] reads the records. `merge` merges the kept bridges and ports with those of the command
//! line and the configuration file. Counters and learned hosts are not kept.

mod change;
mod directory;
mod error;
mod journal;
mod keeper;
mod kept;
mod merge;
mod records;
mod restore;
mod rule_bytes;
mod snapshot;

pub use change::{Change, KeptRule, RulePlace, Timeouts};
pub use directory::StateDirectory;
pub(crate) use directory::{remove_file, replace_file};
pub use error::StateError;
pub use journal::{Contents, Journal};
pub use keeper::{Beginning, Keeper, KeeperIntake, KeeperThread, StateSync};
pub use kept::{Kept, KeptBridge};
pub(crate) use merge::{configuration, merge};
pub(crate) use restore::restore;
pub(crate) use rule_bytes::AddedRules;
pub(crate) use snapshot::snapshot;

#[cfg(test)]
mod tests;
