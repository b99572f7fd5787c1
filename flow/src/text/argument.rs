//! Parses the arguments of actions: the text behind the colon or in the parentheses.

use super::error::Fault;
use super::pairs::Pairs;
use super::print::{REASON_ACTION, REASONS};
use super::printable::quoted;
use super::protocol::Protocols;
use super::value::{self, Masked};
use super::words::{self, field as any_field};
use super::{ParseContext, number, port, subfield};
use crate::action::{Action, Clause, SetFieldForm, Subfield};
use crate::fields::{FieldId, ones};
use crate::types::{MacAddr, MeterId, OfPort, TableId, mac_of_bits};

/// The widest subfield that `output:SRC[a..b]` accepts. `NXAST_OUTPUT_REG` has six bits
/// for the width minus one.
const MAX_PORT_BITS: u16 = 64;

/// The smallest `max_len` of `output(port=PORT,max_len=N)`: the size of an Ethernet header in bytes.
const MIN_TRUNCATED: u32 = 14;

/// The argument of an action. Each method parses the argument of one action or one kind of value; faults begin
/// with the action's name.
#[derive(Clone, Copy)]
pub(super) struct Argument<'a> {
    /// The name of the action, or of an argument within parentheses (`max_len`).
    pub(super) name: &'a str,
    /// The text of the argument; empty if there is none.
    pub(super) text: &'a str,
    pub(super) context: &'a ParseContext<'a>,
}

impl<'a> Argument<'a> {
    fn with(self, name: &'a str, text: &'a str) -> Self {
        Self { name, text, ..self }
    }

    pub(super) fn number(self, max: u64) -> Result<u64, Fault> {
        let read = match self.context.lenient {
            // Open vSwitch checks numbers of up to 16 bits, and cuts longer ones off at 32 bits.
            true => match number::strtoull(self.text, 0) {
                Some((n, "")) if n <= max => Ok(n),
                Some((n, "")) if max == u64::from(u32::MAX) => Ok(n & max),
                _ => Err(Fault::new(format!("{} is not a valid number here", quoted(self.text)))),
            },
            false => number::at_most(self.text, max.into()).map(|n| n as u64),
        };
        read.map_err(|fault| fault.of(self.name))
    }

    pub(super) fn u8(self, max: u8) -> Result<u8, Fault> {
        self.number(max.into()).map(|n| n as u8)
    }

    pub(super) fn u16(self, max: u16) -> Result<u16, Fault> {
        self.number(max.into()).map(|n| n as u16)
    }

    pub(super) fn u32(self) -> Result<u32, Fault> {
        self.number(u32::MAX.into()).map(|n| n as u32)
    }

    /// The number of a meter that rules can use.
    pub(super) fn meter(self) -> Result<MeterId, Fault> {
        match self.number(MeterId::MAX.0.into())? as u32 {
            0 => Err(Fault::new("0 is not the number of a meter")
                .hint("meters have numbers from 1 to 4294901760")),
            number => Ok(MeterId(number)),
        }
    }

    fn port(self, text: &str) -> Result<OfPort, Fault> {
        port::parse(text, self.context.ports, self.context.lenient)
            .map_err(|fault| fault.of(self.name))
    }

    pub(super) fn table(self, text: &str) -> Result<TableId, Fault> {
        super::table_number(text, self.context.ports)?
            .ok_or_else(|| Fault::new(format!("{}: table 255 means \"all tables\"", self.name)))
    }

    pub(super) fn ether_type(self, allowed: &[u16]) -> Result<u16, Fault> {
        let ty = self.u16(u16::MAX)?;
        if allowed.contains(&ty) {
            return Ok(ty);
        }
        let list: Vec<_> = allowed.iter().map(|t| format!("{t:#06x}")).collect();
        Err(Fault::new(format!("{}: {} is not possible", self.name, self.text))
            .hint(format!("write {}", list.join(" or "))))
    }

    pub(super) fn mac(self) -> Result<MacAddr, Fault> {
        let bits = value::mac(self.text, self.context.lenient).ok_or_else(|| {
            Fault::new(format!("{}: {} is not an Ethernet address", self.name, quoted(self.text)))
        })?;
        Ok(mac_of_bits(bits))
    }

    pub(super) fn ipv4(self) -> Result<u32, Fault> {
        value::ipv4(self.text, false).ok_or_else(|| {
            Fault::new(format!("{}: {} is not an IPv4 address", self.name, quoted(self.text)))
        })
    }

    pub(super) fn tos(self) -> Result<u8, Fault> {
        let tos = self.u8(u8::MAX)?;
        if tos & 3 != 0 {
            let fault = Fault::new(format!("{}: {tos} has ECN bits", self.name));
            return Err(fault.hint(format!("write {}, and mod_nw_ecn:{}", tos & 0xfc, tos & 3)));
        }
        Ok(tos)
    }

    pub(super) fn output(self) -> Result<Action, Fault> {
        if self.text.contains("port") && self.text.contains("max_len") {
            return self.truncated_output();
        }
        let fault = match self.port(self.text) {
            Ok(OfPort::CONTROLLER) => return Ok(plain_controller(u16::MAX)),
            Ok(port) => return Ok(Action::output(port)),
            Err(fault) => fault,
        };
        let is_field = self.text.contains('[')
            || any_field(self.text).is_some_and(|f| !f.def().wire.is_empty());
        if !is_field {
            return Err(fault);
        }
        let src = subfield::parse(self.text)?;
        if src.n_bits > MAX_PORT_BITS && !self.context.lenient {
            return Err(Fault::new(format!("output: {} bits are too many", src.n_bits))
                .hint(format!("name at most {MAX_PORT_BITS}; a port has 16")));
        }
        Ok(Action::OutputReg { src, max_len: u16::MAX })
    }

    fn truncated_output(self) -> Result<Action, Fault> {
        let (mut port, mut max_len) = (None, None);
        for pair in Pairs::new(self.text) {
            match pair.key {
                "port" => port = Some(self.port(pair.value)?),
                "max_len" => max_len = Some(self.with("max_len", pair.value).u32()?),
                key => {
                    return Err(Fault::new(format!(
                        "output: there is no argument {}",
                        quoted(key)
                    )));
                }
            }
        }
        let (Some(port), Some(max_len)) = (port, max_len) else {
            return Err(Fault::new("output: write output(port=PORT,max_len=BYTES)"));
        };
        if port >= OfPort::MAX && !matches!(port, OfPort::LOCAL | OfPort::IN_PORT) {
            return Err(Fault::new(format!("output: copies to {port} cannot be truncated")));
        }
        if max_len < MIN_TRUNCATED {
            return Err(Fault::new(format!("output: max_len {max_len} is too small"))
                .hint(format!("the smallest value is {MIN_TRUNCATED}")));
        }
        Ok(Action::OutputTrunc { port, max_len })
    }

    pub(super) fn controller(self) -> Result<Action, Fault> {
        let mut action = plain_controller(u16::MAX);
        let Action::Controller { max_len, reason, controller_id, userdata, pause, meter_id } =
            &mut action
        else {
            return Ok(action);
        };
        if self.text.bytes().all(|b| b.is_ascii_digit()) {
            if !self.text.is_empty() {
                *max_len = self.u16(u16::MAX)?;
            }
            return Ok(action);
        }
        for pair in Pairs::new(self.text) {
            let arg = self.with(pair.key, pair.value);
            match pair.key {
                "max_len" => *max_len = arg.u16(u16::MAX)?,
                "id" => *controller_id = arg.u16(u16::MAX)?,
                "userdata" => *userdata = arg.hex_bytes()?,
                "pause" => *pause = true,
                "meter_id" => *meter_id = Some(arg.u32()?),
                "reason" => *reason = arg.reason()?,
                key => {
                    return Err(Fault::new(format!(
                        "controller: there is no argument {}",
                        quoted(key)
                    )));
                }
            }
        }
        Ok(action)
    }

    fn reason(self) -> Result<u8, Fault> {
        let named = REASONS.iter().position(|r| r.eq_ignore_ascii_case(self.text));
        named.map(|n| n as u8).ok_or_else(|| {
            Fault::new(format!("{} is not a reason", quoted(self.text)))
                .hint(format!("the reasons are {}", REASONS.join(", ")))
        })
    }

    /// `PORT:QUEUE`, `PORTqQUEUE` or `PORT,QUEUE`
    pub(super) fn enqueue(self) -> Result<Action, Fault> {
        let text = self.text.trim_start_matches([':', 'q', ',']);
        let end = text.find([':', 'q', ',']);
        let (port, queue) = end.map_or((text, ""), |i| (&text[..i], &text[i + 1..]));
        if port.is_empty() || queue.is_empty() {
            return Err(Fault::new("enqueue: write enqueue:PORT:QUEUE"));
        }
        Ok(Action::Enqueue { port: self.port(port)?, queue: self.with("queue", queue).u32()? })
    }

    /// `VALUE->FIELD`
    fn split_arrow(self) -> Result<(&'a str, &'a str), Fault> {
        match self.text.split_once("->") {
            Some((value, field)) if !field.is_empty() => Ok((value, field)),
            _ => Err(Fault::new(format!("{}: {} has no ->FIELD", self.name, quoted(self.text)))),
        }
    }

    pub(super) fn set_field(self, usable: &mut Protocols) -> Result<Action, Fault> {
        let (text, name) = self.split_arrow()?;
        let field = match words::lookup(name) {
            Some(&words::Word::Field(field)) => field,
            _ => {
                let fault = subfield::unknown(name);
                return Err(match any_field(name) {
                    Some(field) => Fault::new(format!("set_field: {name} is not a field name"))
                        .hint(format!("write {}", field.def().name)),
                    None => fault.of(self.name),
                });
            }
        };
        let def = field.def();
        if !def.writable {
            return Err(Fault::new(format!("set_field: {name} cannot be changed")));
        }
        if def.wire.is_empty() {
            return Err(subfield::no_wire_name(field));
        }
        let Masked { value, mask } = self.assigned(field, text).map_err(|f| f.of(name))?;
        *usable = usable.and(Protocols::for_value(field));
        let is_whole = mask == def.whole;
        let covers = mask & def.legal == def.legal;
        let form = match covers && !is_whole {
            true => SetFieldForm::MaskedSetField,
            false => SetFieldForm::SetField,
        };
        // A `load` of more bits than the field can use is a set_field with such a mask in OpenFlow 1.5. Its
        // mask stays as it was, so that the rule is read back as it was written.
        let mask = if is_whole { def.legal } else { mask & (ones(def.bits) | def.legal) };
        // An empty mask is what a controller may have sent, and what a dump shows of it.
        if !self.context.lenient && mask != 0 && mask & def.legal == 0 {
            return Err(Fault::new(format!("set_field: {text} changes no bit of {name}")));
        }
        let value = value & def.legal;
        Ok(Action::SetField { field, value, mask, form })
    }

    /// Parses the value of a `set_field`. Unlike in a match, a VLAN id may lack the tag-present bit.
    fn assigned(self, field: FieldId, text: &str) -> Result<Masked, Fault> {
        // What dumps show, as those of Open vSwitch do, of an assignment to no bit.
        if text == "ANY" {
            return Ok(Masked { value: 0, mask: 0 });
        }
        let lenient = self.context.lenient;
        let is_vlan = matches!(field, FieldId::VlanVid | FieldId::VlanTci);
        let masked = match text.split_once('/') {
            // An assignment can have a mask of every field, unlike a match. Dumps of
            // OpenFlow 1.5 have such masks.
            Some((value, mask)) if !lenient && !field.def().maskable => {
                let max = field.def().whole;
                let (value, mask) = (number::at_most(value, max)?, number::at_most(mask, max)?);
                Masked { value, mask }
            }
            _ => value::parse(field, text, self.context.ports, lenient || is_vlan)?,
        };
        let all = field.def().whole;
        if masked.value & !all != 0 || masked.value & !field.def().legal & masked.mask != 0 {
            return Err(Fault::new(format!("{text} is too large")));
        }
        if !lenient && masked.value & !masked.mask != 0 {
            return Err(Fault::new(format!("{text} has bits outside its mask")));
        }
        Ok(masked)
    }

    /// The key of `set_tunnel`, or of `set_tunnel64` if `has_64` says so.
    pub(super) fn set_tunnel(self, has_64: bool) -> Result<Action, Fault> {
        let id = match self.context.lenient {
            // `number` cuts such a number off at 32 bits, which Open vSwitch does not do here.
            true => match number::strtoull(self.text, 0) {
                Some((id, "")) => id,
                _ => self.number(u64::MAX)?,
            },
            false => self.number(u64::MAX)?,
        };
        Ok(Action::SetTunnel { id, is_wide: has_64 || id > u32::MAX.into() })
    }

    pub(super) fn load(self) -> Result<Action, Fault> {
        let (text, name) = self.split_arrow()?;
        let sub = subfield::parse(name)?;
        check_writable(sub)?;
        let bytes = sub.field.def().wire_len();
        let value = match self.context.lenient {
            true => match number::field_bytes(text, bytes) {
                Some((n, "")) => n,
                _ => return Err(Fault::new(format!("load: {} is not a number", quoted(text)))),
            },
            false => number::integer(text).map_err(|f| f.of("load"))?,
        };
        fits(text, value, sub)?;
        let (value, mask) = (value << sub.offset, sub.mask());
        let form = SetFieldForm::of_load(sub.field);
        Ok(Action::SetField { field: sub.field, value, mask, form })
    }

    pub(super) fn copy(self) -> Result<Action, Fault> {
        let (src, dst) = self.split_arrow()?;
        let (src, dst) = (subfield::parse(src)?, subfield::parse(dst)?);
        if src.n_bits != dst.n_bits {
            return Err(Fault::new(format!(
                "move: the source has {} bits but the destination {}",
                src.n_bits, dst.n_bits
            )));
        }
        check_writable(dst)?;
        Ok(Action::Move { src, dst })
    }

    /// The option that `delete_field` takes away.
    pub(super) fn delete_field(self) -> Result<Action, Fault> {
        let field = subfield::parse(self.text)?.field;
        match field {
            FieldId::TunMetadata(_) => Ok(Action::DeleteField(field)),
            _ => {
                let fault = Fault::new(format!("{} cannot be taken away", field.def().name));
                Err(fault.hint("only options of tunnels can, tun_metadata0 to tun_metadata63"))
            }
        }
    }

    pub(super) fn controller_ids(self) -> Result<Vec<u16>, Fault> {
        let mut parts = self.text.split([',', ' ']).filter(|part| !part.is_empty()).peekable();
        if !self.text.is_empty() && parts.peek().is_none() {
            return Err(Fault::new("dec_ttl: an id of a controller is missing")
                .hint("write dec_ttl, or dec_ttl(ID,ID)"));
        }
        let id = |part| match self.context.lenient {
            true => Ok(number::strtoull(part, 10).map_or(0, |(n, _)| n as u16)),
            false => self.with("dec_ttl", part).u16(u16::MAX),
        };
        parts.map(id).collect()
    }

    pub(super) fn resubmit(self) -> Result<Action, Fault> {
        let mut parts = self.text.split(',');
        let port = parts.next().unwrap_or_default();
        let table = parts.next().unwrap_or_default();
        let in_port = match port {
            "" => None,
            _ => Some(self.port(port)?).filter(|p| *p != OfPort::IN_PORT),
        };
        let table = match table {
            "" => None,
            _ => super::table_number(table, self.context.ports).map_err(|f| f.of("resubmit"))?,
        };
        match parts.next() {
            None | Some("") => {}
            Some("ct") => {
                return Err(Fault::new(
                    "resubmit: this switch does not look up the first packet of a connection (ct)",
                ));
            }
            Some(other) => {
                return Err(Fault::new(format!(
                    "resubmit: {} is one argument too many",
                    quoted(other)
                ))
                .hint("write resubmit(PORT,TABLE)"));
            }
        }
        if in_port.is_none() && table.is_none() {
            return Err(Fault::new("resubmit needs a port or a table")
                .hint("write resubmit(,TABLE), resubmit(PORT,TABLE) or resubmit:PORT"));
        }
        Ok(Action::Resubmit { in_port, table })
    }

    pub(super) fn clause(self) -> Result<Clause, Fault> {
        let parts = self.text.split_once(',').and_then(|(id, of)| Some((id, of.split_once('/')?)));
        let Some((id, (clause, clauses))) = parts else {
            return Err(Fault::new("conjunction needs a number, a clause and how many there are")
                .hint("write conjunction(ID,CLAUSE/CLAUSES), like conjunction(7,1/2)"));
        };
        let number = |text: &'a str| self.with("conjunction", text.trim());
        let id = number(id).conjunction()?;
        let (clause, clauses) = (number(clause).u8(u8::MAX)?, number(clauses).u8(u8::MAX)?);
        if !(2..=Clause::MAX).contains(&clauses) {
            return Err(Fault::new(format!("a conjunction cannot have {clauses} clauses"))
                .hint(format!("it has 2 to {} clauses", Clause::MAX)));
        }
        if !(1..=clauses).contains(&clause) {
            return Err(Fault::new(format!("there is no clause {clause} of {clauses}"))
                .hint(format!("the first is clause 1, the last clause {clauses}")));
        }
        Ok(Clause { id, clause, clauses })
    }

    /// The number of a conjunction. Open vSwitch reads a signed number.
    fn conjunction(self) -> Result<u32, Fault> {
        match self.text.strip_prefix('-') {
            Some(digits) if self.context.lenient => {
                self.with(self.name, digits).u32().map(u32::wrapping_neg)
            }
            _ => self.u32(),
        }
    }

    pub(super) fn check_pkt_larger(self) -> Result<Action, Fault> {
        let (len, dst) = self.split_arrow()?;
        let len = len.strip_suffix(')').unwrap_or(len);
        let dst = subfield::parse(dst)?;
        if dst.n_bits != 1 {
            return Err(Fault::new(format!("check_pkt_larger: {} bits are too many", dst.n_bits))
                .hint("the answer is one bit, like reg0[0]"));
        }
        check_writable(dst)?;
        Ok(Action::CheckPktLarger { len: self.with(self.name, len).u16(u16::MAX)?, dst })
    }

    /// Parses bytes in hexadecimal, with or without dots: `01.02.03`, `010203`.
    pub(super) fn hex_bytes(self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let mut rest = self.text.as_bytes();
        let bad =
            || Fault::new(format!("{}: {} is not a list of bytes", self.name, quoted(self.text)));
        while let [first, tail @ ..] = rest {
            if *first == b'.' {
                rest = tail;
                continue;
            }
            let (digits, tail) = rest.split_at_checked(2).ok_or_else(bad)?;
            let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad().hint("write two hexadecimal digits a byte, like 0a.0b"));
            }
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
            rest = tail;
        }
        Ok(bytes)
    }

    pub(super) fn write_metadata(self) -> Result<Action, Fault> {
        let (value, mask) = match self.text.split_once('/') {
            Some((value, mask)) => (value, self.with("mask", mask).number(u64::MAX)?),
            None => (self.text, u64::MAX),
        };
        let number = self.with(self.name, value).number(u64::MAX)?;
        if !self.context.lenient && number & !mask != 0 {
            return Err(Fault::new(format!("write_metadata: {value} has bits outside its mask")));
        }
        Ok(Action::WriteMetadata { value: number, mask })
    }
}

fn plain_controller(max_len: u16) -> Action {
    Action::Controller {
        max_len,
        reason: REASON_ACTION,
        controller_id: 0,
        userdata: Vec::new(),
        pause: false,
        meter_id: None,
    }
}

fn check_writable(sub: Subfield) -> Result<(), Fault> {
    let def = sub.field.def();
    match def.writable {
        true => Ok(()),
        false => Err(Fault::new(format!("{} cannot be changed", def.name))),
    }
}

/// Checks that a value has no one-bit beyond the width of the subfield.
pub(super) fn fits(text: &str, value: u128, sub: Subfield) -> Result<(), Fault> {
    if value & !ones(sub.n_bits) != 0 {
        return Err(Fault::new(format!("{text} does not fit into {} bits", sub.n_bits)));
    }
    Ok(())
}
