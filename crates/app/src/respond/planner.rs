//! The planner beside the analysis: keeps the aggregates, and says what could be done about each incident that is
//! shown. It changes nothing of what is found.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use thymus_detect::{DeviceCard, Engine};
use thymus_respond::{FlowBook, NeverAct, Proposal, Scene, plan};
use thymus_schema::{Alert, EntityId, EntityKind, Event, Incident, LocalNetworks, Timestamp};

use super::learned::Names;
use super::wire::{Said, Speaker};
use super::{folder, kept};
use crate::output::Findings;
use crate::replay::now;

/// What the network depends on is worked out this often.
const LEARN_EVERY: Duration = Duration::from_mins(1);
/// What could be done is said again this often while incidents change: the policy may be another one by then, and
/// saying it twice does nothing twice.
const AGAIN_EVERY: Duration = Duration::from_secs(20);
/// Incidents remembered as planned.
const PLANNED_MAX: usize = 10_000;

/// See the module.
pub(crate) struct Planner {
    folder: std::path::PathBuf,
    book: FlowBook,
    names: Names,
    speaker: Speaker,
    /// What was proposed of each incident.
    planned: BTreeMap<String, (blake3::Hash, Instant)>,
    learned: Option<(Instant, NeverAct, u64)>,
    complained: bool,
}

impl Planner {
    /// Goes on with what the state folder has.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let folder = folder(state);
        make(&folder)?;
        let kept = kept::read(&folder);
        Ok(Self {
            book: kept.map_or_else(FlowBook::default, |(book, _)| book),
            names: Names::default(),
            speaker: Speaker::new(&folder),
            planned: BTreeMap::new(),
            learned: None,
            complained: false,
            folder,
        })
    }

    /// Takes note of what is seen.
    pub(crate) fn events(&mut self, events: &[Event]) {
        self.book.events(events);
        self.names.events(events);
    }

    /// Looks at what is found, and says what could be done; `tipped` is the time of the packet that made an alert.
    pub(crate) fn look(
        &mut self,
        findings: &Findings<'_>,
        engine: &Engine,
        local: &LocalNetworks,
        tipped: Option<Timestamp>,
    ) {
        let said = self
            .learn(findings.outcome.summary.devices as u64, local)
            .and_then(|()| self.propose(findings, engine, local, tipped));
        if let Err(error) = said
            && !self.complained
        {
            eprintln!("thymus: {error:#}; nothing is proposed to the response until it can");
            self.complained = true;
        }
    }

    /// Says who the network depends on, when that has changed.
    fn learn(&mut self, devices: u64, local: &LocalNetworks) -> Result<()> {
        let is_due = self
            .learned
            .as_ref()
            .is_none_or(|(at, ..)| at.elapsed() >= LEARN_EVERY);
        if !is_due {
            return Ok(());
        }
        let never = self.relied_on(local);
        let is_new = self
            .learned
            .as_ref()
            .is_none_or(|(_, known, count)| *known != never || *count != devices);
        if is_new {
            let never = never.clone();
            self.speaker.say(&Said::Learned { never, devices })?;
        }
        self.learned = Some((now(), never, devices));
        Ok(())
    }

    fn propose(
        &mut self,
        findings: &Findings<'_>,
        engine: &Engine,
        local: &LocalNetworks,
        tipped: Option<Timestamp>,
    ) -> Result<()> {
        let mut proposals = Vec::new();
        let outsiders = outsiders(&findings.shown);
        let cards = LazyCell::new(|| cards(engine));
        for incident in &findings.shown {
            let alerts = alerts(findings, incident);
            let id = incident.id.to_string();
            let digest = blake3::hash(&serde_json::to_vec(&(&incident.title, &alerts))?);
            let said = self.planned.get(&id);
            if said.is_some_and(|(said, at)| *said == digest && at.elapsed() < AGAIN_EVERY) {
                continue;
            }
            proposals.extend(self.plan(incident, &alerts, &cards, local, &outsiders));
            if self.planned.len() >= PLANNED_MAX {
                self.planned.clear();
            }
            self.planned.insert(id, (digest, now()));
        }
        if proposals.is_empty() {
            return Ok(());
        }
        let at = Timestamp::from_nanos(crate::run::now_nanos());
        self.speaker.say(&Said::Proposals {
            at,
            tipped,
            proposals,
        })
    }

    /// What could be done about all incidents that are shown, and what is never to be.
    pub(crate) fn all(
        &self,
        findings: &Findings<'_>,
        cards: &[DeviceCard],
        local: &LocalNetworks,
    ) -> (Vec<Proposal>, NeverAct) {
        let outsiders = outsiders(&findings.shown);
        let each = findings.shown.iter().flat_map(|incident| {
            let alerts = alerts(findings, incident);
            self.plan(incident, &alerts, cards, local, &outsiders)
        });
        (each.collect(), self.relied_on(local))
    }

    fn relied_on(&self, local: &LocalNetworks) -> NeverAct {
        let mut never = NeverAct::default();
        for (server, port) in self.book.relied_on(local) {
            never.service(server, port, "much of the network relies on it");
        }
        never
    }

    fn plan(
        &self,
        incident: &Incident,
        alerts: &[Alert],
        cards: &[DeviceCard],
        local: &LocalNetworks,
        outsiders: &[IpAddr],
    ) -> Vec<Proposal> {
        let addresses = |entity: &EntityId| self.addresses(entity, alerts, cards);
        let group = |entity: &EntityId| group(entity, cards);
        plan(&Scene {
            incident,
            alerts,
            addresses: &addresses,
            group: &group,
            book: &self.book,
            local,
            outsiders,
            own: &super::host::own(),
        })
    }

    /// Where somebody is reached: the addresses held while it was seen, else the one known last.
    fn addresses(&self, entity: &EntityId, alerts: &[Alert], cards: &[DeviceCard]) -> Vec<IpAddr> {
        let key = entity.key.split('%').next().unwrap_or_default();
        match entity.kind {
            EntityKind::External => match outside(key) {
                Some(addr) => vec![addr],
                None => self.names.addresses(key),
            },
            EntityKind::Device => {
                let of_it = alerts.iter().filter(|alert| alert.entity == *entity);
                let held: Vec<IpAddr> = of_it
                    .flat_map(|alert| alert.aliases.iter().filter_map(|alias| alias.parse().ok()))
                    .collect();
                if !held.is_empty() {
                    return held;
                }
                let card = cards.iter().find(|card| card.entity == *entity);
                let last = card.and_then(|card| card.addresses.last()?.parse().ok());
                last.or(key.parse().ok()).into_iter().collect()
            }
            EntityKind::Service => {
                let host = key.rsplit_once(':').map_or(key, |(host, _)| host);
                host.trim_matches(['[', ']']).parse().into_iter().collect()
            }
            EntityKind::User => Vec::new(),
        }
    }

    /// Keeps the aggregates.
    pub(crate) fn keep(&self, local: &LocalNetworks) -> Result<()> {
        kept::write(&self.folder, &self.book, local)
    }
}

/// The address of an outsider, or the first one of its network: outsiders on IPv6 are known by their /64.
fn outside(key: &str) -> Option<IpAddr> {
    let addr = key.parse().ok();
    addr.or_else(|| Some(key.parse::<IpNet>().ok()?.network()))
}

/// All devices that are known.
pub(crate) fn cards(engine: &Engine) -> Vec<DeviceCard> {
    let entities = engine.entities();
    let each = entities.indices();
    each.filter_map(|index| entities.card(index)).collect()
}

fn alerts(findings: &Findings<'_>, incident: &Incident) -> Vec<Alert> {
    let steps = incident.steps.iter();
    let alerts = steps.filter_map(|step| findings.outcome.report.alert(step.alert));
    alerts.cloned().collect()
}

/// Outsiders that are suspected in any of the incidents.
fn outsiders(incidents: &[Incident]) -> Vec<IpAddr> {
    let affected = incidents.iter().flat_map(|one| &one.affected);
    let of_outside = affected
        .filter(|one| one.suspected && one.entity.kind == EntityKind::External)
        .filter_map(|one| outside(&one.entity.key));
    of_outside.collect()
}

/// Addresses of the devices of the same group.
fn group(entity: &EntityId, cards: &[DeviceCard]) -> Vec<IpAddr> {
    let Some(own) = cards.iter().find(|card| card.entity == *entity) else {
        return Vec::new();
    };
    let alike = cards
        .iter()
        .filter(|card| card.group == own.group && card.entity != *entity);
    alike
        .filter_map(|card| card.addresses.last()?.parse().ok())
        .collect()
}

/// Makes the folder of the response, for its owner alone.
pub(super) fn make(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outsider_is_an_address_a_network_or_a_name() {
        let at = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(outside("203.0.113.9"), at("203.0.113.9"));
        assert_eq!(outside("2001:db8:0:7::/64"), at("2001:db8:0:7::"));
        assert_eq!(outside("cdn.example"), None);
    }
}
