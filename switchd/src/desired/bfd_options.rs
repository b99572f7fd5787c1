//! How the remote end of a tunnel is to be watched, as somebody wants it: `bfd=on,bfd_min_rx=300`.
//!
//! The options are those of Open vSwitch's column `bfd` (ovs-vswitchd.conf.db(5)). Two of them are taken only
//! with the value that changes nothing: the interval between packets does not depend on traffic
//! (`decay_min_rx`), and a port whose session is down counts as down whatever it receives (`forwarding_if_rx`).

use super::port_error::OptionError;
use super::word::Word;
use crate::bfd::{BfdConfig, BfdFrames};
use flow::text::parse_mac;
use flow::types::MacAddr;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The options that have been read so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BfdDraft {
    /// Whether there is to be a session at all.
    pub(super) is_watched: bool,
    config: BfdConfig,
}

impl BfdDraft {
    /// Takes an option whose name begins with `bfd`.
    pub(super) fn set(&mut self, key: &'static str, value: &str) -> Result<(), OptionError> {
        let refuse = |expected| OptionError::Value { key, value: value.to_owned(), expected };
        let flag = || value.parse::<bool>().map_err(|_| refuse("true or false"));
        let ip = || value.parse::<Ipv4Addr>().map_err(|_| refuse("an IPv4 address"));
        let mac = || parse_mac(value).ok_or_else(|| refuse("a MAC address"));
        let own_mac = || match mac()? {
            mac if mac.is_multicast() => Err(refuse("a MAC address of one host")),
            mac => Ok(Some(mac)),
        };
        let interval = || -> Result<Duration, OptionError> {
            let ms = value.parse().ok().filter(|ms| (10..=60_000).contains(ms));
            let ms: u64 = ms.ok_or_else(|| refuse("milliseconds: 10 to 60000"))?;
            Ok(Duration::from_millis(ms))
        };
        let config = &mut self.config;
        match key {
            "bfd_min_rx" => config.min_rx = interval()?,
            "bfd_min_tx" => config.min_tx = interval()?,
            "bfd_mult" => {
                let mult = value.parse().ok().filter(|mult| *mult != 0);
                config.mult = mult.ok_or_else(|| refuse("a number from 1 to 255"))?;
            }
            "bfd_cpath_down" => config.is_path_behind_down = flag()?,
            "bfd_check_tnl_key" => config.frames.wants_no_key = flag()?,
            "bfd_oam" => config.frames.is_oam = flag()?,
            "bfd_src_ip" => config.frames.source = ip()?,
            "bfd_dst_ip" => config.frames.destination = ip()?,
            "bfd_local_src_mac" => config.frames.source_mac = own_mac()?,
            "bfd_local_dst_mac" => config.frames.own_mac = Some(mac()?),
            "bfd_remote_dst_mac" => config.frames.destination_mac = mac()?,
            "bfd_decay_min_rx" if value != "0" => {
                return Err(refuse(
                    "0, since intervals do not depend on traffic here: choose bfd_min_rx",
                ));
            }
            "bfd_forwarding_if_rx" if flag()? => {
                let expected =
                    "false, since a port whose session is down counts as down whatever it receives";
                return Err(refuse(expected));
            }
            "bfd_decay_min_rx" | "bfd_forwarding_if_rx" => {}
            _bfd => {
                self.is_watched = match value {
                    "on" | "true" => true,
                    "off" | "false" => false,
                    _ => return Err(refuse("on or off")),
                };
            }
        }
        Ok(())
    }

    /// How the session is to be; `None` if there is to be none.
    pub(super) fn config(self) -> Option<BfdConfig> {
        self.is_watched.then_some(self.config)
    }

    /// The words that say what is no default.
    pub(super) fn words(self) -> Vec<(&'static str, Word)> {
        let (usual, own) = (BfdConfig::default(), self.config);
        let (frames, usual_frames) = (own.frames, BfdFrames::default());
        let mut words = Vec::new();
        let mut add = |key, is_usual: bool, word: Word| {
            if !is_usual {
                words.push((key, word));
            }
        };
        let ms = |time: Duration| Word::number(time.as_millis() as u32);
        let mac = |mac: Option<MacAddr>| Word::text(mac.unwrap_or_default().to_string());
        add("bfd", !self.is_watched, Word::Flag(true));
        add("bfd_min_rx", own.min_rx == usual.min_rx, ms(own.min_rx));
        add("bfd_min_tx", own.min_tx == usual.min_tx, ms(own.min_tx));
        add("bfd_mult", own.mult == usual.mult, Word::number(own.mult));
        add("bfd_cpath_down", !own.is_path_behind_down, Word::Flag(true));
        add("bfd_check_tnl_key", !frames.wants_no_key, Word::Flag(true));
        add("bfd_oam", !frames.is_oam, Word::Flag(true));
        let (source, destination) = (frames.source, frames.destination);
        add("bfd_src_ip", source == usual_frames.source, Word::text(source.to_string()));
        let is_usual = destination == usual_frames.destination;
        add("bfd_dst_ip", is_usual, Word::text(destination.to_string()));
        add("bfd_local_src_mac", frames.source_mac.is_none(), mac(frames.source_mac));
        add("bfd_local_dst_mac", frames.own_mac.is_none(), mac(frames.own_mac));
        let is_usual = frames.destination_mac == usual_frames.destination_mac;
        add("bfd_remote_dst_mac", is_usual, mac(Some(frames.destination_mac)));
        words
    }
}
