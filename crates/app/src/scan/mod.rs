//! `thymus scan`: files and folders in, a verdict for each out.

mod json;
mod keep;
mod listed;
mod ruled;
mod sarif;
pub(crate) mod signed;
pub(crate) mod since;
mod text;
pub(crate) mod worker;

pub(crate) use json::{escaped, line};

use std::cell::Cell;
use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};
use thymus_analyst::legible;
use thymus_scan::{
    Coverage, Engine, Job, Lists, Reason, ScanPolicy, Scanned, Scanner, WalkOptions, Walker,
    scan_all,
};

use self::keep::{Keeper, Kept};
use self::listed::Listed;
use crate::Found;
use crate::cli::{FailOn, ScanArgs};
use crate::console::{Paper, Progress};
use crate::lists;
use crate::model::{self, InUse};
use crate::replay::now;
use crate::rules::{self, InForce};

/// Runs the command.
///
/// # Errors
/// When a named path is not there or an output cannot be written.
pub(crate) fn run(args: &ScanArgs) -> Result<Found> {
    check(args)?;
    let began = now();
    let clock = move || began.elapsed().as_millis() as u64;
    let in_use = model::in_use(args.models.as_deref(), args.no_models)?;
    let policy = policy(args, &in_use)?;
    let options = walk_options(args)?;
    let walker = Walker::new(args.paths.clone(), options.clone()).context("read --exclude")?;
    let progress = Progress::files(args.quiet);
    if progress.is_shown() {
        count_ahead(&args.paths, options, &progress)?;
    }
    let lists = if args.no_lists {
        Lists::default()
    } else {
        lists::load(args.lists.as_deref())?
    };
    let rules = rules::load(&args.rules, args.rules_lenient)?;
    let mut keeper = Keeper::new(args)?;
    let mut report = Report::new(args, &in_use, rules.as_ref())?;
    let mut trouble = Ok(());
    let mut emit = |mut scanned: Scanned| {
        progress.step(&legible(&scanned.path.to_string_lossy()));
        report.coverage.add(&scanned.report);
        let listed = listed::apply(&lists, &mut scanned);
        let keep = |keeper: &mut Keeper| keeper.see(&scanned, listed.first().copied().flatten());
        let kept = progress.aside(|| keeper.as_mut().and_then(keep));
        trouble = report.add(&scanned, &listed, kept.as_ref(), &progress);
        trouble.is_ok()
    };
    let (jobs, each) = threads(args);
    let job = |engine| Job {
        engine,
        walker,
        threads: jobs,
        clock: &clock,
    };
    let walker = if args.no_sandbox {
        eprintln!("thymus: --no-sandbox: hostile bytes are read in this process");
        let networks = in_use.networks.clone().calibrated(&policy.calibrations);
        let rules = rules.as_ref().map(InForce::matcher);
        let scanner = Scanner::new(&policy, Some(&networks)).with_rules(rules);
        scan_all(job(Engine::Here(&scanner)), &mut emit)
    } else {
        let rules = rules.as_ref().map(InForce::to_bytes).transpose()?;
        let rules = rules.as_deref();
        let workers = worker::workers(&policy, &in_use.files, rules, each, &clock)?;
        scan_all(job(Engine::Workers(&workers)), &mut emit)
    };
    progress.done();
    trouble?;
    for file in walker.ignore_files() {
        if let Some(why) = file.refused {
            let path = legible(&file.path.to_string_lossy());
            eprintln!("thymus: {path} is not heeded: {why}");
        }
    }
    report.coverage.left_out.clone_from(walker.left_out());
    let coverage = report.finish()?;
    if args.timings {
        timings(&coverage, clock());
    }
    if let Some(failed) = keeper
        .map(|keeper| keeper.failed)
        .filter(|failed| *failed > 0)
    {
        bail!("{failed} of the files found could not be put into the quarantine");
    }
    Ok(verdict(&coverage, &args.fail_on))
}

/// What the exit code says.
fn verdict(coverage: &Coverage, fail_on: &[FailOn]) -> Found {
    let fails = |what: &FailOn| match what {
        FailOn::NotJudged => coverage.not_judged + coverage.rules_unfinished > 0,
        FailOn::Rule => coverage.rule_matches > 0,
    };
    if coverage.is_found() || fail_on.iter().any(fails) {
        Found::Something
    } else {
        Found::Nothing
    }
}

/// A path that is not there is a slip of the pen, told before anything is read.
fn check(args: &ScanArgs) -> Result<()> {
    for path in &args.paths {
        if path.as_os_str() != "-" {
            std::fs::symlink_metadata(path)
                .with_context(|| format!("cannot read {}", legible(&path.to_string_lossy())))?;
        }
    }
    Ok(())
}

/// How many files are looked at at once, and by how many threads each: what there is to do one file has to
/// itself.
fn threads(args: &ScanArgs) -> (usize, usize) {
    match &args.paths[..] {
        [path] if !path.is_dir() => (1, args.jobs),
        _ => (args.jobs, 1),
    }
}

fn policy(args: &ScanArgs, in_use: &InUse) -> Result<ScanPolicy> {
    let standard = ScanPolicy::default();
    let file_bytes_max = args.max_size.unwrap_or(standard.file_bytes_max);
    let calibration = args.calibration.as_deref();
    let calibration = calibration.map(|path| model::calibrate::read(path, in_use));
    Ok(ScanPolicy {
        file_bytes_max,
        member_bytes_max: standard.member_bytes_max.min(file_bytes_max),
        depth_max: args.depth.unwrap_or(standard.depth_max),
        millis_max: args.max_time.saturating_mul(1000),
        passwords: args.password.clone(),
        explains: args.explain,
        calibrations: calibration.transpose()?.unwrap_or_default(),
        ..standard
    })
}

fn walk_options(args: &ScanArgs) -> Result<WalkOptions> {
    let since = args.since.as_deref().map(since::parse).transpose();
    Ok(WalkOptions {
        exclude: args.exclude.clone(),
        with_ignore_files: !args.no_ignore,
        since: since.context("read --since")?,
    })
}

/// Counts the files beside the scan, so that the bar knows how far it is.
pub(crate) fn count_ahead(
    paths: &[PathBuf],
    options: WalkOptions,
    progress: &Progress,
) -> Result<()> {
    let walker = Walker::new(paths.to_vec(), options)?;
    let counter = progress.counter();
    // It ends with the program; nobody waits for it.
    thread::Builder::new()
        .spawn(move || counter(walker.count() as u64))
        .context("start a thread")?;
    Ok(())
}

/// What is written while the scan goes on.
struct Report<'a> {
    args: &'a ScanArgs,
    in_use: &'a InUse,
    rules: Option<&'a InForce>,
    coverage: Coverage,
    out: BufWriter<std::io::StdoutLock<'static>>,
    sarif: Option<(&'a Path, sarif::Log)>,
    paper: Paper,
    is_first: Cell<bool>,
}

impl<'a> Report<'a> {
    fn new(args: &'a ScanArgs, in_use: &'a InUse, rules: Option<&'a InForce>) -> Result<Self> {
        if let Some(path) = &args.sarif
            && path.is_dir()
        {
            bail!("{} is a folder", path.display());
        }
        Ok(Self {
            args,
            in_use,
            rules,
            coverage: Coverage::default(),
            out: BufWriter::new(stdout().lock()),
            sarif: args
                .sarif
                .as_deref()
                .map(|path| (path, sarif::Log::default())),
            paper: Paper::stdout(),
            is_first: Cell::new(true),
        })
    }

    fn add(
        &mut self,
        scanned: &Scanned,
        listed: &[Option<Listed<'_>>],
        kept: Option<&Kept>,
        progress: &Progress,
    ) -> Result<()> {
        if let Some(Some(first)) = listed.first() {
            let counts = scanned.report.whole.outcome;
            self.coverage.recount(first.judged(), counts);
            if first.is_allowed() {
                self.coverage.allowed += 1;
            } else {
                self.coverage.blocked += 1;
            }
        }
        if let Some((_, log)) = &mut self.sarif {
            log.add(scanned, listed);
        }
        if self.args.json {
            let millis = self.args.timings.then_some(scanned.millis);
            let beside = json::Beside {
                millis,
                kept,
                has_rules: self.rules.is_some(),
            };
            return json::lines(scanned, listed, beside, &mut self.out);
        }
        let form = text::Form {
            verbose: self.args.verbose,
            explain: self.args.explain,
            paper: self.paper,
        };
        let mut lines = text::lines(scanned, listed, form);
        if let Some(Ok(id)) = kept {
            lines += "           quarantined as ";
            lines += id;
            lines.push('\n');
        }
        if !lines.is_empty() {
            self.is_first.set(false);
            let out = &mut self.out;
            progress.aside(|| {
                out.write_all(lines.as_bytes())?;
                out.flush()
            })?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Coverage> {
        if self.args.json {
            json::summary(&self.coverage, self.in_use, self.rules, &mut self.out)?;
        } else if !self.args.quiet {
            if !self.is_first.get() {
                self.out.write_all(b"\n")?;
            }
            let mut totals = text::totals(&self.coverage, self.paper);
            if let Some(rules) = self.rules {
                totals += &ruled::totals(&self.coverage, rules);
            }
            totals += &text::models(self.in_use);
            self.out.write_all(totals.as_bytes())?;
        }
        self.out.flush()?;
        if let Some((path, log)) = self.sarif {
            std::fs::write(path, log.render()?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(self.coverage)
    }
}

/// Prints to standard error how long it took.
fn timings(coverage: &Coverage, millis: u64) {
    let secs = (millis as f64 / 1000.0).max(1e-3);
    eprintln!(
        "{} files, {:.1} MB in {secs:.2} s: {:.0} files/s, {:.1} MB/s",
        coverage.files,
        coverage.bytes as f64 / 1e6,
        coverage.files as f64 / secs,
        coverage.bytes as f64 / 1e6 / secs,
    );
}

/// The reason as the reports write it.
fn reason_text(reason: Option<Reason>) -> Option<String> {
    reason.map(|reason| reason.to_string())
}
