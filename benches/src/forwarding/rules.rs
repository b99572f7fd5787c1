//! A table of a thousand rules, as somebody might have who filters between hosts.

use std::fmt::Write;

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
