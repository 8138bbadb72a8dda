//! `thymus bench`: how fast the whole pipeline is on this machine, and how much memory it takes.

mod traffic;

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

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
    let made = args
        .paths
        .is_empty()
        .then(|| Generated::new(args.flows))
        .transpose()?;
    let paths = made
        .as_ref()
        .map_or_else(|| args.paths.clone(), |made| vec![made.path.clone()]);
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
        generated: made.is_some(),
        runs: runs.len(),
        median,
        packets_per_sec: rate(median.packets),
        flows_per_sec: rate(median.flows),
        events_per_sec: rate(median.events),
        bytes_per_sec: rate(median.bytes),
        peak_memory_bytes: peak_memory_bytes(),
    };
    let mut out = stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
    } else {
        writeln!(
            out,
            "{:.3} s (median of {}): {:.0} packets/s, {:.0} flows/s, {:.0} events/s, {:.1} MB/s, \
             peak memory {:.1} MB",
            median.secs,
            answer.runs,
            answer.packets_per_sec,
            answer.flows_per_sec,
            answer.events_per_sec,
            answer.bytes_per_sec / 1e6,
            answer.peak_memory_bytes as f64 / 1e6
        )?;
    }
    Ok(Found::Nothing)
}

fn measure(plan: &RunPlan) -> Result<Figures> {
    let began = now();
    let outcome = pipeline::run(plan, &mut (), |_| {}, |_, _| {})?;
    let coverage = &outcome.coverage;
    Ok(Figures {
        secs: began.elapsed().as_secs_f64(),
        packets: coverage.packets,
        flows: coverage.flows,
        events: coverage.events,
        bytes: coverage.bytes,
    })
}

/// A generated capture, removed when it goes out of scope.
struct Generated {
    path: PathBuf,
}

impl Generated {
    fn new(flows: u64) -> Result<Self> {
        let name = format!("thymus-bench-{}.pcap", std::process::id());
        let path = std::env::temp_dir().join(name);
        let what = || format!("cannot write the generated capture {}", path.display());
        let mut file = BufWriter::new(File::create(&path).with_context(what)?);
        traffic::write(flows, &mut file)
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
