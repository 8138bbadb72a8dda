//! `thymus run`: the packets of an interface in, incidents out, as they happen.
//!
//! The same path as a replay: only the stream differs. One thread empties the kernel's ring into a bounded
//! queue, one reads and parses, and this one judges, prints and saves.

mod desk;
mod first;
mod live;
mod printer;
mod stop;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use thymus_analyst::{Analyst, AnalystConfig, IncidentBudget};
use thymus_detect::{AlertBudget, Engine, EngineConfig};
use thymus_ingest::{ANALYZERS, FlowEngine, FlowLimits, Indicators, Ledger};
use thymus_parsers::packet::decode_frame;
use thymus_sensor::{Interface, Recorder, Sensor, SensorError, Tap, TapOptions};

use crate::Found;
use crate::cli::LiveArgs;
use crate::output::Findings;
use crate::pipeline;
use crate::replay::{Memory, declared, now, timings, write_html};
use desk::Desk;
use live::Live;
use stop::Stop;

const MIB: usize = 1 << 20;

/// Runs the command.
///
/// # Errors
/// When the interface cannot be captured, goes away, or when results or state cannot be written. What was
/// seen until then is reported and saved.
pub(crate) fn run(args: &LiveArgs) -> Result<Found> {
    let began = now();
    let memory = args.run.state.as_deref().map(Memory::open).transpose()?;
    let indicators = Indicators::load(&args.run.indicators)?;
    let tap = open(args)?;
    let interface = tap.interface().clone();
    let recorder = args
        .record
        .as_deref()
        .map(|path| record(path, &interface, args))
        .transpose()?;
    if !args.no_sandbox {
        confine(args)?;
    }
    // Before any thread is started: all are to leave the signals to the one that waits for them.
    let stop = Stop::listen(args.stop_after.map(Duration::from_secs))?;
    let name = &interface.name;
    if tap.is_down() {
        eprintln!("thymus: {name} is switched off; waiting for it");
    } else if !args.output.quiet {
        eprintln!("thymus: watching {name}; Ctrl-C ends it and prints the report");
    }
    let sensor = Sensor::start(tap, args.buffer as usize * MIB);
    let (local, first) = match declared(&args.run.local) {
        Some(local) => (local, VecDeque::new()),
        None => first::look(&sensor, &stop),
    };
    let mut engine = Engine::new(&EngineConfig {
        local: local.clone(),
        budget: AlertBudget::new(args.run.budget),
        ..EngineConfig::default()
    });
    let analyst = Analyst::new(AnalystConfig {
        titles: pipeline::titles(),
        ..AnalystConfig::default()
    });
    let mut desk = Desk::new(args, analyst, memory, local.clone(), &interface)?;
    desk.remember(&mut engine);
    let flow = FlowEngine::new(local, FlowLimits::default(), ANALYZERS);
    let live = Live::new(sensor, flow, first, recorder, stop, now_nanos());
    let fed = pipeline::feed(
        live,
        &indicators,
        &mut engine,
        |engine, events, standing| desk.batch(engine, events, standing),
    );
    engine.finish();
    let trouble = match fed {
        Ok(mut live) => live.take_trouble(),
        Err(error) => Some(error),
    };
    let detected = now();
    let (outcome, kept) = desk.finish(&mut engine)?;
    let findings = Findings::new(&outcome, IncidentBudget::PerHundredDevices(args.run.budget));
    desk::write_summary(&findings, &args.output)?;
    write_html(&findings, &args.output)?;
    kept?;
    if args.output.timings {
        timings(&outcome, detected.duration_since(began), detected.elapsed());
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    if outcome.coverage.judged_share() <= 0.0 {
        bail!("nothing that was captured could be judged: the reasons are in the report");
    }
    Ok(if findings.shown.is_empty() {
        Found::Nothing
    } else {
        Found::Something
    })
}

/// Gives up what the run does not take, but for the folders it writes to.
fn confine(args: &LiveArgs) -> Result<()> {
    let output = &args.output;
    let files = [&args.record, &output.html, &output.events, &output.alerts];
    let parents = files.into_iter().flatten().filter_map(|file| file.parent());
    let folders = parents.chain(args.run.state.as_deref());
    let folders: Vec<PathBuf> = folders.map(Path::to_path_buf).collect();
    if !thymus_sensor::confine(&folders)? && !output.quiet {
        eprintln!("thymus: this kernel has no Landlock, so files are not shut off");
    }
    Ok(())
}

/// Opens the capture; all that can go wrong goes wrong here, before anything is printed.
fn open(args: &LiveArgs) -> Result<Tap> {
    let tap = Tap::open(&TapOptions {
        interface: args.interface.clone(),
        promiscuous: !args.no_promiscuous,
        ring_bytes: args.buffer as usize * MIB,
    })?;
    let link_type = tap.interface().link_type;
    if decode_frame(link_type, &[]).is_none() {
        bail!("packets of link type {link_type} are not read");
    }
    Ok(tap)
}

fn record(path: &Path, interface: &Interface, args: &LiveArgs) -> Result<Recorder, SensorError> {
    let bytes_max = u64::from(args.record_size) * MIB as u64;
    Recorder::create(path, interface.link_type, bytes_max)
}

/// The clock that the kernel stamps packets with: for how far behind the analysis is, and to tell one
/// live run's events from those of another.
#[expect(
    clippy::disallowed_methods,
    reason = "lag, and the name of this run; never the time of an event"
)]
fn now_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// What a live run read: no files.
fn no_files() -> Ledger {
    Ledger::default()
}

/// Standard output, with the status line out of the way.
fn out_of_the_way(status: bool) -> Result<()> {
    use std::io::Write;
    if status {
        let mut err = std::io::stderr();
        err.write_all(b"\r\x1b[2K").context("standard error")?;
    }
    Ok(())
}
