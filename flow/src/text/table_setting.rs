//! The settings of tables as words, as `mod-table` takes them: those of `ovs-ofctl`, and those that Open
//! vSwitch keeps in its database.

use super::subfield;
use crate::table_mod::{OverflowPolicy, TableMiss, TableSettings, VacancyThresholds};

/// What can be written, for errors.
const WORDS: &str = "write controller, continue, drop, evict, noevict, vacancy:DOWN,UP, novacancy, name:NAME, \
                     flow_limit:N, flow_limit:none, overflow_policy:refuse, overflow_policy:evict or groups:FIELD,...";

/// Changes one setting of a table as a word says: `evict`, `vacancy:10,20`, `name:acl`, `flow_limit:1000`.
///
/// # Errors
/// What is wrong with the word; the settings are as they were.
///
/// ```
/// use flow::table_mod::TableSettings;
/// use flow::text::change_table;
///
/// let mut settings = TableSettings::default();
/// change_table(&mut settings, "flow_limit:1000").unwrap();
/// change_table(&mut settings, "evict").unwrap();
/// assert_eq!((settings.flow_limit, settings.evicts()), (Some(1000), true));
/// ```
pub fn change_table(settings: &mut TableSettings, word: &str) -> Result<(), String> {
    let (key, value) = word.split_once(':').map_or((word, None), |(key, v)| (key, Some(v)));
    match (key, value) {
        ("controller", None) => settings.miss = Some(TableMiss::Controller),
        ("continue", None) => settings.miss = Some(TableMiss::Continue),
        ("drop", None) => settings.miss = Some(TableMiss::Drop),
        ("evict", None) => settings.eviction = true,
        ("noevict", None) => settings.eviction = false,
        ("vacancy", Some(value)) => settings.vacancy = Some(thresholds(value)?),
        ("novacancy", None) => settings.vacancy = None,
        ("name", Some(name)) => settings.name = table_name(name)?,
        ("flow_limit", Some("none")) => settings.flow_limit = None,
        ("flow_limit", Some(limit)) => {
            let wrong = |_| format!("flow_limit: {limit:?} is not a number of rules, or none");
            settings.flow_limit = Some(limit.parse().map_err(wrong)?);
        }
        ("overflow_policy", Some("refuse")) => settings.overflow = OverflowPolicy::Refuse,
        ("overflow_policy", Some("evict")) => settings.overflow = OverflowPolicy::Evict,
        ("groups", Some(fields)) => {
            let fields = fields.split(',').filter(|field| !field.is_empty());
            let parsed = fields.map(|field| {
                subfield::parse(field).map_err(|fault| format!("groups: {}", fault.message))
            });
            settings.groups = parsed.collect::<Result<_, _>>()?;
        }
        _ => return Err(format!("{word:?} is not a setting of a table: {WORDS}")),
    }
    Ok(())
}

/// The name of a table; `None` for the empty one.
fn table_name(name: &str) -> Result<Option<String>, String> {
    let max = TableSettings::MAX_NAME;
    match name.len() {
        0 => Ok(None),
        len if len > max => {
            Err(format!("name: {name:?} has {len} bytes: at most {max} are possible"))
        }
        _ => Ok(Some(name.to_owned())),
    }
}

fn thresholds(value: &str) -> Result<VacancyThresholds, String> {
    let wrong = || format!("vacancy: {value:?} is not two percentages: write vacancy:DOWN,UP");
    let (down, up) = value.split_once(',').ok_or_else(wrong)?;
    let percent = |text: &str| text.parse::<u8>().ok().filter(|n| *n <= 100).ok_or_else(wrong);
    let (down, up) = (percent(down)?, percent(up)?);
    if down > up {
        return Err(format!("vacancy: {down} is above {up}: write the lower threshold first"));
    }
    Ok(VacancyThresholds { down, up })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_changes_one_setting() {
        let mut settings = TableSettings::default();
        for word in [
            "continue",
            "evict",
            "vacancy:10,20",
            "name:acl",
            "flow_limit:7",
            "groups:in_port,reg0[0..3]",
        ] {
            change_table(&mut settings, word).unwrap();
        }
        assert_eq!(settings.miss, Some(TableMiss::Continue));
        assert_eq!(settings.vacancy, Some(VacancyThresholds { down: 10, up: 20 }));
        assert_eq!((settings.name.as_deref(), settings.flow_limit), (Some("acl"), Some(7)));
        assert!(settings.eviction);
        assert_eq!(settings.groups.len(), 2);
        assert_eq!(settings.eviction_groups(), [], "groups count with the overflow policy only");
        change_table(&mut settings, "overflow_policy:evict").unwrap();
        assert_eq!(settings.eviction_groups().len(), 2);
        for word in [
            "novacancy",
            "noevict",
            "name:",
            "flow_limit:none",
            "overflow_policy:refuse",
            "groups:",
            "drop",
        ] {
            change_table(&mut settings, word).unwrap();
        }
        assert_eq!(
            settings,
            TableSettings { miss: Some(TableMiss::Drop), ..TableSettings::default() }
        );
    }

    #[test]
    fn a_wrong_word_changes_nothing() {
        let mut settings = TableSettings::default();
        for word in [
            "",
            "evict:",
            "vacancy",
            "vacancy:30",
            "vacancy:30,20",
            "vacancy:30,200",
            "name",
            "flow_limit:-1",
            "overflow_policy:maybe",
            "groups:nonsense",
            "groups:reg0[40]",
            "name:12345678901234567890123456789012",
        ] {
            assert!(change_table(&mut settings, word).is_err(), "{word}");
            assert_eq!(settings, TableSettings::default(), "{word}");
        }
    }
}
