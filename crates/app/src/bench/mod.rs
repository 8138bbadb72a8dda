//! `thymus bench`: how fast the whole pipeline is on this machine, and how much memory it takes.

mod copies;
mod logs;
mod peers;
mod traffic;

use std::fs::File;
use std::io::{BufWriter, StdoutLock, Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use self::copies::AfterCopy;
use self::peers::Peer;
use crate::Found;
use crate::cli::BenchArgs;
use crate::pipeline::{self, RunPlan};
use crate::replay::{now, peak_memory_bytes};

/// Figures of one run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    secs: f64,
    packets: u64,
    flows: u64,
    events: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Answer {
    generated: bool,
    runs: usize,
    median: Figures,
    packets_per_sec: f64,
    flows_per_sec: f64,
    events_per_sec: f64,
    bytes_per_sec: f64,
    /// Of the whole process, generation and all runs included.
    peak_memory_bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// When the input cannot be read or the generated capture cannot be written.
pub(crate) fn run(args: &BenchArgs) -> Result<Found> {
    ensure!(args.runs > 0, "--runs must be at least 1");
    if let Some(records) = args.log_records {
        return logs(args, records);
    }
    let made = args
        .paths
        .is_empty()
        .then(|| Generated::new("pcap", |out| traffic::write(args.flows, out)))
        .transpose()?;
    let paths = made
        .as_ref()
        .map_or_else(|| args.paths.clone(), |made| vec![made.path.clone()]);
    let one = || match paths.as_slice() {
        [path] => Ok(path),
        _ => bail!("give one capture with --copies and --peers"),
    };
    if let Some(count) = args.copies {
        return told(args, copies::measure(one()?, count)?.as_slice(), say_copies);
    }
    if args.peers {
        return told(
            args,
            peers::measure(one()?, args.runs)?.as_slice(),
            say_peers,
        );
    }
    whole(args, paths, made.is_some())
}

/// The whole pipeline over what was named or generated.
fn whole(args: &BenchArgs, paths: Vec<PathBuf>, generated: bool) -> Result<Found> {
    let plan = RunPlan {
        paths,
        budget: 5.0,
        ..RunPlan::default()
    };
    let mut runs = (0..args.runs)
        .map(|_| measure(&plan))
        .collect::<Result<Vec<_>>>()?;
    runs.sort_by(|a, b| a.secs.total_cmp(&b.secs));
    let median = runs
        .get(runs.len() / 2)
        .copied()
        .context("no run was made")?;
    let rate = |n: u64| n as f64 / median.secs.max(1e-9);
    let answer = Answer {
        generated,
        runs: runs.len(),
        median,
        packets_per_sec: rate(median.packets),
        flows_per_sec: rate(median.flows),
        events_per_sec: rate(median.events),
        bytes_per_sec: rate(median.bytes),
        peak_memory_bytes: peak_memory_bytes(),
    };
    told(args, &answer, |answer, out| {
        writeln!(
            out,
            "{:.3} s (median of {}): {:.0} packets/s, {:.0} flows/s, {:.0} events/s, {:.1} MB/s, \
             peak memory {:.1} MB",
            answer.median.secs,
            answer.runs,
            answer.packets_per_sec,
            answer.flows_per_sec,
            answer.events_per_sec,
            answer.bytes_per_sec / 1e6,
            answer.peak_memory_bytes as f64 / 1e6
        )
    })
}

/// The reading of a generated log.
fn logs(args: &BenchArgs, records: u64) -> Result<Found> {
    let made = Generated::new("log", |out| logs::write(records, out))?;
    let mut runs = (0..args.runs)
        .map(|_| logs::read(made.path.clone()))
        .collect::<Result<Vec<_>>>()?;
    runs.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (records, secs) = runs
        .get(runs.len() / 2)
        .copied()
        .context("no run was made")?;
    let answer = LogAnswer {
        records,
        secs,
        records_per_sec: records as f64 / secs.max(1e-9),
    };
    told(args, &answer, |answer, out| {
        writeln!(
            out,
            "{} log records in {:.3} s: {:.0} records/s",
            answer.records, answer.secs, answer.records_per_sec
        )
    })
}

#[derive(Serialize)]
struct LogAnswer {
    records: u64,
    secs: f64,
    records_per_sec: f64,
}

/// Prints an answer as one JSON object or in words.
fn told<T: Serialize + ?Sized>(
    args: &BenchArgs,
    answer: &T,
    say: impl FnOnce(&T, &mut StdoutLock<'_>) -> std::io::Result<()>,
) -> Result<Found> {
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, answer)?;
        out.write_all(b"\n")?;
    } else {
        say(answer, &mut out)?;
    }
    Ok(Found::Nothing)
}

fn say_copies(after: &[AfterCopy], out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    for (number, copy) in after.iter().enumerate() {
        writeln!(
            out,
            "copy {}: {:.3} s, {} packets, {} devices known, {:.1} MB now, {:.1} MB at most",
            number + 1,
            copy.secs,
            copy.packets,
            copy.devices,
            copy.resident_bytes as f64 / 1e6,
            copy.peak_bytes as f64 / 1e6
        )?;
    }
    Ok(())
}

fn say_peers(peers: &[Peer], out: &mut StdoutLock<'_>) -> std::io::Result<()> {
    for peer in peers {
        writeln!(
            out,
            "{:>12}: {:.3} s, {:.3} s of processor time; Thymus takes {:.2} times as long, \
             {:.2} times the processor time",
            peer.name, peer.wall_secs, peer.cpu_secs, peer.wall_ratio, peer.cpu_ratio
        )?;
    }
    Ok(())
}

fn measure(plan: &RunPlan) -> Result<Figures> {
    let began = now();
    let outcome = pipeline::run(plan, &mut (), |_, _| {}, |_, _, _| {})?;
    let coverage = &outcome.coverage;
    Ok(Figures {
        secs: began.elapsed().as_secs_f64(),
        packets: coverage.packets,
        flows: coverage.flows,
        events: coverage.events,
        bytes: coverage.bytes,
    })
}

/// A generated input, removed when it goes out of scope.
struct Generated {
    path: PathBuf,
}

impl Generated {
    fn new(
        extension: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<Self> {
        let name = format!("thymus-bench-{}.{extension}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let what = || format!("cannot write the generated input {}", path.display());
        let mut file = BufWriter::new(File::create(&path).with_context(what)?);
        write(&mut file)
            .and_then(|()| file.flush())
            .with_context(what)?;
        drop(file);
        Ok(Self { path })
    }
}

impl Drop for Generated {
    fn drop(&mut self) {
        // Nothing can be done about a file that does not go away.
        drop(std::fs::remove_file(&self.path));
    }
}
