//! State that survives: what is wanted, rules, groups and static hosts, kept in a directory.
//!
//! ```text
//! policy ─ Observed ─┐
//! reconciler ─ Desired ─┴→ Keeper → queue → thread ─ records → Journal (DIR/journal)
//! start: Journal → Kept → Desired, rules, groups and hosts of each bridge
//! ```
//!
//! The [`Keeper`] observes the policy, and is told of every change of what is wanted. Its thread makes a record of each
//! transaction and appends the record to a `journal`. A session waits, before it answers, until the journal has
//! what the session has changed ([`Keeper::wait`]); changes of several sessions share one write to the disk.
//!
//! Every [`Change`] says what is so from now on, and never what is different from before. So the same change may be
//! read twice, and the journal can be written anew from the tables while changes go on: changes that the tables
//! have already are appended once more. That is done at the first start, when the journal has grown, when changes were
//! missed because too many waited, and after a write that failed.
//!
//! At the start [`Kept`] folds the records, and what is wanted is merged with what the command line and the
//! file say now (`merge`). Counters and learned hosts are not kept.

mod change;
mod directory;
mod error;
mod journal;
mod keeper;
mod kept;
mod merge;
mod records;
mod restore;

pub use change::{Change, KeptRule, RulePlace};
pub use directory::StateDirectory;
pub use error::StateError;
pub use journal::{Contents, Journal};
pub use keeper::{Beginning, Keeper, KeeperThread, StateSync};
pub use kept::{Kept, KeptBridge};
pub(crate) use restore::restore;

#[cfg(test)]
mod tests;
