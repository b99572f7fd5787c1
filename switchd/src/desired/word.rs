//! A value of a setting as a file or the command line has it: a number, a flag, a text or a list.
//!
//! The command line has only text; the file has numbers, booleans and lists as well. Both are read as
//! the same text, so that a setting has one reader and one message for what is wrong with it.

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A value as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Word {
    /// `tag = 10`
    Number(i64),
    /// `protected = true`
    Flag(bool),
    /// `qdisc = "honour"`
    Text(String),
    /// `trunks = [10, 20]`
    List(Vec<i64>),
}

impl Word {
    /// A number without a sign.
    pub fn number(number: impl Into<u32>) -> Self {
        Self::Number(i64::from(number.into()))
    }

    /// A value that is a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for Word {
    /// As the command line has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(text),
            Self::List(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, true or false, text, or a list of numbers")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Word, E> {
        Ok(Word::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Word, E> {
        let number = i64::try_from(number);
        number
            .map(Word::Number)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(u64::MAX), &self))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Word, E> {
        Ok(Word::Flag(flag))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
        Ok(Word::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Word, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element()? {
            numbers.push(number);
        }
        Ok(Word::List(numbers))
    }
}
