//! Which packet is meant, and where it comes in.

use super::{TraceError, TracePacket, TraceRequest, between};
use crate::switch::OnBridge;
use flow::compose::compose;
use flow::extract::{Arrival, extract};
use flow::fields::FieldId;
use flow::key::VLAN_VID_MASK;
use flow::types::{MacAddr, OfPort};
use flow::{Headers, Match};
use flowtable::policy::mac_table::MacKey;
use flowtable::trace::{as_it_comes_in, differences};
use packet::wire::ethernet;

/// The longest frame that a port receives, in bytes.
pub const MAX_FRAME_SIZE: usize = 65_535;

/// The packet that is to be traced.
pub(super) struct Meant {
    /// The port where it comes in; [`OfPort::NONE`] if nobody has given one.
    pub in_port: OfPort,
    pub frame: Vec<u8>,
    /// The tunnel that it comes through, if these headers have one. Their other fields do not matter.
    pub tunnel: Headers,
    /// What somebody has said of the packet, or what is known of its hosts. `None` if its bytes were given, and
    /// so every field.
    pub given: Option<Match>,
}

/// The packet that a request is about.
pub(super) fn meant(switch: OnBridge<'_>, request: &TraceRequest) -> Result<Meant, TraceError> {
    match &request.packet {
        TracePacket::Frame(frame) => {
            if !(ethernet::HEADER_SIZE..=MAX_FRAME_SIZE).contains(&frame.len()) {
                return Err(TraceError::FrameSize(frame.len()));
            }
            let (mut key, _) = extract(Arrival::default(), frame, switch.vlan_limit());
            let in_port = match given_port(&request.flow) {
                Some(port) => port,
                None => {
                    let vlan = key.headers.vlan_tci.get() & VLAN_VID_MASK;
                    let sender = MacKey { vlan, mac: MacAddr(key.headers.dl_src) };
                    let snapshot = switch.bridge().snapshot();
                    let known = snapshot.macs().lookup(sender).map(|entry| entry.port);
                    known.ok_or(TraceError::UnknownSource)?
                }
            };
            let in_port = existing(switch, in_port)?;
            // No byte of the frame says through which tunnel it came.
            let tunnel = request.flow.key().headers;
            key.headers.come_through(&tunnel);
            let packet = as_it_comes_in(&key, |_| Some(in_port));
            if let Some(&field) = differences(&request.flow, &packet).first() {
                return Err(TraceError::Contradiction { field, packet: Box::new(packet) });
            }
            Ok(Meant { in_port, frame: frame.clone(), tunnel, given: None })
        }
        TracePacket::Described => described(switch, request.flow),
        TracePacket::Between { from, to } => {
            described(switch, between::flow(switch, &request.flow, *from, *to)?)
        }
    }
}

fn described(switch: OnBridge<'_>, flow: Match) -> Result<Meant, TraceError> {
    let in_port = match given_port(&flow) {
        None | Some(OfPort::NONE) => OfPort::NONE,
        Some(port) => existing(switch, port)?,
    };
    let tunnel = flow.key().headers;
    Ok(Meant { in_port, frame: compose(&tunnel), tunnel, given: Some(flow) })
}

fn given_port(flow: &Match) -> Option<OfPort> {
    FieldId::InPort.is_exact(flow.mask()).then(|| flow.key().in_port.get())
}

fn existing(switch: OnBridge<'_>, port: OfPort) -> Result<OfPort, TraceError> {
    let exists = switch.bridge().snapshot().ports().get(port).is_some();
    if exists { Ok(port) } else { Err(TraceError::NoPort(port)) }
}
