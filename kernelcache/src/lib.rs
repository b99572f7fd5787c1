//! Hot flows in the kernel: frames of established flows are forwarded by small eBPF programs, with the verdicts
//! of the switch's caches, and reach the switch no more.
//!
//! ```text
//!  frame ─► judge (filter of the receive ring) ─────────────────────► execute (ingress of the device) ─► shield
//!           key, masked look-up, generation, size                     flow: its steps, then out of another device
//!           flow: the ring does not get the frame                     no flow: nothing; the shield eats the frame
//!           no flow: the ring gets it, and with it the switch
//! ```
//!
//! A frame that comes through a tunnel is taken out of its datagram by another program, `unwrap`, which judges
//! and executes it. One that leaves through a tunnel is put into its datagram by its last step.
//!
//! The programs decide nothing: they have flows that workers offer ([`flowtable::datapath::KernelFlows`]),
//! translated by the policy. What they share with the switch is memory ([`layout`]): to put a flow there, to
//! make it stale, or to count takes no system call. `bpf/` has their source, and the object, which this crate
//! contains, so that nobody needs a compiler for eBPF.
//!
//! # No frame is judged by an old state
//!
//! - `generation` in the shared memory is the policy's. A change is made visible first, then `generation` is
//!   stored, then the command returns ([`flowtable::policy::changes::GenerationFollower`]).
//! - `judge` loads `generation` once for each frame. A flow counts only if its stamp is at least that. A frame
//!   that arrives after the command has returned therefore sees the new generation, and every flow with an
//!   older stamp is none: the switch gets the frame.
//! - `execute` carries out what `judge` has decided about the same frame, and decides nothing.
//! - Flows that a change does not concern get the new stamp before `generation` is stored. That is
//!   for speed and order only: a flow that is left out is stale, and gets a new stamp when the switch
//!   has seen its next frame.
//! - A flow is written before its stamp, and its stamp before the entry by which it is found. The places
//!   of flows, programs and masks are used again only after a wait until no processor runs a program
//!   that may have found them.
//!
//! # Counters
//!
//! The programs count packets and bytes for each flow and processor. [`KernelCache::collect`] adds what
//! is new to the flow, as if a worker had counted it, and to the counters of the ports, by the same
//! numbers: so the two agree.

mod cache;
mod inventory;
pub mod layout;
mod load;
mod maps;
mod steps;
#[cfg(test)]
mod tests;
mod tunnels;

pub use cache::{KeptExecutors, KernelCache, KernelCacheCounts, KernelPort, Side};
pub use load::{DESCRIPTORS, HandedPrograms, LoadError, Programs};
pub use steps::Refusal;
pub use tunnels::TunnelPort;
