//! # Encryption over shares
//!
//! ## What it flags
//! A device that changes many files on network shares the way ransomware does: files read and
//! overwritten in place, or renamed to one new ending, or replaced by a copy with an ending added,
//! fast and in many folders, with the same note left in each.
//!
//! ## Why it matters
//! One infected workstation can ruin everything its user may write. Each minute counts.
//!
//! ## How it scores
//! Per hour and device: the number of files renamed to the commonest new ending (which must replace
//! at least two different ones or be added behind), of files replaced by a copy with an ending
//! added, and of files read and then overwritten, each beyond what people do; the strongest counts
//! full, the others four tenths. Below twenty changes in the busiest minute everything counts
//! six tenths. A small text of one name in many folders and mass deletion only add. Temporary files
//! of office programs, editors and downloads are left out. What happens on many days is worth less.
//!
//! ## Evidence
//! The server, the numbers of files renamed, replaced, overwritten and deleted, the new ending, some
//! names, the busiest minute; the first operations' events.
//!
//! ## What would have been normal
//! Files written once, under new names, at the pace of people or into one backup.
//!
//! ## Known false alarms
//! Mass conversion or renaming of pictures, compression of single files in place, encryption on
//! purpose, migrations that rename.
//!
//! ## ATT&CK
//! T1486 Data Encrypted for Impact, T1485 Data Destruction.
//!
//! ## Sources
//! Scaife et al., *CryptoLock (and Drop It): Stopping Ransomware Attacks on User Data*, ICDCS 2016;
//! Continella et al., *ShieldFS*, ACSAC 2016 (read, overwrite, rename and delete as the features).

use std::collections::BTreeMap;

use thymus_schema::{
    Event, EventBody, PeerRole, Phase, SmbAction, SmbOperation, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "share_encryption",
    title: "Encryption over shares",
    phase: Phase::Impact,
    techniques: &[Technique::new("T1485"), Technique::new("T1486")],
    source: include_str!("share_encryption.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ShareEncryption::default()),
};

const DEVICES_MAX: usize = 2_048;
const HABITS_MAX: usize = 16_384;
const ENDINGS_MAX: usize = 64;
const NOTES_MAX: usize = 256;

#[derive(Debug, Default)]
struct Ending {
    files: Distinct,
    replaced: Distinct,
    behind: f64,
}

#[derive(Debug, Default)]
struct Files {
    read: Distinct,
    overwritten: Distinct,
    /// Files that got a copy with an ending added.
    copied: Distinct,
    deleted: Distinct,
    /// Renamed files by new ending.
    endings: BTreeMap<Box<str>, Ending>,
    /// Folders by the name of a small text written there.
    notes: BTreeMap<Box<str>, Distinct>,
}

/// The detector's state.
struct ShareEncryption {
    devices: Table<u64, Hourly<Files>>,
    habits: Habits,
}

impl Default for ShareEncryption {
    fn default() -> Self {
        Self {
            devices: Table::new(DEVICES_MAX),
            habits: Habits::new(HABITS_MAX),
        }
    }
}

impl Detector for ShareEncryption {
    fn interest(&self) -> Interest {
        Interest::SMB
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.devices, &mut self.habits]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let EventBody::Smb(smb) = &event.body else {
            return;
        };
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let is_file = smb.status == 0 && !smb.path.is_empty() && !ends_with(&smb.share, "ipc$");
        if !is_file || is_temporary(&smb.path) || is_temporary(&smb.new_path) {
            return;
        }
        let device = self.devices.entry(client.key(), Hourly::default);
        device.turn(event.ts);
        if !device.it.take(smb) {
            return;
        }
        device.push(event);
        device.names.add(if smb.new_path.is_empty() {
            &smb.path
        } else {
            &smb.new_path
        });
        if device.it.changed() > 50.0 {
            device.days = self.habits.note(client.key(), event.ts);
        }
        let score = device.score();
        if cx.matters(score) && device.window.rises(score) {
            device.raise(score, client, server, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.habits = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

fn ends_with(text: &str, end: &str) -> bool {
    text.to_ascii_lowercase().ends_with(end)
}

/// The folder and the name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once(['\\', '/']).unwrap_or(("", path))
}

/// The ending of a name, lower case, without the dot; empty when there is none.
fn ending(path: &str) -> String {
    let name = split(path).1;
    name.rsplit_once('.')
        .map_or(String::new(), |(_, ext)| ext.to_ascii_lowercase())
}

/// Names that programs make for a moment while they save or download, and their bookkeeping.
fn is_temporary(path: &str) -> bool {
    let name = split(path).1.to_ascii_lowercase();
    let known = matches!(
        ending(&name).as_str(),
        "tmp"
            | "temp"
            | "bak"
            | "part"
            | "partial"
            | "crdownload"
            | "download"
            | "swp"
            | "lock"
            | "lck"
            | "log"
            | "journal"
    );
    known
        || name.starts_with('~')
        || name.starts_with(".~")
        || name.ends_with('~')
        || name.contains(".sb-")
}

/// A number counts generations of the same file.
fn is_generation(ending: &str) -> bool {
    !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_digit())
}

impl Files {
    /// Takes in an operation; whether it changed anything that counts.
    fn take(&mut self, smb: &SmbOperation) -> bool {
        let file = |path: &str| key_of((smb.share.to_ascii_lowercase(), path.to_ascii_lowercase()));
        match smb.action {
            SmbAction::Read | SmbAction::Open => {
                self.read.add(file(&smb.path));
                false
            }
            SmbAction::Rename => self.rename(&smb.path, &smb.new_path, file(&smb.path)),
            SmbAction::Delete => self.deleted.add(file(&smb.path)),
            SmbAction::Create | SmbAction::Write => {
                let this = file(&smb.path);
                let original = smb.path.rsplit_once('.').map(|(head, _)| file(head));
                if let Some(original) = original
                    && self.read.has(original)
                    && !is_generation(&ending(&smb.path))
                {
                    return self.copied.add(original);
                }
                if smb.action == SmbAction::Write && self.read.has(this) {
                    return self.overwritten.add(this);
                }
                self.note(&smb.path);
                false
            }
            _ => false,
        }
    }

    fn rename(&mut self, old: &str, new: &str, file: u64) -> bool {
        let (before, after) = (ending(old), ending(new));
        if after.is_empty() || after == before || is_generation(&after) {
            return false;
        }
        if self.endings.len() >= ENDINGS_MAX && !self.endings.contains_key(after.as_str()) {
            return false;
        }
        let entry = self.endings.entry(after.into()).or_default();
        entry.replaced.add(key_of(before));
        let added = split(new)
            .1
            .to_ascii_lowercase()
            .starts_with(&split(old).1.to_ascii_lowercase());
        let is_new = entry.files.add(file);
        entry.behind += f64::from(u8::from(is_new && added));
        is_new
    }

    fn note(&mut self, path: &str) {
        let (folder, name) = split(path);
        let is_text = matches!(
            ending(name).as_str(),
            "txt" | "html" | "htm" | "hta" | "rtf" | "url" | "bmp"
        );
        let room = self.notes.len() < NOTES_MAX || self.notes.contains_key(name);
        if is_text && room {
            self.notes
                .entry(name.into())
                .or_default()
                .add(key_of(folder));
        }
    }

    /// The commonest new ending and how many files got it.
    fn renamed(&self) -> (&str, f64) {
        self.endings
            .iter()
            .filter(|(_, e)| e.replaced.len() >= 2 || e.behind * 2.0 > e.files.len() as f64)
            .map(|(name, e)| (&**name, e.files.len() as f64))
            .fold(
                ("", 0.0),
                |best, one| if one.1 > best.1 { one } else { best },
            )
    }

    fn folders_with_note(&self) -> f64 {
        self.notes.values().map(Distinct::len).max().unwrap_or(0) as f64
    }

    fn changed(&self) -> f64 {
        self.renamed().1 + (self.copied.len() + self.overwritten.len()) as f64
    }
}

impl Hourly<Files> {
    fn score(&self) -> f64 {
        let files = &self.it;
        let signs = [
            tails::pareto(files.renamed().1, 4.0, 2.8),
            tails::pareto(files.copied.len() as f64, 3.0, 2.8),
            tails::pareto(files.overwritten.len() as f64, 12.0, 2.6),
        ];
        let best = signs.iter().copied().fold(0.0, f64::max);
        let mut score = best + 0.4 * (signs.iter().sum::<f64>() - best);
        if score > 0.5 {
            score += tails::pareto(files.folders_with_note(), 2.0, 1.0).min(score);
        }
        score += tails::pareto(files.deleted.len() as f64, 100.0, 1.0);
        if self.window.burst() < 20.0 {
            score *= 0.6;
        }
        (score - Habits::relief(self.days)).max(0.0)
    }

    fn raise(&self, score: f64, client: Party, server: Party, cx: &mut DetectCx<'_>) {
        let target = cx.entities().peer(PeerRole::Target, server);
        let (ending, renamed) = self.it.renamed();
        let mut facts = vec![
            self.trail
                .fact("server", Value::Entity(target.entity.clone())),
            self.count("renamed", renamed),
            self.count("copied", self.it.copied.len() as f64),
            self.count("overwritten", self.it.overwritten.len() as f64),
            self.count("deleted", self.it.deleted.len() as f64),
            self.count("burst", self.window.burst()),
            self.named("names"),
            self.span(),
        ];
        let template = if ending.is_empty() {
            "overwrote {overwritten} files on shares of {server} after reading them, replaced {copied} by copies \
             with an ending added and deleted {deleted}, in {span}, up to {burst} a minute ({names})"
        } else {
            facts.push(self.trail.fact("ending", Value::Name(ending.into())));
            "renamed {renamed} files on shares of {server} to .{ending}, overwrote {overwritten} after reading them, \
             replaced {copied} by copies with an ending added and deleted {deleted}, in {span}, up to {burst} a minute ({names})"
        };
        let normal = Statement::new(
            "People change a few files an hour; backups and copies write new files and leave the \
             old ones alone.",
            Vec::new(),
        );
        let statement = Statement::new(template, facts);
        let mut finding = self
            .trail
            .finding(client, server.key(), score, statement, normal);
        finding.peers.push(target);
        cx.raise(finding);
    }
}
