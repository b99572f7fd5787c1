//! Tests with rules that together have every field and every action (`tests/data/every-word.txt`).

use super::vocabulary::ActionName;
use crate::fields::FieldId;

const RULES: &str = include_str!("../../tests/data/every-word.txt");

#[test]
fn the_file_has_every_field_and_every_action() {
    let words: Vec<String> = RULES
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .map(str::to_ascii_lowercase)
        .collect();
    for field in FieldId::all() {
        let def = field.def();
        let has = |name: &str| words.iter().any(|word| word == name);
        assert!(has(def.name) || def.alias.is_some_and(has), "{}", def.name);
    }
    for name in ActionName::names() {
        assert!(words.iter().any(|word| word == name), "{name}");
    }
}
