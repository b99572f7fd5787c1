//! Parses meters: `meter=1,kbps,burst,bands=type=drop,rate=1000,burst_size=100`.

use super::error::{Fault, TextError};
use super::number;
use super::pairs::{Pair, Pairs};
use super::printable::quoted;
use super::vocabulary::vocabulary;
use crate::meter::{Band, BandKind, MAX_BANDS, Meter, MeterMod, MeterUnit};
use crate::types::MeterId;

/// The command that a text of a meter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MeterCommand {
    /// `add-meter`: the text describes a meter, which must not exist.
    Add,
    /// `mod-meter`: the text describes a meter, which must exist.
    Modify,
    /// `del-meters`: the text names a meter. An empty text names all meters.
    Delete,
}

#[rustfmt::skip]
vocabulary! {
    /// A key or flag of a meter's text, in front of the bands.
    pub(crate) enum MeterKey {
        /// The number by which `meter:ID` names the meter, 1 to 4294901760, or a virtual meter, which the
        /// switch itself uses: `controller` limits the packet-ins of the bridge, `slowpath` the packets that
        /// miss the caches and are translated. `del-meters`, `dump-meters` and `meter-stats` without it, or
        /// with `meter=all`, are about all meters.
        Meter: "meter", "meter=N|controller|slowpath",
            "-O OpenFlow13 add-meter \"meter=controller,pktps,bands=type=drop,rate=1000\"";
        /// Rates are in kilobits (1,000 bits) a second, and bursts in kilobits. Ethernet headers count. A meter
        /// has `kbps` or `pktps`.
        Kbps: "kbps", "kbps", "-O OpenFlow13 add-meter \"meter=1,kbps,bands=type=drop,rate=1000\"";
        /// Rates are in packets a second, and bursts in packets.
        Pktps: "pktps", "pktps", "-O OpenFlow13 add-meter \"meter=2,pktps,bands=type=drop,rate=500\"";
        /// Each band says by `burst_size` how much may pass at once. Without the flag that is what the rate
        /// allows in one second.
        Burst: "burst", "burst", "-O OpenFlow13 add-meter \"meter=3,pktps,burst,bands=type=drop,rate=500,burst_size=50\"";
        /// The meter is to count. The switch counts for every meter.
        Stats: "stats", "stats", "-O OpenFlow13 add-meter \"meter=1,kbps,stats,bands=type=drop,rate=1000\"";
        /// The bands, to the end of the text. Each begins with its `type`. A packet beyond the rates of several
        /// bands is treated as the band with the highest of these rates says.
        Bands: "bands" | "band", "bands=type=TYPE,rate=N,...",
            "-O OpenFlow13 add-meter \"meter=4,kbps,bands=type=dscp_remark,rate=1000,prec_level=1,type=drop,rate=2000\"";
    }
}

#[rustfmt::skip]
vocabulary! {
    /// A key of a band's text.
    pub(crate) enum BandKey {
        /// What becomes of packets beyond the rate. `drop`: they are dropped (`meter`). `dscp_remark`: the drop
        /// precedence in the DSCP of IP packets of assured forwarding (RFC 2597) grows by `prec_level`; Open
        /// vSwitch does not have it. Rules behind the meter match the DSCP from before.
        Type: "type", "type=drop|dscp_remark",
            "-O OpenFlow13 add-meter \"meter=5,kbps,bands=type=dscp_remark,rate=1000,prec_level=2\"";
        /// The rate of the band in the meter's unit, 1 to 4294967295.
        Rate: "rate", "rate=N", "-O OpenFlow13 add-meter \"meter=1,kbps,bands=type=drop,rate=1000\"";
        /// How much may pass at once, in kilobits or packets, 1 to 4294967295. The meter
        /// must have the flag `burst`.
        BurstSize: "burst_size", "burst_size=N",
            "-O OpenFlow13 add-meter \"meter=6,kbps,burst,bands=type=drop,rate=1000,burst_size=200\"";
        /// By how much the drop precedence of a packet grows, 1 to 3 with effect; it is 3 at most.
        PrecLevel: "prec_level", "prec_level=N",
            "-O OpenFlow13 add-meter \"meter=7,kbps,bands=type=dscp_remark,rate=1000,prec_level=1\"";
    }
}

/// Parses a request to change meters.
///
/// # Errors
///
/// A part of the text is not valid, or a part is missing.
pub fn parse_meter(text: &str, command: MeterCommand) -> Result<MeterMod, TextError> {
    if command == MeterCommand::Delete {
        return parse_meter_id(text).map(|id| MeterMod::Delete(id.unwrap_or(MeterId::ALL)));
    }
    let mut reader = Reader::new(text);
    let meter = reader.meter()?;
    Ok(match command {
        MeterCommand::Modify => MeterMod::Modify(meter),
        MeterCommand::Add | MeterCommand::Delete => MeterMod::Add(meter),
    })
}

/// Parses the text of `del-meters`, `dump-meters` and `meter-stats`: `meter=N`, or
/// nothing for all meters (`None`).
///
/// # Errors
///
/// The text is neither.
pub fn parse_meter_id(text: &str) -> Result<Option<MeterId>, TextError> {
    let mut id = None;
    for pair in Pairs::new(text) {
        if MeterKey::from_name(pair.key) != Some(MeterKey::Meter) {
            let fault = Fault::new(format!("unknown keyword {}", quoted(pair.key)));
            return Err(TextError::at(text, pair.key, fault.hint("write meter=N")));
        }
        let read = number_of(pair.value).map_err(|fault| TextError::at(text, pair.whole, fault))?;
        id = Some(read);
    }
    Ok(id.filter(|id| *id != MeterId::ALL))
}

/// Parses a line of `ofctl save` that describes a meter.
///
/// # Errors
///
/// A part of the text is not valid, or a part is missing. A line that
/// [`write_saved_meter`](super::write_saved_meter) has written is always valid.
pub fn parse_saved_meter(line: &str) -> Result<Meter, TextError> {
    let mut reader = Reader::new(line);
    // A controller may have asked for bands that nobody writes by hand: without a rate of their own, say.
    reader.is_saved = true;
    reader.meter()
}

/// The number of a meter, or one of the words for the reserved numbers.
fn number_of(text: &str) -> Result<MeterId, Fault> {
    match text {
        "all" => Ok(MeterId::ALL),
        "controller" => Ok(MeterId::CONTROLLER),
        "slowpath" => Ok(MeterId::SLOWPATH),
        _ => match number::at_most(text, MeterId::MAX.0.into()) {
            Ok(0) => {
                let fault = Fault::new("0 is not the number of a meter");
                Err(fault.hint("meters have numbers from 1 to 4294901760"))
            }
            Ok(number) => Ok(MeterId(number as u32)),
            Err(fault) => Err(fault.of("meter")),
        },
    }
}

struct Reader<'a> {
    text: &'a str,
    is_saved: bool,
    id: Option<MeterId>,
    unit: Option<MeterUnit>,
    has_burst: bool,
    has_stats: bool,
}

/// A band whose keys have been read so far.
struct Draft<'a> {
    /// The pair that began the band.
    start: &'a str,
    remarks: bool,
    rate: Option<u32>,
    burst_size: Option<u32>,
    prec_level: Option<u8>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let (is_saved, has_burst, has_stats) = (false, false, false);
        Self { text, is_saved, id: None, unit: None, has_burst, has_stats }
    }

    fn error(&self, part: &str, fault: impl Into<Fault>) -> TextError {
        TextError::at(self.text, part, fault)
    }

    fn meter(&mut self) -> Result<Meter, TextError> {
        let Some((head, bands)) = split_bands(self.text) else {
            let fault = Fault::new("the bands are missing");
            return Err(self.error(self.text, fault.hint("add bands=type=drop,rate=N")));
        };
        for pair in Pairs::new(head) {
            self.head(&pair)?;
        }
        let Some(id) = self.id else {
            let fault = Fault::new("the meter's number is missing").hint("add meter=N");
            return Err(self.error(self.text, fault));
        };
        let Some(unit) = self.unit else {
            let fault = Fault::new("the unit of the rates is missing").hint("add kbps or pktps");
            return Err(self.error(self.text, fault));
        };
        let bands = self.bands(bands)?;
        let (has_burst, has_stats) = (self.has_burst, self.has_stats);
        Ok(Meter { id, unit, has_burst, has_stats, bands })
    }

    fn head(&mut self, pair: &Pair<'a>) -> Result<(), TextError> {
        let Some(key) = MeterKey::from_name(pair.key) else {
            return Err(self.error(pair.key, format!("unknown keyword {}", quoted(pair.key))));
        };
        if key != MeterKey::Meter && !pair.value.is_empty() {
            return Err(self.error(pair.whole, format!("{} takes no value", pair.key)));
        }
        match key {
            MeterKey::Meter => {
                let id = number_of(pair.value).map_err(|fault| self.error(pair.whole, fault))?;
                if id == MeterId::ALL {
                    let fault = Fault::new("all is not the number of one meter");
                    return Err(self.error(pair.whole, fault.hint("write meter=N")));
                }
                self.id = Some(id);
            }
            MeterKey::Kbps | MeterKey::Pktps => {
                let unit = match key {
                    MeterKey::Kbps => MeterUnit::Kbps,
                    _ => MeterUnit::Pktps,
                };
                if self.unit.is_some_and(|other| other != unit) {
                    let fault = Fault::new("a meter has one unit (OFPMMFC_BAD_FLAGS)");
                    return Err(self.error(pair.whole, fault.hint("remove kbps or pktps")));
                }
                self.unit = Some(unit);
            }
            MeterKey::Burst => self.has_burst = true,
            MeterKey::Stats => self.has_stats = true,
            MeterKey::Bands => {}
        }
        Ok(())
    }

    fn bands(&self, text: &'a str) -> Result<Vec<Band>, TextError> {
        let mut bands = Vec::new();
        let mut draft: Option<Draft<'a>> = None;
        for pair in Pairs::new(text) {
            let Some(key) = BandKey::from_name(pair.key) else {
                return Err(self.error(pair.key, format!("unknown keyword {}", quoted(pair.key))));
            };
            if key == BandKey::Type {
                let remarks = match pair.value {
                    "drop" => false,
                    "dscp_remark" => true,
                    other => {
                        let fault = Fault::new(format!("{} is not a type of bands", quoted(other)));
                        let fault = fault.hint("the types are drop and dscp_remark");
                        return Err(self.error(pair.whole, fault));
                    }
                };
                bands.extend(draft.take().map(|draft| self.finished(&draft)).transpose()?);
                let (rate, burst_size, prec_level) = (None, None, None);
                draft = Some(Draft { start: pair.whole, remarks, rate, burst_size, prec_level });
                continue;
            }
            let Some(draft) = &mut draft else {
                let fault = Fault::new("a band begins with its type").hint("add type=drop");
                return Err(self.error(pair.whole, fault));
            };
            let max = if key == BandKey::PrecLevel { u8::MAX.into() } else { u32::MAX };
            let value = number::at_most(pair.value, max.into());
            let value = value.map_err(|fault| self.error(pair.whole, fault.of(pair.key)))? as u32;
            match key {
                BandKey::Rate => draft.rate = Some(value),
                BandKey::BurstSize => draft.burst_size = Some(value),
                BandKey::PrecLevel => draft.prec_level = Some(value as u8),
                BandKey::Type => {}
            }
        }
        bands.extend(draft.map(|draft| self.finished(&draft)).transpose()?);
        if bands.is_empty() && !self.is_saved {
            let fault = Fault::new("a meter has at least one band");
            return Err(self.error(self.text, fault.hint("add type=drop,rate=N")));
        }
        if bands.len() > MAX_BANDS {
            let fault = format!("a meter has at most {MAX_BANDS} bands (OFPMMFC_OUT_OF_BANDS)");
            return Err(self.error(text, fault));
        }
        Ok(bands)
    }

    fn finished(&self, draft: &Draft<'_>) -> Result<Band, TextError> {
        let Draft { start, remarks, rate, burst_size, prec_level } = *draft;
        let (rate, burst_size) = (rate.unwrap_or(0), burst_size.unwrap_or(0));
        let kind = match remarks {
            true => BandKind::DscpRemark { prec_level: prec_level.unwrap_or(0) },
            false => BandKind::Drop,
        };
        let band = Band { kind, rate, burst_size };
        if self.is_saved {
            return Ok(band);
        }
        let problem = if rate == 0 {
            Some(("the rate of a band is missing", "add rate=N, at least 1"))
        } else if self.has_burst && burst_size == 0 {
            Some(("the meter has the flag burst, and a band lacks burst_size", "add burst_size=N"))
        } else if !self.has_burst && burst_size != 0 {
            Some(("a band has a burst_size, and the meter lacks the flag burst", "add burst"))
        } else if remarks && prec_level.is_none_or(|level| level == 0) {
            Some(("a band of type dscp_remark needs prec_level", "add prec_level=1"))
        } else if !remarks && prec_level.is_some() {
            Some(("only bands of type dscp_remark have prec_level", "remove prec_level"))
        } else {
            None
        };
        match problem {
            Some((problem, remedy)) => Err(self.error(start, Fault::new(problem).hint(remedy))),
            None => Ok(band),
        }
    }
}

/// The text in front of `bands=`, and the text behind it. `None` if there is no `bands=`.
fn split_bands(text: &str) -> Option<(&str, &str)> {
    let at = text.find("band")?;
    let (head, rest) = text.split_at(at);
    let rest = rest.strip_prefix("bands").or_else(|| rest.strip_prefix("band"))?;
    Some((head, rest.strip_prefix(['=', ':'])?))
}
