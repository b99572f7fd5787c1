//! Which places of programs and masks are taken, and by how many flows.

use crate::layout::{MASKS, PROGRAMS};
use crate::maps::{KeyWords, Maps, Step};
use std::collections::HashMap;

/// The programs. Flows with equal steps share one.
#[derive(Debug, Default)]
pub(crate) struct ProgramPlaces {
    by_steps: HashMap<Vec<Step>, usize>,
    /// Number of flows for each place, and the steps there.
    places: Vec<(usize, Vec<Step>)>,
    free: Vec<usize>,
}

impl ProgramPlaces {
    /// The place of a program with these steps, which one flow more uses from now on; `None` if all are taken.
    pub(crate) fn take(&mut self, maps: &Maps, steps: Vec<Step>) -> Option<usize> {
        if let Some(&place) = self.by_steps.get(&steps) {
            self.places[place].0 += 1;
            return Some(place);
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.places.len() < PROGRAMS => {
                self.places.push(Default::default());
                self.places.len() - 1
            }
            None => return None,
        };
        maps.put_program(place, &steps);
        self.places[place] = (1, steps.clone());
        self.by_steps.insert(steps, place);
        Some(place)
    }

    /// One flow less uses the program. No processor may run the flow's steps any more.
    pub(crate) fn give_back(&mut self, place: usize) {
        let (flows, steps) = &mut self.places[place];
        *flows -= 1;
        if *flows == 0 {
            self.by_steps.remove(&std::mem::take(steps));
            self.free.push(place);
        }
    }
}

/// The masks. Each has a version of its own, which no mask before had.
#[derive(Debug, Default)]
pub(crate) struct MaskPlaces {
    places: [Option<MaskPlace>; MASKS],
    versions: u32,
}

#[derive(Debug)]
struct MaskPlace {
    words: KeyWords,
    version: u32,
    flows: usize,
}

impl MaskPlaces {
    /// The place and version of a mask, under which there is one flow more from now on; `None`
    /// if all places are taken.
    pub(crate) fn take(&mut self, maps: &Maps, words: &KeyWords) -> Option<(usize, u32)> {
        let known = self.places.iter_mut().enumerate();
        let mut known = known.filter_map(|(place, mask)| Some((place, mask.as_mut()?)));
        if let Some((place, mask)) = known.find(|(_, mask)| mask.words == *words) {
            mask.flows += 1;
            return Some((place, mask.version));
        }
        let place = self.places.iter().position(Option::is_none)?;
        // A switch that lives long enough for the number to overflow has no new masks.
        self.versions = self.versions.checked_add(1)?;
        let version = self.versions;
        maps.put_mask(place, version, words);
        self.places[place] = Some(MaskPlace { words: *words, version, flows: 1 });
        Some((place, version))
    }

    /// One flow less is under the mask.
    pub(crate) fn give_back(&mut self, maps: &Maps, place: usize) {
        if let Some(mask) = &mut self.places[place] {
            mask.flows -= 1;
            if mask.flows == 0 {
                maps.remove_mask(place);
                self.places[place] = None;
            }
        }
    }

    /// Number of masks.
    pub(crate) fn len(&self) -> usize {
        self.places.iter().flatten().count()
    }
}
