//! How much less an alert counts because people called its like harmless or wrong.
//!
//! A function of verdicts and a time, and of nothing else: verdicts in any order give the same, and one that is
//! taken back leaves no trace. What it may do is bounded, so that whoever teaches the analyst little by little
//! gains little:
//!
//! - at most [`LOWERED_MAX`], and only for [`CONFIRMATIONS`] verdicts of different days;
//! - nothing for a class or a device of which an attack was confirmed, whenever that was;
//! - a verdict counts less each day and nothing after [`DAYS`];
//! - it covers what was judged, and not what it grew to: what verdicts cover may double in [`DOUBLES_IN_DAYS`]
//!   days however many there are, and beyond it they soon count nothing.

use std::collections::{BTreeMap, BTreeSet};

use thymus_schema::Timestamp;

use super::super::Verdict;
use super::super::claim::{Claim, Level};

/// The most that verdicts lower the rarity of an incident by, as −log10: some thirty times.
pub const LOWERED_MAX: f64 = 1.5;
/// So many verdicts, each given on another day, reach it.
pub const CONFIRMATIONS: u32 = 3;
/// After so many days a verdict counts nothing.
pub const DAYS: i64 = 90;
/// What verdicts cover doubles in so many days at most.
pub const DOUBLES_IN_DAYS: f64 = 30.0;
/// Up to so many times what they cover they count in full.
pub const AMOUNT_FREE: f64 = 1.5;
/// And from so many times on nothing.
pub const AMOUNT_GONE: f64 = 3.0;
/// The same for rarity, as −log10 beyond what they cover.
const RARITY_FREE: f64 = 0.5;
const RARITY_GONE: f64 = 1.5;
/// What a verdict on another device counts.
const OTHERS_SHARE: f64 = 0.5;
const NAMES_MAX: usize = 4;
/// Longer ones are kept as a digest.
const PATTERN_MAX: usize = 256;
const DAY_SECS: f64 = 86_400.0;

/// What makes alerts alike: who speaks, and of what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) detector: String,
    /// The other party where there is one, else the names in the evidence; empty for neither.
    pub(crate) pattern: String,
}

/// A verdict on an alert, as the alert was then.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) incident: String,
    pub(crate) class: Class,
    pub(crate) entity: String,
    pub(crate) verdict: Verdict,
    /// When somebody said so.
    pub(crate) judged_at: Timestamp,
    /// When it happened.
    pub(crate) seen_at: Timestamp,
    pub(crate) level: Level,
}

/// How much less something counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Lowering {
    /// As −log10, between 0 and [`LOWERED_MAX`].
    pub(crate) by: f64,
    /// The incidents whose verdicts do that.
    pub(crate) incidents: BTreeSet<String>,
}

impl Class {
    pub(crate) fn of(claim: &Claim) -> Self {
        let pattern = if let [only] = claim.peers.as_slice() {
            only.clone()
        } else {
            let names: Vec<&str> = claim
                .names
                .iter()
                .take(NAMES_MAX)
                .map(String::as_str)
                .collect();
            names.join(" ")
        };
        let is_long = pattern.len() > PATTERN_MAX;
        Self {
            detector: claim.detector.clone(),
            pattern: if is_long {
                blake3::hash(pattern.as_bytes()).to_hex().to_string()
            } else {
                pattern
            },
        }
    }
}

impl Lowering {
    /// How much less an alert of this class, entity and level counts at `now`.
    pub(crate) fn of(
        class: &Class,
        entity: &str,
        level: &Level,
        judgements: &[Judgement],
        now: Timestamp,
    ) -> Self {
        let is_attack = |one: &&Judgement| {
            one.verdict == Verdict::Attack && (one.class == *class || one.entity == entity)
        };
        if judgements.iter().any(|one| is_attack(&one)) {
            return Self::default();
        }
        let alike: Vec<(&Judgement, f64)> = judgements
            .iter()
            .filter(|one| one.class == *class && one.verdict != Verdict::Attack)
            .map(|one| (one, counts(one, entity, now)))
            .filter(|(_, counts)| *counts > 0.0)
            .collect();
        // Many verdicts in one sitting are one opinion.
        let mut by_day: BTreeMap<i64, f64> = BTreeMap::new();
        for (one, counts) in &alike {
            let best = by_day.entry(one.judged_at.day()).or_default();
            *best = best.max(*counts);
        }
        let confirmed = by_day.values().sum::<f64>() / f64::from(CONFIRMATIONS);
        let own: Vec<&Judgement> = alike
            .iter()
            .filter(|(one, _)| one.entity == entity)
            .map(|(one, _)| *one)
            .collect();
        let measure = if own.is_empty() {
            alike.iter().map(|(one, _)| *one).collect()
        } else {
            own
        };
        let by = LOWERED_MAX * confirmed.min(1.0) * share_within(level, &covered(measure));
        if by <= 0.0 {
            return Self::default();
        }
        let incidents = alike.iter().map(|(one, _)| one.incident.clone()).collect();
        Self { by, incidents }
    }

    /// Of an incident: as little as of the least lowered of its leading alerts, and nothing where any of its
    /// alerts is of a class or a device of which an attack was confirmed.
    pub(crate) fn of_all(claims: &[Claim], judgements: &[Judgement], now: Timestamp) -> Self {
        let is_attack = |claim: &Claim| {
            let class = Class::of(claim);
            let mut attacks = judgements
                .iter()
                .filter(|one| one.verdict == Verdict::Attack);
            attacks.any(|one| one.class == class || one.entity == claim.entity)
        };
        if claims.iter().any(is_attack) {
            return Self::default();
        }
        let mut least: Option<Self> = None;
        for claim in Claim::leading(claims) {
            let class = Class::of(claim);
            let one = Self::of(&class, &claim.entity, &claim.level, judgements, now);
            least = Some(match least {
                None => one,
                Some(mut least) => {
                    least.by = least.by.min(one.by);
                    least.incidents.extend(one.incidents);
                    least
                }
            });
        }
        least.filter(|least| least.by > 0.0).unwrap_or_default()
    }
}

/// What a verdict counts for `entity`, between 0 and 1.
fn counts(one: &Judgement, entity: &str, now: Timestamp) -> f64 {
    let days = (now.secs_since(one.judged_at) / DAY_SECS).max(0.0);
    let fresh = (1.0 - days / DAYS as f64).max(0.0);
    match () {
        () if one.entity == entity => fresh,
        // Without a pattern it is about a device and nothing more.
        () if one.class.pattern.is_empty() => 0.0,
        () => fresh * OTHERS_SHARE,
    }
}

/// What verdicts cover: the first of them, and of each later one as much as it may have grown since the one before.
fn covered(mut judgements: Vec<&Judgement>) -> Level {
    judgements.sort_by(|a, b| {
        let key = |one: &Judgement| (one.seen_at, one.incident.clone());
        key(a).cmp(&key(b))
    });
    let mut rest = judgements.into_iter();
    let Some(first) = rest.next() else {
        return Level::default();
    };
    let (mut level, mut at) = (first.level.clone(), first.seen_at);
    for one in rest {
        let doublings = (one.seen_at.secs_since(at) / DAY_SECS).max(0.0) / DOUBLES_IN_DAYS;
        let room = level.rarity + doublings * 2f64.log10();
        level.rarity = level.rarity.max(one.level.rarity.min(room));
        for (key, amount) in &one.level.amounts {
            let before = level.amounts.entry(key.clone()).or_insert(*amount);
            let room = before.max(1.0) * doublings.exp2();
            *before = before.max(amount.min(room));
        }
        at = one.seen_at;
    }
    level
}

/// 1 for what is within what is covered, 0 for what is far beyond it.
fn share_within(level: &Level, covered: &Level) -> f64 {
    let times = level.amounts.iter().filter_map(|(key, amount)| {
        let covered = covered.amounts.get(key)?;
        Some(amount.max(1.0) / covered.max(1.0))
    });
    let times = times.fold(1.0, f64::max);
    let by_amount = 1.0 - (times / AMOUNT_FREE).ln() / (AMOUNT_GONE / AMOUNT_FREE).ln();
    let beyond = level.rarity - covered.rarity;
    let by_rarity = 1.0 - (beyond - RARITY_FREE) / (RARITY_GONE - RARITY_FREE);
    by_amount.min(by_rarity).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_714_953_600);
    const ME: &str = "device:10.0.0.7";

    fn day(n: f64) -> Timestamp {
        START.plus(Duration::from_secs_f64(n * DAY_SECS))
    }

    fn class() -> Class {
        Class {
            detector: "exfiltration".into(),
            pattern: "external:backup.example".into(),
        }
    }

    fn level(rarity: f64, up: f64) -> Level {
        Level {
            rarity,
            amounts: BTreeMap::from([("up".to_owned(), up)]),
        }
    }

    fn harmless(on: f64, up: f64) -> Judgement {
        Judgement {
            incident: format!("i{on}"),
            class: class(),
            entity: ME.into(),
            verdict: Verdict::Harmless,
            judged_at: day(on),
            seen_at: day(on),
            level: level(4.0, up),
        }
    }

    fn by(judgements: &[Judgement], level: &Level, now: f64) -> f64 {
        Lowering::of(&class(), ME, level, judgements, day(now)).by
    }

    #[test]
    fn it_takes_three_days_to_reach_the_bound_and_ninety_to_lose_it() {
        let alike = level(4.0, 100.0);
        let mut said = vec![harmless(0.0, 100.0)];
        assert!((by(&said, &alike, 0.0) - 0.5).abs() < 1e-9);
        // Ten more on the same day say nothing more.
        said.extend((1..11).map(|n| harmless(f64::from(n) / 100.0, 100.0)));
        assert!((by(&said, &alike, 0.2) - 0.5).abs() < 0.01);
        said.extend([harmless(1.0, 100.0), harmless(2.0, 100.0)]);
        let full = by(&said, &alike, 2.0);
        assert!((1.45..=LOWERED_MAX).contains(&full), "{full}");
        assert!((by(&said, &alike, 46.0) - LOWERED_MAX / 2.0).abs() < 0.05);
        assert!(by(&said, &alike, 92.5) <= 0.0);
    }

    #[test]
    fn a_confirmed_attack_of_the_class_or_the_device_ends_it_for_good() {
        let alike = level(4.0, 100.0);
        let said: Vec<Judgement> = (0..5).map(|n| harmless(f64::from(n), 100.0)).collect();
        assert!(by(&said, &alike, 5.0) > 1.0);
        let mut attack = harmless(0.0, 100.0);
        attack.judged_at = START.minus(Duration::from_hours(24 * 400));
        attack.verdict = Verdict::Attack;
        attack.entity = "device:10.0.0.9".into();
        let of_class = [said.clone(), vec![attack.clone()]].concat();
        assert!(by(&of_class, &alike, 5.0) <= 0.0);
        attack.class.detector = "dga".into();
        let elsewhere = [said.clone(), vec![attack.clone()]].concat();
        assert!(by(&elsewhere, &alike, 5.0) > 1.0);
        attack.entity = ME.into();
        let of_device = [said, vec![attack]].concat();
        assert!(by(&of_device, &alike, 5.0) <= 0.0);
    }

    #[test]
    fn what_others_do_counts_half_and_only_where_it_is_known_what_they_did() {
        let mut others: Vec<Judgement> = (0..3).map(|n| harmless(f64::from(n), 100.0)).collect();
        for one in &mut others {
            one.entity = "device:10.0.0.8".into();
        }
        let half = by(&others, &level(4.0, 100.0), 2.0);
        assert!((0.7..=0.75).contains(&half), "{half}");
        let no_pattern = Class {
            pattern: String::new(),
            ..class()
        };
        for one in &mut others {
            one.class = no_pattern.clone();
        }
        let nothing = Lowering::of(&no_pattern, ME, &level(4.0, 100.0), &others, day(2.0));
        assert_eq!(nothing, Lowering::default());
    }

    /// Who grows by a tenth a day, and is called harmless each day, is lowered for a while and then no more.
    #[test]
    fn a_rise_that_is_called_harmless_each_day_stops_being_lowered() {
        let mut said = Vec::new();
        let mut lowered = Vec::new();
        let mut up = 100.0;
        for n in 0..40 {
            lowered.push(by(&said, &level(4.0, up), f64::from(n)));
            said.push(harmless(f64::from(n), up));
            up *= 1.1;
        }
        assert!(lowered[3] > 1.0, "{lowered:?}");
        assert!(lowered[16..].iter().all(|by| *by <= 0.0), "{lowered:?}");
        // Slower than doubling in a month goes along, within the bound.
        let slow: Vec<Judgement> = (0..40)
            .map(|n| harmless(f64::from(n), 100.0 * 1.02f64.powi(n)))
            .collect();
        let by = by(&slow, &level(4.0, 100.0 * 1.02f64.powi(40)), 40.0);
        assert!((1.0..=LOWERED_MAX).contains(&by), "{by}");
    }

    fn any_judgement() -> impl Strategy<Value = Judgement> {
        let parts = (
            0u8..3,
            0u8..2,
            0u32..120,
            0u32..120,
            0.0f64..12.0,
            1.0f64..1e9,
        );
        parts.prop_map(|(entity, verdict, judged, seen, rarity, up)| Judgement {
            incident: format!("i{judged}-{seen}"),
            entity: format!("device:10.0.0.{}", 6 + entity),
            verdict: [Verdict::Harmless, Verdict::Wrong][usize::from(verdict)],
            judged_at: day(f64::from(judged)),
            seen_at: day(f64::from(seen)),
            level: level(rarity, up),
            ..harmless(0.0, up)
        })
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_the_more_it_is_the_less_it_is_lowered(
            mut said in prop::collection::vec(any_judgement(), 0..20),
            rarity in 0.0f64..12.0, up in 1.0f64..1e9, more in 1.0f64..10.0, now in 0u32..200,
        ) {
            let now = f64::from(now);
            let lowered = by(&said, &level(rarity, up), now);
            prop_assert!((0.0..=LOWERED_MAX).contains(&lowered));
            prop_assert!(by(&said, &level(rarity, up * more), now) <= lowered + 1e-9);
            prop_assert!(by(&said, &level(rarity + more, up), now) <= lowered + 1e-9);
            said.reverse();
            prop_assert!((by(&said, &level(rarity, up), now) - lowered).abs() < 1e-9);
        }

        #[test]
        fn one_day_moves_it_by_a_third_at_most(
            said in prop::collection::vec(any_judgement(), 0..12),
            sitting in prop::collection::vec(any_judgement(), 1..12),
            rarity in 0.0f64..12.0, up in 1.0f64..1e9,
        ) {
            // What is said in one sitting moves the confirmations by one; what is covered can only be measured anew.
            let (now, at) = (130.0, day(125.0));
            let alike = |said: &[Judgement]| -> f64 {
                let days: BTreeSet<i64> = said.iter().map(|one| one.judged_at.day()).collect();
                days.len() as f64 / f64::from(CONFIRMATIONS) * LOWERED_MAX
            };
            let mut both = said.clone();
            both.extend(sitting.into_iter().map(|one| Judgement { judged_at: at, ..one }));
            prop_assert!(by(&both, &level(rarity, up), now) <= alike(&said) + LOWERED_MAX / 3.0 + 1e-9);
        }

        #[test]
        fn a_confirmed_attack_always_wins(
            mut said in prop::collection::vec(any_judgement(), 1..20), which in 0usize..20,
            rarity in 0.0f64..12.0, up in 1.0f64..1e9, now in 0u32..4000,
        ) {
            let which = which % said.len();
            said[which].verdict = Verdict::Attack;
            prop_assert!(by(&said, &level(rarity, up), f64::from(now)) <= 0.0);
        }
    }
}
