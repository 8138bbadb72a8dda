//! `thymus model calibrate`: what is rare on the user's own files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use thymus_scan::{
    Calibration, Calibrator, Engine, Job, ScanPolicy, Scanned, WalkOptions, Walker, scan_all,
};

use super::InUse;
use crate::Found;
use crate::console::Progress;
use crate::replay::now;
use crate::scan::worker;

/// The file that `thymus model calibrate` writes.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    calibration: Vec<Calibration>,
}

/// Reads what [`run`] wrote.
///
/// # Errors
/// When it cannot be read or is no calibration.
pub(crate) fn read(path: &Path, in_use: &InUse) -> Result<Vec<Calibration>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| {
        format!(
            "{} is no calibration; `thymus model calibrate` writes one",
            path.display()
        )
    })?;
    let known: Vec<String> = in_use.networks.infos().map(|info| info.id()).collect();
    for of_kind in &file.calibration {
        if !of_kind.is_sound() {
            bail!(
                "{}: the numbers of {} are no tail",
                path.display(),
                of_kind.kind
            );
        }
        if !known.contains(&of_kind.model) {
            eprintln!(
                "thymus: {} is for {}, which is not in use: calibrate {} again",
                path.display(),
                of_kind.model,
                of_kind.kind
            );
        }
    }
    Ok(file.calibration)
}

/// Runs the command.
///
/// # Errors
/// When a path or the output cannot be read or written, or there are too few files.
pub(super) fn run(paths: &[PathBuf], out: &Path, jobs: usize, in_use: &InUse) -> Result<Found> {
    for path in paths {
        fs::symlink_metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let began = now();
    let clock = move || began.elapsed().as_millis() as u64;
    let policy = ScanPolicy::default();
    let workers = worker::workers(&policy, &in_use.files, None, 1, &clock)?;
    let progress = Progress::files(false);
    let mut calibrator = Calibrator::default();
    let job = Job {
        engine: Engine::Workers(&workers),
        walker: Walker::new(paths.to_vec(), WalkOptions::default())?,
        threads: jobs,
        clock: &clock,
    };
    scan_all(job, &mut |scanned: Scanned| {
        progress.step(&thymus_analyst::legible(&scanned.path.to_string_lossy()));
        calibrator.add(&scanned.report);
        true
    });
    progress.done();
    let counts: Vec<(&str, usize)> = calibrator.counts().collect();
    let file = File {
        calibration: calibrator.finish(),
    };
    for (kind, files) in counts {
        let is_used = file.calibration.iter().any(|of_kind| of_kind.kind == kind);
        let remark = if is_used {
            ""
        } else {
            ": too few, left as it is"
        };
        println!("{kind:<12} {files:>8} different files{remark}");
    }
    if file.calibration.is_empty() {
        bail!("no type has 100 different files there; name more folders");
    }
    let text = format!(
        "# What harmless files here are judged; written by `thymus model calibrate`.\n\n{}",
        toml::to_string(&file)?
    );
    fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))?;
    println!(
        "wrote {}; use it with: thymus scan --calibration {}",
        out.display(),
        out.display()
    );
    Ok(Found::Nothing)
}
