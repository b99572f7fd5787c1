//! How tables behave: the verbs `dump-table-desc` and `mod-table`.

use crate::Outcome;
use crate::connect::{call, unexpected};
use crate::flows::version_mark;
use crate::options::{Options, Words};
use crate::output::{print, print_json, tell_reply};
use control::record::{TableDescRecord, VacancyRecord};
use control::{Operation, Reply};
use flow::types::OfVersion;

/// Carries out the verb `dump-table-desc`.
pub(crate) fn describe(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::TableDescs(tables) = call.client.ask(Operation::DumpTableDesc)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&tables)?,
        false => print(&render(&tables, options.how.version()))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `mod-table`.
pub(crate) fn modify(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 2, 2)?;
    let [table, setting] = [0, 1].map(|n| call.words[n].to_string());
    let reply = call.client.ask(Operation::ModTable { table, setting })?;
    tell_reply(&options.how, &reply)
}

/// The descriptions as `ovs-ofctl` prints them. OpenFlow has them from 1.4 on.
fn render(tables: &[TableDescRecord], version: OfVersion) -> String {
    let mark = version_mark(version.max(OfVersion::OpenFlow14));
    let entries: Vec<String> = tables.iter().map(entry).collect();
    format!("OFPST_TABLE_DESC reply {mark}(xid=0x2):\n{}", entries.join("\n"))
}

fn entry(table: &TableDescRecord) -> String {
    let switch = |is_on| if is_on { "on" } else { "off" };
    let vacancy = table.vacancy.map(|VacancyRecord { down, up, now }| {
        format!(" vacancy_down={down}% vacancy_up={up}% vacancy={now}%")
    });
    let eviction = switch(table.eviction);
    let events = switch(vacancy.is_some());
    format!(
        "  table {}:\n   eviction={eviction} eviction_flags=OTHER|IMPORTANCE|LIFETIME\n   vacancy={events}{}\n",
        table.table,
        vacancy.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_those_of_ovs_ofctl() {
        let vacancy = Some(VacancyRecord { down: 10, up: 20, now: 100 });
        let tables = [
            TableDescRecord { table: 3, eviction: true, ..TableDescRecord::default() },
            TableDescRecord { table: 4, vacancy, ..TableDescRecord::default() },
        ];
        assert_eq!(
            render(&tables, OfVersion::OpenFlow10),
            "OFPST_TABLE_DESC reply (OF1.4) (xid=0x2):\n  \
             table 3:\n   eviction=on eviction_flags=OTHER|IMPORTANCE|LIFETIME\n   vacancy=off\n\n  \
             table 4:\n   eviction=off eviction_flags=OTHER|IMPORTANCE|LIFETIME\n   \
             vacancy=on vacancy_down=10% vacancy_up=20% vacancy=100%\n"
        );
    }
}
