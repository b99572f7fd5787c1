//! The page docs/rules.md.

use super::{Article, Chapter};
use std::fmt::Write;

const TITLE: &str = "\
# Rules, groups, meters, fields and actions

This page describes each word of the language of rules. `ofctl help WORD` prints what it says about one word, and
`ofctl help fields`, `actions`, `attributes`, `protocols`, `groups`, `buckets`, `meters` and `bands` print lists. The page is made from the
tables that the parser reads: `UPDATE_DOCS=1 cargo test -p flow manual` writes it anew.

A rule has a match, attributes, and actions:

    ofctl add-flow \"table=0,priority=100,tcp,nw_dst=10.0.0.2,tcp_dst=80,actions=mod_dl_dst:02:00:00:00:00:02,output:2\"

A packet enters table 0. Of the rules that match it, the one with the highest priority is carried out. A packet that no rule
matches is dropped. A new bridge has one rule, `priority=0,actions=NORMAL`.
";

impl Chapter {
    /// Heading and introduction.
    fn introduction(self) -> &'static str {
        match self {
            Self::Protocols => {
                "## Protocols\n\nThese words stand alone in a match. Most fields need one of them: see *needs* below."
            }
            Self::Fields => {
                "## Fields\n\n`FIELD=VALUE` in a match selects packets whose field has the value. `FIELD=VALUE/MASK` looks at \
                 the one-bits of the mask only.\n`FIELD[a..b]=VALUE` looks at bits a to b, where bit 0 is the lowest."
            }
            Self::Actions => {
                "## Actions\n\nActions stand behind `actions=`, separated by commas, and are carried out in their order.\nEach \
                 output sends the packet as it is at that point. Names of ports are written like numbers: `output:veth0`."
            }
            Self::Attributes => {
                "## Attributes and flags of rules\n\nAttributes have a value. Flags stand alone."
            }
            Self::Groups => {
                "## Groups\n\nA group is a list of buckets, and a bucket is a list of actions. The action `group:ID` sends a\n\
                 packet through one or several of them. `ofctl` takes groups with every version of OpenFlow, and `ovs-ofctl` needs\n\
                 `-O OpenFlow11` or later."
            }
            Self::Buckets => {
                "## Buckets\n\nThe text of a bucket begins with `bucket=` and ends at the next `bucket=`."
            }
            Self::Meters => {
                "## Meters\n\nA meter limits the rate of the packets that the action `meter:ID` sends through it, of all rules \
                 and ports together.\n`ofctl` takes meters with every version of OpenFlow, and `ovs-ofctl` needs `-O OpenFlow13` \
                 or later."
            }
            Self::Bands => {
                "## Bands\n\nThe bands of a meter stand behind `bands=`. The text of a band begins with `type=` and ends at the \
                 next `type=`."
            }
        }
    }
}

/// The page docs/rules.md, as Markdown.
pub fn page() -> String {
    let mut out = TITLE.to_owned();
    for chapter in Chapter::ALL {
        let _ = writeln!(out, "\n{}", chapter.introduction());
        match chapter {
            Chapter::Protocols => protocols(&mut out),
            _ => chapter.articles().iter().for_each(|article| describe(&mut out, article)),
        }
    }
    out
}

fn protocols(out: &mut String) {
    out.push_str("\n| word | stands for |\n| --- | --- |\n");
    for article in Chapter::Protocols.articles() {
        let meaning =
            article.meaning.trim_start_matches("The word stands for ").trim_end_matches('.');
        let _ = writeln!(out, "| `{}` | {meaning} |", article.name);
    }
}

fn describe(out: &mut String, article: &Article) {
    let _ = writeln!(out, "\n### {}\n\n{}\n", article.title(), article.meaning);
    for (name, text) in &article.facts {
        match *name {
            "write" => {
                let _ = writeln!(out, "- write: `{text}`");
            }
            _ => {
                let _ = writeln!(out, "- {name}: {text}");
            }
        }
    }
    let _ = writeln!(out, "\n      {}", article.example);
}
