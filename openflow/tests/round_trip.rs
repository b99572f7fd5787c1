//! Random rules go through messages of every version and come back as they were.

use flow::dialect;
use flow::flow_mod::{Command, FlowMod};
use flow::text::arbitrary;
use flow::types::{Cookie, GroupId, OfPort, OfVersion, TableId};
use openflow::{Encoding, FlowStats, MultipartReply, MultipartRequest, OfMessage, Session};
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

fn pass(message: &OfMessage, encoding: Encoding) -> OfMessage {
    let bytes = message.encode(encoding, 7);
    OfMessage::decode(&bytes, encoding).unwrap_or_else(|error| panic!("{error}: {bytes:x?}"))
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
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
        sent.adds_if_none = is_old && !is_deletion;
        sent.flags.reset_counts = false;
        sent.cookie_filter = filter
            .filter(|(_, mask)| *mask != 0)
            .map(|(cookie, mask)| (Cookie(cookie & mask), Cookie(mask)));
        sent.modify_cookie = is_10 && !is_deletion && sent.cookie != Cookie(u64::MAX);
        if !sent.modify_cookie {
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
        prop_assert_eq!(session.next_message().unwrap(), None);
        session.receive(&bytes);
        let _ = session.next_message();
    }
}
