//! How the tables of a bridge behave, apart from their rules.
//!
//! The keys are the columns that Open vSwitch's database has in `Flow_Table`, and what controllers set with
//! OpenFlow. There is no `prefixes`: the classifier finds out by itself which prefixes are worth looking at.

use flow::action::Subfield;
use flow::table_mod::{OverflowPolicy, TableMiss, TableSettings, VacancyThresholds};
use flow::text::{parse_subfield, write_subfield};
use flow::types::TableId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A table that somebody wants to behave in a way of its own. The file's `[[bridge.table]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The number of the table.
    pub id: TableId,
    /// The name of the table, at most 31 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "table_name")]
    pub name: Option<String>,
    /// The largest number of rules; `None`: only the switch limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_limit: Option<u32>,
    /// What happens to a new rule of a full table.
    #[serde(default, skip_serializing_if = "refuses")]
    pub overflow_policy: OverflowPolicy,
    /// Bits of fields that group the rules of a table that evicts. The largest group loses a rule.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "write_groups",
        deserialize_with = "groups"
    )]
    pub groups: Vec<Subfield>,
    /// What happens to packets that no rule matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miss: Option<TableMiss>,
    /// Whether a controller wants a full table to evict rules.
    #[serde(default, skip_serializing_if = "is_false")]
    pub eviction: bool,
    /// When controllers hear how full the table is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "thresholds")]
    pub vacancy: Option<VacancyThresholds>,
}

fn refuses(policy: &OverflowPolicy) -> bool {
    *policy == OverflowPolicy::Refuse
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Table {
    /// A table with these settings.
    pub fn new(id: TableId, settings: TableSettings) -> Self {
        let TableSettings { name, flow_limit, overflow, groups, miss, eviction, vacancy } =
            settings;
        Self { id, name, flow_limit, overflow_policy: overflow, groups, miss, eviction, vacancy }
    }

    /// The settings of the table.
    pub fn settings(&self) -> TableSettings {
        TableSettings {
            name: self.name.clone(),
            flow_limit: self.flow_limit,
            overflow: self.overflow_policy,
            groups: self.groups.clone(),
            miss: self.miss,
            eviction: self.eviction,
            vacancy: self.vacancy,
        }
    }
}

/// The tables of a bridge that somebody wants to behave in ways of their own, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TableList(Vec<Table>);

impl TableList {
    /// Whether every table behaves as tables do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tables, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        self.0.iter()
    }

    /// The settings of a table.
    pub fn settings(&self, id: TableId) -> TableSettings {
        self.0.iter().find(|table| table.id == id).map(Table::settings).unwrap_or_default()
    }

    /// Gives a table other settings. A table with default settings is not listed.
    pub fn set(&mut self, id: TableId, settings: TableSettings) {
        self.0.retain(|table| table.id != id);
        if settings != TableSettings::default() {
            let place = self.0.partition_point(|table| table.id < id);
            self.0.insert(place, Table::new(id, settings));
        }
    }

    /// The numbers of the tables whose settings differ from those of `other`.
    pub fn differing(&self, other: &Self) -> Vec<TableId> {
        let mut ids: Vec<TableId> = self.iter().chain(other.iter()).map(|table| table.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| self.settings(*id) != other.settings(*id));
        ids
    }
}

impl<'de> Deserialize<'de> for TableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut list = Self::default();
        for table in Vec::<Table>::deserialize(deserializer)? {
            if list.0.iter().any(|other| other.id == table.id) {
                return Err(de::Error::custom(format_args!("table {} is given twice", table.id)));
            }
            list.set(table.id, table.settings());
        }
        Ok(list)
    }
}

fn table_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.len() > TableSettings::MAX_NAME {
        let max = TableSettings::MAX_NAME;
        return Err(de::Error::custom(format_args!(
            "name {name:?}: must have at most {max} bytes"
        )));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

fn write_groups<S: Serializer>(groups: &[Subfield], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(groups.iter().map(|group| text_of(*group)))
}

fn text_of(group: Subfield) -> String {
    let mut text = String::new();
    write_subfield(&mut text, group);
    text
}

fn groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Subfield>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_subfield(text).map_err(de::Error::custom)).collect()
}

fn thresholds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<VacancyThresholds>, D::Error> {
    let thresholds = VacancyThresholds::deserialize(deserializer)?;
    if thresholds.down > thresholds.up || thresholds.up > 100 {
        let VacancyThresholds { down, up } = thresholds;
        return Err(de::Error::custom(format_args!(
            "vacancy: down ({down}) must be at most up ({up}), and up at most 100"
        )));
    }
    Ok(Some(thresholds))
}
