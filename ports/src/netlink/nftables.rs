//! Chains of nftables that drop whatever a device receives (nft(8), family `netdev`, hook `ingress`).
//!
//! A packet socket sees a frame before the hook, the bridge or the stack that the device belongs to after it.
//! The chains lie in a table that belongs to this socket: nobody else can change the table, and the kernel
//! removes it with the socket, however the process ends.

use super::{Failure, NetlinkError, RECEIVE_SIZE};
use netlink_packet_core::{NLA_F_NESTED, NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NLMSG_ERROR};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use std::{io, slice};

/// Bytes of a netlink header and of netfilter's own behind it.
const HEADER: usize = 16 + 4;
// linux/netfilter/nfnetlink.h
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
// linux/netfilter.h
const NFPROTO_NETDEV: u8 = 5;
const NF_NETDEV_INGRESS: u32 = 0;
const NF_DROP: u32 = 0;
// linux/netfilter/nf_tables.h
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_OWNER: u32 = 2;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;

/// Number of changes in one transaction. The receive buffer has room for the answers.
const AT_ONCE: usize = 64;

/// The chains come behind all chains of others, which see the frames as before.
const PRIORITY: u32 = i32::MAX as u32;

/// A change of one chain.
#[derive(Clone, Debug)]
pub enum ChainChange {
    /// Drop what this device receives.
    Add {
        /// The interface number, after which the chain is called.
        index: u32,
        /// The name of the device.
        device: String,
    },
    /// Let a device receive again.
    Remove {
        /// The interface number, after which the chain is called.
        index: u32,
    },
}

/// A table of chains, each of which drops what one device receives.
#[derive(Debug)]
pub struct DropTable {
    socket: Socket,
    name: String,
    sequence: u32,
    received: Vec<u8>,
}

impl DropTable {
    /// An empty table in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has no nftables, or none of which tables have owners (before Linux 5.12),
    /// or the privilege is missing.
    pub fn make() -> Result<Self, NetlinkError> {
        let make = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            // No other socket of the namespace has the number at the same time.
            let number = socket.bind_auto()?.port_number();
            socket.connect(&SocketAddr::new(0, 0))?;
            let name = format!("switchd-shield-{number}");
            let mut table =
                Self { socket, name, sequence: 0, received: Vec::with_capacity(RECEIVE_SIZE) };
            let mut message = Message::new(NFT_MSG_NEWTABLE, NLM_F_CREATE);
            message.text(NFTA_TABLE_NAME, &table.name);
            message.number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
            table.transact(vec![message])?;
            Ok(table)
        };
        make().map_err(|failure: Failure| failure.of("make a table of nftables"))
    }

    /// Makes changes in their order. Returns the errors of those that the kernel refused; all others were made.
    /// `ENOENT`: the device has gone.
    pub fn change_all(&mut self, changes: &[ChainChange]) -> Vec<NetlinkError> {
        let mut errors = Vec::new();
        for some in changes.chunks(AT_ONCE) {
            if self.change(some).is_err() {
                // The kernel made none of them. Each is tried alone, so that only the refused one fails.
                errors.extend(some.iter().filter_map(|c| self.change(slice::from_ref(c)).err()));
            }
        }
        errors
    }

    /// Makes changes, all or none.
    fn change(&mut self, changes: &[ChainChange]) -> Result<(), NetlinkError> {
        let messages = changes.iter().map(|change| self.message(change)).collect();
        self.transact(messages).map_err(|failure| failure.of("change a chain of nftables"))
    }

    fn message(&self, change: &ChainChange) -> Message {
        match change {
            ChainChange::Add { index, device } => {
                let mut message = Message::new(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
                message.text(NFTA_CHAIN_TABLE, &self.name);
                message.text(NFTA_CHAIN_NAME, &chain(*index));
                let hook = message.begin(NFTA_CHAIN_HOOK);
                message.number(NFTA_HOOK_HOOKNUM, NF_NETDEV_INGRESS);
                message.number(NFTA_HOOK_PRIORITY, PRIORITY);
                message.text(NFTA_HOOK_DEV, device);
                message.end(hook);
                message.number(NFTA_CHAIN_POLICY, NF_DROP);
                message.text(NFTA_CHAIN_TYPE, "filter");
                message
            }
            ChainChange::Remove { index } => {
                let mut message = Message::new(NFT_MSG_DELCHAIN, 0);
                message.text(NFTA_CHAIN_TABLE, &self.name);
                message.text(NFTA_CHAIN_NAME, &chain(*index));
                message
            }
        }
    }

    /// Sends messages as one transaction and waits for the answer to each.
    fn transact(&mut self, messages: Vec<Message>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let first = self.sequence.wrapping_add(1);
        Message::border(NFNL_MSG_BATCH_BEGIN).append(&mut bytes, first);
        let mut missing = messages.len();
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            message.append(&mut bytes, self.sequence);
        }
        Message::border(NFNL_MSG_BATCH_END).append(&mut bytes, self.sequence);
        self.socket.send(&bytes, 0)?;
        while missing > 0 {
            self.received.clear();
            self.socket.recv(&mut self.received, 0)?;
            for (sequence, errno) in answers(&self.received)? {
                // What an earlier transaction left unread has a lower number.
                if sequence.wrapping_sub(first) > self.sequence.wrapping_sub(first) {
                    continue;
                }
                if errno != 0 {
                    return Err(io::Error::from_raw_os_error(errno).into());
                }
                missing = missing.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// The name of the chain of the device with this interface number.
fn chain(index: u32) -> String {
    format!("device-{index}")
}

/// The sequence numbers and error numbers of the answers in a datagram; 0 says that all is well.
fn answers(mut bytes: &[u8]) -> Result<Vec<(u32, i32)>, Failure> {
    let mut answers = Vec::new();
    let short = || Failure::Decode("an answer is too short".to_owned());
    while !bytes.is_empty() {
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let (size, kind) = (word(0).ok_or_else(short)?, word(4).ok_or_else(short)? as u16);
        if kind == NLMSG_ERROR {
            let sequence = word(8).ok_or_else(short)?;
            answers.push((sequence, -(word(16).ok_or_else(short)? as i32)));
        }
        let size = (size as usize).next_multiple_of(4).max(16);
        bytes = bytes.get(size..).unwrap_or_default();
    }
    Ok(answers)
}

/// A message to nftables that is being composed. The length and the sequence number are written at the end.
struct Message(Vec<u8>);

impl Message {
    /// A message of nftables that wants an answer.
    fn new(kind: u16, flags: u16) -> Self {
        Self::with(NFNL_SUBSYS_NFTABLES << 8 | kind, flags | NLM_F_ACK, NFPROTO_NETDEV, 0)
    }

    /// The begin or the end of a transaction.
    fn border(kind: u16) -> Self {
        Self::with(kind, 0, 0, NFNL_SUBSYS_NFTABLES)
    }

    fn with(kind: u16, flags: u16, family: u8, resource: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes[16] = family;
        bytes[18..20].copy_from_slice(&resource.to_be_bytes());
        Self(bytes)
    }

    fn text(&mut self, kind: u16, value: &str) {
        let start = self.begin(kind);
        self.0.extend(value.bytes().chain([0]));
        self.close(start);
    }

    /// A number, which nftables wants in network order.
    fn number(&mut self, kind: u16, value: u32) {
        let start = self.begin(kind);
        self.0.extend(value.to_be_bytes());
        self.close(start);
    }

    /// Begins an attribute, and returns its place for [`Message::end`].
    fn begin(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend(kind.to_ne_bytes());
        start
    }

    /// Ends an attribute that holds attributes.
    fn end(&mut self, start: usize) {
        let kind = u16::from_ne_bytes([self.0[start + 2], self.0[start + 3]]) | NLA_F_NESTED;
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.close(start);
    }

    fn close(&mut self, start: usize) {
        let size = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&size.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn append(mut self, to: &mut Vec<u8>, sequence: u32) {
        let size = self.0.len() as u32;
        self.0[..4].copy_from_slice(&size.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        to.extend(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_nested() {
        let mut message = Message::new(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
        let hook = message.begin(NFTA_CHAIN_HOOK);
        message.text(NFTA_HOOK_DEV, "p1");
        message.end(hook);
        let mut bytes = Vec::new();
        message.append(&mut bytes, 7);
        let mut expected = Vec::new();
        expected.extend(32_u32.to_ne_bytes());
        expected.extend(0x0a03_u16.to_ne_bytes());
        expected.extend(0x405_u16.to_ne_bytes());
        expected.extend(7_u32.to_ne_bytes());
        expected.extend([0; 4]);
        expected.extend([5, 0, 0, 0]);
        expected.extend(12_u16.to_ne_bytes());
        expected.extend(0x8004_u16.to_ne_bytes());
        expected.extend(7_u16.to_ne_bytes());
        expected.extend(3_u16.to_ne_bytes());
        expected.extend(*b"p1\0\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn answers_are_read() {
        let mut bytes = Vec::new();
        for (sequence, errno) in [(3_u32, 0_i32), (4, -libc::ENOENT)] {
            bytes.extend(36_u32.to_ne_bytes());
            bytes.extend(NLMSG_ERROR.to_ne_bytes());
            bytes.extend([0; 2]);
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(errno.to_ne_bytes());
            bytes.extend([0; 16]);
        }
        assert_eq!(answers(&bytes).ok(), Some(vec![(3, 0), (4, libc::ENOENT)]));
        assert!(answers(&bytes[..bytes.len() - 20]).is_err());
    }
}
