//! Requests about many devices with one system call.
//!
//! The kernel carries out all messages of a datagram in their order, whether one of them fails or not, and
//! answers each by its sequence number.

use super::link::{link_message, without_statistics};
use super::{Failure, Link, Netlink, NetlinkError, append, messages};
use netlink_packet_core::{NLM_F_ACK, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo,
};
use std::io;
use std::net::IpAddr;

/// Number of messages in one datagram. Their answers fit into the receive buffer that the kernel
/// gives to every socket, 208 KiB: an answer that describes a device takes up to 4 KiB.
const AT_ONCE: usize = 32;

/// A request about one device.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Which device has this name: [`Reply::Link`].
    Find(String),
    /// Which device has this interface number: [`Reply::Link`].
    Look(u32),
    /// Change a device: [`Reply::Done`].
    Change(LinkChange),
    /// Have the bridge that the device with this interface number is in neither learn from it, nor flood to it,
    /// nor forward from it to other such devices: [`Reply::Done`].
    Isolate(u32),
    /// The addresses of the device with this interface number: [`Reply::Addresses`].
    Addresses(u32),
}

/// What to change of a device, in one step. If the kernel refuses the first part, it leaves out the second.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange {
    /// The device's interface number.
    pub index: u32,
    /// Enslave the device to the bridge with this interface number, or free it from its master if 0; leave
    /// its master alone if `None`.
    pub master: Option<u32>,
    /// Set the device up or down; leave it as it is if `None`.
    pub up: Option<bool>,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The device; `None` if there is none.
    Link(Option<Link>),
    /// The change was made.
    Done,
    /// Addresses and the sizes of their prefixes in bits.
    Addresses(Vec<(IpAddr, u8)>),
}

impl Request {
    /// The message, and its flags beside `NLM_F_REQUEST`. `None` for a question that takes a dump.
    fn message(&self) -> Option<(RouteNetlinkMessage, u16)> {
        let get = |message| Some((RouteNetlinkMessage::GetLink(without_statistics(message)), 0));
        match self {
            Self::Find(name) => {
                let mut message = link_message(0);
                message.attributes.push(LinkAttribute::IfName(name.clone()));
                get(message)
            }
            Self::Look(index) => get(link_message(*index)),
            Self::Change(LinkChange { index, master, up }) => {
                let mut message = link_message(*index);
                message.attributes.extend(master.map(LinkAttribute::Controller));
                if let Some(up) = up {
                    let flags = if *up { LinkFlags::Up } else { LinkFlags::empty() };
                    message.header.flags = flags;
                    message.header.change_mask = LinkFlags::Up;
                }
                Some((RouteNetlinkMessage::SetLink(message), NLM_F_ACK))
            }
            Self::Isolate(index) => {
                let mut message = link_message(*index);
                let data = InfoPortData::BridgePort(vec![
                    InfoBridgePort::Isolated(true),
                    InfoBridgePort::Learning(false),
                    InfoBridgePort::UnicastFlood(false),
                    InfoBridgePort::MulticastFlood(false),
                    InfoBridgePort::BroadcastFlood(false),
                ]);
                let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(data)];
                message.attributes.push(LinkAttribute::LinkInfo(info));
                Some((RouteNetlinkMessage::NewLink(message), NLM_F_ACK))
            }
            Self::Addresses(_) => None,
        }
    }

    /// What errors call the request.
    fn operation(&self) -> String {
        match self {
            Self::Find(name) => format!("look up \"{name}\""),
            Self::Look(index) => format!("look up interface {index}"),
            Self::Change(LinkChange { index, master, up }) => {
                let master = master.map(|master| match master {
                    0 => format!("free interface {index} from its master"),
                    _ => format!("enslave interface {index} to interface {master}"),
                });
                let up = up
                    .map(|up| format!("set interface {index} {}", if up { "up" } else { "down" }));
                let parts: Vec<String> = master.into_iter().chain(up).collect();
                parts.join(", ")
            }
            Self::Isolate(index) => format!("isolate interface {index} in its bridge"),
            Self::Addresses(index) => format!("list the addresses of interface {index}"),
        }
    }

    /// The answer that a message of the kernel is.
    fn reply(
        &self,
        payload: &NetlinkPayload<RouteNetlinkMessage>,
    ) -> Option<Result<Reply, io::Error>> {
        match payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Some(Ok(Reply::Done)),
            NetlinkPayload::Error(error) => {
                let error = error.to_io();
                let is_question = !matches!(self, Self::Change(_) | Self::Isolate(_));
                if is_question && error.raw_os_error() == Some(libc::ENODEV) {
                    return Some(Ok(Reply::Link(None)));
                }
                Some(Err(error))
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                Some(Ok(Reply::Link(Some(Link::from_message(message)))))
            }
            _ => None,
        }
    }
}

impl Netlink {
    /// Changes devices in the order of `changes`, many with each system call.
    ///
    /// # Errors
    /// That of the first change which was refused; all others were tried.
    pub fn change_all(&mut self, changes: &[LinkChange]) -> Result<(), NetlinkError> {
        let requests: Vec<_> = changes.iter().copied().map(Request::Change).collect();
        self.ask_all(&requests).into_iter().try_for_each(|reply| reply.map(drop))
    }

    /// Carries out requests in their order, except that addresses are listed after all else. The answers are
    /// in the order of the requests.
    pub(crate) fn ask_all(&mut self, requests: &[Request]) -> Vec<Result<Reply, NetlinkError>> {
        requests.chunks(AT_ONCE).flat_map(|some| self.ask_some(some)).collect()
    }

    fn ask_some(&mut self, requests: &[Request]) -> Vec<Result<Reply, NetlinkError>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        // The place in `requests` of each message.
        let mut places = Vec::new();
        for (place, request) in requests.iter().enumerate() {
            if let Some((message, flags)) = request.message() {
                self.sequence = self.sequence.wrapping_add(1);
                append(&mut bytes, message, flags, self.sequence);
                places.push(place);
            }
        }
        let mut replies: Vec<_> = requests.iter().map(|_| None).collect();
        let exchanged = self.exchange_datagram(&bytes, first, &places, requests, &mut replies);
        let failure = exchanged.err();
        let answer = |(request, reply): (&Request, Option<Result<Reply, io::Error>>)| {
            if let Request::Addresses(index) = request {
                return self.addresses(*index).map(Reply::Addresses);
            }
            match (reply, &failure) {
                (Some(Ok(reply)), _) => Ok(reply),
                (Some(Err(error)), _) => Err(NetlinkError::refused(request.operation(), error)),
                (None, Some(Failure::Io(error))) => {
                    let same = error.raw_os_error().map(io::Error::from_raw_os_error);
                    let error = same.unwrap_or_else(|| error.kind().into());
                    Err(NetlinkError::refused(request.operation(), error))
                }
                (None, Some(Failure::Decode(reason))) => Err(NetlinkError::Undecodable {
                    operation: request.operation(),
                    reason: reason.clone(),
                }),
                (None, None) => unreachable!("the exchange ends with an answer to each message"),
            }
        };
        requests.iter().zip(replies).map(answer).collect()
    }

    /// Sends a datagram whose messages have the sequence numbers from `first` on, and receives until each of
    /// them is answered. A failure leaves `None` for those that are not.
    fn exchange_datagram(
        &mut self,
        bytes: &[u8],
        first: u32,
        places: &[usize],
        requests: &[Request],
        replies: &mut [Option<Result<Reply, io::Error>>],
    ) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.socket.send(bytes, 0)?;
        let mut missing = places.len();
        while missing > 0 {
            self.received.clear();
            self.socket.recv(&mut self.received, 0)?;
            for message in messages(&self.received) {
                let message = message?;
                let offset = message.header.sequence_number.wrapping_sub(first);
                let Some(&place) = places.get(offset as usize) else { continue };
                if replies[place].is_none() {
                    replies[place] = requests[place].reply(&message.payload);
                    missing -= usize::from(replies[place].is_some());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_of_many_gets_its_own_answer() {
        let mut netlink = Netlink::open().unwrap();
        let loopback = || Request::Find("lo".to_owned());
        let missing = || Request::Find("no-such-device".to_owned());
        // More than one datagram, and a refusal in the middle.
        let mut requests: Vec<_> = (0..AT_ONCE).flat_map(|_| [loopback(), missing()]).collect();
        let nowhere = LinkChange { index: u32::MAX >> 1, up: Some(true), ..LinkChange::default() };
        requests.insert(5, Request::Change(nowhere));
        requests.push(Request::Addresses(1));
        let replies = netlink.ask_all(&requests);
        assert_eq!(replies.len(), requests.len());
        for (request, reply) in requests.iter().zip(replies) {
            match (request, reply) {
                (Request::Find(name), Ok(Reply::Link(Some(link)))) => {
                    assert_eq!((name.as_str(), &link.name), ("lo", &link.name));
                    assert_eq!(link.name, "lo");
                }
                (Request::Find(name), Ok(Reply::Link(None))) => assert_eq!(name, "no-such-device"),
                (Request::Change(_), Err(error)) => {
                    let refused = error.is_denied() || error.errno() == Some(libc::ENODEV);
                    assert!(refused, "{error}");
                }
                (Request::Addresses(_), Ok(Reply::Addresses(_))) => {}
                (request, reply) => panic!("{request:?}: {reply:?}"),
            }
        }
    }
}
