//! The manual of the language: what `ofctl help WORD` prints, and the page docs/rules.md.
//!
//! Each [`Article`] is about one word, and is made from the table that the parser reads: the field table, or a
//! vocabulary of actions, attributes, groups, buckets, meters or bands. So the manual has no text of its own
//! that could differ from what the parser does, but for the lists' introductions in [`page`].

mod page;
#[cfg(test)]
mod tests;

pub use page::page;

use crate::fields::{FieldDef, FieldId, TextForm, ones};
use crate::text::parse_group::{BucketKey, GroupKey};
use crate::text::parse_meter::{BandKey, MeterKey};
use crate::text::vocabulary::{ActionName, Description};
use crate::text::words::{self, Attribute, Flag};
use std::fmt::Write;

/// The parts of the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chapter {
    /// Words that stand for a protocol: `tcp`.
    Protocols,
    /// Fields that rules match and actions change: `nw_dst`.
    Fields,
    /// Actions that rules carry out on a packet: `output`.
    Actions,
    /// Attributes and flags of rules: `priority`.
    Attributes,
    /// Keys of groups: `type`.
    Groups,
    /// Keys of buckets: `weight`.
    Buckets,
    /// Keys and flags of meters: `kbps`.
    Meters,
    /// Keys of the bands of meters: `rate`.
    Bands,
}

impl Chapter {
    /// Every chapter, in the order of the page.
    pub const ALL: [Self; 8] = [
        Self::Protocols,
        Self::Fields,
        Self::Actions,
        Self::Attributes,
        Self::Groups,
        Self::Buckets,
        Self::Meters,
        Self::Bands,
    ];

    /// The word behind `ofctl help` that lists the articles of the chapter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protocols => "protocols",
            Self::Fields => "fields",
            Self::Actions => "actions",
            Self::Attributes => "attributes",
            Self::Groups => "groups",
            Self::Buckets => "buckets",
            Self::Meters => "meters",
            Self::Bands => "bands",
        }
    }

    /// What an article of the chapter is about: `field`.
    fn kind(self) -> &'static str {
        match self {
            Self::Protocols => "protocol word",
            Self::Fields => "field",
            Self::Actions => "action",
            Self::Attributes => "attribute of a rule",
            Self::Groups => "key of a group",
            Self::Buckets => "key of a bucket",
            Self::Meters => "key of a meter",
            Self::Bands => "key of a meter's band",
        }
    }

    /// The articles of the chapter. The registers of one width are one article, and so are the options.
    pub fn articles(self) -> Vec<Article> {
        let described = |words: &mut dyn Iterator<Item = Description>| {
            words.map(|word| Article::described(self, &word)).collect()
        };
        match self {
            Self::Protocols => words::protocols().map(Article::protocol).collect(),
            Self::Fields => FieldId::all()
                .filter(|id| {
                    use FieldId::{Reg, TunMetadata, XReg, XxReg};
                    !matches!(id, Reg(1..) | XReg(1..) | XxReg(1..) | TunMetadata(1..))
                })
                .map(Article::field)
                .collect(),
            Self::Actions => described(&mut ActionName::ALL.iter().map(|word| word.description())),
            Self::Attributes => {
                let attributes = Attribute::ALL.iter().map(|word| word.description());
                described(&mut attributes.chain(Flag::ALL.iter().map(|word| word.description())))
            }
            Self::Groups => described(&mut GroupKey::ALL.iter().map(|word| word.description())),
            Self::Buckets => described(&mut BucketKey::ALL.iter().map(|word| word.description())),
            Self::Meters => described(&mut MeterKey::ALL.iter().map(|word| word.description())),
            Self::Bands => described(&mut BandKey::ALL.iter().map(|word| word.description())),
        }
    }
}

/// What the manual says about one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    /// The chapter to which the article belongs.
    pub chapter: Chapter,
    /// The word: `ip_dst`.
    pub name: String,
    /// Other words with the same meaning: `nw_dst`, or all registers behind the first.
    pub others: Vec<&'static str>,
    /// Whole sentences about the word. Backticks stand around words of the language.
    pub meaning: String,
    /// Properties of the word: what it is, and a sentence or a list.
    pub facts: Vec<(&'static str, String)>,
    /// A command line that uses the word, with `ofctl` in front.
    pub example: String,
}

/// The articles about a word, in upper or lower case: none if the language does not have it, and several if it
/// is a field and an action, say.
pub fn find(word: &str) -> Vec<Article> {
    let is_it = |article: &Article| {
        let mut names = article.others.iter().copied().chain([article.name.as_str()]);
        names.any(|name| name.eq_ignore_ascii_case(word))
    };
    Chapter::ALL.iter().flat_map(|chapter| chapter.articles()).filter(is_it).collect()
}

/// The word of the manual that is nearest to a misspelt one; `None` if none is near.
pub fn nearest(word: &str) -> Option<String> {
    let articles: Vec<Article> =
        Chapter::ALL.iter().flat_map(|chapter| chapter.articles()).collect();
    let names = articles
        .iter()
        .flat_map(|article| article.others.iter().copied().chain([article.name.as_str()]));
    let chapters = Chapter::ALL.iter().map(|chapter| chapter.name());
    words::closest(&word.to_ascii_lowercase(), names.chain(chapters)).map(str::to_owned)
}

impl Article {
    fn described(chapter: Chapter, word: &Description) -> Self {
        let (name, others) = word.names.split_first().map_or(("", &[][..]), |(a, b)| (*a, b));
        Self {
            chapter,
            name: name.to_owned(),
            others: others.to_vec(),
            meaning: word.meaning.trim().to_owned(),
            facts: vec![("write", word.form.to_owned())],
            example: format!("ofctl {}", word.example),
        }
    }

    fn protocol((name, dl_type, nw_proto): (&'static str, u16, Option<u8>)) -> Self {
        let mut same = format!("dl_type={dl_type:#06x}");
        if let Some(proto) = nw_proto {
            let _ = write!(same, ",nw_proto={proto}");
        }
        Self {
            chapter: Chapter::Protocols,
            name: name.to_owned(),
            others: Vec::new(),
            meaning: format!("The word stands for `{same}`."),
            facts: Vec::new(),
            example: format!("ofctl add-flow \"{name},actions=NORMAL\""),
        }
    }

    fn field(id: FieldId) -> Self {
        let def = id.def();
        let further = FieldId::all().filter(|other| is_further(*other, id));
        Self {
            chapter: Chapter::Fields,
            name: def.name.to_owned(),
            others: def.alias.into_iter().chain(further.map(|id| id.def().name)).collect(),
            meaning: def.meaning.trim().to_owned(),
            facts: vec![
                ("values", values(id)),
                ("mask", mask(id)),
                ("needs", needs(id)),
                ("actions", actions(def)),
                ("in messages", wire_names(def)),
            ],
            example: format!("ofctl add-flow \"{}\"", def.example),
        }
    }

    /// The first sentence of the meaning, for lists.
    pub fn summary(&self) -> &str {
        let end = self
            .meaning
            .find([':', '.', ';'])
            .filter(|&end| self.meaning[end + 1..].starts_with(' '));
        end.map_or(self.meaning.trim_end_matches('.'), |end| &self.meaning[..end])
    }

    /// The title: the word and its other words, with registers and options as a range.
    pub fn title(&self) -> String {
        match self.others.as_slice() {
            [.., last] if self.others.len() > 2 => format!("{} to {last}", self.name),
            others => [&[self.name.as_str()], others].concat().join(", "),
        }
    }

    /// The article as text for a terminal, at most about 100 characters wide.
    pub fn text(&self) -> String {
        let mut out = format!("{} ({})\n", self.title(), self.chapter.kind());
        wrap(&mut out, &self.meaning.replace('`', ""), "  ", "  ");
        for (name, text) in &self.facts {
            wrap(&mut out, &text.replace('`', ""), &format!("  {name:<13}"), &" ".repeat(15));
        }
        let _ = writeln!(out, "  {:<13}{}", "example", self.example);
        out
    }
}

/// How wide the text for a terminal is, in characters.
const WIDTH: usize = 100;

/// Appends text in lines of at most [`WIDTH`] characters. `first` stands in front of the first line, and `rest`
/// in front of the others.
fn wrap(out: &mut String, text: &str, first: &str, rest: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = rest.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(out, "{line}");
}

/// Whether `other` is a further field of the family that `id` begins: a register of its width, or an option.
fn is_further(other: FieldId, id: FieldId) -> bool {
    other != id
        && match id {
            FieldId::Reg(_) => matches!(other, FieldId::Reg(_)),
            FieldId::XReg(_) => matches!(other, FieldId::XReg(_)),
            FieldId::XxReg(_) => matches!(other, FieldId::XxReg(_)),
            FieldId::TunMetadata(_) => matches!(other, FieldId::TunMetadata(_)),
            _ => false,
        }
}

fn values(id: FieldId) -> String {
    let def = id.def();
    let bits = def.bits;
    let range = match def.legal {
        legal if id == FieldId::DlVlan => format!("0 to {legal}, or 0xffff"),
        legal if legal != ones(legal.count_ones() as u16) => {
            format!("0 to {legal}, multiples of {}", 1u128 << legal.trailing_zeros())
        }
        legal if bits > 32 => format!("0 to {legal:#x}"),
        legal => format!("0 to {legal}"),
    };
    match def.form {
        _ if id.is_option() => {
            "a number of 128 bits, from tun_metadata8 on of 32 bits; lists show it as 0x..."
                .to_owned()
        }
        TextForm::Decimal => format!("a number of {bits} bits, {range}; 0x... is hexadecimal"),
        TextForm::Hexadecimal => {
            format!("a number of {bits} bits, {range}; lists show it as 0x...")
        }
        TextForm::Port | TextForm::Port32 => {
            "the number of a port, 1 to 65279, its name, or `LOCAL`".to_owned()
        }
        TextForm::Ipv4 => "an IPv4 address: `10.0.0.1`".to_owned(),
        TextForm::Ipv6 => "an IPv6 address: `2001:db8::1`".to_owned(),
        TextForm::Ethernet => "an Ethernet address: `02:00:00:00:00:01`".to_owned(),
        TextForm::Frag => "`no`, `yes`, `first`, `later` or `not_later`".to_owned(),
        TextForm::TunFlags => "`+oam` or `-oam`".to_owned(),
        TextForm::TcpFlags | TextForm::CtState => {
            "flags with `+` or `-` in front, flags with `|` between, or a number".to_owned()
        }
    }
}

fn mask(id: FieldId) -> String {
    let def = id.def();
    if !def.maskable {
        return "none: a match gives the whole value".to_owned();
    }
    match def.form {
        TextForm::Ipv4 => "a prefix length or any mask: `/8`, `/255.0.255.0`",
        TextForm::Ipv6 => "a prefix length or any mask: `/64`, `/ffff::`",
        TextForm::Ethernet => "any: `/ff:ff:ff:00:00:00`",
        TextForm::Frag => "the words select bits",
        TextForm::TunFlags => "the sign says which",
        TextForm::TcpFlags | TextForm::CtState => {
            "flags that are not named do not count; with a number, any: `0x2/0x12`"
        }
        _ => "any: `/0xff`",
    }
    .to_owned()
}

fn needs(id: FieldId) -> String {
    match id.def().prerequisite.keywords() {
        [] if id.is_option() => "nothing: a match on the field asks for the option".to_owned(),
        [] => "nothing: every packet has the field".to_owned(),
        keywords => {
            let words: Vec<_> = keywords.iter().map(|word| format!("`{word}`")).collect();
            format!("{} in the match", words.join(" or "))
        }
    }
}

fn actions(def: &FieldDef) -> String {
    match (def.writable, def.wire) {
        (_, []) => "none: only matches name the field",
        (true, _) => "`set_field`, `load`, `move` and `pop` change it",
        (false, _) => "`move` and `push` read it; nothing changes it",
    }
    .to_owned()
}

/// The names that the field has in messages; of registers those of the first one.
fn wire_names(def: &FieldDef) -> String {
    let names: Vec<_> = def.wire.iter().map(|wire| format!("`{}`", wire.name)).collect();
    match names.as_slice() {
        [] if !def.name.starts_with("dl_vlan") => "none: messages leave the field out".to_owned(),
        [] => "`OXM_OF_VLAN_VID`, `OXM_OF_VLAN_PCP` and `NXM_OF_VLAN_TCI` carry it".to_owned(),
        names => names.join(", "),
    }
}
