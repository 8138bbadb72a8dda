//! Whether detectors keep their promise on this site.
//!
//! A p-value promises that of all ordinary device-hours at most the share α has one of α or less. The audit
//! counts how many there are at α = 0.01, and bets against the promise: in each hour, with the share x of
//! the devices that are at α or below,
//!
//! ```text
//! e = 1 + λ (x / α − 1)
//! ```
//!
//! is on average at most 1 while the promise holds, however the devices of one hour depend on each other
//! (an average of e-values is one). The Shiryaev–Roberts sum R ← (1 + R) e then passes [`ALARM`] on average
//! not before that many hours (Shin, Ramdas and Rinaldo, *E-detectors*, 2024), for each of several λ by
//! themselves and for their mean. A device that is attacked is not a broken promise: within a day each
//! device counts once against a detector.
//!
//! A detector that breaks its promise is demoted: its p-values are multiplied by how many times more often
//! than promised it has spoken lately, so that they keep the promise again. Strong evidence stays strong.
//! The rate it is weighed by fades, and once it is what was promised the detector is as before.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::Serialize;
use thymus_nets::interval::share_95;
use thymus_schema::{PValue, SnapshotError, SnapshotReader, SnapshotWriter, Timestamp};

/// The share of ordinary device-hours that may have a p-value of this or less.
const PROMISED: f64 = 0.01;
/// How much is bet: little finds small excesses, much finds large ones soon.
const BETS: [f64; 3] = [0.02, 0.1, 0.4];
/// With 60 detectors one is demoted wrongly once in ten years of hours, at the most.
const ALARM: f64 = 5e6;
/// A device counts once against a detector in so many hours.
const ONCE_HOURS: i64 = 24;
/// What was measured counts half after so many device-hours.
const HALF_LIFE: f64 = 2_000.0;
/// A demotion lasts for at least so many device-hours, or it would be gone before it was seen.
const DEMOTED_MIN: f64 = 1_000.0;
/// Fewer device-hours say nothing about a rate of one in a hundred.
const LEARNING_HOURS: f64 = 100.0;
/// Devices remembered as having counted; beyond that one may count twice.
const COUNTED_MAX: usize = 20_000;

/// What a detector promised and what it kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// The detector.
    pub detector: &'static str,
    /// The p-value that was looked at, which is the share of ordinary device-hours that may have it or less.
    pub promised: f64,
    /// The share that had, of late.
    pub measured: f64,
    /// Device-hours it was measured on.
    pub device_hours: f64,
    /// Device-hours at the promised level or below, each device once a day.
    pub exceeded: f64,
    /// How many times its p-values are weighed less; 1 while it keeps its promise.
    pub weight: f64,
    /// Since when it is demoted.
    pub demoted_since: Option<Timestamp>,
    /// Device-hours behind `measured`: what is long ago counts less.
    pub recent_device_hours: f64,
    /// Of them those at the promised level or below.
    pub recent_exceeded: f64,
    /// Chance alone brings as much evidence against the promise about once in so many hours.
    pub by_chance_hours: f64,
}

/// How a detector stands to its promise, the better the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PromiseState {
    /// Every rate that fits what was counted is at most the promised one.
    Ok,
    /// At most what was promised, but a higher rate would fit what was counted too.
    SoFar,
    /// Too few device-hours to say.
    Learning,
    /// Above, and the promised rate fits what was counted.
    WithinChance,
    /// Above, and the promised rate does not fit; not yet enough to be demoted for.
    Above,
    /// It broke its promise beyond doubt, and is weighed less.
    Demoted,
}

impl PromiseState {
    /// In the words that are shown everywhere.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ok => "keeps its promise",
            Self::SoFar => "kept so far",
            Self::Learning => "too early to say",
            Self::WithinChance => "above its promise, within chance",
            Self::Above => "above its promise",
            Self::Demoted => "demoted",
        }
    }
}

impl Promise {
    /// Which rates fit what was counted of late: the exact 95 % interval, as if hours did not depend on
    /// each other.
    pub fn interval(&self) -> (f64, f64) {
        let whole = |n: f64| n.round().max(0.0) as u64;
        let hours = whole(self.recent_device_hours);
        share_95(whole(self.recent_exceeded).min(hours), hours)
    }

    /// How it stands to its promise.
    pub fn state(&self) -> PromiseState {
        let (low, high) = self.interval();
        match self.demoted_since {
            Some(_) => PromiseState::Demoted,
            None if self.device_hours < LEARNING_HOURS => PromiseState::Learning,
            None if high <= self.promised => PromiseState::Ok,
            None if self.measured <= self.promised => PromiseState::SoFar,
            None if low <= self.promised => PromiseState::WithinChance,
            None => PromiseState::Above,
        }
    }

    /// What became of a broken promise, as a sentence; nothing while it is kept.
    pub fn demotion(&self) -> Option<String> {
        let since = self.demoted_since?;
        Some(format!(
            "detector {} speaks on {:.1} % of device-hours here, and promised {:.0} %: demoted since {since}, \
             which means that its evidence is weighed {:.1} times less until it keeps its promise again",
            self.detector,
            self.measured * 100.0,
            self.promised * 100.0,
            self.weight,
        ))
    }

    /// What is to be said of a promise that is not kept for sure, as a sentence.
    pub fn doubt(&self) -> Option<String> {
        let state = self.state();
        if !matches!(state, PromiseState::WithinChance | PromiseState::Above) {
            return None;
        }
        let (low, high) = self.interval();
        Some(format!(
            "detector {} speaks on {:.1} % of device-hours here, and promised {:.0} %: {} ({:.1} to {:.1} % fit \
             what was counted in {:.0} device-hours)",
            self.detector,
            self.measured * 100.0,
            self.promised * 100.0,
            state.words(),
            low * 100.0,
            high * 100.0,
            self.recent_device_hours,
        ))
    }
}

/// The audit of all detectors.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    units: Vec<Unit>,
    /// Devices of the hour that is being closed.
    devices: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Unit {
    device_hours: f64,
    exceeded: f64,
    /// The same, fading.
    recent_hours: f64,
    recent_exceeded: f64,
    doubt: [f64; BETS.len()],
    /// Hour in which a device last counted.
    counted: FxHashMap<u64, i64>,
    /// In the hour that is being closed.
    present: f64,
    skipped: f64,
    demoted: Option<Demotion>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Demotion {
    since: i64,
    device_hours: f64,
}

impl Audit {
    pub(crate) fn new(detectors: usize) -> Self {
        Self {
            units: vec![Unit::default(); detectors],
            devices: 0.0,
        }
    }

    /// How many times a p-value of this detector is weighed less.
    pub(crate) fn weight(&self, detector: usize) -> f64 {
        self.units.get(detector).map_or(1.0, Unit::weight)
    }

    /// Takes in one device-hour with what detectors said of it.
    pub(crate) fn device_hour(
        &mut self,
        device: u64,
        hour: i64,
        said: impl Iterator<Item = (usize, PValue)>,
    ) {
        self.devices += 1.0;
        let limit = PValue::from_probability(PROMISED);
        // A larger p-value is one of less weight.
        for (detector, _) in said.filter(|(_, p_value)| *p_value >= limit) {
            if let Some(unit) = self.units.get_mut(detector) {
                unit.exceed(device, hour);
            }
        }
    }

    /// Ends the hour; whether a detector was demoted or restored.
    pub(crate) fn close(&mut self, hour: i64) -> bool {
        let devices = std::mem::take(&mut self.devices);
        if devices <= 0.0 {
            return false;
        }
        let mut changed = false;
        for unit in &mut self.units {
            changed |= unit.close(devices, hour);
        }
        changed
    }

    /// What was promised and kept, by detector.
    pub(crate) fn promises(&self, ids: impl Iterator<Item = &'static str>) -> Vec<Promise> {
        let units = ids.zip(&self.units);
        units
            .map(|(detector, unit)| Promise {
                detector,
                promised: PROMISED,
                measured: unit.recent_rate(),
                device_hours: unit.device_hours,
                exceeded: unit.exceeded,
                weight: unit.weight(),
                demoted_since: unit
                    .demoted
                    .map(|demotion| Timestamp::from_secs(demotion.since * 3_600)),
                recent_device_hours: unit.recent_hours,
                recent_exceeded: unit.recent_exceeded,
                by_chance_hours: unit.evidence(),
            })
            .collect()
    }

    pub(crate) fn snapshot(
        &self,
        ids: impl Iterator<Item = &'static str>,
        out: &mut SnapshotWriter,
    ) {
        out.u64(self.units.len() as u64);
        for (id, unit) in ids.zip(&self.units) {
            out.str(id);
            for value in [
                unit.device_hours,
                unit.exceeded,
                unit.recent_hours,
                unit.recent_exceeded,
            ] {
                out.f64(value);
            }
            for doubt in unit.doubt {
                out.f64(doubt);
            }
            let demotion = unit.demoted;
            out.i64(demotion.map_or(i64::MIN, |demotion| demotion.since));
            out.f64(demotion.map_or(0.0, |demotion| demotion.device_hours));
            let counted: BTreeMap<_, _> = unit.counted.iter().collect();
            out.u64(counted.len() as u64);
            for (device, hour) in counted {
                out.u64(*device).i64(*hour);
            }
        }
    }

    /// Takes what was written of the detectors that are there.
    pub(crate) fn restore(
        &mut self,
        ids: &[&'static str],
        from: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        let units = from.count(8)?;
        for _ in 0..units {
            let id = from.str()?;
            let index = ids.iter().position(|known| *known == id);
            let unit = Unit::restore(from)?;
            if let Some(place) = index.and_then(|index| self.units.get_mut(index)) {
                *place = unit;
            }
        }
        Ok(())
    }
}

impl Unit {
    fn exceed(&mut self, device: u64, hour: i64) {
        let before = self.counted.get(&device);
        if before.is_some_and(|before| hour - before < ONCE_HOURS) {
            self.skipped += 1.0;
            return;
        }
        if self.counted.len() < COUNTED_MAX {
            self.counted.insert(device, hour);
        }
        self.present += 1.0;
    }

    fn close(&mut self, devices: f64, hour: i64) -> bool {
        let exceeded = std::mem::take(&mut self.present);
        // A device that has counted today is not a device that kept quiet.
        let devices = devices - std::mem::take(&mut self.skipped);
        if hour % ONCE_HOURS == 0 {
            self.counted.retain(|_, last| hour - *last < ONCE_HOURS);
        }
        if devices <= 0.0 {
            return false;
        }
        self.device_hours += devices;
        self.exceeded += exceeded;
        let fade = (-devices / HALF_LIFE).exp2();
        self.recent_hours = self.recent_hours * fade + devices;
        self.recent_exceeded = self.recent_exceeded * fade + exceeded;
        let excess = exceeded / devices / PROMISED - 1.0;
        for (doubt, bet) in self.doubt.iter_mut().zip(BETS) {
            *doubt = ((1.0 + *doubt) * (1.0 + bet * excess)).min(1e300);
        }
        match self.demoted {
            None if self.evidence() >= ALARM => {
                self.demoted = Some(Demotion {
                    since: hour,
                    device_hours: self.device_hours,
                });
                true
            }
            Some(demotion)
                if self.device_hours - demotion.device_hours >= DEMOTED_MIN
                    && self.recent_rate() <= PROMISED =>
            {
                self.demoted = None;
                self.doubt = [0.0; BETS.len()];
                true
            }
            _ => false,
        }
    }

    /// The mean of the sums, which chance alone brings this far once in so many hours.
    fn evidence(&self) -> f64 {
        self.doubt.iter().sum::<f64>() / BETS.len() as f64
    }

    fn recent_rate(&self) -> f64 {
        if self.recent_hours > 0.0 {
            self.recent_exceeded / self.recent_hours
        } else {
            0.0
        }
    }

    fn weight(&self) -> f64 {
        match self.demoted {
            Some(_) => (self.recent_rate() / PROMISED).max(1.0),
            None => 1.0,
        }
    }

    fn restore(from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let mut unit = Self {
            device_hours: from.f64()?,
            exceeded: from.f64()?,
            recent_hours: from.f64()?,
            recent_exceeded: from.f64()?,
            ..Self::default()
        };
        for doubt in &mut unit.doubt {
            *doubt = from.f64()?;
        }
        let (since, device_hours) = (from.i64()?, from.f64()?);
        unit.demoted = (since != i64::MIN).then_some(Demotion {
            since,
            device_hours,
        });
        for _ in 0..from.count(16)? {
            unit.counted.insert(from.u64()?, from.i64()?);
        }
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Xorshift64*.
    struct Dice(u64);

    impl Dice {
        fn share(&mut self) -> f64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// Hours until the detector is demoted, of at most `hours`, with so many devices whose p-values are
    /// uniform but for a share `noisy` of hours in which they are 0.001.
    fn hours_to_demotion(devices: u64, noisy: f64, hours: i64, seed: u64) -> Option<i64> {
        let mut dice = Dice(seed);
        let mut audit = Audit::new(1);
        for hour in 0..hours {
            for device in 0..devices {
                let p = if dice.share() < noisy {
                    0.001
                } else {
                    dice.share()
                };
                let said = [(0, PValue::from_probability(p))];
                audit.device_hour(device, hour, said.into_iter());
            }
            if audit.close(hour) {
                return Some(hour);
            }
        }
        None
    }

    #[test]
    fn a_promise_that_is_kept_is_left_alone_for_years() {
        for seed in 1..=5 {
            assert_eq!(hours_to_demotion(50, 0.0, 3 * 8_766, seed), None);
        }
    }

    #[test]
    fn one_that_is_broken_is_found_the_sooner_the_worse_it_is() {
        let within = |noisy, limit| {
            let after = hours_to_demotion(100, noisy, 10_000, 7);
            assert!(
                after.is_some_and(|hours| hours <= limit),
                "{noisy}: {after:?}"
            );
        };
        within(0.02, 240);
        within(0.1, 24);
        // Every device each hour counts once a day only.
        within(1.0, 24 * 6);
    }

    #[test]
    fn a_demoted_detector_is_weighed_by_its_rate_and_comes_back_when_that_is_kept() {
        let mut audit = Audit::new(2);
        let quiet = PValue::ONE;
        let loud = PValue::from_probability(0.001);
        let mut hour = 0;
        let mut run = |audit: &mut Audit, share: u64, hours: i64| {
            for _ in 0..hours {
                for device in 0..100 {
                    // Another tenth of the devices each hour.
                    let is_loud = share > 0 && (device + hour as u64 * share) % 100 < share;
                    let p_value = if is_loud { loud } else { quiet };
                    audit.device_hour(device, hour, [(1, p_value)].into_iter());
                }
                audit.close(hour);
                hour += 1;
            }
        };
        run(&mut audit, 4, 48);
        assert_eq!(audit.weight(0), 1.0);
        assert!((3.0..5.0).contains(&audit.weight(1)), "{}", audit.weight(1));
        let promise = audit.promises(["a", "b"].into_iter()).remove(1);
        assert!(promise.demoted_since.is_some());
        run(&mut audit, 0, 200);
        assert_eq!(audit.weight(1), 1.0);
    }

    #[test]
    fn a_rate_above_the_promise_is_called_what_it_is() {
        let of = |hours: f64, exceeded: f64| {
            let promise = Promise {
                detector: "beacon",
                promised: PROMISED,
                measured: exceeded / hours,
                device_hours: hours,
                exceeded,
                weight: 1.0,
                demoted_since: None,
                recent_device_hours: hours,
                recent_exceeded: exceeded,
                by_chance_hours: 1.0,
            };
            (promise.state(), promise.doubt())
        };
        assert_eq!(of(50.0, 5.0).0, PromiseState::Learning);
        assert_eq!(of(200.0, 0.0), (PromiseState::SoFar, None));
        assert_eq!(of(1_000.0, 2.0), (PromiseState::Ok, None));
        let (standing, said) = of(200.0, 4.0);
        assert_eq!(standing, PromiseState::WithinChance);
        let said = said.unwrap();
        assert!(
            said.contains("2.0 %") && said.contains("within chance (0.5 to 5.0 % fit"),
            "{said}"
        );
        assert_eq!(of(200.0, 12.0).0, PromiseState::Above);
    }

    #[test]
    fn one_attacked_device_demotes_nobody_and_neither_does_one_bad_hour() {
        let mut audit = Audit::new(1);
        let loud = PValue::from_probability(1e-6);
        for hour in 0..2_000 {
            for device in 0..60 {
                let is_loud = device == 0 || (hour == 500 && device < 30);
                let p_value = if is_loud { loud } else { PValue::ONE };
                audit.device_hour(device, hour, [(0, p_value)].into_iter());
            }
            assert!(!audit.close(hour), "hour {hour}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_for_the_detectors_that_are_there() {
        let mut audit = Audit::new(2);
        for hour in 0..100 {
            for device in 0..50 {
                let said = [(0, PValue::from_probability(0.005)), (1, PValue::ONE)];
                audit.device_hour(device, hour, said.into_iter());
            }
            audit.close(hour);
        }
        let mut out = SnapshotWriter::new();
        out.section("audit", 1);
        audit.snapshot(["a", "b"].into_iter(), &mut out);
        let sections = out.finish();
        let mut again = Audit::new(2);
        let mut from = SnapshotReader::open("audit", &sections["audit"], 1).unwrap();
        again.restore(&["new", "a"], &mut from).unwrap();
        assert_eq!(again.units[1], audit.units[0]);
        assert_eq!(again.units[0], Unit::default());
    }
}
