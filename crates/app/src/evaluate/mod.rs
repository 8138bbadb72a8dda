//! `thymus eval`: how well behaviour is detected on labelled captures.
//!
//! Each case is run once; the budgets of one, five and ten incidents a day are read off the same
//! run, and the trivial baselines get the same budgets on the same events. An attack case is found
//! when a *shown* incident overlaps its window and names one of its entities among at most ten
//! affected; every shown incident of a benign case is false.
//!
//! Must not: tune anything, or let one case know of another.

mod activity;
mod baseline;
mod calibration;
mod case;
mod manifest;
mod matching;
mod totals;

mod result_json;
mod result_text;

pub use thymus_nets::interval::{poisson_95, share_95};

use std::collections::VecDeque;
use std::io::{BufWriter, Write, stdout};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::Found;
use crate::cli::EvalArgs;
use crate::console::Progress;
use crate::evaluate::case::{CaseResult, Settings};
use crate::evaluate::manifest::Case;

/// Budgets that are reported, in incidents a day.
pub(crate) const BUDGETS: [u64; 3] = [1, 5, 10];

/// Runs the command. Found is *something* when a case could not be run.
///
/// # Errors
/// When a manifest cannot be read, no case is left, or the results cannot be written.
pub(crate) fn run(args: &EvalArgs) -> Result<Found> {
    let began = crate::replay::now();
    let mut cases = Vec::new();
    for path in &args.manifests {
        cases.extend(manifest::read(path, args.data.as_deref())?);
    }
    cases.retain(|case| {
        args.only.is_empty() || args.only.iter().any(|text| case.name.contains(text))
    });
    if cases.is_empty() {
        bail!("no case to run; check --only and that the manifests hold [[case]] tables");
    }
    if let Some(dir) = &args.details {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the folder {}", dir.display()))?;
    }
    let settings = Settings {
        budget: args.budget,
        details: args.details.clone(),
        keep_maxima: args.calibration.is_some(),
    };
    let results = run_all(&cases, &settings, args.jobs.max(1), args.json);
    if let Some(path) = &args.calibration {
        calibration::write(path, &results)?;
    }
    let mut out = BufWriter::new(stdout().lock());
    if args.json {
        serde_json::to_writer(&mut out, &result_json::object(&results, args.budget))?;
        out.write_all(b"\n")?;
    } else {
        result_text::print(&results, args.budget, &mut out)?;
    }
    out.flush()?;
    if args.timings {
        eprintln!(
            "{} cases in {:.1} s",
            results.len(),
            began.elapsed().as_secs_f64()
        );
    }
    let is_complete = results.iter().all(|result| result.error.is_none());
    Ok(if is_complete {
        Found::Nothing
    } else {
        Found::Something
    })
}

/// Runs the cases, `jobs` at a time; the results are in the order of the cases.
fn run_all(cases: &[Case], settings: &Settings, jobs: usize, quiet: bool) -> Vec<CaseResult> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..cases.len()).collect());
    let results: Mutex<Vec<Option<CaseResult>>> = Mutex::new(vec![None; cases.len()]);
    let progress = Progress::count(cases.len() as u64, quiet);
    thread::scope(|scope| {
        for _ in 0..jobs.min(cases.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
                    let Some((index, case)) = next.and_then(|at| Some((at, cases.get(at)?))) else {
                        return;
                    };
                    let result = case::run(case, settings);
                    progress.step(&case.name);
                    if let Ok(mut results) = results.lock()
                        && let Some(slot) = results.get_mut(index)
                    {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    progress.done();
    results
        .into_inner()
        .unwrap_or_default()
        .into_iter()
        .flatten()
        .collect()
}
