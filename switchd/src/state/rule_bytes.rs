//! Rules as bytes. Most changes of a journal are about rules, so these have a form that is quick
//! to write and to read.
//!
//! ```text
//! u8                      1: the bridge has this rule; 2: the bridge has no rule at this place
//! u32                     size of the following bytes
//! u8, u16                 the rule's table and priority
//! u16, bytes              size of the match, and the match, packed (`flow::packed`)
//!                         ... that is all of a rule's place; only a rule has the rest:
//! u8                      bits: which of the following attributes the rule has
//! u64                     bit 0: the cookie
//! u16                     bit 1: the idle timeout, in seconds
//! u16, u64                bit 2: the hard timeout, in seconds, and when it is over, in seconds since 1970 (UTC)
//! u16                     bit 3: the importance
//! u8                      bit 4: flags, in the order of `FlowFlags`
//! u32, bytes              bit 5: size of the name, and the name
//! u32, bytes              bit 6: size of the label, and the label
//! actions                 up to the end: a byte for the kind of each action, and its arguments
//! ```
//!
//! Numbers are little-endian. An action is 1 and the port of an `output` without a `max_len` (`u16`), 2 and the
//! number of a `group` (`u32`), 3 and the table of a `goto_table` (`u8`), or 0, a size (`u32`), and as many
//! bytes of the action's JSON. The form is part of the journal's format: a journal with another form gets
//! another number of the format.

use super::change::{Change, KeptRule, RulePlace, seconds_since_1970};
use flow::Match;
use flow::action::Action;
use flow::flow_mod::{Command, FlowFlags, FlowMod};
use flow::packed::{Unpacker, pack};
use flow::types::{Cookie, GroupId, OfPort, TableId};
use flowtable::policy::effects::Effects;
use flowtable::policy::rule::Rule;
use std::borrow::Cow;
use std::time::Duration;

/// The first byte of a change that gives the bridge a rule.
const RULE: u8 = 1;
/// The first byte of a change that takes a rule from the bridge.
const NO_RULE: u8 = 2;

/// The attributes that a rule has besides its place and its actions.
mod attribute {
    pub(super) const COOKIE: u8 = 1;
    pub(super) const IDLE_TIMEOUT: u8 = 1 << 1;
    pub(super) const HARD_TIMEOUT: u8 = 1 << 2;
    pub(super) const IMPORTANCE: u8 = 1 << 3;
    pub(super) const FLAGS: u8 = 1 << 4;
    pub(super) const NAME: u8 = 1 << 5;
    pub(super) const LABEL: u8 = 1 << 6;
}

/// The kinds of actions.
mod kind {
    pub(super) const JSON: u8 = 0;
    pub(super) const OUTPUT: u8 = 1;
    pub(super) const GROUP: u8 = 2;
    pub(super) const GOTO_TABLE: u8 = 3;
}

/// What is written of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenRule<'a> {
    table: TableId,
    priority: u16,
    matching: &'a Match,
    cookie: Cookie,
    idle_timeout: u16,
    hard_timeout: u16,
    /// Seconds until the hard timeout is over.
    left: u64,
    importance: u16,
    flags: FlowFlags,
    name: Option<&'a str>,
    label: Option<&'a str>,
    actions: &'a [Action],
}

impl<'a> WrittenRule<'a> {
    /// A rule of a bridge. `now` is the switch's clock at this moment.
    pub(super) fn of(rule: &'a Rule, priority: u16, matching: &'a Match, now: Duration) -> Self {
        let end = rule.modified() + Duration::from_secs(rule.hard_timeout().into());
        Self {
            table: rule.table,
            priority,
            matching,
            cookie: rule.cookie,
            idle_timeout: rule.idle_timeout(),
            hard_timeout: rule.hard_timeout(),
            left: end.saturating_sub(now).as_secs(),
            importance: rule.importance,
            flags: rule.flags,
            name: rule.name().map(|name| &**name),
            label: rule.label().map(|label| &**label),
            actions: &rule.actions,
        }
    }

    /// The rule that a request adds now.
    fn of_request(request: &'a FlowMod) -> Self {
        Self {
            table: request.table.unwrap_or_default(),
            priority: request.priority,
            matching: &request.matching,
            cookie: request.cookie,
            idle_timeout: request.idle_timeout,
            hard_timeout: request.hard_timeout,
            left: request.hard_timeout.into(),
            importance: request.importance,
            flags: request.flags,
            name: request.name.as_deref(),
            label: request.label.as_deref(),
            actions: &request.actions,
        }
    }

    /// Appends the change that gives a bridge the rule.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = begin(out, RULE, self.table, self.priority, self.matching);
        let (mut attributes, place) = (0, out.len());
        out.push(0);
        let mut has = |attribute: u8, is_there: bool| {
            attributes |= if is_there { attribute } else { 0 };
            is_there
        };
        if has(attribute::COOKIE, self.cookie != Cookie::default()) {
            out.extend_from_slice(&self.cookie.0.to_le_bytes());
        }
        if has(attribute::IDLE_TIMEOUT, self.idle_timeout != 0) {
            out.extend_from_slice(&self.idle_timeout.to_le_bytes());
        }
        if has(attribute::HARD_TIMEOUT, self.hard_timeout != 0) {
            out.extend_from_slice(&self.hard_timeout.to_le_bytes());
            out.extend_from_slice(&(seconds_since_1970() + self.left).to_le_bytes());
        }
        if has(attribute::IMPORTANCE, self.importance != 0) {
            out.extend_from_slice(&self.importance.to_le_bytes());
        }
        if has(attribute::FLAGS, self.flags != FlowFlags::default()) {
            out.push(flags_to_bits(self.flags));
        }
        for (attribute, text) in [(attribute::NAME, self.name), (attribute::LABEL, self.label)] {
            if has(attribute, text.is_some()) {
                sized(out, text.unwrap_or_default().as_bytes());
            }
        }
        out[place] = attributes;
        self.actions.iter().for_each(|action| write_action(out, action));
        end(out, start);
    }
}

/// The rules that the requests of one transaction add, as bytes. A session that reads many requests makes these
/// bytes beside the transaction, and [annotates](flowtable::policy::Transaction::annotate) the transaction with
/// them. The keeper then need not look at the tables.
#[derive(Debug, Default)]
pub(crate) struct AddedRules {
    bytes: Vec<u8>,
    /// The number of requests that add a rule.
    count: usize,
    /// A request does something else.
    has_others: bool,
}

impl AddedRules {
    /// Appends a request.
    pub(crate) fn push(&mut self, request: &FlowMod) {
        self.has_others |= request.command != Command::Add;
        if self.has_others {
            self.bytes = Vec::new();
            return;
        }
        WrittenRule::of_request(request).write(&mut self.bytes);
        self.count += 1;
    }

    /// The changes that `effects` made, as bytes; `None` if the transaction did anything but add
    /// the rules of these requests.
    pub(super) fn changes_of(&self, effects: &Effects) -> Option<&[u8]> {
        let is_all = !self.has_others && effects.additions() == Some(self.count);
        is_all.then_some(&self.bytes)
    }
}

/// Appends the change that a bridge has no rule at a place.
pub(super) fn write_no_rule(out: &mut Vec<u8>, table: TableId, priority: u16, matching: &Match) {
    let start = begin(out, NO_RULE, table, priority, matching);
    end(out, start);
}

/// Begins a change with the place of its rule. Returns where the bytes behind the size begin.
fn begin(out: &mut Vec<u8>, what: u8, table: TableId, priority: u16, matching: &Match) -> usize {
    let [low, high] = priority.to_le_bytes();
    // The zeros become the sizes of the change and of the match.
    out.extend_from_slice(&[what, 0, 0, 0, 0, table.get(), low, high, 0, 0]);
    let place = out.len();
    pack(out, matching);
    // A match has some hundred parts of 18 bytes at most.
    let size = (out.len() - place) as u16;
    out[place - 2..place].copy_from_slice(&size.to_le_bytes());
    place - 5
}

fn end(out: &mut [u8], start: usize) {
    let size = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&size.to_le_bytes());
}

/// Appends a size and as many bytes.
fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn write_action(out: &mut Vec<u8>, action: &Action) {
    match action {
        Action::Output { port, max_len: 0 } => {
            let [low, high] = port.0.to_le_bytes();
            out.extend_from_slice(&[kind::OUTPUT, low, high]);
        }
        Action::Group(GroupId(id)) => {
            out.push(kind::GROUP);
            out.extend_from_slice(&id.to_le_bytes());
        }
        Action::GotoTable(table) => out.extend_from_slice(&[kind::GOTO_TABLE, table.get()]),
        other => {
            out.push(kind::JSON);
            // No action has a map, whose keys JSON might not have.
            sized(out, &serde_json::to_vec(other).unwrap_or_default());
        }
    }
}

/// The number of [`FlowFlags`] as bits, the first one lowest.
fn flags_to_bits(flags: FlowFlags) -> u8 {
    let FlowFlags { send_flow_rem, check_overlap, reset_counts, no_packet_counts, no_byte_counts } =
        flags;
    [send_flow_rem, check_overlap, reset_counts, no_packet_counts, no_byte_counts]
        .iter()
        .rev()
        .fold(0, |bits, flag| bits << 1 | u8::from(*flag))
}

fn flags_from_bits(bits: u8) -> FlowFlags {
    let flag = |n: u8| bits >> n & 1 == 1;
    FlowFlags {
        send_flow_rem: flag(0),
        check_overlap: flag(1),
        reset_counts: flag(2),
        no_packet_counts: flag(3),
        no_byte_counts: flag(4),
    }
}

/// Whether a change in the form of bytes begins with this byte. All others are lines of JSON.
pub(super) fn is_rule(first: u8) -> bool {
    matches!(first, RULE | NO_RULE)
}

/// Takes the change about a rule off the front of `bytes`. `unpacker` knows the matches of the journal. `None`
/// if these bytes are none.
pub(super) fn take<'a>(bytes: &mut &'a [u8], unpacker: &Unpacker) -> Option<Change<'a>> {
    let [what] = *array(bytes)?;
    let mut from = take_sized(bytes)?;
    let from = &mut from;
    let table = TableId::new(array::<1>(from)?[0])?;
    let priority = u16::from_le_bytes(*array(from)?);
    let size = u16::from_le_bytes(*array(from)?);
    let packed = from.split_off(..usize::from(size))?;
    let matching = match unpacker.is_current() {
        true => Cow::Borrowed(packed),
        false => {
            let mut anew = Vec::new();
            pack(&mut anew, &unpacker.unpack(packed)?);
            Cow::Owned(anew)
        }
    };
    match what {
        RULE => take_rule(from, table, priority, matching).map(Change::Rule),
        NO_RULE if from.is_empty() => Some(Change::NoRule(RulePlace { table, priority, matching })),
        _ => None,
    }
}

/// Takes the rest of a rule, behind its place.
fn take_rule<'a>(
    from: &mut &'a [u8],
    table: TableId,
    priority: u16,
    matching: Cow<'a, [u8]>,
) -> Option<KeptRule<'a>> {
    let [attributes] = *array(from)?;
    let has = |attribute: u8| attributes & attribute != 0;
    let mut rule = KeptRule {
        table,
        priority,
        matching,
        cookie: Cookie::default(),
        idle_timeout: 0,
        hard_timeout: 0,
        expires: None,
        importance: 0,
        flags: FlowFlags::default(),
        name: None,
        label: None,
        actions: Cow::default(),
    };
    if has(attribute::COOKIE) {
        rule.cookie = Cookie(u64::from_le_bytes(*array(from)?));
    }
    if has(attribute::IDLE_TIMEOUT) {
        rule.idle_timeout = u16::from_le_bytes(*array(from)?);
    }
    if has(attribute::HARD_TIMEOUT) {
        rule.hard_timeout = u16::from_le_bytes(*array(from)?);
        rule.expires = Some(u64::from_le_bytes(*array(from)?));
    }
    if has(attribute::IMPORTANCE) {
        rule.importance = u16::from_le_bytes(*array(from)?);
    }
    if has(attribute::FLAGS) {
        rule.flags = flags_from_bits(array::<1>(from)?[0]);
    }
    let mut text = || Some(std::str::from_utf8(take_sized(from)?).ok()?.into());
    if has(attribute::NAME) {
        rule.name = Some(text()?);
    }
    if has(attribute::LABEL) {
        rule.label = Some(text()?);
    }
    let mut actions = Vec::new();
    while !from.is_empty() {
        actions.push(take_action(from)?);
    }
    rule.actions = actions.into();
    Some(rule)
}

fn take_action(from: &mut &[u8]) -> Option<Action> {
    Some(match array::<1>(from)?[0] {
        kind::OUTPUT => Action::output(OfPort(u16::from_le_bytes(*array(from)?))),
        kind::GROUP => Action::Group(GroupId(u32::from_le_bytes(*array(from)?))),
        kind::GOTO_TABLE => Action::GotoTable(TableId::new(array::<1>(from)?[0])?),
        kind::JSON => serde_json::from_slice(take_sized(from)?).ok()?,
        _ => return None,
    })
}

/// Takes a size, and returns as many bytes behind it.
fn take_sized<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = u32::from_le_bytes(*array(from)?);
    from.split_off(..size as usize)
}

fn array<'a, const N: usize>(from: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    from.split_off(..N)?.first_chunk()
}
