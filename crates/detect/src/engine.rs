//! The one path from events to alerts.

use thymus_schema::{Alert, Event, LocalNetworks, Timestamp};

use crate::cx::{DetectCx, Finding};
use crate::detector::{Detector, Settings};
use crate::detectors::DETECTORS;
use crate::entities::Entities;

/// What an engine is built from.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// The local networks.
    pub local: LocalNetworks,
    /// Detector settings.
    pub settings: Settings,
}

/// Runs all detectors over a stream of events.
pub struct Engine {
    entities: Entities,
    detectors: Vec<Box<dyn Detector>>,
    findings: Vec<(usize, Finding)>,
    next_tick: Option<Timestamp>,
}

impl Engine {
    /// A new engine with all detectors.
    pub fn new(config: &EngineConfig) -> Self {
        Self {
            entities: Entities::new(config.local.clone()),
            detectors: DETECTORS.iter().map(|spec| (spec.build)(&config.settings)).collect(),
            findings: Vec::new(),
            next_tick: None,
        }
    }

    /// Takes in one event.
    pub fn observe(&mut self, event: &Event) {
        self.entities.learn(event);
        let conn = event.conn.as_ref();
        for (index, detector) in self.detectors.iter_mut().enumerate() {
            let mut cx = DetectCx {
                now: event.ts,
                entities: &self.entities,
                client: conn.map(|conn| self.entities.party(conn.client.addr, conn.scope)),
                server: conn.map(|conn| self.entities.party(conn.server.addr, conn.scope)),
                findings: &mut self.findings,
                detector: index,
                floor: 0.0,
            };
            detector.observe(event, &mut cx);
        }
        self.next_tick = self.next_tick.or(Some(event.ts));
    }

    /// The alerts that appeared or grew since the last call.
    pub fn take_alerts(&mut self) -> Vec<Alert> {
        self.findings.clear();
        Vec::new()
    }
}
