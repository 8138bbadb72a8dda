//! One detector alone over a list of events: how cases are tested and how a detector's own scores
//! are looked at, before calibration and budget.

use std::cell::OnceCell;

use thymus_schema::{EntityId, Event, LocalNetworks, Phase, Timestamp};

use crate::cx::{DetectCx, Finding};
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::entities::Entities;
use crate::interest;
use crate::prepared::{Prepared, Preparer};

/// A finding as the case files name it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whom it is about.
    pub entity: EntityId,
    /// The finding's phase, else the detector's.
    pub phase: Phase,
    /// The finding itself.
    pub finding: Finding,
}

/// One detector with an entity table of its own.
pub struct Solo {
    spec: &'static DetectorSpec,
    entities: Entities,
    detector: Box<dyn Detector>,
    findings: Vec<(usize, Finding)>,
    next_tick: Option<Timestamp>,
    ignores_interest: bool,
}

impl Solo {
    /// A fresh detector.
    pub fn new(spec: &'static DetectorSpec, local: LocalNetworks) -> Self {
        Self {
            spec,
            entities: Entities::new(local),
            detector: (spec.build)(&Settings::default()),
            findings: Vec::new(),
            next_tick: None,
            ignores_interest: false,
        }
    }

    /// Calls the detector for every event, also for kinds it does not look at.
    #[must_use]
    pub fn ignoring_interest(mut self) -> Self {
        self.ignores_interest = true;
        self
    }

    /// Takes in one event, with the minute ticks that lie before it.
    pub fn observe(&mut self, event: &Event) {
        while let Some(at) = self.next_tick.filter(|at| *at <= event.ts) {
            self.tick(at);
            // A long silence needs two ticks, not one for each of its minutes.
            let silent = event.ts.secs_since(at) > 7200.0;
            self.next_tick = Some(if silent { event.ts } else { after_a_minute(at) });
        }
        self.next_tick = self.next_tick.or(Some(after_a_minute(event.ts)));
        let prepared = Preparer::default().prepare(event);
        self.entities.learn(event, &prepared);
        let mut cx = context(
            &self.entities,
            &mut self.findings,
            event.ts,
            Some((event, &prepared)),
        );
        if self.ignores_interest || self.detector.interest().has(interest::number(event)) {
            self.detector.observe(event, &mut cx);
        }
    }

    /// Closes the last minute and hands over what was found, in order.
    pub fn finish(&mut self) -> Vec<Seen> {
        if let Some(at) = self.next_tick.take() {
            self.tick(at);
        }
        let spec = self.spec;
        self.findings
            .drain(..)
            .map(|(_, finding)| Seen {
                entity: self.entities.id(finding.entity),
                phase: finding.phase.unwrap_or(spec.phase),
                finding,
            })
            .collect()
    }

    /// The detector, to look at or to restore.
    pub fn detector(&mut self) -> &mut dyn Detector {
        &mut *self.detector
    }

    fn tick(&mut self, at: Timestamp) {
        let mut cx = context(&self.entities, &mut self.findings, at, None);
        self.detector.tick(&mut cx);
    }
}

fn after_a_minute(at: Timestamp) -> Timestamp {
    Timestamp::from_secs((at.as_secs() / 60 + 1) * 60)
}

fn context<'a>(
    entities: &'a Entities,
    findings: &'a mut Vec<(usize, Finding)>,
    now: Timestamp,
    event: Option<(&Event, &'a Prepared)>,
) -> DetectCx<'a> {
    let conn = event.and_then(|(event, _)| event.conn.as_ref());
    DetectCx {
        now,
        entities,
        client: conn.map(|conn| entities.party(conn.client.addr, conn.scope)),
        server: conn.map(|conn| entities.party(conn.server.addr, conn.scope)),
        prepared: event.map(|(_, prepared)| prepared),
        attempt: OnceCell::new(),
        findings,
        detector: 0,
        floor: 0.0,
    }
}
