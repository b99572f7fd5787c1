//! Parses groups: `group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=output:2`.

use super::error::{Fault, TextError};
use super::order::Nesting;
use super::pairs::{Pair, Pairs};
use super::parse_action::ActionParser;
use super::protocol::Protocols;
use super::words::{Word, lookup};
use super::{ParseContext, dialect, number, port, subfield, value};
use crate::action::MAX_LIST_SIZE;
use crate::group::{Bucket, BucketPlace, Group, GroupMod, GroupType, Selection};
use crate::matching::Match;
use crate::types::{GroupId, OfPort, OfVersion};
use std::collections::HashSet;

/// The command that a text of a group is for. It decides which [`GroupMod`] the text becomes, and what the text
/// can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupCommand {
    /// `add-group`: the text describes a group, which must not exist.
    Add,
    /// `mod-group`: the text describes a group, which must exist.
    Modify,
    /// `--may-create mod-group`: the text describes a group, which may exist.
    AddOrModify,
    /// `del-groups`: the text names a group. An empty text names all groups.
    Delete,
    /// `insert-buckets`: the text names a group and a place, and describes buckets.
    InsertBuckets,
    /// `remove-buckets`: the text names a group and a place.
    RemoveBuckets,
}

impl GroupCommand {
    fn describes_group(self) -> bool {
        matches!(self, Self::Add | Self::Modify | Self::AddOrModify)
    }

    fn takes_buckets(self) -> bool {
        self.describes_group() || self == Self::InsertBuckets
    }

    fn takes_place(self) -> bool {
        matches!(self, Self::InsertBuckets | Self::RemoveBuckets)
    }
}

/// The longest name of a selection method, in bytes (`NTR_MAX_SELECTION_METHOD_LEN` without the final zero).
const MAX_METHOD: usize = 15;

/// Parses a request to change groups.
///
/// # Errors
///
/// A part of the text is not valid, a part is missing, or the context's version cannot carry the group.
pub fn parse_group(
    text: &str,
    command: GroupCommand,
    context: &ParseContext<'_>,
) -> Result<GroupMod, TextError> {
    Reader::new(text, command, context).read(text)
}

/// Parses a line of a file of groups, which may begin with a command: `modify group_id=1,...`. Without one, the
/// line adds a group.
///
/// # Errors
///
/// As [`parse_group`].
pub fn parse_group_file_line(
    line: &str,
    context: &ParseContext<'_>,
) -> Result<GroupMod, TextError> {
    let text = line.trim_start();
    let end = text.find([',', ' ', '\t', '\r', '\n']).unwrap_or(text.len());
    let (command, end) = match &text[..end] {
        "add" => (GroupCommand::Add, end),
        "modify" => (GroupCommand::Modify, end),
        "add_or_mod" => (GroupCommand::AddOrModify, end),
        "delete" => (GroupCommand::Delete, end),
        "insert_bucket" => (GroupCommand::InsertBuckets, end),
        "remove_bucket" => (GroupCommand::RemoveBuckets, end),
        _ => (GroupCommand::Add, 0),
    };
    Reader::new(line, command, context).read(&text[end..])
}

struct Reader<'a> {
    text: &'a str,
    command: GroupCommand,
    context: &'a ParseContext<'a>,
    id: Option<GroupId>,
    kind: Option<GroupType>,
    selection: Selection,
    place: Option<BucketPlace>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, command: GroupCommand, context: &'a ParseContext<'a>) -> Self {
        let selection = Selection::default();
        Self { text, command, context, id: None, kind: None, selection, place: None }
    }

    fn error(&self, part: &str, fault: impl Into<Fault>) -> TextError {
        TextError::at(self.text, part, fault)
    }

    fn read(mut self, group: &'a str) -> Result<GroupMod, TextError> {
        if self.command == GroupCommand::Delete && group.trim().is_empty() {
            return Ok(GroupMod::Delete(GroupId::ALL));
        }
        let mut parts = group.split("bucket=");
        let head = parts.next().unwrap_or_default();
        for pair in Pairs::new(head) {
            self.pair(&pair)?;
        }
        let Some(id) = self.id else {
            let fault = Fault::new("the group's number is missing").hint("add group_id=N");
            return Err(self.error(self.text, fault));
        };
        if self.command.describes_group() && self.kind.is_none() {
            let fault = Fault::new("the group's type is missing");
            let fault = fault.hint("add type=all, type=select, type=indirect or type=ff");
            return Err(self.error(self.text, fault));
        }
        self.check_selection()?;
        self.drop_what_the_version_lacks();
        let mut buckets: Vec<(Option<u32>, Bucket)> = Vec::new();
        let (mut ids, mut size) = (HashSet::new(), 0);
        for part in parts {
            if !self.command.takes_buckets() {
                return Err(self.error(part, "this command takes no buckets"));
            }
            let bucket = self.bucket(part)?;
            if bucket.0.is_some_and(|id| !ids.insert(id)) {
                return Err(self.error(part, "two buckets have the same bucket_id"));
            }
            size += bucket.1.size();
            if size > MAX_LIST_SIZE {
                let fault =
                    Fault::new("the group has too many buckets or actions (OFPBRC_BAD_LEN)");
                let fault =
                    fault.hint("a group has at most 2047 buckets of one action like output:1");
                return Err(self.error(part, fault));
            }
            buckets.push(bucket);
        }
        self.assemble(id, numbered(buckets, &ids))
    }

    fn assemble(self, id: GroupId, buckets: Vec<Bucket>) -> Result<GroupMod, TextError> {
        if self.kind == Some(GroupType::Indirect) && buckets.len() != 1 {
            let fault = format!("an indirect group has one bucket, not {}", buckets.len());
            return Err(self.error(self.text, fault));
        }
        if self.command.takes_place() && self.place.is_none() {
            let fault = Fault::new("command_bucket_id is missing");
            let fault = fault.hint("add command_bucket_id=first, last or a number");
            return Err(self.error(self.text, fault));
        }
        let place = self.place.unwrap_or(BucketPlace::All);
        let kind = self.kind.unwrap_or(GroupType::All);
        let group = |buckets| Group { id, kind, selection: self.selection.clone(), buckets };
        Ok(match self.command {
            GroupCommand::Add => GroupMod::Add(group(buckets)),
            GroupCommand::Modify => GroupMod::Modify(group(buckets)),
            GroupCommand::AddOrModify => GroupMod::AddOrModify(group(buckets)),
            GroupCommand::Delete => GroupMod::Delete(id),
            GroupCommand::InsertBuckets => GroupMod::InsertBuckets { group: id, place, buckets },
            GroupCommand::RemoveBuckets => GroupMod::RemoveBuckets { group: id, place },
        })
    }

    fn pair(&mut self, pair: &Pair<'a>) -> Result<(), TextError> {
        let allowed = match pair.key {
            "group_id" => true,
            "command_bucket_id" => self.command.takes_place(),
            "type" | "selection_method" | "selection_method_param" | "fields" => {
                self.command.describes_group()
            }
            key => {
                return Err(self.error(key, format!("unknown keyword {key:?}")));
            }
        };
        if !allowed {
            let fault = format!("{} has no meaning in this command", pair.key);
            return Err(self.error(pair.whole, fault));
        }
        self.set(pair).map_err(|fault| self.error(pair.whole, fault.of(pair.key)))
    }

    fn set(&mut self, pair: &Pair<'a>) -> Result<(), Fault> {
        let text = pair.value;
        match pair.key {
            "group_id" if text == "all" => self.id = Some(GroupId::ALL),
            "group_id" => {
                let id = number::at_most(text, GroupId::MAX.0.into())?;
                self.id = Some(GroupId(id as u32));
            }
            "type" => {
                self.kind = Some(match text {
                    "all" => GroupType::All,
                    "select" => GroupType::Select,
                    "indirect" => GroupType::Indirect,
                    "ff" | "fast_failover" => GroupType::FastFailover,
                    _ => {
                        return Err(Fault::new(format!("{text:?} is not a type of groups"))
                            .hint("the types are all, select, indirect and ff"));
                    }
                });
            }
            "selection_method" if text.len() > MAX_METHOD => {
                return Err(Fault::new(format!("a name has at most {MAX_METHOD} bytes")));
            }
            "selection_method" => self.selection.method = text.to_owned(),
            "selection_method_param" => {
                self.selection.param = number::at_most(text, u64::MAX.into())? as u64;
            }
            "fields" => self.fields(text)?,
            _ => self.place = Some(place(text, self.command)?),
        }
        Ok(())
    }

    fn fields(&mut self, text: &str) -> Result<(), Fault> {
        for pair in Pairs::new(text) {
            let Some(&Word::Field(field)) = lookup(pair.key) else {
                return Err(subfield::unknown(pair.key));
            };
            if self.selection.fields.iter().any(|(f, _)| *f == field) {
                return Err(Fault::new(format!("{} is given twice", pair.key)));
            }
            let mask = match pair.value {
                "" => field.full_mask(),
                text => {
                    let masked = value::parse(field, text, self.context.ports, true)?;
                    masked.value & field.full_mask()
                }
            };
            if mask == 0 {
                return Err(Fault::new(format!("{}: the mask must not be zero", pair.key)));
            }
            if mask != field.full_mask() && !field.def().maskable {
                return Err(Fault::new(format!("{} takes no mask", pair.key)));
            }
            self.selection.fields.push((field, mask));
        }
        Ok(())
    }

    /// Leniently, a message of OpenFlow 1.1 to 1.4 loses the selection method, for which it has no place.
    fn drop_what_the_version_lacks(&mut self) {
        if !has_selection_methods(self.context.version) {
            self.selection = Selection::default();
        }
    }

    fn check_selection(&self) -> Result<(), TextError> {
        let Selection { method, param, fields } = &self.selection;
        let version = self.context.version;
        let has_methods = has_selection_methods(version);
        // Open vSwitch drops the method silently.
        if !method.is_empty() && !has_methods && !self.context.lenient {
            let fault = Fault::new("this version of OpenFlow has no selection_method");
            return Err(self.error(self.text, fault.hint("use -O OpenFlow15")));
        }
        if !method.is_empty() && self.kind != Some(GroupType::Select) {
            return Err(self.error(self.text, "only select groups have a selection_method"));
        }
        if !fields.is_empty() && method != "hash" {
            let fault = Fault::new("fields need selection_method=hash");
            return Err(self.error(self.text, fault));
        }
        if *param != 0 && method.is_empty() {
            let fault = Fault::new("selection_method_param needs selection_method");
            return Err(self.error(self.text, fault));
        }
        Ok(())
    }

    /// Parses a bucket: `weight:2,actions=output:1,output:2`. A pair that is no attribute of the bucket is an
    /// action. Also returns the bucket's number, if the text has one.
    fn bucket(&self, text: &'a str) -> Result<(Option<u32>, Bucket), TextError> {
        // The text of an insertion does not have the group's type. The receiver, which knows the type, checks the
        // weight and the watched port or group.
        let is_insertion = self.command == GroupCommand::InsertBuckets;
        let kind = self.kind.unwrap_or(GroupType::All);
        let mut id = None;
        let mut bucket = Bucket {
            id: 0,
            // In Open vSwitch, an inserted bucket without a weight gets no packets.
            weight: (is_insertion && self.context.lenient).then_some(0),
            watch_port: None,
            watch_group: None,
            actions: Vec::new(),
        };
        let mut actions: Vec<Pair<'a>> = Vec::new();
        for pair in Pairs::new(text) {
            let key = pair.key.to_ascii_lowercase();
            match key.as_str() {
                "weight" | "watch_port" | "watch_group" | "bucket_id" => self
                    .attribute(&mut bucket, &mut id, &key, pair.value)
                    .map_err(|fault| self.error(pair.whole, fault.of(&key)))?,
                "action" | "actions" => actions.extend(Pairs::new(pair.value)),
                _ => actions.push(pair),
            }
        }
        if actions.is_empty() {
            let fault = Fault::new("the bucket's actions are missing");
            return Err(self.error(text, fault.hint("add actions=output:PORT, or actions=drop")));
        }
        let mut parser = ActionParser::new(self.text, self.context);
        let list = parser.pairs(actions.iter().copied(), Nesting::Nested)?;
        let allowed = Protocols::of_version(self.context.version);
        if parser.usable.and(allowed).is_empty() {
            return Err(self.error(text, "this version of OpenFlow lacks one of the actions"));
        }
        bucket.actions = dialect::actions(&list, self.context.version, &Match::any()).into_owned();
        if !is_insertion && let Some(problem) = bucket.problem_in(kind) {
            return Err(self.error(text, Fault::new(problem.message()).hint(problem.remedy())));
        }
        Ok((id, bucket))
    }

    fn attribute(
        &self,
        bucket: &mut Bucket,
        id: &mut Option<u32>,
        key: &str,
        text: &str,
    ) -> Result<(), Fault> {
        match key {
            "weight" => bucket.weight = Some(number::at_most(text, u16::MAX.into())? as u16),
            "watch_port" => {
                let port = port::parse(text, self.context.ports, self.context.lenient)?;
                if port >= OfPort::MAX && port != OfPort::NONE {
                    return Err(Fault::new(format!("port {port} cannot be watched")));
                }
                bucket.watch_port = Some(port).filter(|p| *p != OfPort::NONE);
            }
            "watch_group" => {
                let id = number::at_most(text, GroupId::MAX.0.into())?;
                bucket.watch_group = Some(GroupId(id as u32));
            }
            _ => *id = Some(number::at_most(text, Bucket::MAX_ID.into())? as u32),
        }
        Ok(())
    }
}

/// Whether messages of the version have selection methods: 1.5, and 1.0 by a Nicira extension.
fn has_selection_methods(version: OfVersion) -> bool {
    matches!(version, OfVersion::OpenFlow10 | OfVersion::OpenFlow15)
}

/// Gives each bucket without a number the smallest number that is free. `taken` are the numbers of the others.
fn numbered(buckets: Vec<(Option<u32>, Bucket)>, taken: &HashSet<u32>) -> Vec<Bucket> {
    let mut free = (0..).filter(|id| !taken.contains(id));
    let number = |(id, bucket): (Option<u32>, Bucket)| {
        // A free number always exists: there are 2^32 of them, and far fewer buckets.
        let id = id.or_else(|| free.next()).unwrap_or_default();
        Bucket { id, ..bucket }
    };
    buckets.into_iter().map(number).collect()
}

fn place(text: &str, command: GroupCommand) -> Result<BucketPlace, Fault> {
    match text {
        "first" => Ok(BucketPlace::First),
        "last" => Ok(BucketPlace::Last),
        "all" if command == GroupCommand::RemoveBuckets => Ok(BucketPlace::All),
        "all" => Err(Fault::new("buckets can be put first or last, not everywhere")),
        _ => Ok(BucketPlace::Id(number::at_most(text, Bucket::MAX_ID.into())? as u32)),
    }
}
