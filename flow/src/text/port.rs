//! Parses and prints ports: numbers, names of reserved ports, and names of the bridge's ports. What names a
//! bridge has is here, too.

use super::error::Fault;
use super::printable::quoted;
use super::words::closest;
use crate::types::{OfPort, TableId};
use std::fmt::Write;

/// The names of a bridge's ports, and of its tables.
pub trait PortNames {
    /// The number of the port with this name; `None` if no port has the name.
    fn number(&self, name: &str) -> Option<OfPort>;

    /// The name of the port with this number; `None` prints the number.
    fn name(&self, port: OfPort) -> Option<&str>;

    /// The table with this name; `None` if no table has the name.
    fn table(&self, _name: &str) -> Option<TableId> {
        None
    }

    /// The name of a table; `None` prints the number.
    fn table_name(&self, _table: TableId) -> Option<&str> {
        None
    }

    /// Every name of a port. A misspelt one gets the nearest of them as a hint.
    fn all(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The port names of a bridge that is not known: no port has a name.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPortNames;

impl PortNames for NoPortNames {
    fn number(&self, _: &str) -> Option<OfPort> {
        None
    }

    fn name(&self, _: OfPort) -> Option<&str> {
        None
    }
}

/// Ports in the order given, as `(number, name)`.
impl PortNames for Vec<(OfPort, String)> {
    fn number(&self, name: &str) -> Option<OfPort> {
        self.iter().find(|(_, n)| n == name).map(|(port, _)| *port)
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.iter().find(|(p, _)| *p == port).map(|(_, name)| name.as_str())
    }

    fn all(&self) -> Vec<&str> {
        self.iter().map(|(_, name)| name.as_str()).collect()
    }
}

/// The names of ports and of tables.
#[derive(Clone, Debug, Default)]
pub struct BridgeNames {
    /// Ports, as `(number, name)`.
    pub ports: Vec<(OfPort, String)>,
    /// Tables, as `(number, name)`; tables without a name are missing.
    pub tables: Vec<(TableId, String)>,
}

impl PortNames for BridgeNames {
    fn number(&self, name: &str) -> Option<OfPort> {
        self.ports.number(name)
    }

    fn name(&self, port: OfPort) -> Option<&str> {
        self.ports.name(port)
    }

    fn table(&self, name: &str) -> Option<TableId> {
        self.tables.iter().find(|(_, n)| n == name).map(|(table, _)| *table)
    }

    fn table_name(&self, table: TableId) -> Option<&str> {
        self.tables.iter().find(|(t, _)| *t == table).map(|(_, name)| name.as_str())
    }

    fn all(&self) -> Vec<&str> {
        self.ports.all()
    }
}

/// The first number that no port of a bridge has.
const FIRST_RESERVED: u32 = OfPort::MAX.0 as u32;
/// The first number of a reserved port that a user can name. The numbers below, from [`FIRST_RESERVED`] on,
/// have no meaning.
const FIRST_NAMED: u16 = 0xfff8;

/// The names of the reserved ports. Of several names of one port, printing uses the first.
const RESERVED: [(&str, OfPort); 10] = [
    ("IN_PORT", OfPort::IN_PORT),
    ("TABLE", OfPort::TABLE),
    ("NORMAL", OfPort::NORMAL),
    ("FLOOD", OfPort::FLOOD),
    ("ALL", OfPort::ALL),
    ("CONTROLLER", OfPort::CONTROLLER),
    ("LOCAL", OfPort::LOCAL),
    ("ANY", OfPort::NONE),
    ("NONE", OfPort::NONE),
    ("UNSET", OfPort(0xfff7)),
];

/// Parses a port: a number, the name of a reserved port in any case, or the name of a port, quoted or not.
pub(super) fn parse(text: &str, names: &dyn PortNames, lenient: bool) -> Result<OfPort, Fault> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return by_number(text, lenient);
    }
    if let Some(port) = reserved(text) {
        return Ok(port);
    }
    let name = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    if let Some(port) = names.number(name) {
        return Ok(port);
    }
    let fault = Fault::new(match text {
        "" => "a port is missing".to_owned(),
        _ => format!("there is no port {}", quoted(name)),
    });
    let known = names.all();
    let candidates = known.iter().copied().chain(RESERVED.iter().map(|(n, _)| *n));
    Err(match closest(name, candidates) {
        Some(close) => fault.hint(format!("did you mean {close:?}?")),
        None => fault,
    })
}

/// The reserved port with this name, in upper or lower case.
pub(super) fn reserved(text: &str) -> Option<OfPort> {
    RESERVED.iter().find(|(n, _)| n.eq_ignore_ascii_case(text)).map(|(_, port)| *port)
}

fn by_number(text: &str, lenient: bool) -> Result<OfPort, Fault> {
    let number: u32 =
        text.parse().map_err(|_| Fault::new(format!("{text} is not a port number")))?;
    match number {
        0..FIRST_RESERVED => Ok(OfPort(number as u16)),
        FIRST_RESERVED..=0xffff if lenient || number as u16 >= FIRST_NAMED => {
            Ok(OfPort(number as u16))
        }
        0xffff_ff00.. => Ok(OfPort(number as u16)),
        _ => Err(Fault::new(format!("{text} is not a port number"))
            .hint(format!("ports have the numbers 1 to {}", FIRST_RESERVED - 1))),
    }
}

/// Appends a port as `ovs-ofctl` prints it: the name of a reserved port, the name of the port (quoted unless it
/// is alphanumeric), or the number. A port that has the name of a reserved one gets quotes, and one whose name
/// would end the text around it its number, so that what is printed can be read again.
pub fn write(out: &mut String, port: OfPort, names: &dyn PortNames) {
    if let Some((name, _)) = RESERVED.iter().find(|(_, p)| *p == port) {
        out.push_str(name);
        return;
    }
    match names.name(port).filter(|name| !name.contains(UNREADABLE)) {
        Some(name) if reserved(name).is_some() => {
            let _ = write!(out, "\"{name}\"");
        }
        Some(name) => write_name(out, name),
        None => {
            let _ = write!(out, "{}", port.0);
        }
    }
}

/// What has a meaning in the text around a port even between quotes: a comment, parentheses and quotes.
const UNREADABLE: [char; 5] = ['#', '(', ')', '"', '\''];

/// Appends a name, with quotes around it unless it is alphanumeric.
pub(super) fn write_name(out: &mut String, name: &str) {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_plain {
        out.push_str(name);
    } else {
        out.push('"');
        out.push_str(name);
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<(OfPort, String)> {
        vec![(OfPort(1), "veth0".to_owned()), (OfPort(2), "br-ex".to_owned())]
    }

    #[test]
    fn ports_are_numbers_or_names() {
        let names = names();
        let parse = |text| super::parse(text, &names, false).map_err(|e| e.message);
        assert_eq!(parse("7"), Ok(OfPort(7)));
        assert_eq!(parse("veth0"), Ok(OfPort(1)));
        assert_eq!(parse("\"br-ex\""), Ok(OfPort(2)));
        assert_eq!(parse("local"), Ok(OfPort::LOCAL));
        assert_eq!(parse("65534"), Ok(OfPort::LOCAL));
        assert_eq!(parse("4294967294"), Ok(OfPort::LOCAL));
        for bad in ["", "veth9", "65300", "70000", "-1", "99999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let error = super::parse("veth1", &names, false).unwrap_err();
        assert_eq!(error.message, "there is no port \"veth1\"");
        let quoted = super::parse("\"veth1\"", &names, false).unwrap_err();
        assert_eq!(quoted.message, error.message);
        assert_eq!(error.hint.unwrap(), "did you mean \"veth0\"?");
    }

    #[test]
    fn names_that_are_not_words_are_quoted() {
        let names = names();
        let mut out = String::new();
        for port in [1, 2, 3, 0xfffe, 0xffff] {
            write(&mut out, OfPort(port), &names);
            out.push(' ');
        }
        assert_eq!(out, "veth0 \"br-ex\" 3 LOCAL ANY ");
    }

    #[test]
    fn names_that_would_be_read_as_something_else_are_not_printed_bare() {
        let check = |name: &str, expected| {
            let names = vec![(OfPort(7), name.to_owned())];
            let mut out = String::new();
            write(&mut out, OfPort(7), &names);
            assert_eq!(out, expected);
            assert_eq!(parse(&out, &names, false).ok(), Some(OfPort(7)), "{name}");
        };
        check("NORMAL", "\"NORMAL\"");
        check("local", "\"local\"");
        check("12", "\"12\"");
        for name in ["a#b", "a(b", "a)b", "a\"b", "'b"] {
            check(name, "7");
        }
    }
}
