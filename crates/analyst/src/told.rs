//! Which steps of a story are told one by one. A scanner raises the same alert about fifty targets;
//! telling all fifty hides the rest, so of steps that say the same about the same entity only the
//! strongest are told and the others are counted.

use std::collections::BTreeMap;

use thymus_schema::{AlertId, EntityId, Incident, Step};

/// Steps of one kind and entity that are told one by one; of more only the strongest is told.
const SAME_MAX: usize = 3;

/// A step, and how many of its kind are not told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The step.
    pub step: &'a Step,
    /// Steps of the same kind that follow or came before and are only counted; not 0 only at the
    /// last told one of its kind.
    pub more: u64,
}

/// The steps to tell, in order of time; `strength` says how strong the alert behind a step is.
pub fn told(incident: &Incident, strength: impl Fn(AlertId) -> f64) -> Vec<Told<'_>> {
    let mut kinds: BTreeMap<(&EntityId, &str), Vec<usize>> = BTreeMap::new();
    for (index, step) in incident.steps.iter().enumerate() {
        kinds
            .entry((&step.entity, &step.statement.template))
            .or_default()
            .push(index);
    }
    let mut kept: BTreeMap<usize, u64> = BTreeMap::new();
    let strengths: Vec<f64> = incident
        .steps
        .iter()
        .map(|step| strength(step.alert))
        .collect();
    for mut same in kinds.into_values() {
        let of = |index: &usize| strengths.get(*index).copied().unwrap_or(0.0);
        same.sort_by(|a, b| of(b).total_cmp(&of(a)).then(a.cmp(b)));
        let keep = if same.len() > SAME_MAX { 1 } else { same.len() };
        let more = (same.len() - keep) as u64;
        same.truncate(keep);
        let last = same.iter().max().copied();
        kept.extend(
            same.into_iter()
                .map(|at| (at, if Some(at) == last { more } else { 0 })),
        );
    }
    kept.into_iter()
        .filter_map(|(at, more)| {
            Some(Told {
                step: incident.steps.get(at)?,
                more,
            })
        })
        .collect()
}
