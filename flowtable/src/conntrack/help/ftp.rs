//! What the ends of an FTP control connection tell each other: where an end listens for the
//! connection that has the data.
//!
//! ```text
//! client:  PORT 10,0,0,1,4,210              server:  227 Entering Passive Mode (10,0,0,2,4,210).
//!          EPRT |1|10.0.0.1|1234|                    229 Entering Extended Passive Mode (|||1234|)
//!          EPRT |2|2001:db8::1|1234|
//! ```
//!
//! RFC 959 has PORT and 227, RFC 2428 the others. A command is recognised if it is whole in one segment.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// How many bytes of a segment are searched. Commands and replies are lines of less than that.
const SEARCHED: usize = 2048;

/// An address and a port in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToldAddress {
    /// The bytes of the payload that say it.
    pub(super) place: Range<usize>,
    /// The address; `None` if the sender's is meant.
    pub(super) address: Option<IpAddr>,
    /// The port, which is not 0.
    pub(super) port: u16,
    pub(super) form: ToldForm,
}

/// How an address and a port are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToldForm {
    /// As in `PORT h1,h2,h3,h4,p1,p2`: the bytes of an IPv4 address and of a port,
    /// most significant first, in decimal.
    Numbers,
    /// `|1|address|port|`, with this delimiter.
    Delimited(u8),
    /// The port alone.
    PortOnly,
}

/// A command that does not say what it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl ToldForm {
    /// An address and a port in this form.
    pub(super) fn write(self, address: IpAddr, port: u16) -> Vec<u8> {
        match (self, address) {
            (Self::Numbers, IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets();
                let [high, low] = port.to_be_bytes();
                format!("{a},{b},{c},{d},{high},{low}").into_bytes()
            }
            (Self::Delimited(delimiter), address) => {
                let (d, family) = (char::from(delimiter), if address.is_ipv4() { 1 } else { 2 });
                format!("{d}{family}{d}{address}{d}{port}{d}").into_bytes()
            }
            (Self::Numbers | Self::PortOnly, _) => port.to_string().into_bytes(),
        }
    }
}

/// The address that a payload tells, of the server if `is_reply` and of the client otherwise.
/// `None` if it tells none.
pub(super) fn read(payload: &[u8], is_reply: bool) -> Option<Result<ToldAddress, Malformed>> {
    let payload = &payload[..payload.len().min(SEARCHED)];
    let mut start = 0;
    for line in payload.split_inclusive(|byte| *byte == b'\n') {
        let mut at = Reader { payload: &payload[..start + line.len()], at: start };
        start += line.len();
        if !line.ends_with(b"\n") {
            return None;
        }
        let told = match is_reply {
            true if at.skip_word(b"227") => {
                at.skip_to_number();
                at.numbers()
            }
            true if at.skip_word(b"229") => {
                at.skip_behind(b'(');
                at.port_only()
            }
            false if at.skip_word(b"PORT ") => {
                at.skip_blanks();
                at.numbers()
            }
            false if at.skip_word(b"EPRT ") => {
                at.skip_blanks();
                at.delimited()
            }
            _ => continue,
        };
        return Some(told.ok_or(Malformed));
    }
    None
}

/// A place in a payload, from which a line is read.
struct Reader<'a> {
    /// The payload up to the end of the line.
    payload: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.payload.get(self.at).copied()
    }

    /// Skips a word in letters of any case, if it is there.
    fn skip_word(&mut self, word: &[u8]) -> bool {
        let found = self.payload.get(self.at..self.at + word.len());
        let is_there = found.is_some_and(|found| found.eq_ignore_ascii_case(word));
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Goes to the numbers of a reply: behind its first parenthesis, or to its first digit.
    fn skip_to_number(&mut self) {
        let rest = &self.payload[self.at..];
        let open = rest.iter().position(|byte| *byte == b'(').map(|at| at + 1);
        let digit = || rest.iter().position(u8::is_ascii_digit);
        self.at += open.or_else(digit).unwrap_or(rest.len());
    }

    fn skip_behind(&mut self, byte: u8) {
        let rest = &self.payload[self.at..];
        self.at += rest.iter().position(|b| *b == byte).map_or(rest.len(), |at| at + 1);
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    /// A decimal number. Something has to follow it, so that it is whole.
    fn number(&mut self) -> Option<u16> {
        let rest = &self.payload[self.at..];
        let size = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        self.at += size;
        std::str::from_utf8(&rest[..size]).ok()?.parse().ok()
    }

    fn port(&mut self) -> Option<u16> {
        self.number().filter(|port| *port != 0)
    }

    /// Reads the form [`ToldForm::Numbers`]. `None` if the text has another form, or port 0.
    fn numbers(&mut self) -> Option<ToldAddress> {
        let start = self.at;
        let mut bytes = [0u8; 6];
        for (index, byte) in bytes.iter_mut().enumerate() {
            if index > 0 {
                self.take(b',')?;
            }
            *byte = self.number()?.try_into().ok()?;
        }
        let [a, b, c, d, high, low] = bytes;
        let port = u16::from_be_bytes([high, low]);
        let address = Some(Ipv4Addr::new(a, b, c, d).into());
        let place = start..self.at;
        (port != 0).then_some(ToldAddress { place, address, port, form: ToldForm::Numbers })
    }

    /// Reads the form [`ToldForm::Delimited`]. `None` if the text has another form, port 0, or an address of
    /// another family than it says.
    fn delimited(&mut self) -> Option<ToldAddress> {
        let start = self.at;
        let delimiter = self.peek().filter(u8::is_ascii_graphic)?;
        self.take(delimiter)?;
        let family = self.number()?;
        self.take(delimiter)?;
        let rest = &self.payload[self.at..];
        let size = rest.iter().position(|byte| *byte == delimiter)?;
        let address: IpAddr = std::str::from_utf8(&rest[..size]).ok()?.parse().ok()?;
        self.at += size + 1;
        let port = self.port()?;
        self.take(delimiter)?;
        let is_family = family == if address.is_ipv4() { 1 } else { 2 };
        is_family.then_some(ToldAddress {
            place: start..self.at,
            address: Some(address),
            port,
            form: ToldForm::Delimited(delimiter),
        })
    }

    /// Reads `|||port|` with any delimiter, the form [`ToldForm::PortOnly`]. `None` if the text has another
    /// form, or port 0.
    fn port_only(&mut self) -> Option<ToldAddress> {
        let delimiter = self.peek().filter(u8::is_ascii_graphic)?;
        (0..3).try_for_each(|_| self.take(delimiter))?;
        let start = self.at;
        let port = self.port()?;
        let place = start..self.at;
        self.take(delimiter)?;
        Some(ToldAddress { place, address: None, port, form: ToldForm::PortOnly })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which text of a payload tells which address and port.
    fn check(payload: &str, is_reply: bool, text: &str, address: Option<&str>, port: u16) {
        let told = read(payload.as_bytes(), is_reply).expect(payload).expect(payload);
        assert_eq!(&payload[told.place.clone()], text, "{payload}");
        assert_eq!(told.address, address.map(|text| text.parse().unwrap()), "{payload}");
        assert_eq!(told.port, port, "{payload}");
        if let Some(address) = told.address {
            assert_eq!(told.form.write(address, port), text.as_bytes(), "{payload}");
        }
    }

    #[test]
    fn commands_and_replies_tell_an_address() {
        let four = Some("10.0.0.1");
        check("PORT 10,0,0,1,4,210\r\n", false, "10,0,0,1,4,210", four, 1234);
        check("port   10,0,0,1,0,21\n", false, "10,0,0,1,0,21", four, 21);
        check("TYPE I\r\nPORT 10,0,0,1,4,210\r\n", false, "10,0,0,1,4,210", four, 1234);
        check("EPRT |1|10.0.0.1|1234|\r\n", false, "|1|10.0.0.1|1234|", four, 1234);
        let six = Some("2001:db8::1");
        check("EPRT !2!2001:db8::1!1234!\r\n", false, "!2!2001:db8::1!1234!", six, 1234);
        let passive = "227 Entering Passive Mode (10,0,0,1,4,210).\r\n";
        check(passive, true, "10,0,0,1,4,210", four, 1234);
        check("227 =10,0,0,1,4,210\r\n", true, "10,0,0,1,4,210", four, 1234);
        check("229 Entering Extended (|||1234|)\r\n", true, "1234", None, 1234);
    }

    #[test]
    fn other_payloads_tell_nothing() {
        for (payload, is_reply) in [
            ("", false),
            ("USER PORT 10,0,0,1,4,210\r\n", false),
            ("PORT 10,0,0,1,4,21", false),
            ("PORT 10,0,0,1,4,210\r\n", true),
            ("227 Entering Passive Mode (10,0,0,1,4,210)\r\n", false),
            ("220 welcome\r\n", true),
        ] {
            assert_eq!(read(payload.as_bytes(), is_reply), None, "{payload}");
        }
    }

    #[test]
    fn commands_that_say_nothing_sensible_are_malformed() {
        for (payload, is_reply) in [
            ("PORT 10,0,0,1,4\r\n", false),
            ("PORT 10,0,0,256,4,210\r\n", false),
            ("PORT 10,0,0,1,0,0\r\n", false),
            ("PORT 99999999999999999999,0,0,1,0,1\r\n", false),
            ("EPRT |2|10.0.0.1|1234|\r\n", false),
            ("EPRT |1|10.0.0.1|1234\r\n", false),
            ("EPRT \r\n", false),
            ("227 no numbers\r\n", true),
            ("229 (||1|1234|)\r\n", true),
            ("229 (|||65536|)\r\n", true),
        ] {
            assert_eq!(read(payload.as_bytes(), is_reply), Some(Err(Malformed)), "{payload}");
        }
    }
}
