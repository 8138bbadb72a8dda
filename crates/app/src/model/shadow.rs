//! `thymus model shadow`: what a new model would make of the files of this machine, beside the one in use.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stdout};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use thymus_analyst::legible;
use thymus_scan::{
    Change, Engine, Job, Leaning, Outcome, ScanPolicy, Shadow, ShadowResult, Tried, TypeResult,
    WalkOptions, Walker, scan_all,
};
use thymus_store::models::{ModelStore, ShadowRun, Signed};

use super::{InUse, in_use, install, keys, shipped};
use crate::Found;
use crate::cli::ShadowArgs;
use crate::console::Progress;
use crate::replay::now;
use crate::scan::{count_ahead, escaped, worker};

/// Changes that are shown to people; `--json` has more.
const CHANGES_SHOWN_MAX: usize = 20;

/// What was compared, and what it took.
struct Told<'t> {
    new: String,
    old: Option<String>,
    signed: &'t Signed,
    result: ShadowResult,
    cost: [Cost; 2],
    files: u64,
}

/// What looking at the files took with one set of models.
#[derive(Clone, Copy, Default, Serialize)]
struct Cost {
    /// Time of looking, of all workers together.
    milliseconds: u64,
    /// The most that one worker had in memory.
    memory_bytes_max: u64,
}

/// Runs the command.
///
/// # Errors
/// When the model is refused, or a path or the folder of models cannot be read or written.
pub(super) fn run(args: &ShadowArgs, dir: Option<&Path>) -> Result<Found> {
    for path in &args.paths {
        fs::symlink_metadata(path)
            .with_context(|| format!("cannot read {}", legible(&path.to_string_lossy())))?;
    }
    let store = super::store(dir)?;
    let signed = candidate(&store, &args.model)?;
    let name = keys::told(&signed.bytes)
        .context(legible(&args.model))?
        .name;
    let before = in_use(dir, false)?;
    let others = before.networks.infos();
    let others = others.filter(|info| !info.is_shipped && info.name != name);
    let mut files: Vec<Vec<u8>> = others.map(|info| info.file.to_vec()).collect();
    files.push(signed.bytes.clone());
    let networks = shipped()?.with(files.clone()).map_err(|(_, why)| why);
    let networks = networks.with_context(|| legible(&args.model))?;
    let after = InUse { networks, files };
    let told = compare(args, &name, &signed, [&before, &after])?;
    let ids = before.networks.infos().map(|info| info.id()).collect();
    store.keep_run(&told.run(ids))?;
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{}", escaped(&told.json()?))?;
    } else {
        out.write_all(told.text().as_bytes())?;
    }
    Ok(match told.result.failed {
        Some(_) => Found::Something,
        None => Found::Nothing,
    })
}

/// The model that is tried: an installed one by its name, first the version that waits, or a file.
fn candidate(store: &ModelStore, model: &str) -> Result<Signed> {
    let keys = store.keys()?;
    let path = Path::new(model);
    if let (Ok(versions), false) = (store.versions(model), path.exists()) {
        let installed = versions.shadow.or(versions.active);
        let installed = installed.with_context(|| format!("no version of {model} is installed"))?;
        return Ok(store.load(&installed, &keys)?);
    }
    if !path.exists() {
        anyhow::bail!(
            "{} is no model file, and no installed model has that name",
            legible(model)
        );
    }
    Ok(ModelStore::signed(path, &keys)?)
}

fn compare<'t>(
    args: &ShadowArgs,
    name: &str,
    signed: &'t Signed,
    both: [&InUse; 2],
) -> Result<Told<'t>> {
    let named = |in_use: &InUse| {
        let mut infos = in_use.networks.infos();
        let info = infos.find(|info| info.name == name)?;
        let promise = |(kind, found, malicious): &(&str, f32, Option<f32>)| {
            (
                (*kind).to_owned(),
                f64::from(*found),
                malicious.map(f64::from),
            )
        };
        Some((info.id(), info.types.iter().map(promise).collect()))
    };
    let [before, after] = both;
    let old = named(before).map(|(id, _)| id);
    let (new, promises) = named(after).context("the model is gone")?;
    let began = now();
    let clock = move || began.elapsed().as_millis() as u64;
    let policy = ScanPolicy::default();
    let first = worker::workers(&policy, &before.files, None, 1, &clock)?;
    let second = worker::workers(&policy, &after.files, None, 1, &clock)?;
    let options = WalkOptions {
        exclude: args.exclude.clone(),
        ..WalkOptions::default()
    };
    let walker = Walker::new(args.paths.clone(), options.clone()).context("read --exclude")?;
    let progress = Progress::files(args.quiet);
    if progress.is_shown() {
        count_ahead(&args.paths, options, &progress)?;
    }
    let mut shadow = Shadow::new(old.clone(), new.clone(), promises);
    let (mut cost, mut files) = ([Cost::default(); 2], 0);
    let job = Job {
        engine: Engine::Both(&first, &second),
        walker,
        threads: args.jobs,
        clock: &clock,
    };
    scan_all(job, &mut |scanned| {
        progress.step(&legible(&scanned.path.to_string_lossy()));
        files += 1;
        cost[0].milliseconds += scanned.millis;
        if let Some(beside) = &scanned.beside {
            cost[1].milliseconds += beside.millis;
            shadow.add(&scanned.path, &scanned.report, &beside.report);
        }
        true
    });
    progress.done();
    cost[0].memory_bytes_max = first.memory_peak();
    cost[1].memory_bytes_max = second.memory_peak();
    Ok(Told {
        new,
        old,
        signed,
        result: shadow.finish(),
        cost,
        files,
    })
}

#[derive(Serialize)]
struct Report<'r> {
    model: &'r str,
    beside: Option<&'r str>,
    blake3: &'r str,
    signer: &'r str,
    files: u64,
    judged: u64,
    suspicious: u64,
    malicious: u64,
    passed: bool,
    why: Option<&'r str>,
    types: Vec<Of<'r>>,
    changes: Vec<Changed<'r>>,
    changes_left_out: u64,
    not_counted: u64,
    changed_meanwhile: u64,
    cost: Costs,
}

#[derive(Serialize)]
struct Costs {
    in_use: Cost,
    new: Cost,
}

#[derive(Serialize)]
struct Of<'r> {
    r#type: &'r str,
    judged: u64,
    judged_before: u64,
    suspicious_or_worse: Option<Trial>,
    malicious: Option<Trial>,
    counts: Vec<Step>,
}

#[derive(Serialize)]
struct Trial {
    promised: f64,
    expected: f64,
    seen: u64,
    chance: f64,
    at_most: f64,
    kept: bool,
}

#[derive(Serialize)]
struct Step {
    before: &'static str,
    now: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct Changed<'r> {
    path: String,
    member: Option<&'r str>,
    r#type: &'r str,
    before: &'static str,
    before_benign_share: Option<f32>,
    now: &'static str,
    now_benign_share: Option<f32>,
}

impl From<Tried> for Trial {
    fn from(tried: Tried) -> Self {
        Self {
            promised: tried.promised,
            expected: tried.expected,
            seen: tried.seen,
            chance: tried.chance,
            at_most: tried.at_most,
            kept: tried.is_kept,
        }
    }
}

impl Of<'static> {
    fn new(of_type: &TypeResult) -> Self {
        Self {
            r#type: of_type.kind.as_str(),
            judged: of_type.judged,
            judged_before: of_type.judged_before,
            suspicious_or_worse: of_type.found.map(Trial::from),
            malicious: of_type.malicious.map(Trial::from),
            counts: counts(&of_type.counts),
        }
    }
}

impl<'r> Changed<'r> {
    fn new(change: &'r Change) -> Self {
        Self {
            path: change.path.to_string_lossy().into_owned(),
            member: change.member.as_deref(),
            r#type: change.kind.as_str(),
            before: word(change.old),
            before_benign_share: change.old.map(|(_, share)| share),
            now: word(change.new),
            now_benign_share: change.new.map(|(_, share)| share),
        }
    }
}

/// Judgements in the order of their counts.
const WORDS: [&str; 4] = ["not_judged", "clean", "suspicious", "malicious"];

fn word(said: Option<(Leaning, f32)>) -> &'static str {
    said.map_or(WORDS[0], |(leaning, _)| Outcome::from(leaning).as_str())
}

impl Told<'_> {
    /// What is noted beside the installed model.
    fn run(&self, in_use: Vec<String>) -> ShadowRun {
        ShadowRun {
            model: self.new.clone(),
            blake3: self.signed.blake3.clone(),
            signer: self.signed.signer.clone(),
            in_use,
            act: install::act(),
            judged: self.result.judged,
            suspicious: self.result.found.0,
            malicious: self.result.found.1,
            passed: self.result.failed.is_none(),
            why: self.result.failed.clone(),
        }
    }

    fn json(&self) -> Result<String> {
        let result = &self.result;
        let changes = result.changes.iter().map(Changed::new);
        let report = Report {
            model: &self.new,
            beside: self.old.as_deref(),
            blake3: &self.signed.blake3,
            signer: &self.signed.signer,
            files: self.files,
            judged: result.judged,
            suspicious: result.found.0,
            malicious: result.found.1,
            passed: result.failed.is_none(),
            why: result.failed.as_deref(),
            types: result.types.iter().map(Of::new).collect(),
            changes: changes.collect(),
            changes_left_out: result.changes_left_out,
            not_counted: result.not_counted,
            changed_meanwhile: result.unlike,
            cost: Costs {
                in_use: self.cost[0],
                new: self.cost[1],
            },
        };
        Ok(serde_json::to_string(&report)?)
    }

    fn text(&self) -> String {
        let result = &self.result;
        let old = self.old.as_deref().unwrap_or("no model of its name");
        let (files, judged, head) = (self.files, result.judged, head());
        let mut lines = vec![
            legible(&format!(
                "{} beside {old}: {files} files, {judged} different contents judged",
                self.new
            )),
            String::new(),
            format!(
                "{:<12} {:>8} {:>8}   {:<34}   {}",
                "", "", "", "suspicious or worse", "malicious"
            ),
            format!(
                "{:<12} {:>8} {:>8}   {head}   {head}",
                "type", "judged", "before"
            ),
        ];
        for of_type in &result.types {
            let (kind, judged, before) =
                (of_type.kind.as_str(), of_type.judged, of_type.judged_before);
            let (found, malicious) = (cells(of_type.found), cells(of_type.malicious));
            lines.push(format!(
                "{kind:<12} {judged:>8} {before:>8}   {found}   {malicious}"
            ));
        }
        lines.push(String::new());
        lines.extend(self.changes());
        let [old, new] = self.cost.map(|cost| {
            let (secs, megabytes) = (
                cost.milliseconds as f64 / 1e3,
                cost.memory_bytes_max as f64 / 1e6,
            );
            format!("{secs:.1} s of looking, at most {megabytes:.0} MB a worker")
        });
        lines.push(format!("In use: {old}. New: {new}."));
        lines.push(match &result.failed {
            None => "Passed: so many findings or fewer are to be expected where the model keeps its promise.".to_owned(),
            Some(why) => format!(
                "Failed: {why}. If some of these files are bad, leave them out (--exclude) and run it again."
            ),
        });
        lines.join("\n") + "\n"
    }

    /// The changes, counted and the first of them named.
    fn changes(&self) -> Vec<String> {
        let result = &self.result;
        let mut kinds: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for of_type in &result.types {
            for count in counts(&of_type.counts) {
                if count.before != count.now {
                    *kinds.entry((count.before, count.now)).or_default() += count.count;
                }
            }
        }
        let told = |((before, now), count): (&(&str, &str), &u64)| {
            format!(
                "{count} {} to {}",
                before.replace('_', " "),
                now.replace('_', " ")
            )
        };
        if kinds.is_empty() {
            return vec!["No verdict changes.".to_owned()];
        }
        let kinds: Vec<String> = kinds.iter().map(told).collect();
        let mut lines = vec![format!("Verdicts that change: {}", kinds.join(", "))];
        for change in result.changes.iter().take(CHANGES_SHOWN_MAX) {
            let member = change.member.as_ref().map(|member| format!("!{member}"));
            let name = format!(
                "{}{}",
                change.path.to_string_lossy(),
                member.unwrap_or_default()
            );
            let (before, now) = (said(change.old), said(change.new));
            let line = format!("{before} -> {now}: {name}  ({})", change.kind.as_str());
            lines.push(format!("  {}", legible(&line)));
        }
        let more =
            result.changes.len().saturating_sub(CHANGES_SHOWN_MAX) as u64 + result.changes_left_out;
        if more > 0 {
            lines.push(format!("  and {more} more; --json names them"));
        }
        lines
    }
}

fn counts(counts: &[[u64; 4]; 4]) -> Vec<Step> {
    let mut told = Vec::new();
    for (before, row) in WORDS.iter().zip(counts) {
        for (now, count) in WORDS.iter().zip(row).filter(|(_, count)| **count > 0) {
            told.push(Step {
                before,
                now,
                count: *count,
            });
        }
    }
    told
}

fn said(said: Option<(Leaning, f32)>) -> String {
    let found = said.filter(|(leaning, _)| *leaning != Leaning::Clean);
    let share = found.map(|(_, share)| 1.0 / f64::from(share).max(1e-6));
    let share = share.map(|one_in| format!(" (as 1 in {one_in:.0} harmless files)"));
    word(said).replace('_', " ") + &share.unwrap_or_default()
}

fn head() -> String {
    format!(
        "{:>9} {:>8} {:>6} {:>8}",
        "promised", "expected", "seen", "at most"
    )
}

fn cells(tried: Option<Tried>) -> String {
    let Some(tried) = tried else {
        return format!("{:>9} {:>8} {:>6} {:>8}", "never", "-", "-", "-");
    };
    let percent = |share: f64| format!("{:.3} %", share * 100.0);
    let (promised, at_most) = (percent(tried.promised), percent(tried.at_most));
    let (expected, seen) = (tried.expected, tried.seen);
    let mark = if tried.is_kept { ' ' } else { '!' };
    format!("{promised:>9} {expected:>8.2} {seen:>5}{mark} {at_most:>8}")
}
