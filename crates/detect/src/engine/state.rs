//! What an engine keeps from one run to the next.

use thymus_schema::{SnapshotError, SnapshotReader, SnapshotWriter, Timestamp};

use super::Engine;
use crate::detector::DetectorSpec;
use crate::detectors::DETECTORS;

/// Version of the sections the engine writes and of what it adds to those of its units.
const SNAPSHOT_VERSION: u32 = 4;
/// The section of how long each entity was watched, beside those of the detectors' calibrations.
const WATCHED: &str = "watched";
/// The section of the scores that are kept from the calibrations for a while.
const WITHHELD: &str = "withheld";
/// The section of what detectors promised and kept.
const AUDIT: &str = "audit";
const AUDIT_VERSION: u32 = 1;

impl Engine {
    /// Writes everything learned, a section per unit. Units know devices by their number in the
    /// entity table, so each section says how many events were behind it: with a table that is older
    /// than itself it means nothing.
    pub fn snapshot(&self, out: &mut SnapshotWriter) {
        out.section("engine", SNAPSHOT_VERSION);
        out.i64(self.now.as_nanos()).u64(self.events);
        self.calendar.snapshot(out);
        self.fdr.snapshot(out);
        out.section("entities", SNAPSHOT_VERSION).u64(self.events);
        self.entities.snapshot(out);
        out.section(AUDIT, AUDIT_VERSION);
        self.hours.audit().snapshot(ids(), out);
        out.section(&format!("calibration.{WATCHED}"), SNAPSHOT_VERSION)
            .u64(self.events);
        self.hours.watched().snapshot(out);
        out.section(&format!("calibration.{WITHHELD}"), SNAPSHOT_VERSION)
            .u64(self.events);
        self.hours
            .snapshot_withheld(&ids().collect::<Vec<_>>(), out);
        for (index, spec) in DETECTORS.iter().enumerate() {
            out.section(&format!("calibration.{}", spec.id), SNAPSHOT_VERSION)
                .u64(self.events);
            self.hours.snapshot(index, out);
            out.section(&format!("detector.{}", spec.id), version_of(spec))
                .u64(self.events);
            if let Some(unit) = self.units.get(index) {
                unit.detector.snapshot(out);
            }
        }
    }

    /// Reads back what [`Engine::snapshot`] wrote. What cannot be read is named in the result and
    /// starts cold, the rest is restored. Without the entity table, or with one older than
    /// themselves, the sections of detectors and calibrations would speak of other devices than they
    /// were learned from: they start cold too.
    pub fn restore<'a>(
        &mut self,
        section: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Vec<SnapshotError> {
        let mut sections = vec![
            ("engine".to_owned(), SNAPSHOT_VERSION),
            (AUDIT.to_owned(), AUDIT_VERSION),
            ("entities".to_owned(), SNAPSHOT_VERSION),
            (format!("calibration.{WATCHED}"), SNAPSHOT_VERSION),
            (format!("calibration.{WITHHELD}"), SNAPSHOT_VERSION),
        ];
        for spec in DETECTORS {
            sections.push((format!("calibration.{}", spec.id), SNAPSHOT_VERSION));
            sections.push((format!("detector.{}", spec.id), version_of(spec)));
        }
        let (mut lost, mut orphans) = (Vec::new(), 0);
        let mut table_events = None;
        for (name, version) in &sections {
            let Some(data) = section(name) else { continue };
            if name.contains('.') && table_events.is_none() {
                orphans += 1;
                continue;
            }
            let result = SnapshotReader::open(name, data, *version).and_then(|mut from| {
                if name == "engine" || name == AUDIT {
                    return self.restore_section(name, &mut from);
                }
                let events = from.u64()?;
                if name == "entities" {
                    self.restore_section(name, &mut from)?;
                    table_events = Some(events);
                } else if table_events.is_some_and(|of_table| events <= of_table) {
                    self.restore_section(name, &mut from)?;
                } else {
                    orphans += 1;
                }
                Ok(())
            });
            lost.extend(result.err());
        }
        if orphans > 0 {
            lost.push(SnapshotError::Orphaned {
                section: "entities".to_owned(),
                orphans,
            });
        }
        lost
    }

    fn restore_section(
        &mut self,
        name: &str,
        from: &mut SnapshotReader<'_>,
    ) -> Result<(), SnapshotError> {
        let index_of = |id: &str| DETECTORS.iter().position(|spec| spec.id == id);
        match name.split_once('.') {
            None if name == "entities" => self.entities.restore(from),
            None if name == AUDIT => {
                let ids: Vec<&'static str> = ids().collect();
                self.hours.audit_mut().restore(&ids, from)
            }
            None => {
                self.now = Timestamp::from_nanos(from.i64()?);
                self.events = from.u64()?;
                self.calendar.restore(from)?;
                self.fdr.restore(from)
            }
            Some(("calibration", WATCHED)) => self.hours.restore_watched(from),
            Some(("calibration", WITHHELD)) => self
                .hours
                .restore_withheld(&ids().collect::<Vec<_>>(), from),
            Some(("calibration", id)) => {
                index_of(id).map_or(Ok(()), |index| self.hours.restore(index, from))
            }
            Some((_, id)) => match index_of(id).and_then(|index| self.units.get_mut(index)) {
                Some(unit) => unit.detector.restore(from),
                None => Ok(()),
            },
        }
    }
}

fn ids() -> impl Iterator<Item = &'static str> {
    DETECTORS.iter().map(|spec| spec.id)
}

/// The version of a detector's section: the engine's part of it and its own.
fn version_of(spec: &DetectorSpec) -> u32 {
    SNAPSHOT_VERSION * 1000 + spec.snapshot_version
}
