//! Parses the arguments of `multipath`, `bundle`, `bundle_load`, `sample` and `fin_timeout`.

use super::argument::Argument;
use super::error::Fault;
use super::pairs::Pairs;
use super::printable::quoted;
use super::{port, subfield};
use crate::action::{Action, Subfield};
use crate::members::{HashFields, LinkAlgorithm, MemberAlgorithm, Multipath, PortBundle};
use crate::sampling::{FlowSampling, SampledDirection};

/// The most links that `multipath` chooses from.
const MAX_LINKS: u64 = 65_536;
/// The most bits that a message can name as a destination: it has six bits for the number less one.
const MAX_BITS: u16 = 64;
/// The smallest number of bits that hold the number of a port.
const PORT_BITS: u16 = 16;

/// The value with this name, or a fault that lists the names.
fn named<T: Copy + 'static>(
    kind: &str,
    text: &str,
    from_name: impl Fn(&str) -> Option<T>,
    names: impl Iterator<Item = &'static str>,
) -> Result<T, Fault> {
    from_name(text).ok_or_else(|| {
        let names: Vec<_> = names.collect();
        let fault = Fault::new(format!("there are no {kind} {}", quoted(text)));
        fault.hint(format!("there are {}", names.join(", ")))
    })
}

fn hash_fields(text: &str) -> Result<HashFields, Fault> {
    let names = HashFields::ALL.iter().map(|fields| fields.name());
    named("fields", text, HashFields::from_name, names)
}

impl<'a> Argument<'a> {
    /// The next word of a list with commas or blanks between its words, as number `what` if need be.
    fn next_word(self, words: &mut impl Iterator<Item = &'a str>) -> Result<&'a str, Fault> {
        words.next().ok_or_else(|| {
            let form = match self.name {
                "multipath" => "multipath(FIELDS,BASIS,ALGORITHM,N_LINKS,ARG,FIELD[a..b])",
                "bundle" => "bundle(FIELDS,BASIS,ALGORITHM,ofport,members:PORT,...)",
                _ => "bundle_load(FIELDS,BASIS,ALGORITHM,ofport,FIELD[a..b],members:PORT,...)",
            };
            Fault::new(format!("{}: an argument is missing", self.name))
                .hint(format!("write {form}"))
        })
    }

    /// A word as a number that is cut off to fit below `max`, all of whose bits are one,
    /// if the parser is lenient.
    fn word_number(self, name: &'static str, text: &'a str, max: u64) -> Result<u64, Fault> {
        let word = Argument { name, text, ..self };
        match self.context.lenient {
            true => {
                Ok(super::number::strtoull(text.trim_start_matches('-'), 0).map_or(0, |(n, _)| {
                    let n = if text.starts_with('-') { n.wrapping_neg() } else { n };
                    n & max
                }))
            }
            false => word.number(max).map_err(|fault| fault.of(self.name)),
        }
    }

    pub(super) fn multipath(self) -> Result<Action, Fault> {
        let of = |fault: Fault| fault.of("multipath");
        let mut words = self.text.split([',', ' ']).filter(|word| !word.is_empty());
        let fields = hash_fields(self.next_word(&mut words)?).map_err(of)?;
        let basis = self.next_word(&mut words)?;
        let basis = self.word_number("basis", basis, u16::MAX.into())? as u16;
        let names = LinkAlgorithm::ALL.iter().map(|algorithm| algorithm.name());
        let algorithm = self.next_word(&mut words)?;
        let algorithm =
            named("algorithms", algorithm, LinkAlgorithm::from_name, names).map_err(of)?;
        let links = self.next_word(&mut words)?;
        let n_links = self.word_number("n_links", links, u32::MAX.into())?;
        let arg = self.next_word(&mut words)?;
        let arg = self.word_number("arg", arg, u32::MAX.into())? as u32;
        let dst = subfield::parse(self.next_word(&mut words)?).map_err(of)?;
        if !(1..=MAX_LINKS).contains(&n_links) {
            let fault = Fault::new(format!("multipath: there cannot be {n_links} links"));
            return Err(fault.hint(format!("there are 1 to {MAX_LINKS}")));
        }
        let max_link = (n_links - 1) as u16;
        if dst.n_bits < 16 && max_link >> dst.n_bits != 0 {
            let fault = format!("multipath: {n_links} links do not fit into {} bits", dst.n_bits);
            return Err(Fault::new(fault));
        }
        check_width("multipath", dst)?;
        if words.next().is_some() && !self.context.lenient {
            return Err(Fault::new("multipath: there is an argument too many"));
        }
        Ok(Action::Multipath(Box::new(Multipath { fields, basis, algorithm, max_link, arg, dst })))
    }

    /// `bundle`, or `bundle_load` if `loads` says so.
    pub(super) fn bundle(self, loads: bool) -> Result<Action, Fault> {
        let of = |fault: Fault| fault.of(self.name);
        let mut words = self.text.split([',', ' ']).filter(|word| !word.is_empty());
        let fields = hash_fields(self.next_word(&mut words)?).map_err(of)?;
        let basis = self.next_word(&mut words)?;
        let basis = self.word_number("basis", basis, u16::MAX.into())? as u16;
        let names = MemberAlgorithm::ALL.iter().map(|algorithm| algorithm.name());
        let algorithm = self.next_word(&mut words)?;
        let algorithm =
            named("algorithms", algorithm, MemberAlgorithm::from_name, names).map_err(of)?;
        let kind = self.next_word(&mut words)?;
        if kind != "ofport" {
            let fault = format!("{}: the members cannot be {}", self.name, quoted(kind));
            return Err(Fault::new(fault).hint("write ofport"));
        }
        let dst = match loads {
            true => Some(subfield::parse(self.next_word(&mut words)?).map_err(of)?),
            false => None,
        };
        if let Some(dst) = dst.filter(|dst| dst.n_bits < PORT_BITS) {
            let fault = format!(
                "{}: the number of a port does not fit into {} bits",
                self.name, dst.n_bits
            );
            return Err(Fault::new(fault).hint(format!("name at least {PORT_BITS} bits")));
        }
        dst.map_or(Ok(()), |dst| check_width(self.name, dst))?;
        let first = self.next_word(&mut words)?;
        let (word, first) = first.split_once([':', '=']).unwrap_or((first, ""));
        // `slaves` is what earlier versions of Open vSwitch say.
        if !matches!(word, "members" | "slaves") {
            let fault = format!("{}: members: stands where {} does", self.name, quoted(word));
            return Err(Fault::new(fault));
        }
        // As earlier versions of Open vSwitch wanted them, the ports can stand in brackets.
        let members = std::iter::once(first)
            .chain(words)
            .flat_map(|word| word.split(['[', ']']).filter(|word| !word.is_empty()));
        let member = |text| port::parse(text, self.context.ports, self.context.lenient);
        let members = members.map(member).collect::<Result<_, _>>().map_err(of)?;
        Ok(Action::Bundle(Box::new(PortBundle { fields, basis, algorithm, members, dst })))
    }

    pub(super) fn sample(self) -> Result<Action, Fault> {
        let mut sampling = FlowSampling::default();
        for pair in Pairs::new(self.text) {
            let value = Argument { name: pair.key, text: pair.value, ..self };
            match pair.key {
                "probability" => sampling.probability = value.u16(u16::MAX)?,
                "collector_set_id" => sampling.collector_set_id = value.u32()?,
                "obs_domain_id" => sampling.obs_domain_id = value.u32()?,
                "obs_point_id" => sampling.obs_point_id = value.u32()?,
                "sampling_port" => {
                    let port = port::parse(pair.value, self.context.ports, self.context.lenient);
                    sampling.sampling_port = port.map_err(|fault| fault.of("sampling_port"))?;
                }
                "ingress" => sampling.direction = SampledDirection::Ingress,
                "egress" => sampling.direction = SampledDirection::Egress,
                key => return Err(no_argument("sample", key)),
            }
        }
        if sampling.probability == 0 {
            let fault = Fault::new("sample: a probability of 0 samples nothing");
            return Err(fault.hint("write probability=N, 1 to 65535"));
        }
        Ok(Action::Sample(Box::new(sampling)))
    }

    pub(super) fn fin_timeout(self) -> Result<Action, Fault> {
        let (mut idle, mut hard) = (0, 0);
        for pair in Pairs::new(self.text) {
            let value = Argument { name: pair.key, text: pair.value, ..self };
            match pair.key {
                "idle_timeout" => idle = value.u16(u16::MAX)?,
                "hard_timeout" => hard = value.u16(u16::MAX)?,
                key => return Err(no_argument("fin_timeout", key)),
            }
        }
        Ok(Action::FinTimeout { idle, hard })
    }
}

/// Refuses more bits of a field than the action can name in a message.
fn check_width(action: &str, dst: Subfield) -> Result<(), Fault> {
    match dst.n_bits <= MAX_BITS {
        true => Ok(()),
        false => Err(Fault::new(format!("{action}: {} bits are too many", dst.n_bits))
            .hint(format!("name at most {MAX_BITS}"))),
    }
}

fn no_argument(action: &str, key: &str) -> Fault {
    Fault::new(format!("{action}: there is no argument {}", quoted(key)))
}
