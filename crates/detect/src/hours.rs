//! The unit of judgement: one entity in one hour. Keeps the highest score of each detector for each
//! entity that was active, and teaches the calibration when the hour is over.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use thymus_schema::{PValue, SnapshotError, SnapshotReader, SnapshotWriter, Timestamp};

use crate::audit::{Audit, Promise};
use crate::calibration::{Calibrated, Conformal, Shipped, Watched};
use crate::detector::DetectorSpec;
use crate::entities::Entities;
use crate::memory::Memory;
use crate::party::{DeviceIdx, Party};

const HOUR_SECS: i64 = 3_600;
/// Entities followed within one hour; more are counted and not calibrated on their own.
const ENTITIES_MAX: usize = 200_000;
/// How long the scores of an hour that was alerted are kept from the calibration, in hours: an attack
/// must not become the norm because it was noticed, a habit may after three days.
const WITHHELD_HOURS: i64 = 72;
const WITHHELD_MAX: usize = 100_000;

/// The highest score of one detector for one entity in one hour, for calibration studies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HourlyMaximum {
    /// Index of the detector in [`crate::DETECTORS`].
    pub detector: usize,
    /// The highest score; 0 when the detector had nothing to say.
    pub score: f64,
    /// Whether the entity is a device of ours (else an outsider).
    pub is_device: bool,
}

#[derive(Clone, Debug, Default)]
struct Hour {
    /// Few per hour.
    highest: Vec<Highest>,
    discovered: bool,
}

/// The highest score of a detector.
#[derive(Clone, Copy, Debug)]
struct Highest {
    detector: usize,
    score: f64,
    /// Its p-value.
    claimed: PValue,
    /// The same, weighed by whether the detector keeps its promise.
    weighed: PValue,
}

impl Hour {
    /// One p-value out of those of all detectors, to be multiplied by the number of looks: the
    /// harmonic mean (Wilson, *The harmonic mean p-value for combining dependent tests*, 2019), which
    /// holds for dependent tests and rewards two that speak at once without letting many weak ones add
    /// up to much.
    fn evidence(&self) -> PValue {
        let inverse: f64 = self
            .highest
            .iter()
            .map(|highest| 1.0 / highest.weighed.probability().max(1e-300))
            .sum();
        if inverse > 0.0 {
            PValue::from_probability((1.0 / inverse).min(1.0))
        } else {
            PValue::ONE
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Withheld {
    until: i64,
    detector: usize,
    entity: u64,
    group: u64,
    score: f64,
}

/// The present hour and the calibrations it feeds.
#[derive(Debug)]
pub(crate) struct Hours {
    calibrations: Vec<Conformal>,
    audit: Audit,
    watched: Watched,
    /// Number of the present hour since 1970.
    present: i64,
    /// Entities active in the present hour, in order of first activity.
    order: Vec<Party>,
    active: FxHashMap<u64, Hour>,
    /// Devices noted as active in the present hour, by index.
    noted: Vec<bool>,
    withheld: VecDeque<Withheld>,
    /// Device-hours so far.
    worked: f64,
    dropped: u64,
    kept: Option<Vec<HourlyMaximum>>,
}

impl Hours {
    pub(crate) fn new(specs: &[DetectorSpec], keep: bool) -> Self {
        Self {
            calibrations: specs
                .iter()
                .map(|s| Conformal::new(Shipped::of(s.id)))
                .collect(),
            audit: Audit::new(specs.len()),
            watched: Watched::default(),
            present: i64::MIN,
            order: Vec::new(),
            active: FxHashMap::default(),
            noted: Vec::new(),
            withheld: VecDeque::new(),
            worked: 0.0,
            dropped: 0,
            kept: keep.then(Vec::new),
        }
    }

    pub(crate) fn begin(&mut self, at: Timestamp) {
        self.present = at.as_secs().div_euclid(HOUR_SECS);
    }

    pub(crate) fn is_over(&self, at: Timestamp) -> bool {
        at.as_secs().div_euclid(HOUR_SECS) != self.present
    }

    /// Notes that the entity did something this hour. Outsiders count only once they are scored:
    /// there are too many of them, and almost all do nothing worth a test.
    /// Whether it was the first time.
    pub(crate) fn active(&mut self, party: Party) -> bool {
        let Some(DeviceIdx(index)) = party.device else {
            return false;
        };
        let index = index as usize;
        if self.noted.get(index) == Some(&true) {
            return false;
        }
        if self.noted.len() <= index {
            self.noted.resize(index + 1, false);
        }
        // One that found no room is asked for again, and counted again.
        let found_room = self.entry(party).is_some();
        if let Some(noted) = self.noted.get_mut(index) {
            *noted = found_room;
        }
        true
    }

    /// What it keeps of entities.
    pub(crate) fn memories(&mut self) -> impl Iterator<Item = &mut dyn Memory> {
        let calibrations = self.calibrations.iter_mut().map(Conformal::entities);
        calibrations.chain([self.watched.entities()])
    }

    fn entry(&mut self, party: Party) -> Option<&mut Hour> {
        let key = party.key();
        if !self.active.contains_key(&key) {
            if self.active.len() >= ENTITIES_MAX {
                self.dropped += 1;
                return None;
            }
            self.order.push(party);
        }
        Some(self.active.entry(key).or_default())
    }

    /// The evidence of all detectors about an entity in the present hour.
    pub(crate) fn evidence(&self, party: Party) -> PValue {
        self.active
            .get(&party.key())
            .map_or(PValue::ONE, Hour::evidence)
    }

    /// Takes in a score and returns its calibrated p-value, weighed by how the detector keeps its promise.
    pub(crate) fn score(
        &mut self,
        detector: usize,
        party: Party,
        score: f64,
        entities: &Entities,
    ) -> Calibrated {
        let mut calibrated = match self.calibrations.get(detector) {
            Some(conformal) => {
                let key = party.key();
                let watched = self.watched.hours(key);
                conformal.p_value(key, entities.group(party), watched, score)
            }
            None => Calibrated {
                p_value: PValue::ONE,
                by: "shipped",
            },
        };
        let claimed = calibrated.p_value;
        calibrated.p_value = claimed.bonferroni(self.audit.weight(detector));
        let this = Highest {
            detector,
            score,
            claimed,
            weighed: calibrated.p_value,
        };
        if let Some(hour) = self.entry(party) {
            let mut highest = hour.highest.iter_mut();
            match highest.find(|highest| highest.detector == detector) {
                Some(highest) if score > highest.score => *highest = this,
                Some(_) => {}
                None => hour.highest.push(this),
            }
        }
        calibrated
    }

    pub(crate) fn is_discovered(&self, party: Party) -> bool {
        self.active
            .get(&party.key())
            .is_some_and(|hour| hour.discovered)
    }

    pub(crate) fn set_discovered(&mut self, party: Party) {
        if let Some(hour) = self.entry(party) {
            hour.discovered = true;
        }
    }

    /// Ends the hour: teaches the calibrations and returns the smallest p-value of each entity that
    /// made no discovery, in order of first activity.
    pub(crate) fn close(&mut self, entities: &Entities, learning: bool) -> Vec<PValue> {
        let mut passed = Vec::with_capacity(self.order.len());
        self.noted.clear();
        let order = std::mem::take(&mut self.order);
        let mut active = std::mem::take(&mut self.active);
        for party in order {
            let Some(hour) = active.remove(&party.key()) else {
                continue;
            };
            self.worked += f64::from(u8::from(party.is_local()));
            if !hour.discovered {
                passed.push(hour.evidence());
            }
            if party.is_local() && !learning {
                let said = hour
                    .highest
                    .iter()
                    .map(|said| (said.detector, said.claimed));
                self.audit.device_hour(party.key(), self.present, said);
            }
            self.teach(party, &hour, entities, learning);
        }
        self.audit.close(self.present);
        self.release();
        passed
    }

    fn teach(&mut self, party: Party, hour: &Hour, entities: &Entities, learning: bool) {
        let (entity, group) = (party.key(), entities.group(party));
        let watched = self.watched.hours(entity);
        for (detector, conformal) in self.calibrations.iter_mut().enumerate() {
            let score = hour
                .highest
                .iter()
                .find(|highest| highest.detector == detector)
                .map_or(0.0, |highest| highest.score);
            if let Some(kept) = &mut self.kept {
                kept.push(HourlyMaximum {
                    detector,
                    score,
                    is_device: party.is_local(),
                });
            }
            // What outsiders never do is not worth remembering for each of them.
            if !party.is_local() && score == 0.0 {
                continue;
            }
            if hour.discovered && score > 0.0 && !learning {
                if self.withheld.len() < WITHHELD_MAX {
                    let until = self.present + WITHHELD_HOURS;
                    self.withheld.push_back(Withheld {
                        until,
                        detector,
                        entity,
                        group,
                        score,
                    });
                }
                continue;
            }
            conformal.learn(entity, group, watched, score);
        }
        if party.is_local() {
            self.watched.note(entity);
        }
    }

    fn release(&mut self) {
        while let Some(next) = self.withheld.front().copied() {
            if next.until > self.present {
                return;
            }
            self.withheld.pop_front();
            if let Some(conformal) = self.calibrations.get_mut(next.detector) {
                let watched = self.watched.hours(next.entity);
                conformal.learn(next.entity, next.group, watched, next.score);
            }
        }
    }

    /// What detectors promised and kept.
    pub(crate) fn promises(&self, ids: impl Iterator<Item = &'static str>) -> Vec<Promise> {
        self.audit.promises(ids)
    }

    /// Whether they do.
    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// For its snapshot.
    pub(crate) fn audit_mut(&mut self) -> &mut Audit {
        &mut self.audit
    }

    pub(crate) fn device_hours(&self) -> f64 {
        self.worked
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn take_kept(&mut self) -> Vec<HourlyMaximum> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How long each entity was watched, for the calibrations of all detectors.
    pub(crate) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(crate) fn restore_watched(
        &mut self,
        from: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        self.watched = Watched::restore(from)?;
        Ok(())
    }

    /// The scores that are still kept from the calibrations: who goes on tomorrow lets them in when their time is
    /// over. `ids` name the detectors.
    pub(crate) fn snapshot_withheld(&self, ids: &[&'static str], out: &mut SnapshotWriter) {
        out.u64(self.withheld.len() as u64);
        for one in &self.withheld {
            out.str(ids.get(one.detector).copied().unwrap_or_default())
                .i64(one.until)
                .u64(one.entity)
                .u64(one.group)
                .f64(one.score);
        }
    }

    pub(crate) fn restore_withheld(
        &mut self,
        ids: &[&'static str],
        from: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        let mut withheld = VecDeque::new();
        for _ in 0..from.count(40)?.min(WITHHELD_MAX) {
            let id = from.str()?;
            let one = Withheld {
                detector: ids
                    .iter()
                    .position(|known| *known == id)
                    .unwrap_or(ids.len()),
                until: from.i64()?,
                entity: from.u64()?,
                group: from.u64()?,
                score: from.f64()?,
            };
            if one.detector < ids.len() && one.score.is_finite() {
                withheld.push_back(one);
            }
        }
        self.withheld = withheld;
        Ok(())
    }

    pub(crate) fn snapshot(&self, detector: usize, out: &mut SnapshotWriter) {
        if let Some(conformal) = self.calibrations.get(detector) {
            conformal.snapshot(out);
        }
    }

    pub(crate) fn restore(
        &mut self,
        detector: usize,
        from: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        self.calibrations
            .get_mut(detector)
            .map_or(Ok(()), |conformal| conformal.restore(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detectors::DETECTORS;

    #[test]
    fn what_is_withheld_today_is_let_in_by_whoever_goes_on_tomorrow() {
        let ids: Vec<&'static str> = DETECTORS.iter().map(|spec| spec.id).collect();
        let p_value = |hours: &Hours| hours.calibrations[2].p_value(7, 1, 0.0, 5.0).p_value;
        let mut hours = Hours::new(DETECTORS, false);
        for n in 0..50 {
            hours.withheld.push_back(Withheld {
                until: 100 + n,
                detector: 2,
                entity: 7,
                group: 1,
                score: 6.0,
            });
        }
        let mut out = SnapshotWriter::new();
        out.section("w", 1);
        hours.snapshot_withheld(&ids, &mut out);
        let sections = out.finish();
        let mut again = Hours::new(DETECTORS, false);
        let mut from = SnapshotReader::open("w", &sections["w"], 1).unwrap();
        again.restore_withheld(&ids, &mut from).unwrap();
        assert!(from.is_at_end());
        for (at, is_common) in [(99, false), (200, true)] {
            for hours in [&mut hours, &mut again] {
                hours.present = at;
                hours.release();
            }
            assert_eq!(p_value(&again), p_value(&hours));
            assert_eq!(p_value(&again).neg_log10() < 2.0, is_common);
        }
        // Another program's detectors are not ours.
        let mut from = SnapshotReader::open("w", &sections["w"], 1).unwrap();
        again.restore_withheld(&["unknown"], &mut from).unwrap();
        assert!(again.withheld.is_empty());
    }
}
