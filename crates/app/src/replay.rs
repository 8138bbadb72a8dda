//! `thymus replay`: captures and logs in, a few incidents out.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use thymus_analyst::{Analyst, IncidentBudget, Report};
use thymus_detect::Engine;
use thymus_ingest::Ledger;
use thymus_schema::{Alert, Event, LocalNetworks, SnapshotWriter};
use thymus_store::{Imports, StateDir};

use crate::Found;
use crate::cli::{OutputArgs, ReplayArgs, RunArgs};
use crate::console::{Paper, Progress};
use crate::output::{self, Detail, Findings};
use crate::pipeline::{self, Onlooker, Outcome, RunPlan};

/// Runs the command.
///
/// # Errors
/// When nothing can be read, or the results or the state cannot be written.
pub(crate) fn run(args: &ReplayArgs) -> Result<Found> {
    replay(args.paths.clone(), &args.run, &args.output)
}

/// Replays `paths` and prints what was found.
pub(crate) fn replay(paths: Vec<PathBuf>, run: &RunArgs, output: &OutputArgs) -> Result<Found> {
    let began = now();
    let state = run.state.as_deref().map(Memory::open).transpose()?;
    let plan = RunPlan {
        paths,
        local: declared(&run.local),
        known: state
            .as_ref()
            .map(|memory| memory.imports.known().clone())
            .unwrap_or_default(),
        budget: run.budget,
        indicators: run.indicators.clone(),
        ..RunPlan::default()
    };
    let mut watcher = Watcher::new(output, false)?;
    // A state that cannot be kept does not take the findings with it: it is reported last.
    let mut kept = Ok(());
    let outcome = pipeline::run(
        &plan,
        &mut watcher,
        |engine, analyst| {
            if let Some(memory) = &state {
                memory.remind(engine, analyst);
            }
        },
        |engine, ledger, report| {
            kept = state
                .as_ref()
                .map_or(Ok(()), |memory| memory.keep(engine, ledger, report, &[]));
        },
    )?;
    watcher.finish()?;
    let detected = now();
    let findings = Findings::new(&outcome, IncidentBudget::PerHundredDevices(run.budget));
    write_answer(&findings, output)?;
    write_html(&findings, output)?;
    kept?;
    if outcome.coverage.judged_share() <= 0.0 {
        bail!("nothing that was read could be judged: the reasons are in the report");
    }
    if output.timings {
        timings(&outcome, detected.duration_since(began), detected.elapsed());
    }
    Ok(if findings.shown.is_empty() {
        Found::Nothing
    } else {
        Found::Something
    })
}

/// The one place where a clock is read for timings, which never reach a result.
#[allow(
    clippy::disallowed_methods,
    reason = "timings go to standard error only"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The networks the user named, if any.
pub(crate) fn declared(networks: &[ipnet::IpNet]) -> Option<LocalNetworks> {
    (!networks.is_empty()).then(|| LocalNetworks::declared(networks.to_vec()))
}

pub(crate) fn write_html(findings: &Findings<'_>, output: &OutputArgs) -> Result<()> {
    let Some(path) = &output.html else {
        return Ok(());
    };
    let page = output::page(findings);
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn write_answer(findings: &Findings<'_>, output: &OutputArgs) -> Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    if output.json {
        serde_json::to_writer(&mut out, &output::object(findings))?;
        out.write_all(b"\n")?;
    } else {
        output::print(findings, detail_of(output), Paper::stdout(), &mut out)?;
    }
    Ok(out.flush()?)
}

/// How much the user wants to read.
pub(crate) fn detail_of(output: &OutputArgs) -> Detail {
    match (output.quiet, output.verbose) {
        (true, _) => Detail::Quiet,
        (_, true) => Detail::Verbose,
        _ => Detail::Normal,
    }
}

/// Prints to standard error how long it took and what it used.
pub(crate) fn timings(outcome: &Outcome, detecting: Duration, reporting: Duration) {
    let secs = detecting.as_secs_f64().max(1e-9);
    let coverage = &outcome.coverage;
    eprintln!(
        "read and judged in {secs:.3} s: {:.0} packets/s, {:.0} events/s; report {:.3} s; peak memory {:.1} MB",
        coverage.packets as f64 / secs,
        coverage.events as f64 / secs,
        reporting.as_secs_f64(),
        peak_memory_bytes() as f64 / 1e6,
    );
}

/// The most memory this process has had resident, in bytes; 0 when the system does not say.
pub(crate) fn peak_memory_bytes() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    usage.map_or(0, |usage| {
        u64::try_from(usage.max_rss()).unwrap_or(0) * 1024
    })
}

/// The state folder of this run.
pub(crate) struct Memory {
    dir: StateDir,
    sections: thymus_store::Sections,
    pub(crate) imports: Imports,
}

impl Memory {
    /// Opens the folder and reads what it holds.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::read(StateDir::open(path)?)
    }

    /// Reads what a folder holds that a run may be using; nothing can be kept in it.
    pub(crate) fn peek(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            anyhow::bail!("{} is no folder", path.display());
        }
        Self::read(StateDir::peek(path))
    }

    fn read(dir: StateDir) -> Result<Self> {
        let sections = dir.load()?;
        for remark in &sections.remarks {
            eprintln!("thymus: state: {remark}");
        }
        let imports = match sections
            .by_name
            .get(Imports::SECTION)
            .map(|data| Imports::restore(data))
        {
            Some(Ok(imports)) => imports,
            Some(Err(error)) => {
                eprintln!("thymus: state: {error}; inputs imported before may be learned again");
                Imports::default()
            }
            None => Imports::default(),
        };
        Ok(Self {
            dir,
            sections,
            imports,
        })
    }

    /// Gives the engine and the analyst what the run before knew.
    pub(crate) fn remind(&self, engine: &mut Engine, analyst: &mut Analyst) {
        let section = |name: &str| self.sections.by_name.get(name).map(Vec::as_slice);
        for lost in engine.restore(section) {
            eprintln!("thymus: state: {lost}; that part is learned anew");
        }
        if let Some(Err(error)) = section(Report::SECTION).map(|data| analyst.restore(data)) {
            eprintln!(
                "thymus: state: {error}; incidents that go on are told without their beginning"
            );
        }
    }

    /// Gives back the room of what was read, once nobody needs it any more.
    pub(crate) fn release(&mut self) {
        self.sections = thymus_store::Sections::default();
    }

    /// A section that was kept besides.
    pub(crate) fn section(&self, name: &str) -> Option<&[u8]> {
        self.sections.by_name.get(name).map(Vec::as_slice)
    }

    /// Writes what the engine and the analyst know, and sections that are kept `besides`.
    pub(crate) fn keep(
        &self,
        engine: &Engine,
        ledger: &Ledger,
        report: &Report,
        besides: &[(&str, &[u8])],
    ) -> Result<()> {
        let mut imports = self.imports.clone();
        for id in ledger.read_ids() {
            imports.add(id);
        }
        let mut writer = SnapshotWriter::new();
        engine.snapshot(&mut writer);
        report.snapshot(&mut writer);
        imports.snapshot(&mut writer);
        let mut sections = writer.finish();
        let besides = besides.iter();
        sections.extend(besides.map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())));
        Ok(self.dir.save(&sections)?)
    }
}

/// Writes the event and alert files and moves the progress bar.
pub(crate) struct Watcher {
    events: Option<Lines>,
    alerts: Option<Lines>,
    progress: Option<Progress>,
    quiet: bool,
}

impl Watcher {
    /// Makes the files that were asked for, or goes on behind what is in them.
    pub(crate) fn new(output: &OutputArgs, goes_on: bool) -> Result<Self> {
        let begin = if goes_on {
            Lines::append
        } else {
            Lines::create
        };
        let open = |path: &Option<PathBuf>| path.as_deref().map(begin).transpose();
        Ok(Self {
            events: open(&output.events)?,
            alerts: open(&output.alerts)?,
            progress: None,
            quiet: output.quiet,
        })
    }

    /// Writes what is left.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(progress) = &self.progress {
            progress.done();
        }
        for lines in [self.events, self.alerts].into_iter().flatten() {
            lines.finish()?;
        }
        Ok(())
    }
}

impl Onlooker for Watcher {
    fn event(&mut self, event: &Event, _local: &LocalNetworks) -> Result<()> {
        self.events
            .as_mut()
            .map_or(Ok(()), |lines| lines.write(event))
    }

    fn alert(&mut self, alert: &Alert) -> Result<()> {
        self.alerts
            .as_mut()
            .map_or(Ok(()), |lines| lines.write(alert))
    }

    fn progress(&mut self, done: u64, total: u64) {
        let quiet = self.quiet;
        self.progress
            .get_or_insert_with(|| Progress::bytes(total, quiet))
            .to(done);
    }
}

/// A file of JSON lines.
pub(crate) struct Lines {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Lines {
    /// Makes the file, replacing one that is there.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Self::over(path, File::create(path))
    }

    /// Goes on behind what is in the file, where there is one.
    pub(crate) fn append(path: &Path) -> Result<Self> {
        let mut options = File::options();
        Self::over(path, options.append(true).create(true).open(path))
    }

    fn over(path: &Path, file: std::io::Result<File>) -> Result<Self> {
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_path_buf(),
            out: BufWriter::new(file),
        })
    }

    /// Adds a line.
    pub(crate) fn write(&mut self, value: &impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Writes what is left.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.out
            .flush()
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
