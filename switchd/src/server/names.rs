//! Names of ports, as rules and commands use them.

use super::refuse;
use control::Refusal;
use flow::text::PortNames;
use flow::types::OfPort;
use flowtable::policy::Bridge;

/// The ports and their names at one moment.
pub(super) type NameTable = Vec<(OfPort, String)>;

/// The ports and their names now.
pub(super) fn port_names(bridge: Bridge<'_>) -> NameTable {
    bridge.snapshot().ports().iter().map(|p| (p.of_port, p.name.to_string())).collect()
}

/// The names to print with: none unless they are wanted.
pub(super) fn shown(table: &NameTable, wanted: bool) -> Shown<'_> {
    Shown(wanted.then_some(table))
}

/// Port names that are printed, or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a>(Option<&'a NameTable>);

impl PortNames for Shown<'_> {
    fn number(&self, name: &str) -> Option<OfPort> {
        self.0?.number(name)
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.0?.name(port)
    }
}

/// The port that a user means by a number, or by a name, which may have the quotes around it with which lists print it.
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
