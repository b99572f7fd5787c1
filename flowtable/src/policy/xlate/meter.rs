//! The meter action, and the meters that the switch itself uses.

use super::{Ctx, Note, TranslationObserver};
use flow::types::MeterId;
use flow::verdict::{DpAction, MeterRef};
use std::sync::Arc;

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Executes `meter:ID`. A meter that is gone, which a bucket may still name, lets every packet
    /// pass, as in Open vSwitch.
    pub(super) fn meter(&mut self, id: MeterId) {
        let Some(meter) = self.meter_ref(id) else {
            return self.observer.note(|| Note::NoSuchMeter(id));
        };
        if self.out.meters[usize::from(meter.index)].remarks() {
            // The DSCP that the rules have set so far is the one that the meter changes.
            self.commit();
        }
        self.out.actions.push(DpAction::Meter(meter));
    }

    /// The meter of the bridge with this number, among those of the translation. `None` if the bridge has none.
    /// The translation depends on the answer.
    pub(super) fn meter_ref(&mut self, id: MeterId) -> Option<MeterRef> {
        self.out.depends.groups.insert_meter(self.bridge, id);
        let entry = self.tables().meter(id, self.view.version)?;
        let meters = &mut self.out.meters;
        let known = meters.iter().position(|other| Arc::ptr_eq(other, entry));
        let index = known.unwrap_or_else(|| {
            meters.push(Arc::clone(entry));
            meters.len() - 1
        });
        Some(MeterRef { id, index: u16::try_from(index).ok()? })
    }
}
