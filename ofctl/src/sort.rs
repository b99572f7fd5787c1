//! The options `--sort` and `--rsort`: the order in which `dump-flows` lists rules.

use crate::Usage;
use crate::options::How;
use flow::fields::FieldId;
use flow::flow_mod::FlowMod;
use std::cmp::Ordering;

/// A criterion by which rules are sorted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Criterion {
    /// The field whose values are compared; `None` compares priorities.
    field: Option<FieldId>,
    is_descending: bool,
}

/// The criteria of a command line: those of `--sort` in their order, then those of `--rsort`. A later criterion
/// decides between rules that are equal in the earlier ones. As in `ovs-ofctl`, the last criterion is the
/// priority, the highest one first. A command line without `--sort` and `--rsort` has no criteria.
pub(crate) fn criteria(how: &How) -> Result<Vec<Criterion>, Usage> {
    let ascending = how.sort.iter().map(|name| (name, false));
    let descending = how.rsort.iter().map(|name| (name, true));
    let named: Result<Vec<_>, _> = ascending
        .chain(descending)
        .map(|(name, is_descending)| criterion(name, is_descending))
        .collect();
    named.map(ending_with_priority)
}

fn ending_with_priority(mut criteria: Vec<Criterion>) -> Vec<Criterion> {
    if !criteria.is_empty() {
        criteria.push(Criterion { field: None, is_descending: true });
    }
    criteria
}

fn criterion(name: &str, is_descending: bool) -> Result<Criterion, Usage> {
    if name.eq_ignore_ascii_case("priority") {
        return Ok(Criterion { field: None, is_descending });
    }
    match FieldId::from_name(name) {
        Some(field) => Ok(Criterion { field: Some(field), is_descending }),
        None => {
            Err(Usage(format!("cannot sort by \"{name}\": write priority or the name of a field")))
        }
    }
}

/// The order of two rules. A rule that does not match the field of a criterion comes last, in
/// ascending and in descending order.
pub(crate) fn compare(a: &FlowMod, b: &FlowMod, criteria: &[Criterion]) -> Ordering {
    for criterion in criteria {
        let order = match criterion.field {
            None => a.priority.cmp(&b.priority),
            Some(field) => match (value(a, field), value(b, field)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => return Ordering::Less,
                (None, Some(_)) => return Ordering::Greater,
                (None, None) => Ordering::Equal,
            },
        };
        match (order, criterion.is_descending) {
            (Ordering::Equal, _) => {}
            (order, false) => return order,
            (order, true) => return order.reverse(),
        }
    }
    Ordering::Equal
}

fn value(rule: &FlowMod, field: FieldId) -> Option<u128> {
    let m = &rule.matching;
    let has_field = field.get_mask(m.mask()) != 0 && m.implies(field.def().prerequisite);
    has_field.then(|| field.read(m.key()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::text::{ParseContext, parse_flow};

    /// The cookies of four rules after sorting.
    fn sorted(name: &str, is_descending: bool) -> Vec<u64> {
        let text = [
            "cookie=1,priority=5,in_port=2,actions=drop",
            "cookie=2,priority=1,tcp,tp_dst=80,actions=drop",
            "cookie=3,priority=9,in_port=1,tcp,tp_dst=22,actions=drop",
            "cookie=4,priority=7,arp,actions=drop",
        ];
        let mut rules: Vec<FlowMod> =
            text.iter().map(|t| parse_flow(t, &ParseContext::default()).unwrap()).collect();
        let criteria = ending_with_priority(vec![criterion(name, is_descending).unwrap()]);
        rules.sort_by(|a, b| compare(a, b, &criteria));
        rules.iter().map(|r| r.cookie.0).collect()
    }

    #[test]
    fn rules_are_sorted_by_priority_or_a_field() {
        assert_eq!(sorted("priority", false), [2, 1, 4, 3]);
        assert_eq!(sorted("priority", true), [3, 4, 1, 2]);
        // Those that do not match the field stand at the end, the highest priority first.
        assert_eq!(sorted("in_port", false), [3, 1, 4, 2]);
        assert_eq!(sorted("in_port", true), [1, 3, 4, 2]);
        assert_eq!(sorted("tcp_dst", true), [2, 3, 4, 1]);
        assert!(criterion("nonsense", false).is_err());
    }
}
