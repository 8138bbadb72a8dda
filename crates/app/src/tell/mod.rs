//! `thymus tell`: tells others what a run found.
//!
//! A process of its own, because it is the one that makes connections: it reads the journal and nothing else of others,
//! can write only to its own folder and to the files it was asked for, and can connect only to the ports it was asked
//! for. Whoever takes it over finds neither packets nor users nor what was learned.
//!
//! Where it stands in the journal, and what it told, is written down only when every output has what came before on the
//! disk. Killed in between it reads the same frames again, makes the same records of them, and each output passes over
//! those it has. So nothing is lost and nothing is told twice, but for what a receiver had and could not say so.

mod decisions;
pub(crate) mod export;
mod place;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thymus_outputs::{Clock, Mark, Offered, Outlet, Output, Record, Spool, Surroundings};
use thymus_schema::Timestamp;
use thymus_store::journal::{FrameBody, FrameKind, JournalReader};

use crate::Found;
use crate::cli::TellArgs;
use crate::replay;
use crate::respond;
use crate::run::{self, Stop};
use decisions::{News, Watch};
use place::Place;

pub(crate) use decisions::link;

/// How the outputs stand.
const HEALTH: &str = "health.json";
const IDLE: Duration = Duration::from_millis(200);
const TICK_EVERY: Duration = Duration::from_secs(2);
/// How long a disk is waited for between two looks.
const DISK: Duration = Duration::from_millis(10);
/// How long what waits may still be delivered at the end.
const END_TIME: Duration = Duration::from_secs(3);
/// What names are looked up with.
const SYSTEM: [&str; 5] = ["/etc", "/lib", "/lib64", "/run", "/usr"];

/// Where outputs keep what is theirs.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("outputs")
}

/// The file that says how far the journal was told.
pub(crate) fn position(state: &Path) -> PathBuf {
    folder(state).join(place::POSITION)
}

/// How the outputs of a folder stand, as they wrote it down last.
pub(crate) fn health(state: &Path) -> Option<Value> {
    let text = std::fs::read(folder(state).join(HEALTH)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Looks whether outputs are understood and what they name can be read.
///
/// # Errors
/// When it is not so.
pub(crate) fn check(addresses: &[String]) -> Result<()> {
    open(addresses).map(drop)
}

/// Runs the command.
///
/// # Errors
/// When an output is not understood, or the folder cannot be used.
pub(crate) fn run(args: &TellArgs) -> Result<Found> {
    if let Some(parent) = args.parent {
        run::end_with(parent)?;
    }
    let dir = folder(&args.state);
    let journal = args.state.join("journal");
    for folder in [&dir, &journal] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    respond::prepare(&args.state)?;
    let _lock = place::lock(&dir)?;
    let outputs = open(&args.outputs)?;
    if !args.no_sandbox && !confine(&args.state, &outputs)? {
        eprintln!(
            "thymus: this kernel has no Landlock; the outputs may open any file of their user"
        );
    }
    let stop = Stop::listen()?;
    let place = Place::read(&dir);
    let mut teller = Teller {
        outlets: start(&dir, outputs)?,
        journal: JournalReader::open(&journal, place.frame),
        dir,
        place,
        watch: Watch::new(&args.state, args.console_url.as_deref()),
        failing: BTreeSet::new(),
        ticked: None,
    };
    let told = teller.run(&stop, args.once);
    teller.end();
    told.map(|()| Found::Nothing)
}

fn open(addresses: &[String]) -> Result<Vec<Output>> {
    let host = host();
    let clock: Clock = Arc::new(now);
    let mut names = BTreeSet::new();
    let mut outputs = Vec::new();
    for address in addresses {
        let output = Output::open(address, &host, &clock)?;
        if !names.insert(output.name.clone()) {
            bail!(
                "two outputs are called {}; give one of them a name=",
                output.name
            );
        }
        outputs.push(output);
    }
    Ok(outputs)
}

fn confine(state: &Path, outputs: &[Output]) -> Result<bool> {
    let mut written = vec![folder(state)];
    written.extend(outputs.iter().filter_map(|output| output.folder.clone()));
    let mut read = vec![state.join("journal"), respond::folder(state)];
    read.extend(
        SYSTEM
            .map(PathBuf::from)
            .into_iter()
            .filter(|path| path.is_dir()),
    );
    let ports: Vec<u16> = outputs.iter().filter_map(|output| output.port).collect();
    Ok(thymus_sensor::confine_client(&written, &read, &ports)?)
}

fn start(dir: &Path, outputs: Vec<Output>) -> Result<Vec<Outlet>> {
    let around = Surroundings {
        clock: Arc::new(now),
        jitter: Arc::new(jitter),
    };
    let mut outlets = Vec::new();
    for output in outputs {
        let folder = dir.join("spool").join(&output.name);
        let spool = Spool::open(&folder, output.limits);
        let spool = spool.with_context(|| format!("cannot use the spool {}", folder.display()))?;
        outlets.push(Outlet::start(
            &output.name,
            &output.target,
            output.wants,
            spool,
            output.sink,
            around.clone(),
        ));
    }
    Ok(outlets)
}

/// How this host calls itself.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn now() -> Timestamp {
    Timestamp::from_nanos(run::now_nanos())
}

/// Between 0 and 1, from what the clock counts fastest.
fn jitter() -> f64 {
    let nanos = run::now_nanos();
    let digest = blake3::hash(&nanos.to_le_bytes());
    let first = digest.as_bytes().first().copied().unwrap_or(0);
    f64::from(first) / 255.0
}

struct Teller {
    dir: PathBuf,
    place: Place,
    watch: Watch,
    journal: JournalReader,
    outlets: Vec<Outlet>,
    /// Outputs that were said to be failing.
    failing: BTreeSet<String>,
    ticked: Option<Instant>,
}

impl Teller {
    fn run(&mut self, stop: &Stop, is_once: bool) -> Result<()> {
        loop {
            // A wish to end that comes before a look at the journal leaves nothing unread.
            let is_due = stop.is_due();
            let frame = self.journal.next_of(|kind| kind == FrameKind::Incidents);
            match frame.context("cannot read the journal")? {
                Some(frame) => {
                    if let FrameBody::Incidents(incidents) = &frame.body {
                        let records = self.place.tracker.news(frame.seq, incidents);
                        if !self.tell(frame.seq, &records, stop) {
                            return Ok(());
                        }
                    }
                }
                // Decisions have their place behind the last frame, so all frames are told before.
                None if is_due => return Ok(()),
                None if !self.decide(stop)? || is_once => return Ok(()),
                None => std::thread::sleep(IDLE),
            }
            self.tick()?;
        }
    }

    /// Hands the records of a frame over and waits until they are on the disk; `false` when that is not so and it is
    /// time to end.
    fn tell(&mut self, frame: u64, records: &[Record], stop: &Stop) -> bool {
        let marked = records.iter().enumerate().map(|(index, record)| {
            let index = index as u32;
            (Mark { frame, index }, record)
        });
        let marked: Vec<(Mark, &Record)> = marked.collect();
        if !self.offer(&marked, stop) {
            return false;
        }
        self.place.frame = frame;
        if records.is_empty() {
            return true;
        }
        if let Err(error) = self.place.write(&self.dir) {
            eprintln!("thymus: it cannot be written down what was told: {error:#}");
        }
        true
    }

    /// Tells what became of decisions; `false` when it is time to end.
    fn decide(&mut self, stop: &Stop) -> Result<bool> {
        let Some(ledger) = self.watch.look(now()) else {
            return Ok(true);
        };
        self.place.decisions.forget(&ledger);
        for one in self.place.decisions.news(&ledger) {
            let is_update = self.place.decisions.is_known(one);
            let record = self.watch.record(one, is_update, &self.dir)?;
            let mark = self.place.decisions.next(self.place.frame);
            self.place.write(&self.dir)?;
            let news = News::new(one, mark, record);
            if !self.offer(&[(news.mark, &news.record)], stop) {
                return Ok(false);
            }
            self.place.decisions.was_told(&news);
            self.place.write(&self.dir)?;
        }
        Ok(true)
    }

    /// Gives records to the outputs, and waits until they are on the disk.
    fn offer(&self, records: &[(Mark, &Record)], stop: &Stop) -> bool {
        for outlet in &self.outlets {
            let mut last = None;
            for (mark, record) in records {
                let (mark, record) = (*mark, *record);
                loop {
                    match outlet.offer(mark, record) {
                        Offered::Taken => last = Some(mark),
                        Offered::NotWanted => {}
                        Offered::Busy if stop.is_due() => return false,
                        Offered::Busy => {
                            std::thread::sleep(DISK);
                            continue;
                        }
                    }
                    break;
                }
            }
            while last.is_some_and(|last| outlet.kept() < last) {
                if stop.is_due() && outlet.health().failing_since.is_some() {
                    return false;
                }
                std::thread::sleep(DISK);
            }
        }
        true
    }

    /// What is due now and then.
    fn tick(&mut self) -> Result<()> {
        if self.ticked.is_some_and(|at| at.elapsed() < TICK_EVERY) {
            return Ok(());
        }
        self.ticked = Some(replay::now());
        // Also where nothing was news, so that the journal need not keep it.
        let position = self.journal.position();
        if position > self.place.frame {
            self.place.frame = position;
            self.place
                .write(&self.dir)
                .context("cannot write down what was told")?;
        }
        self.say();
        self.note();
        Ok(())
    }

    /// Says once when an output fails, and when it is over.
    fn say(&mut self) {
        for outlet in &self.outlets {
            let health = outlet.health();
            let is_failing = health.failing_since.is_some();
            if is_failing && self.failing.insert(health.name.clone()) {
                let why = health.last_error.unwrap_or_default();
                eprintln!(
                    "thymus: output {}: {why}; trying again, what is to be told waits",
                    health.target
                );
            } else if !is_failing && self.failing.remove(&health.name) {
                eprintln!("thymus: output {} works again", health.target);
            }
        }
    }

    /// Writes down how the outputs stand, for the console.
    fn note(&self) {
        let health: Vec<_> = self.outlets.iter().map(Outlet::health).collect();
        let note = json!({
            "at": now(), "frame": self.place.frame, "outputs": health,
            "frames_gone": self.journal.counters().frames_gone,
        });
        // The next one says it again.
        let _is_written = place::replace(&self.dir.join(HEALTH), &note).is_ok();
    }

    fn end(mut self) {
        self.note();
        let ending: Vec<_> = std::mem::take(&mut self.outlets)
            .into_iter()
            .map(|outlet| std::thread::spawn(move || outlet.end(END_TIME)))
            .collect();
        for thread in ending {
            drop(thread.join());
        }
    }
}
