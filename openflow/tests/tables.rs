//! Messages about tables, queues, Geneve options and connections: bytes of Open vSwitch 3.1, random messages,
//! and what is refused as there.

use flow::table_mod::{TableMiss, TableMod, VacancyThresholds};
use flow::tlv_map::{TlvMapping, TlvMod};
use flow::types::{OfPort, OfVersion, TableId};
use openflow::{
    CtFlush, EVERY_QUEUE, Encoding, ErrorCode, FeaturesCommand, MultipartReply, MultipartRequest,
    OfMessage, QueueConfig, QueueDesc, QueueStats, TableDesc, TableFeatures, TlvTable,
};
use proptest::prelude::*;
use std::time::Duration;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn encoding(bytes: &[u8]) -> Encoding {
    let version = OfVersion::ALL.into_iter().find(|version| *version as u8 + 1 == bytes[0]);
    Encoding::new(version.unwrap())
}

/// Checks that bytes decode to a message, which encodes to the same bytes.
fn check(hex: &str, message: &OfMessage) {
    let bytes = bytes(hex);
    let encoding = encoding(&bytes);
    assert_eq!(OfMessage::decode(&bytes, encoding).as_ref(), Ok(message));
    assert_eq!(message.encode(encoding, 7), bytes, "{message:?}");
}

fn refused(hex: &str) -> ErrorCode {
    let bytes = bytes(hex);
    OfMessage::decode(&bytes, encoding(&bytes)).unwrap_err().0
}

fn table(number: u8) -> TableId {
    TableId::new(number).unwrap()
}

#[test]
fn table_mods_are_those_of_open_vswitch() {
    let miss = |miss| TableMod { table: Some(table(5)), miss, ..TableMod::default() };
    check(
        "02110010 00000007 05000000 00000001",
        &OfMessage::TableMod(miss(Some(TableMiss::Continue))),
    );
    check("03110010 00000007 05000000 00000002", &OfMessage::TableMod(miss(Some(TableMiss::Drop))));
    check("04110010 00000007 05000000 00000000", &OfMessage::TableMod(miss(None)));
    let evict = TableMod {
        table: None,
        eviction: Some(true),
        eviction_flags: Some(7),
        vacancy: Some(Some(VacancyThresholds { down: 10, up: 20 })),
        ..TableMod::default()
    };
    check(
        "05110020 00000007 ff000000 0000000c 0002000800000007 00030008 0a140000",
        &OfMessage::TableMod(evict),
    );
    let off = TableMod {
        table: Some(table(3)),
        eviction: Some(false),
        vacancy: Some(None),
        ..TableMod::default()
    };
    check("06110010 00000007 03000000 00000000", &OfMessage::TableMod(off));
}

#[test]
fn wrong_table_mods_are_refused_as_by_open_vswitch() {
    assert_eq!(refused("04110010 00000007 fe000000 00000000"), ErrorCode::TableModPermission);
    assert_eq!(refused("0411000c 00000007 05000000"), ErrorCode::BadLength);
    for thresholds in ["1e140000", "1e780000", "0a140500"] {
        let hex = format!("05110018 00000007 06000000 00000008 00030008 {thresholds}");
        assert_eq!(refused(&hex), ErrorCode::BadPropertyValue, "{thresholds}");
    }
    let unknown = "05110018 00000007 06000000 00000008 00090008 0a140000";
    assert_eq!(refused(unknown), ErrorCode::BadType);
    let length = "05110018 00000007 06000000 00000004 00020009 0a140000";
    assert_eq!(refused(length), ErrorCode::BadPropertyLength);
}

#[test]
fn queues_are_those_of_open_vswitch() {
    let queue = |port| QueueDesc { port, queue: 0, min_rate: None, max_rate: None };
    let (one, local) = (queue(OfPort(1)), queue(OfPort::LOCAL));
    let config = |port, queues| OfMessage::QueueGetConfigReply(QueueConfig { port, queues });
    check("01150018 00000007 0001 000000000000 00000000 0008 0000", &config(OfPort(1), vec![one]));
    check(
        "04170030 00000007 ffffffff 00000000 00000000 00000001 0010 000000000000 00000000 fffffffe 0010 000000000000",
        &config(OfPort::NONE, vec![one, local]),
    );
    check(
        "05130030 00000007 000f 0000 00000000 00000001 00000000 0010 000000000000 fffffffe 00000000 0010 000000000000",
        &OfMessage::MultipartReply(MultipartReply::QueueDesc(vec![one, local]), false),
    );
    let stats = |port| QueueStats {
        port,
        queue: 0,
        bytes: None,
        packets: None,
        errors: None,
        duration: None,
    };
    check(
        "0111002c 00000007 0005 0000 0001 0000 00000000 ffffffffffffffff ffffffffffffffff ffffffffffffffff",
        &OfMessage::MultipartReply(MultipartReply::Queue(vec![stats(OfPort(1))]), false),
    );
    check(
        "05130040 00000007 0005 0000 00000000 0030 000000000000 00000001 00000000 ffffffffffffffff ffffffffffffffff \
         ffffffffffffffff ffffffffffffffff",
        &OfMessage::MultipartReply(MultipartReply::Queue(vec![stats(OfPort(1))]), false),
    );
    assert_eq!(refused("0114000c 00000007 ffff0000"), ErrorCode::QueuePort);
    assert_eq!(refused("05160010 00000007 00000001 00000000"), ErrorCode::BadType);
}

#[test]
fn geneve_options_are_those_of_open_vswitch() {
    let mapping = |kind, len, field| TlvMapping { class: 0xffff, kind, len, field };
    check(
        "04040020 00000007 00002320 00000018 0000000000000000 ffff 00 04 0000 0000",
        &OfMessage::TlvTableMod(TlvMod::Add(vec![mapping(0, 4, 0)])),
    );
    check(
        "01040018 00000007 00002320 00000018 0002000000000000",
        &OfMessage::TlvTableMod(TlvMod::Clear),
    );
    check("01040010 00000007 00002320 00000019", &OfMessage::TlvTableRequest);
    check(
        "04040030 00000007 00002320 0000001a 00000100 0040 00000000000000000000 ffff000400000000 ffff010000020000",
        &OfMessage::TlvTableReply(TlvTable {
            max_space: 256,
            max_fields: 64,
            mappings: vec![mapping(0, 4, 0), mapping(1, 0, 2)],
        }),
    );
    let add = |mapping: &str| {
        refused(&format!("01040020 00000007 00002320 00000018 0000000000000000 {mapping}"))
    };
    assert_eq!(add("ffff010300020000"), ErrorCode::TlvLength);
    assert_eq!(add("ffff018000020000"), ErrorCode::TlvLength);
    assert_eq!(add("ffff010400400000"), ErrorCode::TlvField);
    let command = "01040020 00000007 00002320 00000018 0005000000000000 ffff010400060000";
    assert_eq!(refused(command), ErrorCode::TlvCommand);
    let short = "0104001e 00000007 00002320 00000018 0000000000000000 ffff01040006";
    assert_eq!(refused(short), ErrorCode::BadLength);
    let long = "01040018 00000007 00002320 00000019 0000000000000000";
    assert_eq!(refused(long), ErrorCode::BadLength);
}

#[test]
fn connections_are_forgotten_as_in_open_vswitch() {
    check(
        "01040018 00000007 00002320 0000001d 000000000000 0005",
        &OfMessage::CtFlush(CtFlush::Zone(5)),
    );
    let not_zero = "01040018 00000007 00002320 0000001d 010000000000 0005";
    assert_eq!(refused(not_zero), ErrorCode::MustBeZero);
    check(
        "04040020 00000007 00002320 00000020 0600000000000000 0002 0006 0009 0000",
        &OfMessage::CtFlush(CtFlush::Matching { protocol: 6, properties: vec![(2, vec![0, 9])] }),
    );
    check("04040010 00000007 00002320 00000012", &OfMessage::FlowAge);
}

#[test]
fn table_features_need_all_properties_or_in_1_5_none() {
    let head = |len: &str, rest: &str| {
        format!(
            "{len} 02 00 00000000 {} ffffffffffffffff ffffffffffffffff 00000000 000f4240 {rest}",
            "74776f".to_owned() + &"00".repeat(29)
        )
    };
    let request = |version: u8, len: u16, body: &str| {
        format!("{version:02x}12{len:04x} 00000007 000c 0000 00000000 {body}")
    };
    let all = ["0000", "0002", "0004", "0006", "0008", "000a", "000c", "000e"];
    let property = |kind: &&str| format!("{kind} 0004 00000000 ");
    let complete: String = all.iter().map(property).collect();
    let partial: String = all[1..].iter().map(property).collect();
    assert_eq!(refused(&request(4, 80, &head("0040", ""))), ErrorCode::BadFeatures);
    assert_eq!(refused(&request(6, 136, &head("0078", &partial))), ErrorCode::BadFeatures);
    assert_eq!(
        refused(&request(6, 152, &head("0088", &format!("{complete}{}", property(&"0000"))))),
        ErrorCode::BadFeatures
    );
    let unknown = format!("{complete}{}", property(&"0028"));
    assert_eq!(refused(&request(5, 152, &head("0088", &unknown))), ErrorCode::BadProperty);
    assert_eq!(refused(&request(5, 144, &head("003c", &complete))), ErrorCode::BadPropertyLength);
    assert_eq!(refused(&request(5, 144, &head("00c8", &complete))), ErrorCode::BadPropertyLength);
    let every = request(6, 80, &head("0040", "")).replace("0040 02", "0040 ff");
    assert_eq!(refused(&every), ErrorCode::FeaturesTable);
    let last = request(6, 80, &head("0040", "")).replace("0040 02", "0040 fe");
    assert_eq!(refused(&last), ErrorCode::FeaturesPermission);
    let command = request(6, 80, &head("0040", "")).replace("0040 02 00", "0040 02 04");
    assert_eq!(refused(&command), ErrorCode::FeaturesCommand);
    let features = TableFeatures {
        table: table(2),
        command: FeaturesCommand::Modify,
        name: "two".to_owned(),
        metadata_match: u64::MAX,
        metadata_write: u64::MAX,
        capabilities: 0,
        max_entries: 1_000_000,
        abilities: None,
    };
    check(
        &request(6, 80, &head("0040", "")).replace("0040 02 00", "0040 02 01"),
        &OfMessage::MultipartRequest(MultipartRequest::TableFeatures(vec![features])),
    );
}

fn pass(message: &OfMessage, version: OfVersion) -> OfMessage {
    let encoding = Encoding::new(version);
    let bytes = message.encode(encoding, 7);
    OfMessage::decode(&bytes, encoding).unwrap_or_else(|error| panic!("{error}: {bytes:x?}"))
}

fn version_from(first: OfVersion) -> impl Strategy<Value = OfVersion> {
    let versions = OfVersion::ALL.into_iter().filter(|version| *version >= first);
    proptest::sample::select(versions.collect::<Vec<_>>())
}

fn any_table() -> impl Strategy<Value = TableId> {
    (0..TableId::COUNT as u8).prop_map(table)
}

fn any_port() -> impl Strategy<Value = OfPort> {
    prop_oneof![(1u16..0xff00).prop_map(OfPort), Just(OfPort::LOCAL), Just(OfPort::NONE)]
}

fn thresholds() -> impl Strategy<Value = VacancyThresholds> {
    (0u8..=100, 0u8..=100).prop_map(|(a, b)| VacancyThresholds { down: a.min(b), up: a.max(b) })
}

fn table_mod(version: OfVersion) -> impl Strategy<Value = TableMod> {
    let miss =
        prop_oneof![Just(TableMiss::Controller), Just(TableMiss::Continue), Just(TableMiss::Drop),];
    let settings = (any::<bool>(), any::<Option<u32>>(), proptest::option::of(thresholds()));
    (proptest::option::of(any_table()), miss, settings).prop_map(move |(table, miss, settings)| {
        let (eviction, eviction_flags, vacancy) = settings;
        let has_miss = version < OfVersion::OpenFlow13;
        let miss = has_miss.then_some(miss);
        match version >= OfVersion::OpenFlow14 {
            true => TableMod {
                table,
                miss,
                eviction: Some(eviction),
                eviction_flags,
                vacancy: Some(vacancy),
            },
            false => TableMod { table, miss, ..TableMod::default() },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn table_mods_come_back(
        (version, sent) in version_from(OfVersion::OpenFlow11)
            .prop_flat_map(|version| (Just(version), table_mod(version)))
    ) {
        let sent = OfMessage::TableMod(sent);
        prop_assert_eq!(pass(&sent, version), sent);
    }

    #[test]
    fn descriptions_of_tables_come_back(
        version in version_from(OfVersion::OpenFlow14),
        tables in proptest::collection::vec(
            (any_table(), any::<bool>(), any::<u32>(), proptest::option::of((thresholds(), 0u8..=100))),
            0..20,
        ),
    ) {
        let tables = tables.into_iter().map(|(table, eviction, eviction_flags, vacancy)| {
            TableDesc { table, eviction, eviction_flags: Some(eviction_flags), vacancy }
        });
        let sent = MultipartReply::TableDesc(tables.collect());
        let sent = OfMessage::MultipartReply(sent, true);
        prop_assert_eq!(pass(&sent, version), sent);
    }

    #[test]
    fn features_of_tables_come_back(
        version in version_from(OfVersion::OpenFlow13),
        number in any_table(),
        name in "[a-z]{0,31}",
        has_abilities in any::<bool>(),
        command in 0usize..4,
    ) {
        let mut table = TableFeatures::full(number, name, 1_000_000, version);
        // From 1.5 on a table may leave its abilities out, and say what a request does.
        if version == OfVersion::OpenFlow15 {
            table.abilities = table.abilities.filter(|_| has_abilities);
            table.command = [
                FeaturesCommand::Replace,
                FeaturesCommand::Modify,
                FeaturesCommand::Enable,
                FeaturesCommand::Disable,
            ][command];
        }
        let request = MultipartRequest::TableFeatures(vec![table.clone(); 2]);
        let request = OfMessage::MultipartRequest(request);
        prop_assert_eq!(pass(&request, version), request);
        let reply = OfMessage::MultipartReply(MultipartReply::TableFeatures(vec![table]), false);
        prop_assert_eq!(pass(&reply, version), reply);
    }

    #[test]
    fn queues_come_back(
        version in version_from(OfVersion::OpenFlow10),
        of_port in any_port(),
        queues in proptest::collection::vec(any::<(u32, Option<u16>, Option<u16>)>(), 0..10),
        counters in any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>)>(),
    ) {
        let queues = queues.into_iter().map(|(queue, min_rate, max_rate)| {
            QueueDesc { port: of_port, queue, min_rate, max_rate }
        });
        let queues: Vec<QueueDesc> = queues.collect();
        let sent = if version >= OfVersion::OpenFlow14 {
            OfMessage::MultipartReply(MultipartReply::QueueDesc(queues), false)
        } else {
            OfMessage::QueueGetConfigReply(QueueConfig { port: of_port, queues })
        };
        prop_assert_eq!(pass(&sent, version), sent);
        let (bytes, packets, errors, seconds) = counters;
        let duration = seconds
            .filter(|_| version >= OfVersion::OpenFlow13)
            .map(|seconds| Duration::new(seconds.into(), 7));
        let stats = QueueStats {
            port: of_port,
            queue: 3,
            bytes: bytes.map(u64::from),
            packets: packets.map(u64::from),
            errors: errors.map(u64::from),
            duration,
        };
        let sent = OfMessage::MultipartReply(MultipartReply::Queue(vec![stats; 2]), true);
        prop_assert_eq!(pass(&sent, version), sent);
        let sent = if version >= OfVersion::OpenFlow14 {
            let request = MultipartRequest::QueueDesc { port: of_port, queue: EVERY_QUEUE };
            OfMessage::MultipartRequest(request)
        } else if of_port == OfPort::NONE && version == OfVersion::OpenFlow10 {
            OfMessage::QueueGetConfigRequest(OfPort(1))
        } else {
            OfMessage::QueueGetConfigRequest(of_port)
        };
        prop_assert_eq!(pass(&sent, version), sent);
    }

    #[test]
    fn geneve_options_come_back(
        version in version_from(OfVersion::OpenFlow10),
        mappings in proptest::collection::vec(any::<(u16, u8, u8, u8)>(), 0..10),
    ) {
        let mappings = mappings.into_iter().map(|(class, kind, len, field)| {
            TlvMapping { class, kind, len: len % 32 * 4, field: field % 64 }
        });
        let mappings: Vec<TlvMapping> = mappings.collect();
        for sent in [
            OfMessage::TlvTableMod(TlvMod::Add(mappings.clone())),
            OfMessage::TlvTableMod(TlvMod::Delete(mappings.clone())),
            OfMessage::TlvTableReply(TlvTable { max_space: 256, max_fields: 64, mappings }),
        ] {
            prop_assert_eq!(pass(&sent, version), sent);
        }
    }
}
