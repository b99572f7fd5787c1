//! Makes the answer of an ARP request or a neighbour solicitation, in the frame that has the question.

use packet::checksum::{pseudo_header, sum};
use packet::wire::{
    ArpPacket, EthernetFrame, Icmpv6Packet, Ipv6Packet, NdOption, NdPacket, arp, icmpv6,
    icmpv6_type, ip_proto, ipv6, nd, nd_option,
};
use packet::{Frame, Offload};
use std::net::Ipv6Addr;

/// The flags of a neighbour advertisement that answers a question, and tells the present address: solicited,
/// override (RFC 4861 §4.4).
const SOLICITED_AND_OVERRIDE: u32 = 0x6000_0000;
/// Size in bytes of a message with one option, that of a MAC address.
const MESSAGE_SIZE: usize = nd::HEADER_SIZE + nd::OPTION_SIZE;

/// Makes the frame, which asks for the MAC address of an IP address, the answer that the address is at `mac`.
/// False, with the frame as it was, if the frame is no such question.
pub(super) fn answer(frame: &mut Frame<'_>, mac: [u8; 6]) -> bool {
    let asker = match answer_arp(frame, mac) {
        Some(asker) => Some(asker),
        None => answer_solicitation(frame, mac),
    };
    let Some(asker) = asker else { return false };
    let mut ethernet = EthernetFrame::new_unchecked(frame.bytes_mut());
    ethernet.set_dst_addr(asker);
    ethernet.set_src_addr(mac);
    frame.offload = Offload::NONE;
    true
}

/// The MAC address of who asked.
fn answer_arp(frame: &mut Frame<'_>, mac: [u8; 6]) -> Option<[u8; 6]> {
    let at = usize::from(frame.layers.l3);
    let mut packet = ArpPacket::new_checked(frame.bytes_mut().get_mut(at..)?).ok()?;
    if !packet.is_ethernet_ipv4() || packet.operation() != arp::REQUEST {
        return None;
    }
    let (asker, asked) = (packet.sender_hardware(), packet.target_protocol());
    packet.set_operation(arp::REPLY);
    packet.set_target_hardware(asker);
    packet.set_target_protocol(packet.sender_protocol());
    packet.set_sender_hardware(mac);
    packet.set_sender_protocol(asked);
    Some(asker)
}

/// The MAC address of who asked.
fn answer_solicitation(frame: &mut Frame<'_>, mac: [u8; 6]) -> Option<[u8; 6]> {
    let (l3, l4) = (usize::from(frame.layers.l3), usize::from(frame.layers.l4));
    // Extension headers would have to be taken out.
    if l4 != l3 + ipv6::HEADER_SIZE {
        return None;
    }
    let packet = frame.bytes().get(l3..)?;
    let header = Ipv6Packet::new_checked(packet).ok()?;
    let message = header.payload();
    let solicitation = NdPacket::new_checked(message).ok()?;
    let is_solicitation = header.next_header() == ip_proto::ICMPV6
        && solicitation.icmp_type() == icmpv6_type::ND_SOLICIT
        && message.len() >= MESSAGE_SIZE;
    if !is_solicitation {
        return None;
    }
    let is_asker = |option: &NdOption<_>| {
        option.option_type() == nd_option::SOURCE_LINK_LAYER && option.size() == nd::OPTION_SIZE
    };
    let asker = solicitation.options().find(is_asker)?.mac();
    let (to, from) = (header.src_addr(), solicitation.target());
    frame.truncate(l4 + MESSAGE_SIZE);
    frame.layers.padding = 0;
    let (header, message) = frame.bytes_mut()[l3..].split_at_mut(ipv6::HEADER_SIZE);
    let mut header = Ipv6Packet::new_unchecked(header);
    header.set_payload_size(MESSAGE_SIZE as u16);
    header.set_src_addr(from);
    header.set_dst_addr(to);
    let mut advertisement = NdPacket::new_unchecked(&mut *message);
    advertisement.set_reserved(SOLICITED_AND_OVERRIDE);
    NdOption::new_unchecked(&mut message[nd::HEADER_SIZE..])
        .set_mac(nd_option::TARGET_LINK_LAYER, mac);
    fill_icmp(message, from, to);
    Some(asker)
}

/// Writes the type and the checksum of an advertisement.
fn fill_icmp(message: &mut [u8], from: Ipv6Addr, to: Ipv6Addr) {
    let mut icmp = Icmpv6Packet::new_unchecked(&mut *message);
    icmp.set_icmp_type(icmpv6_type::ND_ADVERT);
    icmp.set_code(0);
    icmp.set_checksum(0);
    let pseudo = pseudo_header(&from.octets(), &to.octets(), ip_proto::ICMPV6, MESSAGE_SIZE as u32);
    let checksum = !packet::checksum::add(pseudo, sum(message));
    message[icmpv6::field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::extract::{Arrival, extract};
    use flow::types::PortNo;
    use packet::checksum;

    const HOST: [u8; 6] = [2, 0, 0, 0, 0, 9];

    /// The answer to a frame, which may have a tag; `None` if it is no question.
    fn answered(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut frame = Frame::owned(bytes, Offload::NONE);
        frame.layers = extract(Arrival::on(PortNo(0)), bytes, 2).1;
        answer(&mut frame, HOST).then(|| frame.bytes().to_vec())
    }

    fn arp_request(tag: &[u8]) -> Vec<u8> {
        let ethernet = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], tag, &[8, 6]].concat();
        let arp =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 9];
        [&ethernet[..], &arp, &[0; 18]].concat()
    }

    #[test]
    fn a_request_becomes_a_reply() {
        for tag in [&[][..], &[0x81, 0, 0, 5]] {
            let ethernet = [&[2, 0, 0, 0, 0, 1][..], &HOST, tag, &[8, 6]].concat();
            let arp = [
                0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9, 2, 0, 0, 0, 0, 1, 10, 0, 0,
                1,
            ];
            let expected = [&ethernet[..], &arp, &[0; 18]].concat();
            let reply = answered(&arp_request(tag)).unwrap();
            assert_eq!(reply, expected);
            assert_eq!(answered(&reply), None, "a reply is no question");
        }
        assert_eq!(answered(&arp_request(&[])[..40]), None, "cut off");
    }

    fn solicitation(options: &[u8]) -> Vec<u8> {
        let address = |last: u8| [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        let (from, asked) = (address(1), address(9));
        let to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 9];
        let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &asked, options].concat();
        let size = message.len() as u32;
        let pseudo = pseudo_header(&from, &to, ip_proto::ICMPV6, size);
        let checksum = !checksum::add(pseudo, sum(&message));
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let ethernet = [0x33, 0x33, 0xff, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
        let header = [0x60, 0, 0, 0, 0, size as u8, 58, 255];
        [&ethernet[..], &header, &from, &to, &message].concat()
    }

    #[test]
    fn a_solicitation_becomes_an_advertisement() {
        let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
        let own = [1, 1, 2, 0, 0, 0, 0, 1];
        for options in [own.to_vec(), [own, nonce].concat(), [nonce, own].concat()] {
            let reply = answered(&solicitation(&options)).unwrap();
            assert_eq!(reply.len(), 14 + 40 + 32);
            assert_eq!(reply[..12], [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9]);
            let packet = Ipv6Packet::new_checked(&reply[14..]).unwrap();
            assert_eq!(packet.src_addr().to_string(), "fe80::9");
            assert_eq!(
                (packet.dst_addr().to_string().as_str(), packet.hop_limit()),
                ("fe80::1", 255)
            );
            let message = packet.payload();
            assert_eq!(message[..2], [136, 0]);
            assert_eq!(message[4..8], [0x60, 0, 0, 0]);
            assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 9]);
            let (from, to) = (packet.src_addr().octets(), packet.dst_addr().octets());
            let pseudo = pseudo_header(&from, &to, ip_proto::ICMPV6, 32);
            assert_eq!(checksum::add(pseudo, sum(message)), 0xffff);
        }
        assert_eq!(answered(&solicitation(&nonce)), None, "nobody to answer to");
        assert_eq!(answered(&solicitation(&[])), None);
    }
}
