//! Tables as somebody might have who filters between hosts: a thousand rules, and a stateful firewall.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// Number of rules besides the default one.
const RULES: u32 = 999;

/// Rules of four shapes that the measured traffic has to be compared with, and does not match: it
/// falls through to the rule that every new switch has.
pub(super) fn filters() -> String {
    let mut text = String::new();
    for n in 0..RULES {
        let (high, low) = (n / 250, n % 250);
        let matching = match n % 4 {
            0 => format!("tcp,tp_dst={}", 20_000 + n),
            1 => format!("ip,nw_src=10.{}.{low}.0/24", 100 + high),
            2 => format!("udp,nw_dst=172.16.{high}.{low},tp_src={}", 100 + n),
            _ => format!("dl_src=02:ff:00:00:{high:02x}:{low:02x}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "priority={},{matching},actions=drop", 1000 + n % 50);
    }
    text
}

/// A firewall that lets the first host open connections to the second one, with this source
/// address if one is given.
pub(super) fn firewall(source: Option<Ipv4Addr>) -> String {
    let (look_up, commit) = match source {
        None => ("ct(table=1)", "ct(commit)".to_owned()),
        Some(source) => ("ct(nat,table=1)", format!("ct(commit,nat(src={source}))")),
    };
    format!(
        "priority=10,ip,ct_state=-trk,actions={look_up}\n\
         table=1,priority=10,ip,ct_state=+trk+new,in_port=1,actions={commit},output:2\n\
         table=1,priority=10,ip,ct_state=+trk+est,in_port=1,actions=output:2\n\
         table=1,priority=10,ip,ct_state=+trk+est,in_port=2,actions=output:1\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_rules_are_different() {
        let text = filters();
        assert_eq!(text.lines().collect::<HashSet<_>>().len(), RULES as usize);
    }
}
