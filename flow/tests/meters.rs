//! Meters as text: what `ovs-ofctl` 3.1 takes and prints (recorded), and what is refused.

use flow::meter::{Band, BandKind, Meter, MeterFeatures, MeterMod, MeterStats, MeterUnit};
use flow::text::{
    MeterCommand, parse_meter, parse_meter_id, parse_saved_meter, write_meter,
    write_meter_features, write_meter_stats, write_saved_meter,
};
use flow::types::MeterId;
use proptest::prelude::*;
use std::time::Duration;

fn meter(text: &str) -> Meter {
    match parse_meter(text, MeterCommand::Add) {
        Ok(MeterMod::Add(meter)) => meter,
        other => panic!("{text}: {other:?}"),
    }
}

fn check_shown(text: &str, expected: &str) {
    let mut shown = String::new();
    write_meter(&mut shown, &meter(text));
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn meters_are_shown_as_open_vswitch_shows_them() {
    check_shown(
        "meter=1,kbps,burst,stats,bands=type=drop,rate=1000,burst_size=100",
        "meter=1 kbps burst stats bands=\ntype=drop rate=1000 burst_size=100",
    );
    check_shown("meter=2,pktps,bands=type=drop,rate=10", "meter=2 pktps bands=\ntype=drop rate=10");
    check_shown(
        "meter=1,kbps,bands=type=drop,rate=5,type=dscp_remark,rate=3,prec_level=2",
        "meter=1 kbps bands=\ntype=drop rate=5\ntype=dscp_remark rate=3 prec_level=2",
    );
    check_shown(
        "meter=1 kbps burst stats bands=type=drop rate=5 burst_size=7",
        "meter=1 kbps burst stats bands=\ntype=drop rate=5 burst_size=7",
    );
    check_shown(
        "meter=0x10,,kbps,band=type=drop,rate=0x5",
        "meter=16 kbps bands=\ntype=drop rate=5",
    );
    check_shown(
        "meter=controller,pktps,bands=type=drop,rate=5",
        "meter=controller pktps bands=\ntype=drop rate=5",
    );
    check_shown(
        "meter=slowpath,pktps,bands=type=drop,rate=5",
        "meter=slowpath pktps bands=\ntype=drop rate=5",
    );
}

fn check_refused(text: &str, message: &str, part: &str) {
    let error = parse_meter(text, MeterCommand::Add).expect_err(text);
    assert!(error.message().contains(message), "{text}: {error}");
    assert_eq!(&text[error.span()], part, "{text}: {error}");
    assert!(error.hint().is_some() || !message.contains("missing"), "{text}");
}

#[test]
fn errors_point_at_what_is_wrong() {
    check_refused("", "the bands are missing", "");
    check_refused("meter=1,kbps", "the bands are missing", "meter=1,kbps");
    check_refused("meter=1,kbps,bands=", "at least one band", "meter=1,kbps,bands=");
    check_refused(
        "kbps,bands=type=drop,rate=5",
        "number is missing",
        "kbps,bands=type=drop,rate=5",
    );
    check_refused(
        "meter=1,bands=type=drop,rate=5",
        "unit of the rates",
        "meter=1,bands=type=drop,rate=5",
    );
    check_refused("meter=1,kbps,pktps,bands=type=drop,rate=5", "one unit", "pktps");
    check_refused("meter=1,kbps,bands=type=drop", "rate of a band is missing", "type=drop");
    check_refused("meter=1,kbps,bands=type=drop,rate=0", "rate of a band is missing", "type=drop");
    check_refused("meter=1,kbps,bands=rate=5", "begins with its type", "rate=5");
    check_refused("meter=1,kbps,bands=type=foo,rate=5", "not a type of bands", "type=foo");
    check_refused("meter=1,kbps,foo,bands=type=drop,rate=5", "unknown keyword", "foo");
    check_refused("meter=1,kbps,bands=type=drop,rate=5,foo=1", "unknown keyword", "foo");
    check_refused("meter=1,kbps=3,bands=type=drop,rate=5", "takes no value", "kbps=3");
    check_refused("meter=x,kbps,bands=type=drop,rate=5", "not a number", "meter=x");
    check_refused("meter=0,kbps,bands=type=drop,rate=5", "not the number of a meter", "meter=0");
    check_refused("meter=all,kbps,bands=type=drop,rate=5", "not the number of one", "meter=all");
    check_refused("meter=4294901761,kbps,bands=type=drop,rate=5", "too large", "meter=4294901761");
    check_refused("meter=1,kbps,bands=type=drop,rate=4294967296", "too large", "rate=4294967296");
    check_refused("meter=1,kbps,bands=type=drop,rate=-5", "-5 is less than 0", "rate=-5");
    check_refused("meter=1,kbps,burst,bands=type=drop,rate=5", "lacks burst_size", "type=drop");
    check_refused(
        "meter=1,kbps,bands=type=drop,rate=5,burst_size=7",
        "lacks the flag burst",
        "type=drop",
    );
    check_refused(
        "meter=1,kbps,bands=type=drop,rate=5,prec_level=1",
        "only bands of type",
        "type=drop",
    );
    check_refused(
        "meter=1,kbps,bands=type=dscp_remark,rate=5",
        "needs prec_level",
        "type=dscp_remark",
    );
    let nine = format!("meter=1,kbps,bands={}", ["type=drop,rate=1"; 9].join(","));
    assert!(
        parse_meter(&nine, MeterCommand::Add).is_err_and(|e| e.message().contains("at most 8"))
    );
}

#[test]
fn deletions_and_questions_name_a_meter_or_all() {
    let delete = |text| parse_meter(text, MeterCommand::Delete).expect(text);
    assert_eq!(delete(""), MeterMod::Delete(MeterId::ALL));
    assert_eq!(delete("meter=all"), MeterMod::Delete(MeterId::ALL));
    assert_eq!(delete("meter=7"), MeterMod::Delete(MeterId(7)));
    assert_eq!(parse_meter_id("meter=controller"), Ok(Some(MeterId::CONTROLLER)));
    assert_eq!(parse_meter_id(""), Ok(None));
    let error = parse_meter_id("1").expect_err("a bare number");
    assert_eq!(error.to_string(), "unknown keyword \"1\" (write meter=N)");
}

#[test]
fn counters_are_shown_as_open_vswitch_shows_them() {
    let stats = MeterStats {
        flow_count: 1,
        packets: 20,
        bytes: 1200,
        duration: Duration::from_millis(279),
        bands: vec![(5, 300), (0, 0)],
    };
    let mut shown = String::new();
    write_meter_stats(&mut shown, MeterId(1), &stats);
    let expected = "meter:1 flow_count:1 packet_in_count:20 byte_in_count:1200 duration:0.279s bands:\n\
                    0: packet_count:5 byte_count:300\n1: packet_count:0 byte_count:0";
    assert_eq!(shown, expected);
    shown.clear();
    write_meter_features(&mut shown, &MeterFeatures::OF_THIS_SWITCH);
    let expected = "max_meter:262144 max_bands:8 max_color:0\nband_types: drop dscp_remark\n\
                    capabilities: kbps pktps burst stats";
    assert_eq!(shown, expected);
}

fn any_meter() -> impl Strategy<Value = Meter> {
    let band = (any::<Option<u8>>(), any::<u32>(), any::<u32>());
    let id =
        prop_oneof![1..=MeterId::MAX.0, Just(MeterId::CONTROLLER.0), Just(MeterId::SLOWPATH.0)];
    (id, any::<[bool; 3]>(), proptest::collection::vec(band, 0..=8)).prop_map(
        |(id, [is_kbps, has_burst, has_stats], bands)| Meter {
            id: MeterId(id),
            unit: if is_kbps { MeterUnit::Kbps } else { MeterUnit::Pktps },
            has_burst,
            has_stats,
            bands: bands
                .into_iter()
                .map(|(level, rate, burst)| Band {
                    kind: level
                        .map_or(BandKind::Drop, |prec_level| BandKind::DscpRemark { prec_level }),
                    rate,
                    burst_size: if has_burst { burst } else { 0 },
                })
                .collect(),
        },
    )
}

proptest! {
    #[test]
    fn what_is_saved_is_read_again(meter in any_meter()) {
        let mut line = String::new();
        write_saved_meter(&mut line, &meter);
        prop_assert_eq!(parse_saved_meter(&line), Ok(meter));
    }
}
