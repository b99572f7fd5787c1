//! Outputs to tunnel ports: what the outer headers are to say.
//!
//! What the port fixes holds, whatever rules have written; the rest comes from the packet's tunnel
//! fields, as in Open vSwitch. ECN is always that of the packet (RFC 6040 §4.1), so that every output to
//! a tunnel depends on it.

use super::{Ctx, TranslationObserver};
use crate::policy::ports::{Inherited, TunnelEgress, TunnelLocal};
use flow::fields::{FieldId, ones};
use flow::key::tun_flags;
use flow::types::PortNo;
use flow::verdict::{DpAction, DropReason};
use packet::wire::vxlan::GroupPolicy;
use packet::{MappedOption, TunnelKey};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The bits of `nw_tos` that are the DSCP.
const DSCP: u8 = 0xfc;
/// The bits of `nw_tos` that are the ECN.
const ECN: u8 = 0x03;

/// The end of a tunnel that an address is asked for.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Sends the packet from a tunnel port.
    pub(super) fn send_through(&mut self, port: PortNo, tunnel: &TunnelEgress) {
        if let Some(key) = self.outer_headers(tunnel) {
            self.commit();
            self.out.actions.push(DpAction::Tunnel { port, key: Arc::new(key) });
            self.outputs += 1;
        }
    }

    /// What the outer headers of the packet are to say; `None` if it cannot be sent, which is noted.
    pub(super) fn outer_headers(&mut self, tunnel: &TunnelEgress) -> Option<TunnelKey> {
        let key = self.tunnel_key(tunnel);
        if let Err(reason) = key {
            self.observer.note(|| super::Note::NoTunnel(reason));
            self.hint = Some(reason);
        }
        key.ok()
    }

    fn tunnel_key(&mut self, tunnel: &TunnelEgress) -> Result<TunnelKey, DropReason> {
        let destination = match tunnel.remote {
            Some(remote) => remote,
            None => {
                let remote = self.tunnel_address(End::Destination);
                if remote.is_unspecified() {
                    return Err(DropReason::TunnelNoRemote);
                }
                if self.packet.came_to_tunnel_end(remote) {
                    return Err(DropReason::TunnelToSelf);
                }
                remote
            }
        };
        let any = match destination {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let source = match tunnel.local {
            TunnelLocal::Any => any,
            TunnelLocal::Fixed(local) => local,
            TunnelLocal::Flow => Some(self.tunnel_address(End::Source))
                .filter(|local| local.is_ipv4() == destination.is_ipv4())
                .unwrap_or(any),
        };
        let id =
            tunnel.key.unwrap_or_else(|| self.tunnel_field(FieldId::TunId, u64::MAX.into()) as u64);
        let group_policy = if tunnel.has_group_policy {
            GroupPolicy {
                id: self.tunnel_field(FieldId::TunGbpId, u16::MAX.into()) as u16,
                flags: self.tunnel_field(FieldId::TunGbpFlags, u8::MAX.into()) as u8,
            }
        } else {
            GroupPolicy::default()
        };
        let flags = self.tunnel_field(FieldId::TunFlags, tun_flags::OAM.into()) as u16;
        let is_ip = self.packet.is_ip();
        let mut inner = |bits: u8| match is_ip {
            true => self.packet.ip_tos(bits),
            false => 0,
        };
        let dscp = match tunnel.tos {
            Inherited::Fixed(tos) => tos & DSCP,
            Inherited::FromPacket => inner(DSCP),
        };
        let tos = dscp | inner(ECN);
        let ttl = match tunnel.ttl {
            Inherited::Fixed(ttl) => ttl,
            // A packet without TTL leaves with that of a tunnel that is not told to inherit one.
            Inherited::FromPacket if is_ip => self.packet.ip_ttl().max(1),
            Inherited::FromPacket => TunnelEgress::DEFAULT_TTL,
        };
        Ok(TunnelKey {
            id,
            source,
            destination,
            tos,
            ttl,
            is_oam: flags & tun_flags::OAM != 0,
            group_policy,
            options: tunnel.options.compose(|option| self.tunnel_option(option)),
        })
    }

    /// What the packet has of an option, if it has it.
    fn tunnel_option(&mut self, option: &MappedOption) -> Option<u128> {
        let field = FieldId::TunMetadata(option.field);
        let has_option = self.tunnel_field(FieldId::TunOptions, field.option_bit().into()) != 0;
        has_option.then(|| self.packet.read_bits(field, ones(u16::from(option.size) * 8)))
    }

    /// The address of an end of the tunnel that rules have written, or that the packet came with:
    /// IPv4 if there is one.
    fn tunnel_address(&mut self, end: End) -> IpAddr {
        let (v4, v6) = match end {
            End::Source => (FieldId::TunSrc, FieldId::TunIpv6Src),
            End::Destination => (FieldId::TunDst, FieldId::TunIpv6Dst),
        };
        let address = self.tunnel_field(v4, u32::MAX.into()) as u32;
        if address != 0 {
            return Ipv4Addr::from_bits(address).into();
        }
        match self.tunnel_field(v6, u128::MAX) {
            0 => Ipv4Addr::UNSPECIFIED.into(),
            address => Ipv6Addr::from_bits(address).into(),
        }
    }

    fn tunnel_field(&mut self, field: FieldId, bits: u128) -> u128 {
        self.packet.read_bits(field, bits)
    }
}
