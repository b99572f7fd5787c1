//! The actions that change rules: `learn` and `fin_timeout`. A translation only says what they would do.

use super::{Ctx, Note, TranslationObserver};
use crate::policy::learning::{LearnedRule, Teacher};
use crate::policy::rule::Rule;
use flow::fields::FieldId;
use flow::learn::Learner;
use packet::wire::tcp;
use std::sync::Arc;

/// Timeouts of a rule that the end of a TCP connection shortens.
#[derive(Clone, Debug)]
pub struct ShortenedTimeouts {
    /// The rule, whose packet ended the connection.
    pub rule: Arc<Rule>,
    /// The new idle timeout in seconds, if it is shorter than the rule's; 0 leaves that as it is.
    pub idle: u16,
    /// The new hard timeout in seconds, if it is shorter than the rule's; 0 leaves that as it is.
    pub hard: u16,
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Carries out `learn(...)`.
    pub(super) fn learn(&mut self, learner: &Learner) {
        if !self.spend_for(learner.parts.len()) {
            return;
        }
        let packet = &mut self.packet;
        let request = learner.request(|src| packet.read(src));
        let teacher = self.rule.and_then(|rule| {
            let entry = self.tables().rule(rule.place())?;
            Some(Teacher::new(rule, entry.priority, &entry.matches))
        });
        let learned = LearnedRule { bridge: self.bridge, request, limit: learner.limit, teacher };
        self.observer.note(|| Note::Learns(Arc::new(learned.clone())));
        let has_room = self.tables().has_room_to_learn(&learned, self.view.version);
        if let Some(dst) = learner.result_dst {
            let bit = u128::from(has_room);
            self.packet.write(dst, bit);
            self.observer.note(|| Note::FieldIsNow(dst, bit));
        }
        if !has_room {
            self.observer.note(|| Note::NoRoomToLearn);
            // Another packet may find room.
            self.out.is_passing = true;
        }
        self.out.rules_to_learn.push(Arc::new(learned));
    }

    /// Carries out `fin_timeout(...)`.
    pub(super) fn fin_timeout(&mut self, idle: u16, hard: u16) {
        let ends = u128::from(tcp::flag::FIN | tcp::flag::RST);
        if !self.packet.has(FieldId::TcpFlags)
            || self.packet.read_bits(FieldId::TcpFlags, ends) == 0
        {
            return;
        }
        if let Some(rule) = self.rule {
            self.out.shortened.push(ShortenedTimeouts { rule: Arc::clone(rule), idle, hard });
        }
    }
}
