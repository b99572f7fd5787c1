//! Parses the arguments of `ct(...)`.

use super::argument::Argument;
use super::error::{Fault, TextError};
use super::order::Nesting;
use super::pairs::{Delimiter, Pair, Pairs};
use super::parse_action::ActionParser;
use super::{parse_nat, subfield};
use crate::action::Action;
use crate::ct::{Ct, CtAlg, CtZone};

/// How many bits of a field hold the number of a zone.
const ZONE_BITS: u16 = 16;

impl<'a> ActionParser<'a> {
    /// Parses `ct`, `ct(...)`, and with them the actions in `exec(...)`.
    pub(super) fn ct(&mut self, pair: &Pair<'a>) -> Result<Action, TextError> {
        let text = self.text;
        let mut ct = Ct::default();
        for argument in Pairs::new(pair.value) {
            let fault = |fault: Fault| TextError::at(text, argument.whole, fault.of("ct"));
            let value =
                Argument { name: argument.key, text: argument.value, context: self.context };
            match argument.key {
                "commit" if argument.delimiter == Delimiter::None => ct.commit = true,
                "force" if argument.delimiter == Delimiter::None => ct.force = true,
                "table" => ct.table = Some(value.table(argument.value).map_err(fault)?),
                "zone" => ct.zone = zone(value).map_err(fault)?,
                "exec" => ct.exec = self.list(argument.value, Nesting::Nested)?,
                "nat" => ct.nat = Some(parse_nat::nat(text, &argument)?),
                "alg" => ct.alg = Some(alg(argument.value).map_err(fault)?),
                key => {
                    return Err(fault(
                        Fault::new(format!("there is no argument {key:?}")).hint(
                            "the arguments are commit, force, table, zone, nat, exec and alg",
                        ),
                    ));
                }
            }
        }
        if ct.force && !ct.commit {
            let fault = Fault::new("ct: force needs commit");
            return Err(TextError::at(text, pair.whole, fault.hint("write ct(commit,force)")));
        }
        if !ct.exec.is_empty() && !ct.commit {
            let fault = Fault::new("ct: exec changes the connection, which needs commit");
            return Err(TextError::at(text, pair.whole, fault.hint("write ct(commit,exec(...))")));
        }
        if ct.nat.is_some_and(|nat| nat.range().is_some()) && !ct.commit {
            let fault =
                Fault::new("ct: nat with src or dst begins a translation, which needs commit");
            return Err(TextError::at(
                text,
                pair.whole,
                fault.hint("write ct(commit,nat(...)), or ct(nat)"),
            ));
        }
        Ok(Action::Ct(Box::new(ct)))
    }
}

/// A helper of a protocol.
fn alg(name: &str) -> Result<CtAlg, Fault> {
    let alg = CtAlg::ALL.into_iter().find(|alg| alg.name() == name);
    alg.ok_or_else(|| {
        Fault::new(format!("alg: there is no helper {name:?}")).hint("the helpers are ftp and tftp")
    })
}

/// A number, or 16 bits of a field.
fn zone(value: Argument<'_>) -> Result<CtZone, Fault> {
    let is_number = value.text.starts_with(|c: char| c.is_ascii_digit());
    if is_number {
        return value.u16(u16::MAX).map(CtZone::Number);
    }
    let sub = subfield::parse(value.text)?;
    match sub.n_bits {
        ZONE_BITS => Ok(CtZone::Field(sub)),
        n => Err(Fault::new(format!("zone: {n} bits are not the number of a zone"))
            .hint(format!("name {ZONE_BITS} bits, like reg0[0..15]"))),
    }
}
