//! Connection tracking within a translation: `ct(...)` and `ct_clear`.
//!
//! The datapath looks connections up, because no key holds what it finds. So `ct(table=N)` ends this pass for a
//! copy of the packet, which goes on in table N with what was found, while the list goes on with a packet that
//! counts as untracked. The order of events is that of Open vSwitch (`compose_conntrack_action`).

use super::{Ctx, Suspended, TranslationObserver};
use flow::action::Action;
use flow::ct::{Ct, CtZone};
use flow::fields::FieldId;
use flow::verdict::{CtAction, CtCommit, DpAction, Rewrite};

/// Bits of a connection's field that `exec(...)` writes.
#[derive(Clone, Copy, Default)]
struct Written {
    value: u128,
    mask: u128,
}

impl Written {
    fn add(&mut self, value: u128, mask: u128) {
        self.value = self.value & !mask | value & mask;
        self.mask |= mask;
    }
}

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Carries out `ct(...)`. A packet without IP header has no connection, and stays as it is.
    pub(super) fn ct(&mut self, ct: &Ct) {
        if !self.packet.is_ip() {
            return;
        }
        self.commit();
        let zone = match ct.zone {
            CtZone::Number(zone) => zone,
            CtZone::Field(sub) => self.packet.read(sub) as u16,
        };
        let commit = ct.commit.then(|| {
            let [mark, label] = self.on_connection(&ct.exec);
            CtCommit {
                force: ct.force,
                mark: Rewrite::<u32>::new(mark.value as u32, mark.mask as u32),
                label: Rewrite::<u128>::new(label.value, label.mask),
                alg: ct.alg,
            }
        });
        self.out.actions.push(DpAction::Ct(Box::new(CtAction { zone, commit, nat: ct.nat })));
        if let Some(table) = ct.table {
            // As in Open vSwitch, the table's setting for packets without a rule is obeyed.
            let next = Action::GotoTable(table);
            let list = Suspended { table: self.table, cookie: self.cookie, actions: vec![next] };
            let (exit, was_mpls) = (self.exit, self.was_mpls);
            self.suspended = vec![list];
            self.packet.keep_connection();
            self.finish_freezing();
            (self.exit, self.was_mpls) = (exit, was_mpls);
        }
        self.packet.clear_connection();
    }

    /// Carries out `ct_clear`.
    pub(super) fn ct_clear(&mut self) {
        let is_tracked = |action: &DpAction| matches!(action, DpAction::Ct(_));
        let bits = FieldId::CtState.full_mask();
        if self.out.actions.iter().any(is_tracked)
            || self.packet.read_bits(FieldId::CtState, bits) != 0
        {
            self.out.actions.push(DpAction::CtClear);
        }
        self.packet.clear_connection();
    }

    /// What the actions of `exec(...)` write into mark and label.
    fn on_connection(&mut self, actions: &[Action]) -> [Written; 2] {
        let (mut mark, mut label) = (Written::default(), Written::default());
        for action in actions {
            let (field, value, mask) = match action {
                Action::SetField { field, value, mask, .. } => (*field, *value, *mask),
                Action::Move { src, dst } if self.packet.has(src.field) => {
                    let own = match src.field {
                        FieldId::CtMark => mark,
                        FieldId::CtLabel => label,
                        _ => Written::default(),
                    };
                    let before = self.packet.read_bits(src.field, src.mask());
                    let value = before & !own.mask | own.value;
                    (dst.field, (value & src.mask()) >> src.offset << dst.offset, dst.mask())
                }
                // Nothing else is accepted inside `exec(...)`.
                _ => continue,
            };
            match field {
                FieldId::CtLabel => label.add(value, mask),
                _ => mark.add(value, mask),
            }
        }
        [mark, label]
    }
}
