//! Parses groups: `group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=output:2`.

use super::error::{Fault, TextError};
use super::order::Nesting;
use super::pairs::{Pair, Pairs};
use super::parse_action::ActionParser;
use super::printable::quoted;
use super::protocol::Protocols;
use super::vocabulary::vocabulary;
use super::words::{Word, lookup};
use super::{ParseContext, PortNames, number, port, subfield, value};
use crate::action::MAX_LIST_SIZE;
use crate::dialect;
use crate::group::{Bucket, BucketPlace, Group, GroupMod, GroupType, Selection};
use crate::matching::Match;
use crate::types::{GroupId, OfPort, OfVersion};
use std::collections::HashSet;

/// The command that a text of a group is for. It decides which [`GroupMod`] the text becomes, and
/// what the text can have.
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

#[rustfmt::skip]
vocabulary! {
    /// A key of a group's text, in front of the buckets.
    pub(crate) enum GroupKey {
        /// The number by which `group:ID` names the group, 0 to 4294967040. `del-groups` and `dump-groups`
        /// without it are about all groups.
        GroupId: "group_id", "group_id=N", "-O OpenFlow13 add-group \"group_id=1,type=all,bucket=output:1,bucket=output:2\"";
        /// Which buckets are carried out for a packet. `all`: each of them, on a copy of its own. `select`:
        /// one, chosen by a hash of addresses and ports, so that a connection keeps its bucket. `indirect`: the
        /// only one. `ff` (`fast_failover`): the first that is alive.
        Type: "type", "type=all|select|indirect|ff",
            "-O OpenFlow13 add-group \"group_id=2,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_port:2,actions=output:2\"";
        /// How a `select` group chooses: `hash` (of `fields`) or `dp_hash`. A name of at most 15 bytes; without
        /// it the switch chooses. OpenFlow 1.0 and 1.5 can say it.
        SelectionMethod: "selection_method", "selection_method=hash|dp_hash",
            "-O OpenFlow15 add-group \"group_id=3,type=select,selection_method=hash,fields(ip_src,ip_dst),bucket=output:1,bucket=output:2\"";
        /// The number of 64 bits that the hash starts from. Another number
        /// distributes connections in another way.
        SelectionMethodParam: "selection_method_param", "selection_method_param=N",
            "-O OpenFlow15 add-group \"group_id=3,type=select,selection_method=hash,selection_method_param=7,fields(ip_src),bucket=output:1,bucket=output:2\"";
        /// The fields that `selection_method=hash` looks at, each with an optional mask of the bits that count.
        Fields: "fields", "fields(FIELD[=MASK],...)",
            "-O OpenFlow15 add-group \"group_id=3,type=select,selection_method=hash,fields(ip_src=255.255.255.0),bucket=output:1,bucket=output:2\"";
        /// The place of `insert-buckets` and `remove-buckets`: in front of the list, at its end, behind the
        /// bucket with this number; a removal takes the first, the last, all, or the bucket with this number,
        /// and all if nothing is said.
        CommandBucketId: "command_bucket_id", "command_bucket_id=first|last|all|N",
            "-O OpenFlow15 insert-buckets \"group_id=1,command_bucket_id=last,bucket=bucket_id:7,actions=output:3\"";
    }
}

#[rustfmt::skip]
vocabulary! {
    /// A key of a bucket's text. A pair with another key is an action.
    pub(crate) enum BucketKey {
        /// The number of the bucket, unique in its group, 0 to 4294967040. A bucket without one gets the
        /// smallest that no other bucket of the text has.
        BucketId: "bucket_id", "bucket_id:N",
            "-O OpenFlow15 add-group \"group_id=1,type=all,bucket=bucket_id:5,actions=output:1\"";
        /// The bucket's share of the connections of a `select` group, 0 to 65535, in proportion to the sum of
        /// all weights; 1 if it is not given. Other groups refuse a weight.
        Weight: "weight", "weight:N",
            "-O OpenFlow13 add-group \"group_id=1,type=select,bucket=weight:3,actions=output:1,bucket=weight:1,actions=output:2\"";
        /// The bucket is alive while this port is up. `ff` groups need it, or `watch_group`; `all` and
        /// `indirect` groups refuse it.
        WatchPort: "watch_port", "watch_port:PORT",
            "-O OpenFlow13 add-group \"group_id=2,type=ff,bucket=watch_port:1,actions=output:1\"";
        /// The bucket is alive while this group has a bucket that is alive.
        WatchGroup: "watch_group", "watch_group:ID",
            "-O OpenFlow13 add-group \"group_id=4,type=ff,bucket=watch_group:2,actions=group:2\"";
        /// The actions of the bucket, to the end of the bucket. The word can be left out.
        Actions: "actions" | "action", "actions=ACTION,...",
            "-O OpenFlow13 add-group \"group_id=1,type=indirect,bucket=actions=mod_dl_dst:02:00:00:00:00:02,output:2\"";
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

/// Parses a line of a file of groups, which may begin with a command: `modify group_id=1,...`. A line without
/// one is for `default`.
///
/// # Errors
///
/// As [`parse_group`].
pub fn parse_group_file_line(
    line: &str,
    default: GroupCommand,
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
        _ => (default, 0),
    };
    Reader::new(line, command, context).read(&text[end..])
}

/// Parses a line of `ofctl save` that describes a group. The bucket's actions are taken as they are written: no
/// version of OpenFlow has to carry them.
///
/// # Errors
///
/// A part of the text is not valid, or a part is missing. A line that
/// [`write_saved_group`](super::write_saved_group) has written is always valid.
pub fn parse_saved_group(line: &str, ports: &dyn PortNames) -> Result<Group, TextError> {
    let parse = |lenient| {
        let version = OfVersion::OpenFlow15;
        let context = ParseContext { version, lenient, ports, ..ParseContext::default() };
        let mut reader = Reader::new(line, GroupCommand::Add, &context);
        reader.is_saved = true;
        match reader.read(line)? {
            GroupMod::Add(group) => Ok(group),
            _ => Err(TextError::at(line, line, "a group is described by its number and type")),
        }
    };
    parse(false).or_else(|error| {
        // The switch may have a group that only a lenient parser takes.
        let group = parse(true).ok().filter(|group| {
            let mut written = String::new();
            super::write_saved_group(&mut written, group);
            written == line.trim()
        });
        group.ok_or(error)
    })
}

struct Reader<'a> {
    text: &'a str,
    command: GroupCommand,
    context: &'a ParseContext<'a>,
    id: Option<GroupId>,
    kind: Option<GroupType>,
    selection: Selection,
    place: Option<BucketPlace>,
    /// The text is a line of `ofctl save`, whose actions stay as they are written.
    is_saved: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, command: GroupCommand, context: &'a ParseContext<'a>) -> Self {
        let selection = Selection::default();
        let is_saved = false;
        Self { text, command, context, id: None, kind: None, selection, place: None, is_saved }
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
        // Without a place, all buckets are removed, as by `ovs-ofctl`.
        if self.command == GroupCommand::InsertBuckets && self.place.is_none() {
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
        let Some(key) = GroupKey::from_name(pair.key) else {
            let fault = Fault::new(format!("unknown keyword {}", quoted(pair.key)));
            // dump-groups takes a number alone.
            let is_number = pair.key.bytes().all(|byte| byte.is_ascii_digit());
            let fault =
                if is_number { fault.hint(format!("write group_id={}", pair.key)) } else { fault };
            return Err(self.error(pair.key, fault));
        };
        let is_allowed = match key {
            GroupKey::GroupId => true,
            GroupKey::CommandBucketId => self.command.takes_place(),
            GroupKey::Type
            | GroupKey::SelectionMethod
            | GroupKey::SelectionMethodParam
            | GroupKey::Fields => self.command.describes_group(),
        };
        if !is_allowed {
            let fault = format!("{} has no meaning in this command", pair.key);
            return Err(self.error(pair.whole, fault));
        }
        self.set(key, pair.value).map_err(|fault| self.error(pair.whole, fault.of(pair.key)))
    }

    fn set(&mut self, key: GroupKey, text: &'a str) -> Result<(), Fault> {
        match key {
            GroupKey::GroupId if text == "all" => self.id = Some(GroupId::ALL),
            GroupKey::GroupId => {
                let id = number::at_most(text, GroupId::MAX.0.into())?;
                self.id = Some(GroupId(id as u32));
            }
            GroupKey::Type => {
                self.kind = Some(match text {
                    "all" => GroupType::All,
                    "select" => GroupType::Select,
                    "indirect" => GroupType::Indirect,
                    "ff" | "fast_failover" => GroupType::FastFailover,
                    _ => {
                        return Err(Fault::new(format!(
                            "{} is not a type of groups",
                            quoted(text)
                        ))
                        .hint("the types are all, select, indirect and ff"));
                    }
                });
            }
            GroupKey::SelectionMethod if text.len() > MAX_METHOD => {
                return Err(Fault::new(format!("a name has at most {MAX_METHOD} bytes")));
            }
            GroupKey::SelectionMethod => self.selection.method = text.to_owned(),
            GroupKey::SelectionMethodParam => {
                self.selection.param = number::at_most(text, u64::MAX.into())? as u64;
            }
            GroupKey::Fields => self.fields(text)?,
            GroupKey::CommandBucketId => self.place = Some(place(text, self.command)?),
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
        // The text of an insertion does not have the group's type. The receiver, which knows the type, checks
        // the weight and the watched port or group.
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
            let name = pair.key.to_ascii_lowercase();
            match BucketKey::from_name(&name) {
                Some(BucketKey::Actions) => actions.extend(Pairs::new(pair.value)),
                Some(key) => self
                    .attribute(&mut bucket, &mut id, key, pair.value)
                    .map_err(|fault| self.error(pair.whole, fault.of(&name)))?,
                None => actions.push(pair),
            }
        }
        if actions.is_empty() {
            let fault = Fault::new("the bucket's actions are missing");
            return Err(self.error(text, fault.hint("add actions=output:PORT, or actions=drop")));
        }
        let mut parser = ActionParser::new(self.text, self.context);
        let list = parser.pairs(actions.iter().copied(), Nesting::OutsideRules)?;
        let allowed = Protocols::of_version(self.context.version);
        if parser.usable.and(allowed).is_empty() && !self.is_saved {
            return Err(self.error(text, "this version of OpenFlow lacks one of the actions"));
        }
        bucket.actions = match self.is_saved {
            true => list,
            false => dialect::actions(&list, self.context.version, &Match::any()).into_owned(),
        };
        if !is_insertion && let Some(problem) = bucket.problem_in(kind) {
            return Err(self.error(text, Fault::new(problem.message()).hint(problem.remedy())));
        }
        Ok((id, bucket))
    }

    fn attribute(
        &self,
        bucket: &mut Bucket,
        id: &mut Option<u32>,
        key: BucketKey,
        text: &str,
    ) -> Result<(), Fault> {
        match key {
            BucketKey::Weight => {
                bucket.weight = Some(number::at_most(text, u16::MAX.into())? as u16)
            }
            BucketKey::WatchPort => {
                let port = port::parse(text, self.context.ports, self.context.lenient)?;
                if port >= OfPort::MAX && port != OfPort::NONE {
                    return Err(Fault::new(format!("port {port} cannot be watched")));
                }
                bucket.watch_port = Some(port).filter(|p| *p != OfPort::NONE);
            }
            BucketKey::WatchGroup => {
                let id = number::at_most(text, GroupId::MAX.0.into())?;
                bucket.watch_group = Some(GroupId(id as u32));
            }
            BucketKey::BucketId => {
                *id = Some(number::at_most(text, Bucket::MAX_ID.into())? as u32);
            }
            BucketKey::Actions => return Err(Fault::new("a list of actions is no number")),
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
