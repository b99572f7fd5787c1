//! The errors of OpenFlow (`OFPT_ERROR`): their names, and the numbers that they have in each version.
//!
//! A standard error has a type and a code. OpenFlow 1.0 and 1.1 lack codes for many errors, so Open vSwitch
//! gives such errors numbers of its own: in these versions as type 45250 (0xb0c2) with vendor, type and code
//! behind it, and from 1.2 on as an experimenter error (type 0xffff). This module does the same.

use crate::input::{Input, ONF, VENDOR_NICIRA};
use crate::output::Encoder;
use OfVersion::{
    OpenFlow10 as V10, OpenFlow11 as V11, OpenFlow12 as V12, OpenFlow13 as V13, OpenFlow14 as V14,
    OpenFlow15 as V15,
};
use flow::text::Unfit;
use flow::types::OfVersion;

/// The type of errors that Open vSwitch defines for OpenFlow 1.0 and 1.1 (`NXET_VENDOR`).
const VENDOR_ERROR: u16 = 0xb0c2;
/// The code of errors of type [`VENDOR_ERROR`] (`NXVC_VENDOR_ERROR`).
const VENDOR_ERROR_CODE: u16 = 0;
/// The type of errors that an experimenter defines, from OpenFlow 1.2 on (`OFPET_EXPERIMENTER`).
const EXPERIMENTER_ERROR: u16 = 0xffff;

/// The numbers of an error in one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// A standard error: type and code.
    Standard(u16, u16),
    /// Nicira's form for OpenFlow 1.0 and 1.1: type and code.
    Vendor(u16, u16),
    /// An experimenter error: the experimenter and its number for the error.
    Experimenter(u32, u16),
}

const fn of(error_type: u16, code: u16) -> Number {
    Number::Standard(error_type, code)
}

const fn nx(error_type: u16, code: u16) -> Number {
    Number::Vendor(error_type, code)
}

const fn exp(number: u16) -> Number {
    Number::Experimenter(VENDOR_NICIRA, number)
}

const fn onf(number: u16) -> Number {
    Number::Experimenter(ONF, number)
}

macro_rules! codes {
    ($($id:ident $name:literal [$($from:ident..=$to:ident $number:expr),*] $sentence:literal;)*) => {
        /// An error of OpenFlow, under the name that Open vSwitch has for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $name, "`: ", $sentence, ".")] $id,)*
        }

        impl ErrorCode {
            /// Every error, in the order of the types.
            pub const ALL: &[Self] = &[$(Self::$id),*];

            /// The name of the error in the specification or in Open vSwitch.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }

            /// What is wrong, for a log: lower case, without full stop.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$id => $sentence,)* }
            }

            /// The numbers that the error has, each with the first and the last version
            /// of OpenFlow that has them.
            fn numbers(self) -> &'static [(OfVersion, OfVersion, Number)] {
                match self { $(Self::$id => const { &[$(($from, $to, $number)),*] },)* }
            }
        }
    };
}

codes! {
    HelloIncompatible "OFPHFC_INCOMPATIBLE" [V10..=V15 of(0, 0)] "there is no version that both sides speak";
    HelloPermission "OFPHFC_EPERM" [V10..=V15 of(0, 1)] "the connection is not permitted";
    BadVersion "OFPBRC_BAD_VERSION" [V10..=V15 of(1, 0)] "the version is not supported";
    BadType "OFPBRC_BAD_TYPE" [V10..=V15 of(1, 1)] "the type of the message is not supported";
    BadStat "OFPBRC_BAD_STAT" [V10..=V15 of(1, 2)] "the type of the multipart message is not supported";
    BadVendor "OFPBRC_BAD_VENDOR" [V10..=V15 of(1, 3)] "the experimenter is not known";
    BadSubtype "OFPBRC_BAD_SUBTYPE" [V10..=V15 of(1, 4)] "the experimenter's message is not supported";
    RequestPermission "OFPBRC_EPERM" [V10..=V15 of(1, 5)] "the request is not permitted";
    BadLength "OFPBRC_BAD_LEN" [V10..=V15 of(1, 6)] "the length is wrong for the type of the message";
    BufferEmpty "OFPBRC_BUFFER_EMPTY" [V10..=V15 of(1, 7)] "the buffer has been used already";
    BufferUnknown "OFPBRC_BUFFER_UNKNOWN" [V10..=V15 of(1, 8)] "the buffer does not exist";
    BadTableId "OFPBRC_BAD_TABLE_ID" [V10..=V10 nx(1, 512), V11..=V15 of(1, 9)] "the table does not exist";
    IsSlave "OFPBRC_IS_SECONDARY" [V10..=V11 of(1, 5), V12..=V15 of(1, 10)] "the controller is a slave";
    BadPort "OFPBRC_BAD_PORT" [V10..=V11 nx(1, 514), V12..=V15 of(1, 11)] "the port does not exist";
    BadPacket "OFPBRC_BAD_PACKET" [V12..=V15 of(1, 12)] "the packet of the packet-out is not valid";
    MultipartOverflow "OFPBRC_MULTIPART_BUFFER_OVERFLOW" [V13..=V15 of(1, 13)] "the multipart request is too long";
    NxmInvalid "NXBRC_NXM_INVALID" [V10..=V11 nx(1, 256), V12..=V15 exp(2)] "the extensible match is not valid";
    NxmBadType "NXBRC_NXM_BAD_TYPE" [V10..=V11 nx(1, 257), V12..=V15 exp(3)] "the field of the extensible match is not known";
    MustBeZero "NXBRC_MUST_BE_ZERO" [V10..=V11 nx(1, 515), V12..=V15 exp(4)] "a field that must be zero is not";
    Unencodable "NXBRC_UNENCODABLE_ERROR" [V10..=V11 nx(1, 521), V12..=V15 exp(10)] "this version has no number for the error";
    BadAction "OFPBAC_BAD_TYPE" [V10..=V15 of(2, 0)] "the type of the action is not known";
    BadActionLength "OFPBAC_BAD_LEN" [V10..=V15 of(2, 1)] "the length of the action is wrong";
    BadActionVendor "OFPBAC_BAD_VENDOR" [V10..=V15 of(2, 2)] "the experimenter of the action is not known";
    BadVendorAction "OFPBAC_BAD_VENDOR_TYPE" [V10..=V15 of(2, 3)] "the experimenter's action is not known";
    BadOutPort "OFPBAC_BAD_OUT_PORT" [V10..=V15 of(2, 4)] "nothing can be sent to the port";
    BadArgument "OFPBAC_BAD_ARGUMENT" [V10..=V15 of(2, 5)] "the argument of the action is not valid";
    TooManyActions "OFPBAC_TOO_MANY" [V10..=V15 of(2, 7)] "there are too many actions";
    BadQueue "OFPBAC_BAD_QUEUE" [V10..=V15 of(2, 8)] "the queue does not exist";
    BadOutGroup "OFPBAC_BAD_OUT_GROUP" [V10..=V10 nx(2, 9), V11..=V15 of(2, 9)] "the group of the action does not exist";
    MatchInconsistent "OFPBAC_MATCH_INCONSISTENT" [V10..=V10 nx(1, 522), V11..=V15 of(2, 10)] "the action does not fit the match";
    BadTag "OFPBAC_BAD_TAG" [V11..=V15 of(2, 12)] "the tag of the action is not supported";
    BadSetType "OFPBAC_BAD_SET_TYPE" [V10..=V11 nx(1, 523), V12..=V15 of(2, 13)] "the field of the action is not known";
    BadSetLength "OFPBAC_BAD_SET_LEN" [V10..=V11 nx(1, 524), V12..=V15 of(2, 14)] "the action reaches beyond the end of the field";
    BadSetArgument "OFPBAC_BAD_SET_ARGUMENT" [V10..=V11 nx(1, 525), V12..=V15 of(2, 15)] "the field cannot have the value, or cannot be changed";
    BadSetMask "OFPBAC_BAD_SET_MASK" [V13..=V14 onf(4250), V15..=V15 of(2, 16)] "the field of the action must not have a mask";
    ActionMustBeZero "NXBAC_MUST_BE_ZERO" [V10..=V11 nx(2, 256), V12..=V15 exp(11)] "an argument that must be zero is not";
    UnknownInstruction "OFPBIC_UNKNOWN_INST" [V11..=V15 of(3, 0)] "the instruction is not known";
    UnsupportedInstruction "OFPBIC_UNSUP_INST" [V10..=V10 nx(2, 257), V11..=V15 of(3, 1)] "the instruction is not supported";
    BadInstructionTable "OFPBIC_BAD_TABLE_ID" [V11..=V15 of(3, 2)] "the table of the instruction is not a later one";
    BadInstructionVendor "OFPBIC_BAD_EXPERIMENTER" [V11..=V15 of(3, 5)] "the experimenter of the instruction is not known";
    BadInstructionLength "OFPBIC_BAD_LEN" [V12..=V15 of(3, 7)] "the length of the instruction is wrong";
    DuplicateInstruction "OFPBIC_DUP_INST" [V11..=V11 nx(3, 256), V12..=V13 onf(2600), V14..=V15 of(3, 9)] "an instruction is given twice";
    BadMatchType "OFPBMC_BAD_TYPE" [V11..=V15 of(4, 0)] "the type of the match is not known";
    BadMatchLength "OFPBMC_BAD_LEN" [V11..=V15 of(4, 1)] "the length of the match is wrong";
    BadMatchTag "OFPBMC_BAD_TAG" [V11..=V15 of(4, 2)] "the tag of the match is not supported";
    BadWildcards "OFPBMC_BAD_WILDCARDS" [V10..=V10 nx(1, 262), V11..=V15 of(4, 5)] "the value has bits that the mask lacks";
    BadField "OFPBMC_BAD_FIELD" [V10..=V10 nx(0, 263), V11..=V15 of(4, 6)] "the field of the match is not known";
    BadValue "OFPBMC_BAD_VALUE" [V10..=V10 nx(1, 258), V11..=V15 of(4, 7)] "the field of the match cannot have the value";
    BadMask "OFPBMC_BAD_MASK" [V10..=V11 nx(1, 259), V12..=V15 of(4, 8)] "the field of the match cannot have the mask";
    BadPrerequisite "OFPBMC_BAD_PREREQ" [V10..=V11 nx(1, 260), V12..=V15 of(4, 9)] "the match lacks what the field needs";
    DuplicateField "OFPBMC_DUP_FIELD" [V10..=V11 nx(1, 261), V12..=V15 of(4, 10)] "the match has the field twice";
    FlowModUnknown "OFPFMFC_UNKNOWN" [V11..=V15 of(5, 0)] "the flow mod failed";
    TableFull "OFPFMFC_TABLE_FULL" [V10..=V10 of(3, 0), V11..=V15 of(5, 1)] "the table is full";
    FlowModTable "OFPFMFC_BAD_TABLE_ID" [V11..=V15 of(5, 2)] "the table does not exist";
    Overlap "OFPFMFC_OVERLAP" [V10..=V10 of(3, 1), V11..=V15 of(5, 3)] "a rule overlaps with the new one";
    BadCommand "OFPFMFC_BAD_COMMAND" [V10..=V10 of(3, 4), V11..=V15 of(5, 6)] "the command of the flow mod is not known";
    BadFlags "OFPFMFC_BAD_FLAGS" [V10..=V10 nx(3, 258), V11..=V11 nx(5, 258), V12..=V15 of(5, 7)] "the flags of the flow mod are not known";
    GroupExists "OFPGMFC_GROUP_EXISTS" [V10..=V10 nx(6, 0), V11..=V15 of(6, 0)] "the group exists already";
    InvalidGroup "OFPGMFC_INVALID_GROUP" [V10..=V10 nx(6, 1), V11..=V15 of(6, 1)] "the group is not valid";
    OutOfGroups "OFPGMFC_OUT_OF_GROUPS" [V10..=V10 nx(6, 3), V11..=V15 of(6, 3)] "there are too many groups";
    OutOfBuckets "OFPGMFC_OUT_OF_BUCKETS" [V10..=V10 nx(6, 4), V11..=V15 of(6, 4)] "the group has too many buckets";
    GroupLoop "OFPGMFC_LOOP" [V10..=V10 nx(6, 7), V11..=V15 of(6, 7)] "the group would lead to itself";
    UnknownGroup "OFPGMFC_UNKNOWN_GROUP" [V10..=V10 nx(6, 8), V11..=V15 of(6, 8)] "the group does not exist";
    BadGroupType "OFPGMFC_BAD_TYPE" [V10..=V10 nx(6, 10), V12..=V15 of(6, 10)] "the type of the group is not known";
    BadGroupCommand "OFPGMFC_BAD_COMMAND" [V10..=V10 nx(6, 11), V12..=V15 of(6, 11)] "the command of the group mod is not known";
    BadBucket "OFPGMFC_BAD_BUCKET" [V10..=V10 nx(6, 12), V12..=V15 of(6, 12)] "a bucket is not valid";
    UnknownBucket "OFPGMFC_UNKNOWN_BUCKET" [V10..=V10 nx(6, 15), V15..=V15 of(6, 15)] "the bucket does not exist";
    BucketExists "OFPGMFC_BUCKET_EXISTS" [V10..=V10 nx(6, 16), V15..=V15 of(6, 16)] "the bucket exists already";
    PortModPort "OFPPMFC_BAD_PORT" [V10..=V10 of(4, 0), V11..=V15 of(7, 0)] "the port of the port mod does not exist";
    PortModAddress "OFPPMFC_BAD_HW_ADDR" [V10..=V10 of(4, 1), V11..=V15 of(7, 1)] "the port of the port mod has another address";
    PortModConfig "OFPPMFC_BAD_CONFIG" [V11..=V15 of(7, 2)] "the port cannot have the configuration";
    TableModTable "OFPTMFC_BAD_TABLE" [V11..=V15 of(8, 0)] "the table of the table mod does not exist";
    TableModConfig "OFPTMFC_BAD_CONFIG" [V11..=V15 of(8, 1)] "the table cannot have the configuration";
    TableModPermission "OFPTMFC_EPERM" [V12..=V15 of(8, 2)] "the table mod is not permitted";
    QueuePort "OFPQOFC_BAD_PORT" [V10..=V10 of(5, 0), V11..=V15 of(9, 0)] "the port does not exist";
    QueueUnknown "OFPQOFC_BAD_QUEUE" [V10..=V10 of(5, 1), V11..=V15 of(9, 1)] "the queue does not exist";
    ConfigFlags "OFPSCFC_BAD_FLAGS" [V11..=V15 of(10, 0)] "the switch cannot have the configuration";
    RoleStale "OFPRRFC_STALE" [V12..=V15 of(11, 0)] "the generation id is older than one before";
    BadRole "OFPRRFC_BAD_ROLE" [V10..=V11 nx(1, 513), V12..=V15 of(11, 2)] "the role is not known";
    MeterModUnknown "OFPMMFC_UNKNOWN" [V13..=V15 of(12, 0)] "the meter cannot be changed";
    MeterExists "OFPMMFC_METER_EXISTS" [V13..=V15 of(12, 1)] "the meter exists already";
    InvalidMeter "OFPMMFC_INVALID_METER" [V13..=V15 of(12, 2)] "the meter is not valid";
    UnknownMeter "OFPMMFC_UNKNOWN_METER" [V13..=V15 of(12, 3)] "the meter does not exist";
    BadMeterCommand "OFPMMFC_BAD_COMMAND" [V13..=V15 of(12, 4)] "the command of the meter mod is not known";
    BadMeterFlags "OFPMMFC_BAD_FLAGS" [V13..=V15 of(12, 5)] "the switch cannot have these flags of a meter";
    BadBurst "OFPMMFC_BAD_BURST" [V13..=V15 of(12, 7)] "the switch cannot have this burst of a band";
    BadRate "OFPMMFC_BAD_RATE" [V13..=V15 of(12, 6)] "the switch cannot have this rate of a band";
    BadBand "OFPMMFC_BAD_BAND" [V13..=V15 of(12, 8)] "the switch does not have this type of bands";
    BadBandValue "OFPMMFC_BAD_BAND_VALUE" [V13..=V15 of(12, 9)] "the band cannot have the value";
    OutOfMeters "OFPMMFC_OUT_OF_METERS" [V13..=V15 of(12, 10)] "the bridge has as many meters as it can have";
    OutOfBands "OFPMMFC_OUT_OF_BANDS" [V13..=V15 of(12, 11)] "the meter has more bands than it can have";
    FeaturesTable "OFPTFFC_BAD_TABLE" [V13..=V15 of(13, 0)] "the table of the table features does not exist";
    FeaturesPermission "OFPTFFC_EPERM" [V13..=V15 of(13, 5)] "the tables cannot be changed so";
    BadFeatures "OFPTFFC_BAD_FEATURES" [V15..=V15 of(13, 8)] "the features of the table are not complete";
    FeaturesCommand "OFPTFFC_BAD_COMMAND" [V15..=V15 of(13, 9)] "the command of the table features is not known";
    FeaturesDuplicate "NXTFFC_DUP_TABLE" [V13..=V15 exp(44)] "a table is given twice";
    TlvCommand "NXTTMFC_BAD_COMMAND" [V10..=V11 nx(1, 527), V12..=V15 exp(16)] "the command of the TLV table mod is not known";
    TlvLength "NXTTMFC_BAD_OPT_LEN" [V10..=V11 nx(1, 528), V12..=V15 exp(17)] "the option cannot have the length";
    TlvField "NXTTMFC_BAD_FIELD_IDX" [V10..=V11 nx(1, 529), V12..=V15 exp(18)] "the field of the option does not exist";
    TlvFull "NXTTMFC_TABLE_FULL" [V10..=V11 nx(1, 530), V12..=V15 exp(19)] "there is no room for the option";
    TlvMapped "NXTTMFC_ALREADY_MAPPED" [V10..=V11 nx(1, 531), V12..=V15 exp(20)] "the field has an option already";
    TlvDuplicate "NXTTMFC_DUP_ENTRY" [V10..=V11 nx(1, 532), V12..=V15 exp(21)] "the option has a field already";
    BadProperty "OFPBPC_BAD_TYPE" [V10..=V11 nx(13, 2), V12..=V12 exp(25), V13..=V13 of(13, 2), V14..=V15 of(14, 0)] "the property is not known";
    BadPropertyLength "OFPBPC_BAD_LEN" [V10..=V11 nx(13, 3), V12..=V12 exp(26), V13..=V13 of(13, 3), V14..=V15 of(14, 1)] "the length of the property is wrong";
    BadPropertyValue "OFPBPC_BAD_VALUE" [V10..=V11 nx(13, 4), V12..=V12 exp(27), V13..=V13 of(13, 4), V14..=V15 of(14, 2)] "the property cannot have the value";
    BadPropertyVendor "OFPBPC_BAD_EXPERIMENTER" [V10..=V11 nx(14, 5), V12..=V12 exp(30), V13..=V13 onf(4445), V14..=V15 of(14, 5)] "the experimenter of the property is not known";
    AsyncInvalid "OFPACFC_INVALID" [V13..=V13 onf(2370), V14..=V15 of(15, 0)] "the mask has a bit that means nothing";
    AsyncUnsupported "OFPACFC_UNSUPPORTED" [V13..=V13 onf(2371), V14..=V15 of(15, 1)] "the asynchronous configuration is not supported";
    MonitorExists "OFPMOFC_MONITOR_EXISTS" [V10..=V11 nx(1, 517), V12..=V13 exp(6), V14..=V15 of(16, 1)] "the monitor exists already";
    UnknownMonitor "OFPMOFC_UNKNOWN_MONITOR" [V10..=V11 nx(1, 519), V12..=V13 exp(8), V14..=V15 of(16, 3)] "the monitor does not exist";
    MonitorCommand "OFPMOFC_BAD_COMMAND" [V14..=V15 of(16, 4)] "the command of the monitor is not known";
    MonitorFlags "OFPMOFC_BAD_FLAGS" [V10..=V11 nx(1, 518), V12..=V13 exp(7), V14..=V15 of(16, 5)] "the flags of the monitor are not known, or let it tell nothing";
    MonitorEvent "NXBRC_FM_BAD_EVENT" [V10..=V11 nx(1, 520), V12..=V15 exp(9)] "the event of the monitor is not known";
    BundleUnknown "OFPBFC_UNKNOWN" [V13..=V13 onf(2300), V14..=V15 of(17, 0)] "the bundle failed";
    BundleBadId "OFPBFC_BAD_ID" [V13..=V13 onf(2302), V14..=V15 of(17, 2)] "the bundle does not exist";
    BundleExists "OFPBFC_BUNDLE_EXIST" [V13..=V13 onf(2303), V14..=V15 of(17, 3)] "the bundle exists already";
    BundleClosed "OFPBFC_BUNDLE_CLOSED" [V13..=V13 onf(2304), V14..=V15 of(17, 4)] "the bundle is closed";
    OutOfBundles "OFPBFC_OUT_OF_BUNDLES" [V13..=V13 onf(2305), V14..=V15 of(17, 5)] "there are too many bundles";
    BundleBadType "OFPBFC_BAD_TYPE" [V13..=V13 onf(2306), V14..=V15 of(17, 6)] "the bundle message is not known";
    BundleBadFlags "OFPBFC_BAD_FLAGS" [V13..=V13 onf(2307), V14..=V15 of(17, 7)] "the flags of the bundle are not known or not the same";
    BundleBadLength "OFPBFC_MSG_BAD_LEN" [V13..=V13 onf(2308), V14..=V15 of(17, 8)] "the length of the message in the bundle is wrong";
    BundleBadXid "OFPBFC_MSG_BAD_XID" [V13..=V13 onf(2309), V14..=V15 of(17, 9)] "the message in the bundle has another transaction id";
    BundleUnsupported "OFPBFC_MSG_UNSUP" [V13..=V13 onf(2310), V14..=V15 of(17, 10)] "the message cannot be part of a bundle";
    BundleTooMany "OFPBFC_MSG_TOO_MANY" [V13..=V13 onf(2312), V14..=V15 of(17, 12)] "the bundle has too many messages";
    BundleFailed "OFPBFC_MSG_FAILED" [V13..=V13 onf(2313), V14..=V15 of(17, 13)] "a message of the bundle failed";
    BundleTimeout "OFPBFC_TIMEOUT" [V13..=V13 onf(2314), V14..=V15 of(17, 14)] "the bundle takes too long";
    ResumeStale "NXR_STALE" [V10..=V11 nx(1, 534), V12..=V15 exp(35)] "the continuation is not one that this switch has made since its start";
    BundleVersion "OFPBFC_BAD_VERSION" [V14..=V15 exp(22)] "the message in the bundle has another version";
    // What this switch never says, and others do.
    NxActionBadConjunction "NXBAC_BAD_CONJUNCTION" [V10..=V11 nx(2, 526), V12..=V15 exp(15)] "the conjunction has a clause that it cannot have";
    NxActionBadEdProp "NXBAC_BAD_ED_PROP" [V13..=V15 exp(41)] "the property of encap or decap is not valid";
    NxActionBadHeaderType "NXBAC_BAD_HEADER_TYPE" [V13..=V15 exp(39)] "the packet cannot have the header";
    NxActionCtDatapathSupport "NXBAC_CT_DATAPATH_SUPPORT" [V10..=V11 nx(1, 265), V12..=V15 exp(42)] "the datapath cannot track connections";
    NxActionUnknownEdProp "NXBAC_UNKNOWN_ED_PROP" [V13..=V15 exp(40)] "the property of encap or decap is not known";
    NxMatchCtDatapathSupport "NXBMC_CT_DATAPATH_SUPPORT" [V10..=V11 nx(1, 264), V12..=V15 exp(43)] "the datapath cannot match what it tracks of connections";
    NxRequestBadReason "NXBRC_BAD_REASON" [V10..=V11 nx(1, 516), V12..=V15 exp(5)] "the reason is not known";
    NxFlowModBadTableId "NXFMFC_BAD_TABLE_ID" [V10..=V11 nx(5, 257), V12..=V15 exp(13)] "the table of the rule does not exist";
    NxFlowModHardware "NXFMFC_HARDWARE" [V10..=V11 nx(5, 256), V12..=V15 exp(12)] "the hardware cannot have the rule";
    NxFlowModInvalidTlvField "NXFMFC_INVALID_TLV_FIELD" [V10..=V11 nx(1, 536), V12..=V15 exp(37)] "the rule matches an option that is not mapped";
    NxQueueQueueError "NXQOFC_QUEUE_ERROR" [V14..=V15 exp(23)] "the queues cannot be read";
    NxResumeNotSupported "NXR_NOT_SUPPORTED" [V10..=V11 nx(1, 533), V12..=V15 exp(34)] "the switch cannot go on with the packet";
    NxStatsNotConfigured "NXST_NOT_CONFIGURED" [V10..=V11 nx(1, 535), V12..=V15 exp(36)] "the protocol is not configured";
    NxTlvInvalidTlvDel "NXTTMFC_INVALID_TLV_DEL" [V10..=V11 nx(1, 537), V12..=V15 exp(38)] "a rule uses the option";
    AsyncEperm "OFPACFC_EPERM" [V13..=V13 onf(2372), V14..=V15 of(15, 2)] "the asynchronous configuration is not permitted";
    ActionBadMeter "OFPBAC_BAD_METER" [V15..=V15 of(2, 17)] "the meter of the action does not exist";
    ActionEperm "OFPBAC_EPERM" [V10..=V15 of(2, 6)] "the action is not permitted";
    ActionUnsupportedOrder "OFPBAC_UNSUPPORTED_ORDER" [V11..=V15 of(2, 11)] "the actions cannot be carried out in this order";
    BundleBundleInProgress "OFPBFC_BUNDLE_IN_PROGRESS" [V13..=V13 onf(2315), V14..=V15 of(17, 15)] "another bundle is open";
    BundleEperm "OFPBFC_EPERM" [V13..=V13 onf(2301), V14..=V15 of(17, 1)] "the bundle is not permitted";
    BundleMsgConflict "OFPBFC_MSG_CONFLICT" [V13..=V13 onf(2311), V14..=V15 of(17, 11)] "messages of the bundle contradict each other";
    BundleSchedFuture "OFPBFC_SCHED_FUTURE" [V15..=V15 of(17, 17)] "the time of the bundle is too far in the future";
    BundleSchedNotSupported "OFPBFC_SCHED_NOT_SUPPORTED" [V15..=V15 of(17, 16)] "bundles cannot have a time";
    InstructionBadExpType "OFPBIC_BAD_EXP_TYPE" [V11..=V11 of(3, 5), V12..=V15 of(3, 6)] "the experimenter's instruction is not known";
    InstructionEperm "OFPBIC_EPERM" [V12..=V15 of(3, 8)] "the instruction is not permitted";
    InstructionUnsupMetadata "OFPBIC_UNSUP_METADATA" [V11..=V15 of(3, 3)] "the metadata cannot have the value";
    InstructionUnsupMetadataMask "OFPBIC_UNSUP_METADATA_MASK" [V11..=V15 of(3, 4)] "the metadata cannot have the mask";
    MatchBadDlAddrMask "OFPBMC_BAD_DL_ADDR_MASK" [V11..=V15 of(4, 3)] "the Ethernet address cannot have the mask";
    MatchBadNwAddrMask "OFPBMC_BAD_NW_ADDR_MASK" [V11..=V15 of(4, 4)] "the IP address cannot have the mask";
    MatchEperm "OFPBMC_EPERM" [V12..=V15 of(4, 11)] "the match is not permitted";
    PropertyBadExpType "OFPBPC_BAD_EXP_TYPE" [V10..=V11 nx(14, 6), V12..=V12 exp(31), V13..=V13 onf(4446), V14..=V15 of(14, 6)] "the experimenter's property is not known";
    PropertyBadExpValue "OFPBPC_BAD_EXP_VALUE" [V10..=V11 nx(14, 7), V12..=V12 exp(32), V13..=V13 onf(4447), V14..=V15 of(14, 7)] "the experimenter's property cannot have the value";
    PropertyDupType "OFPBPC_DUP_TYPE" [V10..=V11 nx(14, 4), V12..=V12 exp(29), V13..=V13 onf(4444), V14..=V15 of(14, 4)] "the property is given twice";
    PropertyEperm "OFPBPC_EPERM" [V10..=V11 nx(14, 8), V12..=V12 exp(33), V13..=V13 onf(4448), V14..=V15 of(14, 8)] "the property is not permitted";
    PropertyTooMany "OFPBPC_TOO_MANY" [V10..=V11 nx(14, 3), V12..=V12 exp(28), V13..=V13 onf(4443), V14..=V15 of(14, 3)] "there are too many properties";
    RequestMultipartBadSched "OFPBRC_MULTIPART_BAD_SCHED" [V15..=V15 of(1, 16)] "the multipart request cannot have the time";
    RequestMultipartReplyTimeout "OFPBRC_MULTIPART_REPLY_TIMEOUT" [V13..=V13 onf(2641), V14..=V15 of(1, 15)] "the reply was not taken in time";
    RequestMultipartRequestTimeout "OFPBRC_MULTIPART_REQUEST_TIMEOUT" [V13..=V13 onf(2640), V14..=V15 of(1, 14)] "the rest of the multipart request did not come in time";
    RequestPipelineFieldsOnly "OFPBRC_PIPELINE_FIELDS_ONLY" [V15..=V15 of(1, 17)] "the message can only have fields of the pipeline";
    FlowModBadEmergTimeout "OFPFMFC_BAD_EMERG_TIMEOUT" [V10..=V10 of(3, 3)] "an emergency rule cannot have a timeout";
    FlowModBadPriority "OFPFMFC_BAD_PRIORITY" [V13..=V13 onf(2360), V14..=V15 of(5, 9)] "the rule cannot have the priority";
    FlowModBadTimeout "OFPFMFC_BAD_TIMEOUT" [V11..=V15 of(5, 5)] "the rule cannot have the timeout";
    FlowModCantSync "OFPFMFC_CANT_SYNC" [V14..=V15 of(5, 8)] "the tables cannot be kept the same";
    FlowModEperm "OFPFMFC_EPERM" [V10..=V10 of(3, 2), V11..=V15 of(5, 4)] "the flow mod is not permitted";
    FlowModIsSync "OFPFMFC_IS_SYNC" [V14..=V15 of(5, 10)] "the table is kept the same as another one";
    FlowModUnsupported "OFPFMFC_UNSUPPORTED" [V10..=V10 of(3, 5)] "the actions cannot be carried out in this order";
    GroupBadWatch "OFPGMFC_BAD_WATCH" [V10..=V10 nx(6, 13), V12..=V15 of(6, 13)] "what the bucket watches is not valid";
    GroupChainedGroup "OFPGMFC_CHAINED_GROUP" [V10..=V10 nx(6, 9), V12..=V15 of(6, 9)] "another group leads to the group";
    GroupChainingUnsupported "OFPGMFC_CHAINING_UNSUPPORTED" [V10..=V10 nx(6, 5), V11..=V15 of(6, 5)] "groups cannot lead to groups";
    GroupEperm "OFPGMFC_EPERM" [V10..=V10 nx(6, 14), V12..=V15 of(6, 14)] "the group mod is not permitted";
    GroupWatchUnsupported "OFPGMFC_WATCH_UNSUPPORTED" [V10..=V10 nx(6, 6), V11..=V15 of(6, 6)] "the bucket cannot watch what it names";
    GroupWeightUnsupported "OFPGMFC_WEIGHT_UNSUPPORTED" [V10..=V10 nx(6, 2), V11..=V15 of(6, 2)] "buckets cannot have different weights";
    MonitorBadOut "OFPMOFC_BAD_OUT" [V14..=V15 of(16, 7)] "the monitor cannot have the filter of outputs";
    MonitorBadTableId "OFPMOFC_BAD_TABLE_ID" [V14..=V15 of(16, 6)] "the table of the monitor does not exist";
    MonitorInvalidMonitor "OFPMOFC_INVALID_MONITOR" [V14..=V15 of(16, 2)] "the monitor is not valid";
    MonitorUnknown "OFPMOFC_UNKNOWN" [V14..=V15 of(16, 0)] "the flow monitor failed";
    PortModBadAdvertise "OFPPMFC_BAD_ADVERTISE" [V11..=V15 of(7, 3)] "the port cannot advertise this";
    PortModEperm "OFPPMFC_EPERM" [V12..=V15 of(7, 4)] "the port mod is not permitted";
    QueueEperm "OFPQOFC_EPERM" [V10..=V10 of(5, 2), V11..=V15 of(9, 2)] "the request about queues is not permitted";
    RoleIdInUse "OFPRRFC_ID_IN_USE" [V15..=V15 of(11, 4)] "another controller has the short id";
    RoleIdUnsup "OFPRRFC_ID_UNSUP" [V15..=V15 of(11, 3)] "controllers cannot have short ids";
    RoleUnsup "OFPRRFC_UNSUP" [V12..=V15 of(11, 1)] "the role is not supported";
    ConfigBadLen "OFPSCFC_BAD_LEN" [V11..=V15 of(10, 1)] "miss_send_len (bytes of a packet) is larger than the switch supports";
    ConfigEperm "OFPSCFC_EPERM" [V12..=V15 of(10, 2)] "the configuration is not permitted";
    FeaturesBadCapa "OFPTFFC_BAD_CAPA" [V15..=V15 of(13, 6)] "the table cannot have the capabilities";
    FeaturesBadMaxEnt "OFPTFFC_BAD_MAX_ENT" [V15..=V15 of(13, 7)] "max_entries (rules of a table) is larger than the switch supports";
    FeaturesBadMetadata "OFPTFFC_BAD_METADATA" [V13..=V15 of(13, 1)] "the table cannot have the metadata";
    FeaturesTooMany "OFPTFFC_TOO_MANY" [V15..=V15 of(13, 10)] "there are too many tables";
}

impl ErrorCode {
    /// The numbers of the error in messages of `version`. An error that the version has no numbers for gets
    /// those of [`ErrorCode::Unencodable`].
    fn number(self, version: OfVersion) -> Number {
        let find = |code: Self| {
            let numbers = code.numbers().iter();
            numbers.copied().find(|(from, to, _)| (*from..=*to).contains(&version))
        };
        find(self).or_else(|| find(Self::Unencodable)).map_or(of(1, 0), |(_, _, number)| number)
    }

    /// The error that has these numbers in messages of `version`; the first one if several have them.
    fn of_number(number: Number, version: OfVersion) -> Option<Self> {
        let has = |code: &Self| {
            let mut numbers = code.numbers().iter();
            numbers.any(|(from, to, n)| *n == number && (*from..=*to).contains(&version))
        };
        Self::ALL.iter().copied().find(has)
    }

    /// The type and the code of the error in OpenFlow 1.3, or in 1.5 if 1.3 has no standard numbers for it;
    /// `None` if no specification has.
    pub fn standard(self) -> Option<(u16, u16)> {
        let in_version = |version| match self.number(version) {
            Number::Standard(error_type, code) => Some((error_type, code)),
            Number::Vendor(..) | Number::Experimenter(..) => None,
        };
        in_version(V13).or_else(|| in_version(V15))
    }
}

/// OpenFlow's error for actions that do not fit their rule.
impl From<Unfit> for ErrorCode {
    fn from(why: Unfit) -> Self {
        match why {
            Unfit::OutPort => Self::BadOutPort,
            Unfit::ReadOnly => Self::BadSetArgument,
            Unfit::InConnection => Self::BadArgument,
            Unfit::Match => Self::MatchInconsistent,
            Unfit::Tags => Self::BadTag,
            Unfit::Table => Self::BadInstructionTable,
            Unfit::ActionSet => Self::BadAction,
            Unfit::Conjunction => Self::NxActionBadConjunction,
            Unfit::Meter => Self::InvalidMeter,
        }
    }
}

/// The body of an error message: what went wrong, and the request that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    /// What went wrong. `None` is an error with numbers that this crate does not know; encoding gives it the
    /// numbers of [`ErrorCode::Unencodable`].
    pub code: Option<ErrorCode>,
    /// The request with its header, as it was received. In an
    /// [`ErrorCode::HelloIncompatible`], a text for humans.
    pub data: Vec<u8>,
}

impl ErrorMessage {
    pub(crate) fn encode(&self, version: OfVersion, out: &mut Encoder) {
        match self.code.unwrap_or(ErrorCode::Unencodable).number(version) {
            Number::Standard(error_type, code) => {
                out.u16(error_type);
                out.u16(code);
            }
            Number::Vendor(error_type, code) => {
                out.u16(VENDOR_ERROR);
                out.u16(VENDOR_ERROR_CODE);
                out.u32(VENDOR_NICIRA);
                out.u16(error_type);
                out.u16(code);
            }
            Number::Experimenter(experimenter, number) => {
                out.u16(EXPERIMENTER_ERROR);
                out.u16(number);
                out.u32(experimenter);
            }
        }
        out.bytes(&self.data);
    }

    pub(crate) fn decode(mut body: Input<'_>, version: OfVersion) -> Result<Self, ErrorCode> {
        let (error_type, code) = (body.u16()?, body.u16()?);
        let number = match error_type {
            VENDOR_ERROR if code == VENDOR_ERROR_CODE => {
                let vendor = body.u32()?;
                let (error_type, code) = (body.u16()?, body.u16()?);
                (vendor == VENDOR_NICIRA).then_some(Number::Vendor(error_type, code))
            }
            EXPERIMENTER_ERROR if version >= V12 => Some(Number::Experimenter(body.u32()?, code)),
            _ => Some(Number::Standard(error_type, code)),
        };
        let code = number.and_then(|number| ErrorCode::of_number(number, version));
        Ok(Self { code, data: body.rest().to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_name_in_every_version_that_has_it() {
        for &code in ErrorCode::ALL {
            for version in OfVersion::ALL {
                let number = code.number(version);
                let found = ErrorCode::of_number(number, version).unwrap();
                let is_known = code.numbers().iter().any(|(a, b, _)| (*a..=*b).contains(&version));
                // 1.0 and 1.1 have one number for two errors, and 1.1 has one for another two.
                let is_merged = code == ErrorCode::IsSlave && version <= V11
                    || code == ErrorCode::InstructionBadExpType && version == V11;
                if is_known && !is_merged {
                    assert_eq!(found, code, "{} in {version:?}", code.name());
                }
            }
        }
        assert_eq!(ErrorCode::BadTableId.number(V10), nx(1, 512));
        assert_eq!(ErrorCode::Overlap.number(V10), of(3, 1));
        assert_eq!(ErrorCode::Overlap.standard(), Some((5, 3)));
    }
}
