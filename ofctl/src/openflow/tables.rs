//! The verbs about tables: `dump-table-features`, `dump-table-desc` and `mod-table`.

use super::channel::Channel;
use super::{Call, switch};
use crate::output::print;
use crate::{Outcome, Usage};
use anyhow::bail;
use flow::table_mod::{TableMiss, TableMod, VacancyThresholds};
use flow::types::{OfVersion, TableId};
use oftext::put_table_features;
use openflow::{MultipartReply, MultipartRequest, OfMessage, TableDesc, TableFeatures};

/// Carries out the verb `dump-table-features`.
pub(super) fn dump_features(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 0)?;
    if channel.version() < OfVersion::OpenFlow13 {
        bail!("dump-table-features needs OpenFlow 1.3 or later ('-O OpenFlow13')");
    }
    let parts = channel.all_parts(&asking_for_features())?;
    if call.options.how.json {
        return call.print_numbers(&parts);
    }
    let tables = features(&channel, &parts)?;
    let mut text = String::new();
    put_table_features(&mut text, &tables, channel.version());
    // The empty line that stands in front of each table stands behind it here.
    text.push('\n');
    print(text.strip_prefix('\n').unwrap_or(&text))?;
    Ok(Outcome::Done)
}

/// Carries out the verb `dump-table-desc`.
pub(super) fn dump_descriptions(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 0)?;
    if channel.version() < OfVersion::OpenFlow14 {
        bail!("dump-table-desc needs OpenFlow 1.4 or later ('-O OpenFlow14')");
    }
    let replies = channel.all_parts(&OfMessage::MultipartRequest(MultipartRequest::TableDesc))?;
    call.print_numbers(&replies)
}

/// What `mod-table` changes.
enum Setting {
    Miss(TableMiss),
    Eviction(bool),
    Vacancy(Option<VacancyThresholds>),
    Name(String),
}

impl Setting {
    fn parse(word: &str) -> Result<Self, Usage> {
        let wrong = || Usage(format!("invalid table_mod setting {word}"));
        let number = |text: &str| text.trim().parse::<u8>().ok().filter(|number| *number <= 100);
        Ok(match word.split_once(':') {
            Some(("vacancy", range)) => {
                let (down, up) = range.split_once(',').ok_or_else(wrong)?;
                let (Some(down), Some(up)) = (number(down), number(up)) else {
                    return Err(Usage(format!(
                        "{word}: the thresholds are two numbers from 0 to 100"
                    )));
                };
                if down > up {
                    return Err(Usage(format!(
                        "{word}: the first threshold is above the second one"
                    )));
                }
                Self::Vacancy(Some(VacancyThresholds { down, up }))
            }
            Some(("name", name)) => Self::Name(name.to_owned()),
            _ => match word {
                "controller" => Self::Miss(TableMiss::Controller),
                "continue" => Self::Miss(TableMiss::Continue),
                "drop" => Self::Miss(TableMiss::Drop),
                "evict" => Self::Eviction(true),
                "noevict" => Self::Eviction(false),
                "novacancy" => Self::Vacancy(None),
                _ => return Err(wrong()),
            },
        })
    }

    /// The versions whose messages can say it.
    fn versions(&self) -> &'static [OfVersion] {
        use OfVersion::*;
        match self {
            Self::Miss(_) => &[OpenFlow11, OpenFlow12],
            Self::Eviction(_) | Self::Vacancy(_) => &[OpenFlow14, OpenFlow15],
            Self::Name(_) => &[OpenFlow13, OpenFlow14, OpenFlow15],
        }
    }
}

/// Carries out the verb `mod-table`.
pub(super) fn modify(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(2, 2)?;
    let (word, setting) = (&call.words[0], Setting::parse(&call.words[1])?);
    let table = match (word.as_str(), word.parse::<u8>()) {
        ("all" | "ALL" | "255", _) => None,
        (_, Ok(number)) if TableId::new(number).is_some() => TableId::new(number),
        _ => {
            return Err(
                Usage(format!("{word} is not a table: tables are 0 to 253, and all")).into()
            );
        }
    };
    let mut channel = call.open(2, 2)?;
    if !setting.versions().contains(&channel.version()) {
        let names: Vec<_> =
            setting.versions().iter().map(|version| control::version::name(*version)).collect();
        bail!(
            "table_mod '{}' requires one of the OpenFlow versions {}",
            call.words[1],
            names.join(", ")
        );
    }
    match setting {
        Setting::Name(name) => rename(&mut channel, table, &name)?,
        setting => {
            let request = request(&mut channel, table, &setting)?;
            channel.carry_out(&[OfMessage::TableMod(request)])?;
        }
    }
    switch::done(call)
}

/// The request that makes the setting. From OpenFlow 1.4 on a request sets everything, so it
/// repeats what does not change.
fn request(
    channel: &mut Channel,
    table: Option<TableId>,
    setting: &Setting,
) -> anyhow::Result<TableMod> {
    if let Setting::Miss(miss) = setting {
        return Ok(TableMod { table, miss: Some(*miss), ..TableMod::default() });
    }
    let now = table.map(|table| description(channel, table)).transpose()?.flatten();
    let mut request = TableMod {
        table,
        eviction: Some(now.as_ref().is_some_and(|now| now.eviction)),
        vacancy: Some(now.and_then(|now| now.vacancy).map(|(thresholds, _)| thresholds)),
        ..TableMod::default()
    };
    match setting {
        Setting::Eviction(is_on) => request.eviction = Some(*is_on),
        Setting::Vacancy(thresholds) => request.vacancy = Some(*thresholds),
        Setting::Miss(_) | Setting::Name(_) => {}
    }
    Ok(request)
}

/// How the table behaves now; `None` if the switch does not say.
fn description(channel: &mut Channel, table: TableId) -> anyhow::Result<Option<TableDesc>> {
    let encoding = channel.encoding();
    let mut found = None;
    let request = OfMessage::MultipartRequest(MultipartRequest::TableDesc);
    channel.parts(&request, |part| {
        if let OfMessage::MultipartReply(MultipartReply::TableDesc(tables), _) =
            OfMessage::decode(&part, encoding)?
        {
            found = tables.into_iter().find(|desc| desc.table == table).or(found.take());
        }
        Ok(())
    })?;
    Ok(found)
}

/// A request for the features of all tables.
fn asking_for_features() -> OfMessage {
    let request = MultipartRequest::TableFeatures(Vec::new());
    OfMessage::MultipartRequest(request)
}

/// The features of all tables, in the parts of a reply.
fn features(channel: &Channel, parts: &[Vec<u8>]) -> anyhow::Result<Vec<TableFeatures>> {
    let mut tables = Vec::new();
    for part in parts {
        match OfMessage::decode(part, channel.encoding())? {
            OfMessage::MultipartReply(MultipartReply::TableFeatures(some), _) => {
                tables.extend(some)
            }
            _ => bail!("the switch does not answer with features of tables"),
        }
    }
    Ok(tables)
}

/// Gives a table a name. As in `ovs-ofctl`, the request repeats the features of all tables as the
/// switch has told them, because it replaces all of them: Open vSwitch refuses a request about a
/// single table without its features.
fn rename(channel: &mut Channel, table: Option<TableId>, name: &str) -> anyhow::Result<()> {
    /// Where the features of a table have its number and its name, in bytes, and how long the name can be.
    const TABLE: usize = 2;
    const NAME: std::ops::Range<usize> = 8..40;
    /// Where a multipart has its body.
    const BODY: usize = openflow::HEADER_SIZE + 8;
    let Some(table) = table else {
        return Err(Usage("a name belongs to one table".to_owned()).into());
    };
    if name.len() >= NAME.len() {
        bail!("{name}: the name of a table has at most {} bytes", NAME.len() - 1);
    }
    let replies = channel.all_parts(&asking_for_features())?;
    let is_known = features(channel, &replies)?.iter().any(|features| features.table == table);
    if !is_known {
        bail!("the switch has no table {}", table.get());
    }
    let xid = channel.new_xid();
    let mut requests = Vec::new();
    for mut part in replies {
        // A request has the form of a reply, but for its type and its transaction id.
        part[1] -= 1;
        part[4..8].copy_from_slice(&xid.to_be_bytes());
        let mut at = BODY;
        while let Some(len) = part.get(at..at + 2) {
            let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
            let Some(features) = part.get_mut(at..at + len).filter(|part| part.len() > NAME.end)
            else {
                bail!("the switch does not answer with features of tables");
            };
            if features[TABLE] == table.get() {
                features[NAME].fill(0);
                features[NAME][..name.len()].copy_from_slice(name.as_bytes());
            }
            at += len;
        }
        requests.extend(part);
    }
    channel.send_bytes(&requests)?;
    channel.parts_of(xid, |_| Ok(()))
}
