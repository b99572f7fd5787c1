//! The targets, for the programs in `bin`.

pub mod targets;
