//! Parses the arguments of `learn(...)`.

use super::argument::{Argument, fits};
use super::error::Fault;
use super::pairs::{Delimiter, Pair, Pairs};
use super::printable::quoted;
use super::value::{self, Masked};
use super::{number, subfield};
use crate::action::{Action, Subfield};
use crate::learn::{LearnSource, LearnedPart, Learner};
use crate::types::Cookie;

/// The arguments of `learn` that are no parts of learned rules.
const ATTRIBUTES: &str = "table, priority, idle_timeout, hard_timeout, fin_idle_timeout, fin_hard_timeout, cookie, \
                          send_flow_rem, delete_learned, limit and result_dst";

impl<'a> Argument<'a> {
    pub(super) fn learn(self) -> Result<Action, Fault> {
        let mut learner = Learner::default();
        for pair in Pairs::new(self.text) {
            self.learn_argument(&mut learner, &pair).map_err(|fault| fault.of("learn"))?;
        }
        Ok(Action::Learn(Box::new(learner)))
    }

    fn learn_argument(self, learner: &mut Learner, pair: &Pair<'a>) -> Result<(), Fault> {
        let value = Argument { name: pair.key, text: pair.value, ..self };
        match pair.key {
            "table" => learner.table = value.table(pair.value)?,
            "priority" => learner.priority = value.learned_u16()?,
            "idle_timeout" => learner.idle_timeout = value.learned_u16()?,
            "hard_timeout" => learner.hard_timeout = value.learned_u16()?,
            "fin_idle_timeout" => learner.fin_idle_timeout = value.learned_u16()?,
            "fin_hard_timeout" => learner.fin_hard_timeout = value.learned_u16()?,
            "cookie" => learner.cookie = Cookie(value.learned_number(u64::MAX)?),
            "limit" => learner.limit = value.learned_number(u32::MAX.into())? as u32,
            "send_flow_rem" => learner.send_flow_rem = true,
            "delete_learned" => learner.delete_learned = true,
            "result_dst" => learner.result_dst = Some(result_bit(pair.value)?),
            _ => learner.parts.push(self.learned_part(pair)?),
        }
        Ok(())
    }

    fn learned_part(self, pair: &Pair<'a>) -> Result<LearnedPart, Fault> {
        match pair.key {
            "output" => return Ok(LearnedPart::Output(subfield::parse(pair.value)?)),
            "load" => {
                let Some((src, dst)) = pair.value.split_once("->") else {
                    let fault = format!("load: {} has no ->FIELD", quoted(pair.value));
                    return Err(Fault::new(fault));
                };
                let dst = subfield::parse(dst)?;
                return Ok(LearnedPart::Load { dst, from: self.learn_source(src, dst, false)? });
            }
            _ => {}
        }
        let dst = subfield::parse(pair.key).map_err(|fault| {
            fault.hint(format!("the arguments are fields, load, output, {ATTRIBUTES}"))
        })?;
        let from = match pair.delimiter {
            Delimiter::None => LearnSource::Field(dst),
            _ => self.learn_source(pair.value, dst, true)?,
        };
        Ok(LearnedPart::Match { dst, from })
    }

    /// What stands in front of `->`, or behind `=`: bits of a field, or a value of the bits `dst`. A value that
    /// `is_matched` is written as in a match if it is that of a whole field.
    fn learn_source(
        self,
        text: &str,
        dst: Subfield,
        is_matched: bool,
    ) -> Result<LearnSource, Fault> {
        let fault = match subfield::parse(text) {
            Ok(src) if src.n_bits == dst.n_bits => return Ok(LearnSource::Field(src)),
            Ok(src) => {
                let (from, to) = (src.n_bits, dst.n_bits);
                let fault = format!("the source {text} has {from} bits but the destination {to}");
                return Err(Fault::new(fault));
            }
            Err(fault) => fault,
        };
        if is_matched && dst == Subfield::whole(dst.field) {
            let def = dst.field.def();
            // Unlike in a match, a VLAN id may lack the bit that says that there is a tag.
            let lenient = self.context.lenient || dst.field.is_vlan();
            let Masked { value, mask } =
                value::parse(dst.field, text, self.context.ports, lenient)?;
            if mask != def.whole {
                let fault = Fault::new(format!("{}: {text} has a mask", def.name));
                return Err(fault.hint("name the bits instead, like FIELD[0..7]=VALUE"));
            }
            return Ok(LearnSource::Value(value & def.legal));
        }
        let is_number = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
        if !is_number {
            return Err(fault);
        }
        let value = number::integer(text)?;
        fits(text, value, dst)?;
        Ok(LearnSource::Value(value))
    }

    fn learned_u16(self) -> Result<u16, Fault> {
        self.learned_number(u16::MAX.into()).map(|n| n as u16)
    }

    /// A number up to `max`, all of whose bits are one. Open vSwitch cuts larger ones off.
    fn learned_number(self, max: u64) -> Result<u64, Fault> {
        match self.context.lenient {
            true => Ok(number::strtoull(self.text, 0).map_or(0, |(n, _)| n & max)),
            false => self.number(max),
        }
    }
}

fn result_bit(text: &str) -> Result<Subfield, Fault> {
    let dst = subfield::parse(text)?;
    if dst.n_bits != 1 {
        let fault = Fault::new(format!("result_dst: {text} has {} bits", dst.n_bits));
        return Err(fault.hint("name one bit, like reg0[0]"));
    }
    match dst.field.def().writable {
        true => Ok(dst),
        false => Err(Fault::new(format!("result_dst: {text} cannot be changed"))),
    }
}
