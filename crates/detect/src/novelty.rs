//! First-ever things: how surprising is it that this device does something nobody here did before?
//!
//! Three nested priors. A *draw* is one entity using one item (a destination, a service, a client
//! fingerprint) in one hour; a draw is *new* when no entity of the site has ever used the item. The
//! rate of new draws is learned for the site, for each peer group and for each entity, each leaning
//! on the wider one with the weight of a few draws (Gamma–Poisson shrinkage, the count form of the
//! hierarchical Dirichlet back-off of Teh et al., *Hierarchical Dirichlet processes*, 2006). The
//! score of an hour is −log10 P(at least as many new draws | the hour's draws and the rate).
//!
//! What is new also depends on the time: in a night in which only clocks are set nothing is, and in the morning
//! after it everything would be a surprise. So for each hour of working days and of weekends it is counted how many
//! times more was new, site-wide, than the rate of then foretold; so many times more is expected of everybody. Of
//! an hour that was never seen nothing is expected.
//!
//! On day 0 everything is new, so the rate is near one and nothing is surprising; a device that does
//! the same few things for days becomes sharply surprising, a browsing person never does.

use rustc_hash::FxHashMap;
use thymus_schema::{Event, EventId, SnapshotError, SnapshotReader, SnapshotWriter, Timestamp};

use crate::cx::DetectCx;
use crate::memory::holds_memories;
use crate::party::Party;
use crate::table::Table;
use crate::tails;

/// Items known to the site; the one unused longest makes room.
const ITEMS_MAX: usize = 200_000;
/// Entities with a rate of their own.
const ENTITIES_MAX: usize = 20_000;
/// Items remembered of one entity's present hour; more are not counted as further draws.
const HOUR_ITEMS_MAX: usize = 256;
/// Draws the wider prior is worth.
const PRIOR_DRAWS: f64 = 20.0;
/// Share of a draw that not having seen this time of day yet is worth, which would be new.
const PHASE_DRAWS: f64 = 0.1;
/// Hours of working days, then those of weekends.
const PHASES: usize = 48;
/// Names kept of what was new this hour.
const NAMES_MAX: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    draws: f64,
    new: f64,
}

impl Rate {
    fn shrunk(self, wider: f64) -> f64 {
        (self.new + PRIOR_DRAWS * wider) / (self.draws + PRIOR_DRAWS)
    }

    fn add(&mut self, draws: f64, new: f64) {
        self.draws += draws;
        self.new += new;
    }
}

/// What was new at a time of day, and how much of it the site's rate of then foretold.
#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    new: f64,
    foretold: f64,
}

#[derive(Clone, Debug, Default)]
struct PresentHour {
    hour: i64,
    items: Vec<u64>,
    draws: f64,
    new: f64,
    names: Vec<Box<str>>,
    events: Vec<EventId>,
    first_seen: Timestamp,
}

#[derive(Debug, Default)]
struct Entity {
    rate: Rate,
    present: PresentHour,
}

/// Something new happened: how surprising the hour is now.
#[derive(Debug)]
pub(crate) struct Surprise {
    pub(crate) score: f64,
    /// New items of this hour.
    pub(crate) new: u64,
    /// Different items of this hour.
    pub(crate) draws: u64,
    /// The expected number of new items in such an hour.
    pub(crate) expected: f64,
    pub(crate) names: Vec<Box<str>>,
    pub(crate) events: Vec<EventId>,
    pub(crate) first_seen: Timestamp,
}

/// Memory of who used what.
#[derive(Debug)]
pub(crate) struct Novelty {
    items: Table<u64, ()>,
    entities: Table<u64, Entity>,
    groups: FxHashMap<u64, Rate>,
    site: Rate,
    /// By time of day, in UTC; none where the time of day has nothing to do with it.
    phases: Vec<Phase>,
}

/// Which hour of a working day or weekend (in UTC) an hour since the epoch is.
fn phase_of(hour: i64) -> usize {
    let at = Timestamp::from_secs(hour.saturating_mul(3_600)).hour_of_week();
    at % 24 + if at / 24 >= 5 { 24 } else { 0 }
}

impl Novelty {
    pub(crate) fn new() -> Self {
        Self {
            items: Table::new(ITEMS_MAX),
            entities: Table::new(ENTITIES_MAX),
            groups: FxHashMap::default(),
            site: Rate {
                draws: 1.0,
                new: 1.0,
            },
            phases: Vec::new(),
        }
    }

    /// Of what people do, who come in the morning.
    pub(crate) fn by_time_of_day() -> Self {
        Self {
            phases: vec![Phase::default(); PHASES],
            ..Self::new()
        }
    }

    /// How many times more than the site's rate is new at this hour of the day.
    fn times(&self, hour: i64, site: f64) -> f64 {
        let Some(phase) = self.phases.get(phase_of(hour)) else {
            return 1.0;
        };
        let times = (phase.new + PHASE_DRAWS) / (phase.foretold + PHASE_DRAWS * site);
        times.max(1.0)
    }

    /// Takes in that `party` used `item`; says how surprising the hour has become when the item was
    /// new to the whole site.
    pub(crate) fn observe(
        &mut self,
        party: Party,
        item: u64,
        name: impl FnOnce() -> Box<str>,
        event: &Event,
        cx: &DetectCx<'_>,
    ) -> Option<Surprise> {
        let group = cx.entities().group(party);
        let hour = cx.now().as_secs().div_euclid(3_600);
        let entity = self.entities.entry(party.key(), Entity::default);
        if entity.present.hour != hour {
            let past = std::mem::take(&mut entity.present);
            entity.rate.add(past.draws, past.new);
            self.groups
                .entry(group)
                .or_default()
                .add(past.draws, past.new);
            if let Some(phase) = self.phases.get_mut(phase_of(past.hour)) {
                phase.new += past.new;
                phase.foretold += past.draws * self.site.new / self.site.draws;
            }
            self.site.add(past.draws, past.new);
            entity.present.hour = hour;
        }
        let present = &mut entity.present;
        if present.items.contains(&item) || present.items.len() >= HOUR_ITEMS_MAX {
            return None;
        }
        present.items.push(item);
        present.draws += 1.0;
        let is_new = self.items.get(&item).is_none();
        self.items.entry(item, || ());
        if !is_new {
            return None;
        }
        if present.new == 0.0 {
            present.first_seen = event.ts;
        }
        present.new += 1.0;
        if present.names.len() < NAMES_MAX {
            present.names.push(name());
        }
        present.events.push(event.id);
        let site = self.site.new / self.site.draws;
        let peers = self
            .groups
            .get(&group)
            .copied()
            .unwrap_or_default()
            .shrunk(site);
        let rate = entity.rate.shrunk(peers);
        let times = self.times(hour, site);
        let entity = self.entities.get(&party.key())?;
        let present = &entity.present;
        let expected = (rate * times).min(1.0) * present.draws;
        Some(Surprise {
            score: tails::poisson(present.new, expected),
            new: present.new as u64,
            draws: present.draws as u64,
            expected,
            names: present.names.clone(),
            events: present.events.clone(),
            first_seen: present.first_seen,
        })
    }

    pub(crate) fn snapshot(&self, out: &mut SnapshotWriter) {
        out.f64(self.site.draws).f64(self.site.new);
        for phase in &self.phases {
            out.f64(phase.new).f64(phase.foretold);
        }
        let mut groups: Vec<(u64, Rate)> = self.groups.iter().map(|(k, r)| (*k, *r)).collect();
        groups.sort_unstable_by_key(|row| row.0);
        out.u64(groups.len() as u64);
        for (group, rate) in groups {
            out.u64(group).f64(rate.draws).f64(rate.new);
        }
        self.entities.write(
            out,
            |_, _| true,
            |out, key, entity| {
                let present = &entity.present;
                out.u64(key)
                    .f64(entity.rate.draws + present.draws)
                    .f64(entity.rate.new + present.new);
            },
        );
        self.items.write(
            out,
            |_, ()| true,
            |out, item, ()| {
                out.u64(item);
            },
        );
    }

    /// Into `self`, which is new.
    pub(crate) fn restore(self, from: &mut SnapshotReader<'_>) -> Result<Self, SnapshotError> {
        let mut restored = self;
        restored.site = Rate {
            draws: from.f64()?,
            new: from.f64()?,
        };
        for phase in &mut restored.phases {
            *phase = Phase {
                new: from.f64()?,
                foretold: from.f64()?,
            };
        }
        for _ in 0..from.count(24)? {
            let (group, rate) = (
                from.u64()?,
                Rate {
                    draws: from.f64()?,
                    new: from.f64()?,
                },
            );
            restored.groups.insert(group, rate);
        }
        restored.entities = Table::read(ENTITIES_MAX, from, 24, |from| {
            let key = from.u64()?;
            let entity = Entity {
                rate: Rate {
                    draws: from.f64()?,
                    new: from.f64()?,
                },
                ..Entity::default()
            };
            Ok((key, entity))
        })?;
        restored.items = Table::read(ITEMS_MAX, from, 8, |from| Ok((from.u64()?, ())))?;
        Ok(restored)
    }
}

holds_memories!(Novelty: items, entities);
