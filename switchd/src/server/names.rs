//! Names of ports and tables, as rules and commands use them.

use super::refuse;
use crate::switch::OnBridge;
use control::Refusal;
use flow::text::PortNames;
use flow::types::{OfPort, TableId};
use flowtable::policy::Bridge;
use std::sync::OnceLock;

/// The ports and their names at one moment.
pub(super) type NameTable = Vec<(OfPort, String)>;

/// The ports and their names now.
pub(super) fn port_names(bridge: Bridge<'_>) -> NameTable {
    bridge.snapshot().ports().iter().map(|p| (p.of_port, p.name.to_string())).collect()
}

/// The names that rules of a bridge can use. Those of tables are looked up once a rule needs
/// them, which few rules do.
pub(super) struct Names<'a> {
    /// The ports at one moment.
    pub(super) ports: NameTable,
    tables: OnceLock<Vec<(TableId, String)>>,
    on: OnBridge<'a>,
}

impl<'a> Names<'a> {
    /// The names of a bridge.
    pub(super) fn of(on: OnBridge<'a>) -> Self {
        Self { ports: port_names(on.bridge()), tables: OnceLock::new(), on }
    }

    fn tables(&self) -> &[(TableId, String)] {
        self.tables.get_or_init(|| self.on.table_names(&self.on.name()))
    }
}

impl PortNames for Names<'_> {
    fn number(&self, name: &str) -> Option<OfPort> {
        self.ports.number(name)
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.ports.name(port)
    }

    fn table(&self, name: &str) -> Option<TableId> {
        self.tables().iter().find(|(_, n)| n == name).map(|(table, _)| *table)
    }

    fn table_name(&self, table: TableId) -> Option<&str> {
        self.tables().iter().find(|(t, _)| *t == table).map(|(_, name)| name.as_str())
    }

    fn all(&self) -> Vec<&str> {
        self.ports.all()
    }
}

/// The names to print with: none unless they are wanted.
pub(super) fn shown(names: &dyn PortNames, wanted: bool) -> Shown<'_> {
    Shown(wanted.then_some(names))
}

/// Names that are printed, or not.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a>(Option<&'a dyn PortNames>);

impl PortNames for Shown<'_> {
    fn number(&self, name: &str) -> Option<OfPort> {
        self.0?.number(name)
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.0?.name(port)
    }

    fn table(&self, name: &str) -> Option<TableId> {
        self.0?.table(name)
    }

    fn table_name(&self, table: TableId) -> Option<&str> {
        self.0?.table_name(table)
    }
}

/// The port that a user means by a number, or by a name, which may have the quotes around it
/// with which lists print it.
pub(super) fn find(bridge: Bridge<'_>, text: &str) -> Result<OfPort, Box<Refusal>> {
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let snapshot = bridge.snapshot();
    let ports = snapshot.ports();
    let by_number = || {
        let number = match text {
            t if t.eq_ignore_ascii_case("local") => OfPort::LOCAL,
            t => OfPort(t.parse().ok()?),
        };
        ports.get(number)
    };
    let port = ports.by_name(text).or_else(by_number);
    port.map(|p| p.of_port).ok_or_else(|| refuse::no_port(text))
}
