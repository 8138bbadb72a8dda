//! The keeper: from the journal into the database and the archive, and on to whoever watches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thymus_server::Hub;
use thymus_store::database::{Actor, Ingested};
use thymus_store::journal::{Frame, FrameBody, JournalReader};
use thymus_store::{Archive, Database, DatabaseError};

use super::host::{Site, Standing};
use super::now;
use super::steady::Steady;
use crate::replay;
use crate::respond;
use crate::tell;

const IDLE: Duration = Duration::from_millis(200);
const TICK_EVERY: Duration = Duration::from_secs(1);
const RETAIN_EVERY: Duration = Duration::from_mins(10);
const COPY_EVERY: Duration = Duration::from_mins(15);
/// How long to wait when the disk does not take anything.
const RETRY: Duration = Duration::from_secs(2);

/// Takes in what a run writes.
pub(super) struct Keeper<'a> {
    database: &'a Database,
    site: &'a Site,
    hub: &'a Hub,
    archive: Archive,
    journal: JournalReader,
    state: PathBuf,
    /// Where the supervisor of a run writes down its processes, and its settings.
    processes: PathBuf,
    configuration: PathBuf,
    /// Where decisions are written down, and how it looked last.
    decisions: PathBuf,
    decided: Option<(u64, Option<SystemTime>)>,
    changed: BTreeSet<&'static str>,
    trouble: Option<String>,
    clock: Steady,
    gone: u64,
    ticked: Instant,
    retained: Instant,
    copied: Instant,
}

impl<'a> Keeper<'a> {
    /// Goes on where the last one ended.
    ///
    /// # Errors
    /// When the archive cannot be opened.
    pub(super) fn open(
        state: &Path,
        database: &'a Database,
        site: &'a Site,
        hub: &'a Hub,
    ) -> Result<Self> {
        let archive = Archive::open(&Archive::folder(state), site.limits())?;
        let after = archive.last_seq().min(database.position()?);
        let at = replay::now();
        Ok(Self {
            journal: JournalReader::open(&state.join("journal"), after),
            state: state.to_path_buf(),
            processes: state.join("processes.json"),
            configuration: state.join("configuration.json"),
            database,
            site,
            hub,
            archive,
            decisions: respond::folder(state).join("decisions.jnl"),
            decided: None,
            changed: BTreeSet::new(),
            trouble: None,
            clock: Steady::new(now(), at, database.data_until()?),
            gone: 0,
            ticked: at,
            retained: at,
            copied: at,
        })
    }

    /// Goes on until `is_over`.
    ///
    /// # Errors
    /// When the database is damaged: a new start falls back to its last good copy.
    pub(super) fn run(mut self, is_over: &dyn Fn() -> bool) -> Result<()> {
        while !is_over() {
            match self.journal.read() {
                Ok(Some(mut frame)) => {
                    self.add_processes(&mut frame);
                    self.take(&frame, is_over)?;
                }
                Ok(None) => std::thread::sleep(IDLE),
                Err(error) => {
                    self.in_trouble(format!("the journal cannot be read: {error}"));
                    std::thread::sleep(RETRY);
                }
            }
            self.tick();
        }
        // What did not get there is taken from the journal again.
        if let Err(error) = self.archive.flush() {
            eprintln!("thymus: {error}");
        }
        self.taken();
        if let Err(error) = self.database.keep_copy() {
            eprintln!("thymus: {error}");
        }
        Ok(())
    }

    /// Adds to how the run stands which processes it is made of, which their supervisor writes down, and how the
    /// outputs stand.
    fn add_processes(&self, frame: &mut Frame) {
        let FrameBody::Status(Value::Object(status)) = &mut frame.body else {
            return;
        };
        if let Some(outputs) = tell::health(&self.state) {
            status.insert("outputs".to_owned(), outputs);
        }
        let configuration = noted(&self.configuration);
        if let Some(file) = configuration["file"].as_str() {
            let last = configuration["reloads"].as_array();
            let last = last.and_then(|all| all.last()).unwrap_or(&Value::Null);
            let said = json!({ "file": file, "at": last["at"],
                "refused": last["refused"], "stays": last["stays"] });
            status.insert("configuration".to_owned(), said);
        }
        let note = noted(&self.processes);
        let Some(processes) = note["processes"].as_array() else {
            return;
        };
        let memory = processes.iter().filter_map(|one| {
            let name = one["name"].as_str()?;
            Some((name.to_owned(), one["memory_bytes"].clone()))
        });
        status.insert("memory_bytes".to_owned(), memory.collect());
        status.insert("processes".to_owned(), processes.clone().into());
    }

    /// Puts into the audit log what became of reloads of the run's settings.
    fn note_reloads(&mut self) {
        let note = noted(&self.configuration);
        for reload in note["reloads"].as_array().into_iter().flatten() {
            let Some(number) = reload["number"].as_i64() else {
                continue;
            };
            let actor = Actor {
                user: "thymus".to_owned(),
                address: String::new(),
                at: now(),
            };
            let all = ["changed", "stays"].map(|name| reload[name].as_array());
            let lines = all.into_iter().flatten().flatten();
            let mut lines: Vec<&str> = lines.filter_map(Value::as_str).collect();
            if lines.is_empty() {
                lines.push("no setting has changed");
            }
            let refused = reload["refused"].as_str();
            let said = refused.map_or_else(|| lines.join("; "), str::to_owned);
            let noted = self
                .database
                .note_reload(&actor, number, refused.is_none(), &said);
            if let Err(error) = noted {
                self.in_trouble(error.to_string());
            }
        }
    }

    /// Takes in one frame, however often it has to be tried.
    fn take(&mut self, frame: &Frame, is_over: &dyn Fn() -> bool) -> Result<()> {
        if let FrameBody::Events(events) = &frame.body
            && let Err(error) = self.archive.append(frame.seq, events)
        {
            self.in_trouble(error.to_string());
        }
        loop {
            match self.database.ingest(frame.seq, &frame.body, now()) {
                Ok(done) => {
                    self.told(frame, done);
                    return Ok(());
                }
                Err(error @ DatabaseError::Damaged { .. }) => {
                    return Err(error).context("the console cannot go on");
                }
                Err(error) => self.in_trouble(error.to_string()),
            }
            if is_over() {
                bail!("what could not be kept stays in the journal for the next start");
            }
            std::thread::sleep(RETRY);
        }
    }

    fn told(&mut self, frame: &Frame, done: Ingested) {
        self.trouble = None;
        if done.is_known {
            return;
        }
        if let FrameBody::Status(status) = &frame.body {
            self.hub.tell("status", status.clone());
        }
        for incident in done.incidents {
            self.hub.tell(
                "incident",
                json!({ "id": incident.id, "title": incident.title, "confidence": incident.confidence }),
            );
        }
        self.changed.extend(done.changed);
    }

    /// What is due now and then.
    fn tick(&mut self) {
        if self.ticked.elapsed() < TICK_EVERY {
            return;
        }
        self.ticked = replay::now();
        let at = self.clock.now(now(), self.ticked);
        if let Err(error) = self.archive.tick(at) {
            self.in_trouble(error.to_string());
        }
        let decided = std::fs::metadata(&self.decisions).ok();
        let decided = decided.map(|found| (found.len(), found.modified().ok()));
        if decided != self.decided {
            self.decided = decided;
            self.changed.insert("decision");
        }
        for what in std::mem::take(&mut self.changed) {
            self.hub.tell("changed", json!({ "what": what }));
        }
        self.taken();
        self.note_reloads();
        let gone = self.journal.counters().frames_gone;
        if gone > self.gone {
            eprintln!(
                "thymus: {} parts of the journal went before the console took them in",
                gone - self.gone
            );
            self.gone = gone;
        }
        self.site.set(Standing {
            archive: self.archive.status(),
            trouble: self.trouble.clone().or_else(|| self.clock.doubt()),
        });
        match self.database.end_exceptions(at) {
            Ok(true) => self
                .hub
                .tell("changed", json!({ "what": "incident exception" })),
            Ok(false) => {}
            Err(error) => self.in_trouble(error.to_string()),
        }
        if self.retained.elapsed() >= RETAIN_EVERY {
            self.retained = replay::now();
            if let Err(error) = self.database.retain(at) {
                self.in_trouble(error.to_string());
            }
        }
        if self.copied.elapsed() >= COPY_EVERY {
            self.copied = replay::now();
            if let Err(error) = self.database.keep_copy() {
                self.in_trouble(error.to_string());
            }
        }
    }

    /// Tells the writer of the journal what is not needed here any more.
    fn taken(&self) {
        if let Ok(position) = self.database.position() {
            let seq = self.archive.last_seq().min(position);
            // It only keeps the journal from growing; the next time says the same.
            let _is_told = seq == 0 || self.journal.taken(seq).is_ok();
        }
    }

    /// Says once what is wrong.
    fn in_trouble(&mut self, what: String) {
        if self.trouble.as_ref() != Some(&what) {
            eprintln!("thymus: {what}");
            self.trouble = Some(what);
            self.site.set(Standing {
                archive: self.archive.status(),
                trouble: self.trouble.clone(),
            });
        }
    }
}

/// What a supervisor wrote down; nothing where there is none.
fn noted(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}
