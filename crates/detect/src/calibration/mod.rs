//! Raw scores to p-values: what share of ordinary device-hours reaches this score?
//!
//! Three nested references, each leaning on the wider one while it is thin: the entity's own past
//! hours, its peer group's, the site's. Under them lies the *shipped* reference, measured on benign
//! traffic elsewhere, which is all there is on day 0. At each level the conformal count of past
//! scores at least as high (Bates, Candès et al., *Testing for outliers with conformal p-values*,
//! 2023) is shrunk towards the wider level's p-value:
//!
//! p = (w · p_wider + number of past hours at least as extreme) / (w + number of past hours)
//!
//! Below the resolution of counting, the site's own tail is followed by a generalised Pareto fit of
//! its highest scores (Siffer et al., *Anomaly detection in streams with extreme value theory*,
//! 2017), mixed with the shipped tail by how much the site has seen.
//!
//! The unit of everything here is one entity in one hour, scored by the highest score in it; an hour
//! without a score counts as 0.

mod reference;
mod shipped;

use rustc_hash::FxHashMap;
use thymus_schema::{PValue, SnapshotError, SnapshotReader, SnapshotWriter};

use crate::memory::Memory;
use crate::table::Table;

pub(crate) use reference::Reference;
pub(crate) use shipped::Shipped;

/// How many hours a narrower reference must have seen to count as much as the wider one. High, since
/// the levels see the same hours: with small weights each of them would make a first time rarer
/// again, and after two quiet days the smallest score of a device would look like one in thousands.
const WEIGHT_SHIPPED: f64 = 500.0;
const WEIGHT_SITE: f64 = 500.0;
const WEIGHT_PEERS: f64 = 200.0;
/// The site's own tail is followed to so many times rarer than what it has seen: two digits further than that
/// nobody knows how a tail goes on.
const BEYOND: f64 = 100.0;
/// Scores kept per level; the newest win.
const SITE_SCORES_MAX: usize = 4096;
const PEER_SCORES_MAX: usize = 512;
const ENTITY_SCORES_MAX: usize = 64;
/// Entities with a past of their own; the others lean on peers and site.
const ENTITIES_MAX: usize = 20_000;

/// A p-value with the narrowest reference that had a say in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Calibrated {
    pub(crate) p_value: PValue,
    pub(crate) by: &'static str,
}

/// How many hours each entity was watched: the whole past of those that a detector never scored,
/// which are most, kept once for all detectors.
#[derive(Debug)]
pub(crate) struct Watched(Table<u64, f64>);

impl Default for Watched {
    fn default() -> Self {
        Self(Table::new(ENTITIES_MAX))
    }
}

impl Watched {
    /// Hours the entity was watched.
    pub(crate) fn hours(&self, entity: u64) -> f64 {
        self.0.get(&entity).copied().unwrap_or(0.0)
    }

    /// Counts an hour.
    pub(crate) fn note(&mut self, entity: u64) {
        *self.0.entry(entity, || 0.0) += 1.0;
    }

    /// The entities it knows.
    pub(crate) fn entities(&mut self) -> &mut dyn Memory {
        &mut self.0
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        self.0.write(
            out,
            |_, _| true,
            |out, key, hours| {
                out.u64(key).f64(*hours);
            },
        );
    }

    pub(crate) fn restore(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        Table::read(ENTITIES_MAX, from, 16, |from| {
            Ok((from.u64()?, from.f64()?))
        })
        .map(Self)
    }
}

/// The calibration of one detector.
#[derive(Debug)]
pub(crate) struct Conformal {
    shipped: Shipped,
    site: Reference,
    peers: FxHashMap<u64, Reference>,
    /// Of entities that were scored.
    entities: Table<u64, Reference>,
}

impl Conformal {
    pub(crate) fn new(shipped: Shipped) -> Self {
        Self {
            shipped,
            site: Reference::new(SITE_SCORES_MAX),
            peers: FxHashMap::default(),
            entities: Table::new(ENTITIES_MAX),
        }
    }

    /// The p-value of `score` for the entity `entity` of peer group `group`, which was `watched` for so
    /// many hours.
    pub(crate) fn p_value(&self, entity: u64, group: u64, watched: f64, score: f64) -> Calibrated {
        let shipped = self.tail(score);
        let site = self.site.shrink(score, shipped, WEIGHT_SHIPPED);
        let (peers, by_peers) = match self.peers.get(&group) {
            Some(reference) => (
                reference.shrink(score, site, WEIGHT_SITE),
                reference.hours(),
            ),
            None => (site, 0.0),
        };
        let (p, by_entity) = if let Some(reference) = self.entities.get(&entity) {
            (
                reference.shrink(score, peers, WEIGHT_PEERS),
                reference.hours(),
            )
        } else {
            let weighed = WEIGHT_PEERS * peers / (WEIGHT_PEERS + watched);
            (weighed, watched)
        };
        let by = if by_entity >= WEIGHT_PEERS {
            "entity"
        } else if by_peers >= WEIGHT_SITE {
            "peers"
        } else if self.site.hours() >= WEIGHT_SHIPPED {
            "site"
        } else {
            "shipped"
        };
        Calibrated {
            p_value: PValue::from_probability(p),
            by,
        }
    }

    /// The tail beyond counting: shipped, moving to the site's own as the site is seen.
    fn tail(&self, score: f64) -> f64 {
        let shipped = self.shipped.survival(score);
        match self.site.pareto_tail(score) {
            None => shipped,
            Some(own) => {
                let own = own.max(1.0 / (BEYOND * self.site.hours()));
                let weight = self.site.hours() / (self.site.hours() + 4.0 * WEIGHT_SHIPPED);
                (weight * own.max(1e-30).ln() + (1.0 - weight) * shipped.max(1e-30).ln()).exp()
            }
        }
    }

    /// Learns that an hour of this entity, which was `watched` for so many hours before, ended with
    /// `score` as its highest (0: no score).
    pub(crate) fn learn(&mut self, entity: u64, group: u64, watched: f64, score: f64) {
        self.site.push(score);
        self.peers
            .entry(group)
            .or_insert_with(|| Reference::new(PEER_SCORES_MAX))
            .push(score);
        if let Some(reference) = self.entities.touch(&entity) {
            reference.push(score);
        } else if score > 0.0 {
            let new = || Reference::after(ENTITY_SCORES_MAX, watched);
            self.entities.entry(entity, new).push(score);
        }
    }

    /// The entities it knows.
    pub(crate) fn entities(&mut self) -> &mut dyn Memory {
        &mut self.entities
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        self.site.snapshot(out);
        let mut peers: Vec<(&u64, &Reference)> = self.peers.iter().collect();
        peers.sort_unstable_by_key(|row| row.0);
        out.u64(peers.len() as u64);
        for (group, reference) in peers {
            out.u64(*group);
            reference.snapshot(out);
        }
        self.entities.write(
            out,
            |_, _| true,
            |out, entity, reference| {
                out.u64(entity);
                reference.snapshot(out);
            },
        );
    }

    pub(crate) fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        let site = Reference::restore(SITE_SCORES_MAX, from)?;
        let peers: Result<_, SnapshotError> = (0..from.count(24)?)
            .map(|_| Ok((from.u64()?, Reference::restore(PEER_SCORES_MAX, from)?)))
            .collect();
        let peers = peers?;
        let entities = Table::read(ENTITIES_MAX, from, 24, |from| {
            Ok((from.u64()?, Reference::restore(ENTITY_SCORES_MAX, from)?))
        })?;
        (self.site, self.peers, self.entities) = (site, peers, entities);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Conformal {
        Conformal::new(Shipped::identity())
    }

    #[test]
    fn on_day_zero_the_shipped_tail_decides() {
        let at_four = identity().p_value(1, 1, 0.0, 4.0);
        assert_eq!(at_four.by, "shipped");
        assert!((at_four.p_value.neg_log10() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn what_a_device_does_every_day_stops_being_rare_for_it_alone() {
        let mut calibration = identity();
        for hour in 0..200 {
            calibration.learn(1, 1, f64::from(hour), if hour % 4 == 0 { 5.0 } else { 0.0 });
            for other in 2..12 {
                calibration.learn(other, 1, f64::from(hour), 0.0);
            }
        }
        let own = calibration.p_value(1, 1, 200.0, 4.5);
        let other = calibration.p_value(2, 1, 200.0, 4.5);
        assert_eq!(own.by, "entity");
        assert!(own.p_value.neg_log10() < 1.0, "{:?}", own.p_value);
        assert!(
            other.p_value > own.p_value,
            "the others are still surprised"
        );
    }

    #[test]
    fn a_quiet_site_sharpens() {
        let mut calibration = identity();
        let before = calibration.p_value(1, 1, 0.0, 3.0).p_value;
        for hour in 0..5_000 {
            calibration.learn(hour % 10, 1, (hour / 10) as f64, 0.1);
        }
        assert!(calibration.p_value(1, 1, 0.0, 3.0).p_value > before);
    }

    #[test]
    fn hours_without_a_score_count_whether_or_not_one_came_later() {
        let mut calibration = identity();
        let mut watched = Watched::default();
        for _ in 0..300 {
            calibration.learn(1, 1, watched.hours(1), 0.0);
            watched.note(1);
        }
        let silent = calibration.p_value(1, 1, watched.hours(1), 3.0);
        assert_eq!(silent.by, "entity");
        calibration.learn(1, 1, watched.hours(1), 1.0);
        watched.note(1);
        let scored = calibration.p_value(1, 1, watched.hours(1), 3.0);
        assert_eq!(scored.by, "entity");
        let apart = silent.p_value.neg_log10() - scored.p_value.neg_log10();
        assert!(apart.abs() < 0.01, "{apart}");
        let mut out = SnapshotWriter::new();
        out.section("w", 1);
        watched.snapshot(&mut out);
        let sections = out.finish();
        let mut from = SnapshotReader::open("w", &sections["w"], 1).unwrap();
        assert_eq!(Watched::restore(&mut from).unwrap().hours(1), 301.0);
    }

    #[test]
    fn p_values_fall_as_scores_rise() {
        let mut calibration = identity();
        for hour in 0..3_000_u64 {
            let watched = (hour / 7) as f64;
            calibration.learn(hour % 7, hour % 2, watched, (hour % 97) as f64 / 40.0);
        }
        let mut last = PValue::ONE;
        for step in 0..200 {
            let p = calibration
                .p_value(3, 1, 428.0, f64::from(step) / 10.0)
                .p_value;
            assert!(p >= last, "at {step}: {p} after {last}");
            last = p;
        }
        assert!(last.neg_log10() > 6.0);
    }

    #[test]
    fn what_was_learnt_survives_a_snapshot() {
        let mut calibration = identity();
        for hour in 0..300_u64 {
            let watched = (hour / 5) as f64;
            calibration.learn(hour % 5, hour % 2, watched, (hour % 13) as f64 / 5.0);
        }
        let mut out = SnapshotWriter::new();
        out.section("c", 1);
        calibration.snapshot(&mut out);
        let sections = out.finish();
        let mut again = identity();
        again
            .restore(&mut SnapshotReader::open("c", &sections["c"], 1).unwrap())
            .unwrap();
        let at = |calibration: &Conformal| calibration.p_value(3, 1, 60.0, 2.2);
        assert_eq!(at(&again), at(&calibration));
    }
}
