//! The seam every detector implements, and the line that registers it.

use thymus_schema::{Event, Phase, SnapshotError, SnapshotReader, SnapshotWriter, Technique};

use crate::cx::DetectCx;
use crate::interest::Interest;
use crate::memory::Memory;

/// One kind of behaviour that is watched for. Object-safe and synchronous.
///
/// A detector turns behaviour into *scores with evidence* and hands them to
/// [`DetectCx::raise`]; it must not decide whether anyone is alerted, keep unbounded state, read a
/// clock, or depend on the order of hash tables.
///
/// What a score means: about −log10 of how rarely *one device in one hour* of ordinary life reaches
/// it, as far as the detector's own model can say; 0 is nothing, 3 is "once in a thousand
/// device-hours", 6 and more is damning. It must grow with the evidence and must not be clipped.
/// The calibration measures how far that claim is true on this site and corrects it.
pub trait Detector: Send {
    /// The kinds of events it looks at; it is not called for others. Asked once.
    fn interest(&self) -> Interest {
        Interest::ALL
    }

    /// Takes in one event. Called for every event of a kind it looks at, in order of time.
    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>);

    /// Called once each minute of event time, after the events of that minute: windows close here.
    fn tick(&mut self, _cx: &mut DetectCx<'_>) {}

    /// Everything it keeps, so that it can be made to forget by age and asked what it dropped; always
    /// in the same order.
    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        Vec::new()
    }

    /// Writes what was learned into the section already opened for this detector.
    fn snapshot(&self, _out: &mut SnapshotWriter) {}

    /// Reads back what [`Detector::snapshot`] wrote; on an error the detector stays as built.
    fn restore(&mut self, _from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        Ok(())
    }
}

/// What a detector is built from. Grows by public fields with defaults.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {}

/// A detector's registration: one line in [`crate::DETECTORS`].
pub struct DetectorSpec {
    /// Id, snake case: also the config key, the docs page, the file name and the case folder.
    pub id: &'static str,
    /// What it flags, for people, as a noun phrase: "Beaconing".
    pub title: &'static str,
    /// Where in an attack the behaviour belongs.
    pub phase: Phase,
    /// The techniques it would be.
    pub techniques: &'static [Technique],
    /// The detector's own source file (`include_str!`), whose module page is its public page.
    pub source: &'static str,
    /// Version of the snapshot section it writes.
    pub snapshot_version: u32,
    /// Makes one.
    pub build: fn(&Settings) -> Box<dyn Detector>,
}

impl DetectorSpec {
    /// The public page: the module documentation at the head of the detector's file, as Markdown.
    pub fn page(&self) -> String {
        let mut page = String::new();
        for line in self.source.lines() {
            let Some(text) = line.strip_prefix("//!") else {
                break;
            };
            page.push_str(text.strip_prefix(' ').unwrap_or(text));
            page.push('\n');
        }
        page
    }
}
