//! The analysing process: packets, logs or exports in, incidents out. Of all processes it is the one that reads
//! hostile bytes, and the one that gives up most.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use thymus_analyst::{Analyst, AnalystConfig};
use thymus_detect::{AlertBudget, Engine, EngineConfig};
use thymus_ingest::{
    ANALYZERS, FlowEngine, FlowLimits, Follow, FollowFrom, FollowOptions, Indicators, Position,
};
use thymus_schema::LocalNetworks;
use thymus_sensor::{Interface, PacketBlock, Recorder};

use super::chronicle::Chronicle;
use super::collected::Collected;
use super::desk::{Desk, Start};
use super::followed::Followed;
use super::live::{Live, Standing};
use super::resume::{self, Kept, POSITION};
use super::stop::Stop;
use super::wire::Wire;
use super::{MIB, first, now_nanos};
use crate::Found;
use crate::carved;
use crate::cli::LiveArgs;
use crate::output::Findings;
use crate::pipeline::{self, Stream};
use crate::replay::{Memory, declared, now, timings, write_html};
use crate::respond::Planner;

/// Judges what comes until nothing more does.
pub(super) fn run(args: &LiveArgs) -> Result<Found> {
    let memory = args.run.state.as_deref().map(Memory::open).transpose()?;
    let indicators = Indicators::load(&args.run.indicators)?;
    // Made before the rights to make it are given up.
    if let Some(state) = &args.run.state {
        let journal = state.join("journal");
        std::fs::create_dir_all(&journal)
            .with_context(|| format!("cannot make the folder {}", journal.display()))?;
    }
    if let Some(path) = &args.record
        && args.restarts == 0
    {
        // A file that cannot be written is told before anything is watched.
        Recorder::create(path, 1, 0)?.finish()?;
    }
    let planner = match (&args.respond, &args.run.state) {
        (Some(_), Some(state)) => Some(Planner::open(state)?),
        _ => None,
    };
    if !args.no_sandbox {
        confine(args)?;
    }
    // Before any thread is started: all are to leave the signals to the one that waits for them.
    let stop = Stop::listen()?;
    let kept = memory.as_ref().and_then(Kept::of);
    let told = Told {
        args,
        memory,
        indicators,
        kept,
        planner,
    };
    if !args.follow.is_empty() {
        return told.logs(stop);
    }
    match Wire::open(stop, args.restarts)? {
        Some(wire) if !args.collect.is_empty() => told.exports(wire),
        Some(wire) => told.packets(wire),
        None => Ok(Found::Nothing),
    }
}

/// Gives up what the analysis does not take, but for the folders it writes to and reads.
fn confine(args: &LiveArgs) -> Result<()> {
    let output = &args.output;
    let files = [&args.record, &output.html, &output.events, &output.alerts];
    let parents = files.into_iter().flatten().filter_map(|file| file.parent());
    let folders = parents.chain(args.run.state.as_deref());
    let folders: Vec<PathBuf> = folders.map(Path::to_path_buf).collect();
    // A file may be put aside and made anew: what is followed is its folder.
    let followed = args.follow.iter().map(|path| match path.parent() {
        Some(parent) if !path.is_dir() => parent.to_path_buf(),
        _ => path.clone(),
    });
    let followed: Vec<PathBuf> = followed.collect();
    if !thymus_sensor::confine(&folders, &followed)? && !output.quiet {
        eprintln!("thymus: this kernel has no Landlock, so files are not shut off");
    }
    Ok(())
}

/// What a run knows before it sees anything.
struct Told<'a> {
    args: &'a LiveArgs,
    memory: Option<Memory>,
    indicators: Indicators,
    kept: Option<Kept>,
    planner: Option<Planner>,
}

impl Told<'_> {
    fn packets(self, mut wire: Wire) -> Result<Found> {
        let args = self.args;
        let named = declared(&args.run.local);
        let (local, first) = match named.or(self.kept.as_ref().map(|kept| kept.local.clone())) {
            Some(local) => (local, VecDeque::<PacketBlock>::new()),
            None => first::look(&mut wire),
        };
        let interface = wire.interface().clone();
        let record = |path: &PathBuf| {
            let bytes_max = u64::from(args.record_size) * MIB as u64;
            if args.goes_on {
                Recorder::append(path, interface.link_type, bytes_max)
            } else if args.restarts == 0 {
                Recorder::create(path, interface.link_type, bytes_max)
            } else {
                Recorder::go_on(path, interface.link_type, bytes_max)
            }
        };
        let recorder = args.record.as_ref().map(record).transpose()?;
        let (judge, verdicts) = carved::judge_and_verdicts();
        let flow = FlowEngine::new(local.clone(), FlowLimits::default(), ANALYZERS)
            .with_judge(Some(judge.clone()));
        let source = Source {
            name: interface.name.clone(),
            is_down: is_down(&interface),
            local,
            wants_position: None,
            position: None,
        };
        let live = Live::new(wire, flow, (judge, verdicts), first, recorder);
        self.judge(live, source, Live::take_trouble)
    }

    /// What others send. Nothing of it tells networks apart, so the private ones are local unless told.
    fn exports(self, wire: Wire) -> Result<Found> {
        let named = declared(&self.args.run.local);
        let local = named.or(self.kept.as_ref().map(|kept| kept.local.clone()));
        let source = Source {
            name: wire.interface().name.clone(),
            is_down: false,
            local: local.unwrap_or_default(),
            wants_position: None,
            position: None,
        };
        let collected = Collected::new(wire, &self.args.collect, now_nanos());
        self.judge(collected, source, Collected::take_trouble)
    }

    fn logs(self, stop: Stop) -> Result<Found> {
        let args = self.args;
        let section = self
            .memory
            .as_ref()
            .and_then(|memory| memory.section(POSITION));
        let position = section.map(serde_json::from_slice::<Position>).transpose();
        let position = position.context("the state does not tell where reading of logs stood")?;
        let local = declared(&args.run.local);
        let options = FollowOptions {
            local: local.or(self.kept.as_ref().map(|kept| kept.local.clone())),
            from: if args.only_new {
                FollowFrom::End
            } else {
                FollowFrom::Beginning
            },
            ..FollowOptions::default()
        };
        let follow = Follow::open(&args.follow, options, position)?;
        let wants = Arc::new(AtomicBool::new(false));
        let source = Source {
            name: "logs".to_owned(),
            is_down: false,
            local: follow.local().clone(),
            wants_position: Some(Arc::clone(&wants)),
            position: Some(serde_json::to_vec(&follow.position())?),
        };
        let followed = Followed::new(follow, stop, wants, self.memory.is_some(), args.restarts);
        self.judge(followed, source, |_| None)
    }

    /// Runs the stream through the engine and tells what was found.
    fn judge<S: Stream<Progress = Standing>>(
        self,
        stream: S,
        source: Source,
        trouble_of: impl FnOnce(&mut S) -> Option<anyhow::Error>,
    ) -> Result<Found> {
        let (args, began) = (self.args, now());
        let mut engine = Engine::new(&EngineConfig {
            local: source.local.clone(),
            budget: AlertBudget::new(args.run.budget),
            ..EngineConfig::default()
        });
        let mut analyst = Analyst::new(AnalystConfig {
            titles: pipeline::titles(),
            ..AnalystConfig::default()
        });
        let reads_again = source.wants_position.is_some();
        let chronicle = self.remember(reads_again, &mut engine, &mut analyst)?;
        let mut memory = self.memory;
        if let Some(memory) = &mut memory {
            memory.release();
        }
        let mut desk = Desk::new(
            args,
            Start {
                analyst,
                memory,
                chronicle,
                planner: self.planner,
                local: source.local,
                source: source.name,
                is_down: source.is_down,
                restarts: args.restarts,
                wants_position: source.wants_position,
                position: source.position,
            },
        )?;
        // From here on a kill finds where to go on.
        desk.save(&mut engine);
        let fed = pipeline::feed(
            stream,
            &self.indicators,
            &mut engine,
            |engine, events, standing| desk.batch(engine, events, standing),
        );
        engine.finish();
        let trouble = match fed {
            Ok(mut stream) => trouble_of(&mut stream),
            Err(error) => Some(error),
        };
        let detected = now();
        let (budget, is_handing_over) = (desk.budget(), desk.is_handing_over());
        let (outcome, kept) = desk.finish(&mut engine)?;
        if is_handing_over {
            // The report is the business of who goes on.
            kept?;
            return trouble.map_or(Ok(Found::Nothing), Err);
        }
        let findings = Findings::new(&outcome, budget);
        super::desk::write_summary(&findings, &args.output)?;
        write_html(&findings, &args.output)?;
        kept?;
        if args.output.timings {
            timings(&outcome, detected.duration_since(began), detected.elapsed());
        }
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        if outcome.coverage.judged_share() <= 0.0 {
            bail!("nothing that was seen could be judged: the reasons are in the report");
        }
        Ok(if findings.shown.is_empty() {
            Found::Nothing
        } else {
            Found::Something
        })
    }

    /// Gives the engine and the analyst what the run before knew, and what it had seen since its last
    /// save; opens the journal behind it.
    fn remember(
        &self,
        reads_again: bool,
        engine: &mut Engine,
        analyst: &mut Analyst,
    ) -> Result<Option<Chronicle>> {
        let (Some(memory), Some(state)) = (&self.memory, &self.args.run.state) else {
            return Ok(None);
        };
        memory.remind(engine, analyst);
        let is_told = !self.args.outputs.is_empty();
        let after = self.kept.as_ref().map(|kept| kept.journal);
        if reads_again {
            // The logs say it again, from where reading stood at the last save.
            let (known, position) = resume::known(state, after.unwrap_or(0))?;
            return Chronicle::open(state, position, Some(known), is_told).map(Some);
        }
        let resumed = match after {
            Some(after) => resume::resume(state, after, engine, analyst)?,
            None => resume::Resumed::default(),
        };
        if resumed.events > 0 {
            eprintln!(
                "thymus: going on behind {} events that came after the last save; {} parts of the journal \
                 could not be read",
                resumed.events, resumed.lost
            );
        }
        Chronicle::open(state, resumed.position, None, is_told).map(Some)
    }
}

/// What is watched.
struct Source {
    name: String,
    is_down: bool,
    local: LocalNetworks,
    wants_position: Option<Arc<AtomicBool>>,
    position: Option<Vec<u8>>,
}

fn is_down(interface: &Interface) -> bool {
    !interface.is_up
}
