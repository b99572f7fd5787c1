//! What the switch refuses, as errors of OpenFlow.

use crate::bridge::packet_out::PacketOutError;
use flowtable::policy::FlowModError;
use openflow::ErrorCode;

/// OpenFlow's error for a change that the tables do not take.
pub(crate) fn error_code(error: &FlowModError) -> ErrorCode {
    match error {
        FlowModError::TableFull { .. } => ErrorCode::TableFull,
        FlowModError::Overlap { .. } => ErrorCode::Overlap,
        FlowModError::UnknownGroup(_) => ErrorCode::BadOutGroup,
        FlowModError::GroupExists(_) => ErrorCode::GroupExists,
        FlowModError::InvalidGroup { .. } | FlowModError::InvalidBucket { .. } => {
            ErrorCode::InvalidGroup
        }
        FlowModError::ListTooLong { .. } => ErrorCode::BadLength,
        FlowModError::GroupTooLarge { .. } => ErrorCode::OutOfBuckets,
        FlowModError::GroupLoop(_) | FlowModError::WatchLoop(_) => ErrorCode::GroupLoop,
        FlowModError::NoSuchGroup(_) => ErrorCode::UnknownGroup,
        FlowModError::UnknownBucket { .. } => ErrorCode::UnknownBucket,
        FlowModError::BucketExists { .. } => ErrorCode::BucketExists,
        FlowModError::UnknownMeter(_) | FlowModError::InvalidMeter(_) => ErrorCode::InvalidMeter,
        FlowModError::MeterExists(_) => ErrorCode::MeterExists,
        FlowModError::NoSuchMeter(_) => ErrorCode::UnknownMeter,
        FlowModError::TooManyMeters(_) => ErrorCode::OutOfMeters,
        FlowModError::TooManyBands { .. } | FlowModError::MeterWithoutBands(_) => {
            ErrorCode::OutOfBands
        }
        FlowModError::BandWithoutRate(_) => ErrorCode::BadRate,
        FlowModError::MeterFlags(_) => ErrorCode::BadMeterFlags,
        FlowModError::UnmappedOption(_) => ErrorCode::NxFlowModInvalidTlvField,
        FlowModError::OptionTooShort { .. } => ErrorCode::BadSetLength,
        _ => ErrorCode::FlowModUnknown,
    }
}

/// OpenFlow's error for a packet-out that names something which does not exist.
pub(super) fn packet_out(error: &PacketOutError) -> ErrorCode {
    match error {
        PacketOutError::NoPort(_) => ErrorCode::BadPort,
        PacketOutError::NoGroup(error) => error_code(error),
    }
}
