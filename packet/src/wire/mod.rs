//! Headers as they lie on the wire: one file a header, all of one shape, and the [`numbers`] that
//! name them.
//!
//! A header is a view: a struct over bytes that somebody else owns. `Ipv4Packet<&[u8]>` reads,
//! `Ipv4Packet<&mut [u8]>` also writes, and nothing is copied. Each file has the places of the
//! fields (`mod field`, in bytes from where the header begins; named as the standard names them,
//! except that a number of bytes is a `SIZE` here), the constructors, getters, setters, and a
//! `Display` of one line. Getters return host integers.
//!
//! A view reads what is there. Which contradictions between headers make a packet unsound, and what
//! becomes of it then, is the caller's decision: key extraction, for one, decides as Open vSwitch does.
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
//! A view that `new_checked` returned never panics, whatever its bytes say: the fixed part of the
//! header is there, and so is everything that the header's own length fields add to it. Writing a
//! length field ends that promise until the view is checked again.
//!
//! `new_unchecked` looks at nothing. Its getters and setters panic, as slices do, when the bytes end
//! before the field. It is meant for bytes that are being filled in, and for arrays of the fixed
//! header's size (`frame.first_chunk::<{ ipv4::HEADER_SIZE }>()`): there the compiler sees that the
//! fixed fields are inside, and no check is left.

use std::ops::Range;

pub mod arp;
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

/// Where a field lies, in bytes from the first of its header.
pub type Field = Range<usize>;

/// Why bytes cannot be the header that they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the header does.
    #[error("{header}: {size} bytes are there, the header needs {needed}")]
    Truncated {
        /// What the bytes were taken for.
        header: &'static str,
        /// Bytes of the header, by its fixed part or by its length field.
        needed: usize,
        /// Bytes that are there.
        size: usize,
    },
    /// The header's length field says less than its fixed part has.
    #[error(
        "{header}: the header says that it has {stated} bytes, it cannot have less than {least}"
    )]
    TooSmall {
        /// What the bytes were taken for.
        header: &'static str,
        /// Bytes of the header by its length field.
        stated: usize,
        /// Bytes of the fixed part.
        least: usize,
    },
}

/// Checks that `bytes` hold the `needed` ones of a header.
#[inline]
fn check_size(header: &'static str, bytes: &[u8], needed: usize) -> Result<(), WireError> {
    match bytes.len() {
        size if size < needed => Err(WireError::Truncated { header, needed, size }),
        _ => Ok(()),
    }
}

/// The bytes of a field of `N` bytes.
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

/// The number in a field of three bytes, such as a VNI.
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

/// Writes the lower 24 bits of `value`.
#[inline]
fn put_u24(bytes: &mut [u8], field: Field, value: u32) {
    bytes[field].copy_from_slice(&value.to_be_bytes()[1..]);
}

#[cfg(test)]
mod tests;
