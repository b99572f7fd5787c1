//! Views of protocol headers, one file for each header, and the [`numbers`] by which headers name each other.
//!
//! A view is a struct over a buffer that somebody else owns. `Ipv4Packet<&[u8]>` reads a header, and
//! `Ipv4Packet<&mut [u8]>` also writes it. Nothing is copied. Each file has, in this order, the byte ranges of
//! the fields (`mod field`, counted from the first byte of the header), the constructors, getters, setters, and
//! a `Display` of one line. The fields have the names of their standard, except that a number of bytes is
//! called `SIZE`. Getters return and setters take host integers.
//!
//! A view returns what the bytes say, even if headers contradict each other. The caller decides what to do with
//! such a packet; key extraction, for one, decides as Open vSwitch does.
//!
//! ```
//! use packet::wire::{Ipv4Packet, ip_proto};
//!
//! let bytes = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
//! let ip = Ipv4Packet::new_checked(&bytes)?;
//! assert_eq!(ip.protocol(), ip_proto::TCP);
//! assert_eq!(ip.to_string(), "IPv4 src=10.0.0.1 dst=10.0.0.2 proto=6 ttl=64 size=20");
//! # Ok::<(), packet::wire::WireError>(())
//! ```
//!
//! # Panics
//! The methods of a view from `new_checked` never panic, whatever the bytes say: `new_checked` has made sure
//! that the buffer has the fixed part of the header and everything that the header's own length fields add.
//! After a length field was written, this holds only once the view is made again.
//!
//! `new_unchecked` makes a view without any check. Its getters and setters panic, as slices do, if the buffer
//! ends before the field. This constructor is for headers that are being built, and for arrays of the fixed
//! header's size (`frame.first_chunk::<{ ipv4::HEADER_SIZE }>()`), where the compiler can prove that the fixed
//! fields are inside.

use std::ops::Range;

pub mod arp;
pub mod bfd;
pub mod ethernet;
pub mod geneve;
pub mod gre;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_extension;
pub mod mpls;
pub mod nd;
pub mod numbers;
pub mod sctp;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;

pub use arp::ArpPacket;
pub use bfd::{BfdPacket, BfdState};
pub use ethernet::EthernetFrame;
pub use geneve::{GeneveOption, GeneveOptions, GenevePacket};
pub use gre::GrePacket;
pub use icmp::IcmpPacket;
pub use icmpv6::Icmpv6Packet;
pub use ipv4::Ipv4Packet;
pub use ipv6::Ipv6Packet;
pub use ipv6_extension::Ipv6Extension;
pub use mpls::MplsEntry;
pub use nd::{NdOption, NdOptions, NdPacket};
pub use numbers::{eth_type, icmp_type, icmpv6_type, ip_proto, nd_option, udp_port};
pub use sctp::SctpPacket;
pub use tcp::TcpPacket;
pub use udp::UdpPacket;
pub use vlan::VlanTag;
pub use vxlan::VxlanPacket;

/// The range of a field's bytes, counted from the first byte of its header.
pub type Field = Range<usize>;

/// Why a buffer cannot hold a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The buffer is shorter than the header.
    #[error("{header}: {size} bytes are there, the header needs {needed}")]
    Truncated {
        /// The name of the header.
        header: &'static str,
        /// Size of the header in bytes: of its fixed part, or as its length field states.
        needed: usize,
        /// Size of the buffer in bytes.
        size: usize,
    },
    /// The header's length field states a size below that of the fixed part.
    #[error(
        "{header}: the header says that it has {stated} bytes, it cannot have less than {least}"
    )]
    TooSmall {
        /// The name of the header.
        header: &'static str,
        /// Size of the header in bytes, as its length field states.
        stated: usize,
        /// Size of the fixed part in bytes.
        least: usize,
    },
}

/// Checks that `bytes` has at least `needed` bytes, which the header has.
#[inline]
fn check_size(header: &'static str, bytes: &[u8], needed: usize) -> Result<(), WireError> {
    match bytes.len() {
        size if size < needed => Err(WireError::Truncated { header, needed, size }),
        _ => Ok(()),
    }
}

/// The bytes of a field, which has to have `N` bytes.
#[inline]
fn array<const N: usize>(bytes: &[u8], field: Field) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[field]);
    array
}

#[inline]
fn u16_at(bytes: &[u8], field: Field) -> u16 {
    u16::from_be_bytes(array(bytes, field))
}

#[inline]
fn u32_at(bytes: &[u8], field: Field) -> u32 {
    u32::from_be_bytes(array(bytes, field))
}

/// The integer in a field of three bytes, such as a VNI.
#[inline]
fn u24_at(bytes: &[u8], field: Field) -> u32 {
    let [a, b, c] = array(bytes, field);
    u32::from_be_bytes([0, a, b, c])
}

#[inline]
fn put_u16(bytes: &mut [u8], field: Field, value: u16) {
    bytes[field].copy_from_slice(&value.to_be_bytes());
}

#[inline]
fn put_u32(bytes: &mut [u8], field: Field, value: u32) {
    bytes[field].copy_from_slice(&value.to_be_bytes());
}

/// Writes the lower 24 bits of `value` into a field of three bytes.
#[inline]
fn put_u24(bytes: &mut [u8], field: Field, value: u32) {
    bytes[field].copy_from_slice(&value.to_be_bytes()[1..]);
}

#[cfg(test)]
mod tests;
