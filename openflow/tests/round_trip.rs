//! Random rules go through messages of every version and come back as they were.

use flow::Match;
use flow::action::{Action, SetFieldForm};
use flow::dialect;
use flow::flow_mod::{Command, FlowMod};
use flow::group::GroupMod;
use flow::key::PipelineKey;
use flow::meter::{Band, BandKind, Meter, MeterFeatures, MeterMod, MeterStats, MeterUnit};
use flow::table_mod::VacancyThresholds;
use flow::text::arbitrary;
use flow::types::{Cookie, GroupId, MacAddr, MeterId, OfPort, OfVersion, TableId};
use flow::verdict::PacketInReason;
use openflow::{
    AsyncForm, AsyncKind, AsyncMasks, ControllerRole, Encoding, ErrorCode, FlowMonitor,
    FlowRemoved, FlowRemovedReason, FlowStats, FlowUpdate, IpfixStats, MonitorCommand,
    MonitorEvent, MonitorFlags, MonitoredRule, MultipartReply, MultipartRequest, OfMessage,
    PacketIn, PacketInForm, PortDesc, PortReason, PortStatus, RequestForward, RoleReason,
    RoleStatus, Session, TableDesc, TableReason, TableStatus, continuation_of, decode_actions,
    token_of,
};
use proptest::prelude::*;
use std::borrow::Cow;
use std::time::Duration;

/// The form of messages in which a version says the most.
fn encoding(version: OfVersion) -> Encoding {
    Encoding { nxm: true, table_id: true, ..Encoding::new(version) }
}

/// The request as the version can carry it.
fn carried(flow_mod: &FlowMod, version: OfVersion) -> FlowMod {
    let mut carried = flow_mod.clone();
    carried.matching = dialect::matching(&flow_mod.matching, version).into_owned();
    (carried.name, carried.label, carried.modify_cookie) = (None, None, false);
    if version > OfVersion::OpenFlow10 {
        carried.table = carried.table.or(Some(TableId::default()));
    }
    carried
}

/// The version whose matches flow monitors of `version` have: Nicira's are those of OpenFlow 1.0.
fn nicira(version: OfVersion) -> OfVersion {
    if version < OfVersion::OpenFlow13 { OfVersion::OpenFlow10 } else { version }
}

fn pass(message: &OfMessage, encoding: Encoding) -> OfMessage {
    let bytes = message.encode(encoding, 7);
    let decoded = OfMessage::decode(&bytes, encoding);
    let mut decoded = decoded.unwrap_or_else(|error| panic!("{error}: {bytes:x?}"));
    match &mut decoded {
        OfMessage::FlowMod(flow_mod) => forget_form(&mut flow_mod.actions),
        OfMessage::MultipartReply(MultipartReply::Flow(rules), _) => {
            rules.iter_mut().for_each(|rule| forget_form(rule.actions.to_mut()));
        }
        _ => {}
    }
    decoded
}

/// Forgets which assignments came as `NXAST_REG_LOAD2`: early versions can say some in no other way.
fn forget_form(actions: &mut [Action]) {
    for action in actions {
        match action {
            Action::SetField { form: form @ SetFieldForm::RegLoad2, .. } => {
                *form = SetFieldForm::SetField;
            }
            Action::Clone(inner) | Action::WriteActions(inner) => forget_form(inner),
            Action::Ct(ct) => forget_form(&mut ct.exec),
            _ => {}
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn meter() -> impl Strategy<Value = Meter> {
    let band = (any::<Option<u8>>(), any::<u32>(), any::<u32>());
    let bands = proptest::collection::vec(band, 0..=8);
    (1..=MeterId::MAX.0, any::<[bool; 3]>(), bands).prop_map(
        |(id, [is_kbps, has_burst, has_stats], bands)| Meter {
            id: MeterId(id),
            unit: if is_kbps { MeterUnit::Kbps } else { MeterUnit::Pktps },
            has_burst,
            has_stats,
            bands: bands
                .into_iter()
                .map(|(level, rate, burst)| Band {
                    kind: match level {
                        Some(prec_level) => BandKind::DscpRemark { prec_level },
                        None => BandKind::Drop,
                    },
                    rate,
                    burst_size: if has_burst { burst.max(1) } else { 0 },
                })
                .collect(),
        },
    )
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn what_is_said_of_meters_comes_back(
        version in 3usize..6,
        meters in proptest::collection::vec(meter(), 0..5),
        counts in proptest::collection::vec(any::<(u64, u64)>(), 0..8),
        numbers in any::<[u32; 5]>(),
    ) {
        let encoding = encoding(OfVersion::ALL[version]);
        let [id, flow_count, seconds, nanos, max_meters] = numbers;
        let stats = MeterStats {
            flow_count,
            packets: u64::from(id) << 20,
            bytes: u64::from(nanos) << 30,
            duration: Duration::new(seconds.into(), nanos % 1_000_000_000),
            bands: counts,
        };
        let exporter = IpfixStats {
            flows: Some(flow_count.into()),
            packets: Some(nanos.into()),
            collector_set: id,
            ..IpfixStats::default()
        };
        let id = MeterId(id);
        let features = MeterFeatures { max_meters, ..MeterFeatures::OF_THIS_SWITCH };
        let mut sent = vec![
            OfMessage::MeterMod(MeterMod::Delete(id)),
            OfMessage::MultipartRequest(MultipartRequest::Meter(id)),
            OfMessage::MultipartRequest(MultipartRequest::MeterConfig(id)),
            OfMessage::MultipartRequest(MultipartRequest::MeterFeatures),
            OfMessage::MultipartRequest(MultipartRequest::IpfixBridge),
            OfMessage::MultipartRequest(MultipartRequest::IpfixFlow),
            OfMessage::MultipartReply(MultipartReply::IpfixBridge(Box::new(exporter)), false),
            OfMessage::MultipartReply(MultipartReply::IpfixFlow(vec![exporter, exporter]), true),
            OfMessage::MultipartReply(MultipartReply::Meter(vec![(id, stats.clone()), (id, stats)]), true),
            OfMessage::MultipartReply(MultipartReply::MeterConfig(meters.clone()), false),
            OfMessage::MultipartReply(MultipartReply::MeterFeatures(features), false),
        ];
        for meter in meters {
            sent.push(OfMessage::MeterMod(MeterMod::Add(meter.clone())));
            sent.push(OfMessage::MeterMod(MeterMod::Modify(meter)));
        }
        for sent in sent {
            prop_assert_eq!(pass(&sent, encoding), sent);
        }
    }
}

#[test]
fn meter_mods_that_cannot_be_get_the_errors_of_open_vswitch() {
    let encoding = Encoding::new(OfVersion::OpenFlow13);
    let band = "0001 0010 00000005 00000000 00000000";
    for (body, expected) in [
        // Command, flags, meter, bands.
        (format!("0000 0003 00000001 {band}"), ErrorCode::BadMeterFlags),
        (format!("0003 0001 00000001 {band}"), ErrorCode::BadMeterCommand),
        ("0000 0001 00000001 0003 0010 00000005 00000000 00000000".into(), ErrorCode::BadBand),
        ("0000 0001 00000001 0001 0018 00000005 00000000 00000000".into(), ErrorCode::BadLength),
        ("0000 0001 00000001 0001 0010 00000005 0000".into(), ErrorCode::BadLength),
        ("0000 0001".into(), ErrorCode::BadLength),
    ] {
        let hex: String = body.split(' ').collect();
        let body: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let mut bytes = vec![4, 29, 0, 8 + body.len() as u8, 0, 0, 0, 9];
        bytes.extend(body);
        let refused = OfMessage::decode(&bytes, encoding).unwrap_err();
        assert_eq!(refused.0, expected, "{hex}");
    }
}

#[test]
fn an_assignment_by_reg_load2_stays_one_in_the_versions_that_have_it() {
    let masked = [0, 1, 3, 8, 0, 0, 0, 7, 0, 0, 0, 15, 0, 0];
    let empty = [0, 1, 3, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let whole = [0, 1, 2, 4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0];
    for body in [masked, empty, whole] {
        let mut action = vec![0xff, 0xff, 0, 24, 0, 0, 0x23, 0x20, 0, 33];
        action.extend(body);
        let decoded = decode_actions(&action, OfVersion::OpenFlow10).unwrap();
        for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow12, OfVersion::OpenFlow14] {
            let carried = dialect::actions(&decoded, version, &Match::any());
            let mut flow_mod = FlowMod::new(Command::Add, 0, Match::any(), carried.into_owned());
            flow_mod.table = Some(TableId::default());
            let bytes = OfMessage::FlowMod(Box::new(flow_mod)).encode(encoding(version), 7);
            assert!(bytes.ends_with(&action), "{version:?}: {bytes:x?}");
        }
        assert!(decode_actions(&action, OfVersion::OpenFlow15).is_err());
    }
}

#[test]
fn a_burst_counts_without_the_flag_that_announces_it() {
    let encoding = encoding(OfVersion::OpenFlow13);
    let mod_of = |flags, burst| {
        let mut bytes = vec![4, 29, 0, 32, 0, 0, 0, 9, 0, 0, 0, flags, 0, 0, 0, 1];
        bytes.extend([0, 1, 0, 16, 0, 0, 0, 10, 0, 0, 0, burst, 0, 0, 0, 0]);
        OfMessage::decode(&bytes, encoding).unwrap()
    };
    assert_eq!(mod_of(2, 50), mod_of(6, 50));
    let OfMessage::MeterMod(MeterMod::Add(meter)) = mod_of(2, 0) else { panic!() };
    assert!(!meter.has_burst);
}

#[test]
fn a_rule_of_1_0_without_wildcards_has_the_highest_priority() {
    let priority = |wildcards: u32, command: u8| {
        let mut bytes = vec![1, 14, 0, 72, 0, 0, 0, 9];
        bytes.extend(wildcards.to_be_bytes());
        bytes.extend([0; 44]);
        bytes.extend([0, command, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        match OfMessage::decode(&bytes, encoding(OfVersion::OpenFlow10)).unwrap() {
            OfMessage::FlowMod(flow_mod) => flow_mod.priority,
            other => panic!("{other:?}"),
        }
    };
    // The bits behind the last field mean nothing.
    for wildcards in [0, 1 << 22, 1 << 31] {
        assert_eq!((0..5).map(|command| priority(wildcards, command)).max(), Some(u16::MAX));
        assert_eq!((0..5).map(|command| priority(wildcards, command)).min(), Some(u16::MAX));
    }
    for bit in 0..22 {
        assert_eq!(priority(1 << bit, 0), 5, "wildcard {bit}");
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn a_flow_mod_comes_back((version, flow_mod) in arbitrary::flow_mod()) {
        let encoding = encoding(version);
        let sent = OfMessage::FlowMod(Box::new(carried(&flow_mod, version)));
        let received = pass(&sent, encoding);
        if version == OfVersion::OpenFlow11 {
            // A standard match loses what it cannot say, once.
            prop_assert_eq!(pass(&received, encoding), received);
        } else {
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn a_standard_match_of_1_0_loses_nothing_twice((_, flow_mod) in arbitrary::flow_mod()) {
        let encoding = Encoding::new(OfVersion::OpenFlow10);
        let mut sent = carried(&flow_mod, OfVersion::OpenFlow10);
        sent.actions.clear();
        let received = pass(&OfMessage::FlowMod(Box::new(sent)), encoding);
        prop_assert_eq!(pass(&received, encoding), received);
    }

    #[test]
    fn modifications_and_deletions_come_back(
        (version, flow_mod) in arbitrary::flow_mod(),
        command in 1usize..5,
        filter in proptest::option::of(any::<(u64, u64)>()),
        out in any::<(Option<u16>, Option<u32>)>(),
    ) {
        let command = [
            Command::Modify, Command::ModifyStrict, Command::Delete, Command::DeleteStrict,
        ][command - 1];
        let is_deletion = matches!(command, Command::Delete | Command::DeleteStrict);
        let (is_10, is_old) =
            (version == OfVersion::OpenFlow10, version <= OfVersion::OpenFlow11);
        let mut sent = FlowMod { command, ..carried(&flow_mod, version) };
        sent.flags.reset_counts = false;
        sent.cookie_filter = filter
            .filter(|(_, mask)| *mask != 0)
            .map(|(cookie, mask)| (Cookie(cookie & mask), Cookie(mask)));
        sent.modify_cookie = is_10 && !is_deletion && sent.cookie != Cookie(u64::MAX);
        // In 1.1, a modification has either a filter or the cookie of the rule that it may add.
        let has_cookie = version == OfVersion::OpenFlow11 && !is_deletion && sent.cookie_filter.is_none();
        sent.adds_if_none = is_old && !is_deletion && (!is_10 || sent.modify_cookie);
        if !sent.modify_cookie && !has_cookie {
            sent.cookie = Cookie(0);
        }
        if is_deletion {
            sent.out_port = out.0.map(OfPort).filter(|port| *port != OfPort::NONE);
            sent.out_group = out.1.map(GroupId).filter(|group| !is_10 && *group != GroupId::ANY);
            sent.actions.clear();
        }
        let sent = OfMessage::FlowMod(Box::new(sent));
        let received = pass(&sent, encoding(version));
        if version == OfVersion::OpenFlow11 {
            prop_assert_eq!(pass(&received, encoding(version)), received);
        } else {
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn a_request_for_statistics_comes_back((version, flow_mod) in arbitrary::flow_mod()) {
        let encoding = encoding(version);
        let carried = carried(&flow_mod, version);
        let filter = FlowMod { table: carried.table, ..FlowMod::new(Command::Delete, 0, carried.matching, vec![]) };
        let nxm = version == OfVersion::OpenFlow10;
        let filter = Box::new(filter);
        let sent = OfMessage::MultipartRequest(MultipartRequest::Flow { filter, nxm });
        let received = pass(&sent, encoding);
        if version == OfVersion::OpenFlow11 {
            prop_assert_eq!(pass(&received, encoding), received);
        } else {
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn statistics_come_back(
        (version, flow_mod) in arbitrary::flow_mod(),
        counters in any::<(u64, u64)>(),
        duration in any::<(u32, u32)>(),
        ages in any::<(Option<u16>, Option<u16>)>(),
    ) {
        let is_10 = version == OfVersion::OpenFlow10;
        let is_15 = version == OfVersion::OpenFlow15;
        let age = |age: Option<u16>, is_there: bool| age.filter(|age| is_there && *age < u16::MAX);
        let matching = dialect::dumped_matching(&flow_mod.matching, version).into_owned();
        let mut flags = flow_mod.flags;
        if version < OfVersion::OpenFlow13 {
            flags = Default::default();
        }
        let stats = FlowStats {
            table: flow_mod.table.unwrap_or_default(),
            matching: Cow::Owned(matching),
            priority: flow_mod.priority,
            cookie: flow_mod.cookie,
            idle_timeout: flow_mod.idle_timeout,
            hard_timeout: flow_mod.hard_timeout,
            importance: 0,
            flags,
            duration: Duration::new(duration.0.into(), duration.1 % 1_000_000_000),
            idle_age: age(ages.0, is_10 || is_15),
            hard_age: age(ages.1, is_10),
            packets: counters.0,
            bytes: counters.1,
            actions: Cow::Owned(flow_mod.actions.clone()),
        };
        let sent = OfMessage::MultipartReply(MultipartReply::Flow(vec![stats.clone(), stats]), true);
        prop_assert_eq!(pass(&sent, encoding(version)), sent);
    }

    #[test]
    fn a_removed_flow_comes_back(
        (version, flow_mod) in arbitrary::flow_mod(),
        counters in any::<(Option<u32>, Option<u32>)>(),
        duration in any::<(u32, u32)>(),
        reason in 0usize..6,
    ) {
        use FlowRemovedReason::*;
        let reasons = [IdleTimeout, HardTimeout, Delete, GroupDelete, MeterDelete, Eviction];
        let is_meter = reasons[reason] == MeterDelete && version < OfVersion::OpenFlow14;
        let is_10 = version == OfVersion::OpenFlow10;
        let sent = OfMessage::FlowRemoved(Box::new(FlowRemoved {
            matching: dialect::matching(&flow_mod.matching, version).into_owned(),
            priority: flow_mod.priority,
            cookie: flow_mod.cookie,
            reason: if is_meter { Delete } else { reasons[reason] },
            table: Some(flow_mod.table.unwrap_or_default()),
            duration: Duration::new(duration.0.into(), duration.1 % 1_000_000_000),
            idle_timeout: flow_mod.idle_timeout,
            hard_timeout: if is_10 { 0 } else { flow_mod.hard_timeout },
            packets: counters.0.map(u64::from),
            bytes: counters.1.map(u64::from),
        }));
        let received = pass(&sent, encoding(version));
        if version == OfVersion::OpenFlow11 {
            prop_assert_eq!(pass(&received, encoding(version)), received);
        } else {
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn a_flow_monitor_comes_back(
        (version, flow_mod) in arbitrary::flow_mod(),
        id in any::<u32>(),
        bits in any::<[bool; 7]>(),
        command in 0usize..3,
        out in any::<(Option<u16>, Option<u32>)>(),
    ) {
        let is_14 = version >= OfVersion::OpenFlow14;
        let [initial, removed, modify, instructions, no_abbrev, own, _] = bits;
        let flags = MonitorFlags {
            initial, add: true, removed, modify, instructions, own, no_abbrev: is_14 && no_abbrev,
        };
        let filter = FlowMod {
            table: flow_mod.table,
            out_port: out.0.map(OfPort).filter(|port| *port != OfPort::NONE),
            out_group: out.1.map(GroupId).filter(|group| is_14 && *group != GroupId::ANY),
            ..FlowMod::new(
                Command::Delete,
                0,
                dialect::dumped_matching(&flow_mod.matching, nicira(version)).into_owned(),
                vec![],
            )
        };
        let command = match is_14 {
            true => [MonitorCommand::Add, MonitorCommand::Modify, MonitorCommand::Delete][command],
            false => MonitorCommand::Add,
        };
        let mut monitors =
            vec![FlowMonitor { id, command, flags, filter: Box::new(filter.clone()) }];
        if command == MonitorCommand::Delete {
            monitors = vec![FlowMonitor::delete(id)];
        }
        let sent = OfMessage::MultipartRequest(MultipartRequest::FlowMonitor(monitors));
        prop_assert_eq!(pass(&sent, encoding(version)), sent);
    }

    #[test]
    fn what_a_flow_monitor_tells_comes_back(
        (version, flow_mod) in arbitrary::flow_mod(),
        event in 0usize..4,
        reason in 0usize..3,
    ) {
        use FlowRemovedReason::*;
        let removed = MonitorEvent::Removed([IdleTimeout, GroupDelete, Other(9)][reason]);
        let mut event = [MonitorEvent::Initial, MonitorEvent::Added, MonitorEvent::Modified, removed][event];
        let is_14 = version >= OfVersion::OpenFlow14;
        if event == MonitorEvent::Initial && !is_14 {
            event = MonitorEvent::Added;
        }
        let matching = dialect::dumped_matching(&flow_mod.matching, nicira(version)).into_owned();
        let rule = MonitoredRule {
            event,
            table: flow_mod.table.unwrap_or_default(),
            matching,
            priority: flow_mod.priority,
            cookie: flow_mod.cookie,
            idle_timeout: flow_mod.idle_timeout,
            hard_timeout: flow_mod.hard_timeout,
            actions: vec![],
        };
        let mut updates = vec![FlowUpdate::Rule(Box::new(rule)), FlowUpdate::Abbrev(7)];
        if is_14 {
            updates.extend([FlowUpdate::Paused, FlowUpdate::Resumed]);
        }
        let sent = OfMessage::MultipartReply(MultipartReply::FlowMonitor(updates), false);
        prop_assert_eq!(pass(&sent, encoding(version)), sent);
    }

    #[test]
    fn masks_come_back(
        version in arbitrary::version(),
        masks in proptest::collection::vec(proptest::option::of(0u32..4), 12),
        nicira in any::<bool>(),
    ) {
        use AsyncKind::*;
        let kinds = [PacketIn, PortStatus, FlowRemoved, RoleStatus, TableStatus, RequestForward];
        let (mut some, mut all) = (AsyncMasks::default(), AsyncMasks::default());
        for (n, mask) in masks.into_iter().enumerate() {
            let (kind, is_for_slaves) = (kinds[n / 2], n % 2 == 0);
            if let (Some(mask), true) = (mask, kind != TableStatus) {
                some.set(kind, is_for_slaves, mask);
            }
            all.set(kind, is_for_slaves, if n < 6 { mask.unwrap_or_default() } else { 0 });
        }
        let is_14 = version >= OfVersion::OpenFlow14;
        let has_standard = version >= OfVersion::OpenFlow13 && !nicira;
        let few = if has_standard { AsyncForm::Standard } else { AsyncForm::Nicira };
        let mut messages = Vec::new();
        if !is_14 {
            messages.push(OfMessage::SetAsync(some, AsyncForm::NiciraList));
        }
        match is_14 && !nicira {
            true => messages.push(OfMessage::SetAsync(some, AsyncForm::Standard)),
            false => messages.push(OfMessage::SetAsync(all, few)),
        }
        if version >= OfVersion::OpenFlow13 {
            messages.push(OfMessage::GetAsyncRequest);
            messages.push(OfMessage::GetAsyncReply(if is_14 { some } else { all }));
        }
        for sent in messages {
            prop_assert_eq!(pass(&sent, encoding(version)), sent);
        }
    }

    #[test]
    fn statuses_come_back(
        version in arbitrary::version(),
        numbers in any::<(u16, u32, u64)>(),
        reason in 0usize..3,
    ) {
        let port = PortDesc {
            port: OfPort(numbers.0),
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            name: "p1".to_owned(),
            config: 1,
            state: 1,
            current: 0x800,
            advertised: 0,
            supported: 0,
            peer: 0,
            current_speed: if version == OfVersion::OpenFlow10 { 0 } else { numbers.1 },
            max_speed: 0,
        };
        let reasons = [PortReason::Add, PortReason::Delete, PortReason::Modify];
        let status = PortStatus { reason: reasons[reason], port };
        let sent = OfMessage::PortStatus(Box::new(status));
        prop_assert_eq!(pass(&sent, encoding(version)), sent);
        if version >= OfVersion::OpenFlow13 {
            let reasons = [RoleReason::MasterRequest, RoleReason::Config, RoleReason::Experimenter];
            let role = ControllerRole::Slave;
            let status = RoleStatus { role, reason: reasons[reason], generation: numbers.2 };
            let sent = OfMessage::RoleStatus(status);
            prop_assert_eq!(pass(&sent, encoding(version)), sent);
        }
        if version >= OfVersion::OpenFlow14 {
            let thresholds = VacancyThresholds { down: numbers.0 as u8, up: numbers.1 as u8 };
            let table = TableDesc {
                table: TableId::new(numbers.2 as u8 % 254).unwrap(),
                eviction: numbers.1 % 2 == 0,
                eviction_flags: (reason > 0).then_some(numbers.1),
                vacancy: (reason > 1).then_some((thresholds, numbers.2 as u8)),
            };
            let reason = if reason > 0 { TableReason::VacancyUp } else { TableReason::VacancyDown };
            let sent = OfMessage::TableStatus(TableStatus { reason, table });
            prop_assert_eq!(pass(&sent, encoding(version)), sent);
        }
        let request = Box::new(OfMessage::GroupMod(GroupMod::Delete(GroupId(numbers.1))));
        let sent = OfMessage::RequestForward(RequestForward { xid: numbers.1, request });
        prop_assert_eq!(pass(&sent, encoding(version)), sent);
        let ends = [OfMessage::FlowMonitorCancel(numbers.1), OfMessage::FlowMonitorPaused, OfMessage::FlowMonitorResumed];
        for sent in ends.into_iter().filter(|_| version < OfVersion::OpenFlow14) {
            prop_assert_eq!(pass(&sent, encoding(version)), sent);
        }
    }

    #[test]
    fn a_packet_in_comes_back_as_far_as_its_form_goes(
        (version, form, is_resumed) in (arbitrary::version(), 0usize..3, any::<bool>()),
        (packet, cut) in (proptest::collection::vec(any::<u8>(), 14..200), 0u32..1000),
        (table, cookie) in (any::<u8>(), proptest::option::of(0..u64::MAX)),
        (reason, buffer) in (0u8..6, proptest::option::of(0..u32::MAX)),
        (userdata, token) in (proptest::collection::vec(any::<u8>(), 0..40), any::<Option<[u8; 16]>>()),
        (in_port, registers, metadata) in (any::<u8>(), any::<[u32; 32]>(), any::<u64>()),
    ) {
        let form = PacketInForm::ALL[form];
        let is_properties = is_resumed || form == PacketInForm::Nxt2;
        let is_old = !is_properties && form == PacketInForm::Standard;
        let has_fields = !is_old || version >= OfVersion::OpenFlow12;
        let has_cookie = !is_old || version >= OfVersion::OpenFlow13;
        let mut state = PipelineKey::default();
        if has_fields {
            // Every other register is zero, and is not told.
            state.regs = std::array::from_fn(|n| (registers[n] * (n as u32 % 2)).into());
            state.metadata = metadata.into();
            state.headers.tun_id.set(metadata >> 3);
            state.headers.tun_dst.set(registers[0]);
            state.headers.tun_ipv6_src[7] = registers[1] as u8;
            state.headers.tun_flags.set(registers[2] as u16 & 1);
            state.headers.tun_gbp_id.set(registers[3] as u16);
            // Half of the packets were not tracked.
            if registers[4] % 2 == 1 {
                state.headers.dl_type.set(if metadata % 2 == 0 { 0x0800 } else { 0x86dd });
                state.headers.ct_state.set(registers[4] as u16 & 0xff);
                state.headers.ct_zone.set(registers[5] as u16 & 3);
                state.headers.ct_mark.set(registers[6] & 1);
                state.headers.ct_label[3] = registers[7] as u8 & 1;
                state.headers.ct_nw_proto = registers[8] as u8 & 3;
                state.headers.ct_nw_src.set(registers[9]);
                state.headers.ct_ipv6_dst[9] = registers[10] as u8;
                state.headers.ct_tp_dst.set(registers[11] as u16);
            }
        }
        let reason = match PacketInReason::of_number(reason) {
            Some(reason) if reason as u8 <= 2 || version >= OfVersion::OpenFlow14 => reason,
            _ => PacketInReason::Action,
        };
        let packet_in = Box::new(PacketIn {
            total_len: packet.len() as u32 + cut,
            packet,
            buffer,
            reason,
            table: if is_old && version == OfVersion::OpenFlow10 { 0 } else { table },
            cookie: cookie.map(Cookie).filter(|_| has_cookie),
            metadata: PacketIn::metadata_of(OfPort(in_port.into()), &state),
            userdata: if is_properties && !is_resumed { userdata } else { Vec::new() },
            continuation: match token {
                Some(token) if is_properties => continuation_of(token),
                _ => Vec::new(),
            },
        });
        let expected = token.filter(|_| is_properties);
        prop_assert_eq!(token_of(&packet_in.continuation), expected);
        let sent = match is_resumed {
            true => OfMessage::Resume(packet_in),
            false => OfMessage::PacketIn(packet_in),
        };
        let encoding = Encoding { packet_in: form, ..Encoding::new(version) };
        prop_assert_eq!(pass(&sent, encoding), sent);
    }

    #[test]
    fn a_packet_that_is_too_long_is_cut(version in arbitrary::version(), form in 0usize..3) {
        let packet_in = PacketIn {
            packet: vec![7; 70_000],
            total_len: 70_000,
            buffer: None,
            reason: PacketInReason::Action,
            table: 0,
            cookie: None,
            metadata: PacketIn::metadata_of(OfPort(1), &PipelineKey::default()),
            userdata: Vec::new(),
            continuation: Vec::new(),
        };
        let form = PacketInForm::ALL[form];
        let encoding = Encoding { packet_in: form, ..Encoding::new(version) };
        let sent = OfMessage::PacketIn(Box::new(packet_in));
        let OfMessage::PacketIn(received) = pass(&sent, encoding) else { unreachable!() };
        prop_assert!((65_000..65_536).contains(&received.packet.len()));
        let expected = if form == PacketInForm::Nxt2 { 70_000 } else { 65_535 };
        prop_assert_eq!(received.total_len, expected);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        version in arbitrary::version(),
        mut bytes in proptest::collection::vec(any::<u8>(), 8..300),
        kind in 0u8..40,
    ) {
        let len = bytes.len() as u16;
        bytes[0] = version as u8 + 1;
        bytes[1] = kind;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        let _ = OfMessage::decode(&bytes, encoding(version));
    }

    #[test]
    fn a_flow_mod_with_a_wrong_byte_is_decoded_or_refused(
        (version, flow_mod) in arbitrary::flow_mod(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let message = OfMessage::FlowMod(Box::new(carried(&flow_mod, version)));
        let mut bytes = message.encode(encoding(version), 7);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut session = Session::new(&[version]);
        session.receive(&OfMessage::Hello(vec![version]).encode(encoding(version), 1));
        prop_assert_eq!(session.next_message(std::time::Instant::now()).unwrap(), None);
        session.receive(&bytes);
        let _ = session.next_message(std::time::Instant::now());
    }
}
