//! The actions that choose a link (`NXAST_MULTIPATH`, `NXAST_BUNDLE`, `NXAST_BUNDLE_LOAD`) and that sample
//! packets (`NXAST_SAMPLE` and its later forms), behind their subtypes.

use super::decode::packed_subfield;
use super::encode::offset_and_len;
use super::number::nx;
use crate::error::ErrorCode;
use crate::input::Input;
use crate::matching::field::{self, FieldHeader};
use crate::output::Encoder;
use OfVersion::OpenFlow10;
use flow::action::Subfield;
use flow::members::{HashFields, LinkAlgorithm, MemberAlgorithm, Multipath, PortBundle};
use flow::sampling::{FlowSampling, SampledDirection};
use flow::types::{OfPort, OfVersion};

/// How many members a bundle has, at most.
const MAX_MEMBERS: usize = 2048;
/// The header of `NXM_OF_IN_PORT`, which says that the members of a bundle are ports.
const IN_PORT: u32 = 2;

/// Appends the body of the action `multipath` (`nx_action_multipath`), from behind
/// the subtype. Numbers are big-endian.
pub(super) fn put_multipath(out: &mut Encoder, multipath: &Multipath) {
    out.u16(multipath.fields.number());
    out.u16(multipath.basis);
    out.zeros(2);
    out.u16(multipath.algorithm.number());
    out.u16(multipath.max_link);
    out.u32(multipath.arg);
    out.zeros(2);
    out.u16(offset_and_len(multipath.dst));
    field::put_header(out, multipath.dst.field, OpenFlow10, false);
}

/// Reads the body of the action `multipath` (`nx_action_multipath`), from behind the subtype.
pub(super) fn decode_multipath(input: &mut Input<'_>) -> Result<Multipath, ErrorCode> {
    let fields = HashFields::from_number(input.u16()?);
    let basis = input.u16()?;
    input.skip(2)?;
    let algorithm = LinkAlgorithm::from_number(input.u16()?);
    let (max_link, arg) = (input.u16()?, input.u32()?);
    input.skip(2)?;
    let dst = decode_dst(input)?;
    let (Some(fields), Some(algorithm)) = (fields, algorithm) else {
        return Err(ErrorCode::BadArgument);
    };
    if dst.n_bits < 16 && max_link >> dst.n_bits != 0 {
        return Err(ErrorCode::BadArgument);
    }
    Ok(Multipath { fields, basis, algorithm, max_link, arg, dst })
}

fn decode_dst(input: &mut Input<'_>) -> Result<Subfield, ErrorCode> {
    let bits = input.u16()?;
    packed_subfield(FieldHeader::decode_short(input)?, bits)
}

/// Writes `bundle` or `bundle_load`.
pub(super) fn put_bundle(out: &mut Encoder, bundle: &PortBundle) {
    out.u16(bundle.algorithm.number());
    out.u16(bundle.fields.number());
    out.u16(bundle.basis);
    out.u32(IN_PORT);
    out.u16(bundle.members.len() as u16);
    let before = out.len();
    match bundle.dst {
        Some(dst) => {
            out.u16(offset_and_len(dst));
            field::put_header(out, dst.field, OpenFlow10, false);
        }
        None => out.zeros(6),
    }
    // A long header takes the place of the padding.
    out.zeros(10 - (out.len() - before));
    bundle.members.iter().for_each(|member| out.u16(member.0));
}

/// Reads `bundle`, or `bundle_load` if `loads` says so.
pub(super) fn decode_bundle(input: &mut Input<'_>, loads: bool) -> Result<PortBundle, ErrorCode> {
    let algorithm = MemberAlgorithm::from_number(input.u16()?);
    let fields = HashFields::from_number(input.u16()?);
    let basis = input.u16()?;
    let kind = input.u32()?;
    let count = usize::from(input.u16()?);
    let mut place = input.part(10, ErrorCode::BadActionLength)?;
    // As in Open vSwitch, the reserved bytes behind the field of `bundle_load` do not matter.
    let dst = match loads {
        true => Some(decode_dst(&mut place)?),
        false if !place.is_zero() => return Err(ErrorCode::BadArgument),
        false => None,
    };
    if input.len() < 2 * count {
        return Err(ErrorCode::BadActionLength);
    }
    let (Some(fields), Some(algorithm)) = (fields, algorithm) else {
        return Err(ErrorCode::BadArgument);
    };
    let is_narrow = dst.is_some_and(|dst| dst.n_bits < 16);
    if kind != IN_PORT || count > MAX_MEMBERS || is_narrow {
        return Err(ErrorCode::BadArgument);
    }
    let members = (0..count).map(|_| input.u16().map(OfPort)).collect::<Result<_, _>>()?;
    Ok(PortBundle { fields, basis, algorithm, members, dst })
}

/// The subtype that can say all of a `sample`.
pub(super) fn sample_subtype(sampling: &FlowSampling) -> u16 {
    match sampling.direction {
        SampledDirection::Ingress | SampledDirection::Egress => nx::SAMPLE3,
        SampledDirection::Unsaid if sampling.sampling_port != OfPort::NONE => nx::SAMPLE2,
        SampledDirection::Unsaid => nx::SAMPLE,
    }
}

/// Writes `sample` in the form of its subtype.
pub(super) fn put_sample(out: &mut Encoder, sampling: &FlowSampling) {
    out.u16(sampling.probability);
    out.u32(sampling.collector_set_id);
    out.u32(sampling.obs_domain_id);
    out.u32(sampling.obs_point_id);
    if sample_subtype(sampling) != nx::SAMPLE {
        out.u16(sampling.sampling_port.0);
        out.u8(match sampling.direction {
            SampledDirection::Unsaid => 0,
            SampledDirection::Ingress => 1,
            SampledDirection::Egress => 2,
        });
        out.zeros(5);
    }
}

/// Reads a `sample` of this subtype.
pub(super) fn decode_sample(
    input: &mut Input<'_>,
    subtype: u16,
) -> Result<FlowSampling, ErrorCode> {
    let mut sampling = FlowSampling {
        probability: input.u16()?,
        collector_set_id: input.u32()?,
        obs_domain_id: input.u32()?,
        obs_point_id: input.u32()?,
        ..FlowSampling::default()
    };
    if subtype != nx::SAMPLE {
        sampling.sampling_port = OfPort(input.u16()?);
    }
    if subtype == nx::SAMPLE3 {
        sampling.direction = match input.u8()? {
            0 => SampledDirection::Unsaid,
            1 => SampledDirection::Ingress,
            2 => SampledDirection::Egress,
            _ => return Err(ErrorCode::BadArgument),
        };
    }
    if input.rest().iter().any(|byte| *byte != 0) {
        return Err(ErrorCode::ActionMustBeZero);
    }
    match sampling.probability {
        0 => Err(ErrorCode::BadArgument),
        _ => Ok(sampling),
    }
}
