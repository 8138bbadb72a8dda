//! `thymus lists`, and the lists of a scan: found, trusted, and read as of today.

use std::fs;
use std::io::{Write, stdout};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use thymus_analyst::legible;
use thymus_scan::{
    Day, Engine, Job, ListEntry, Lists, Named, ScanPolicy, Verdict, WalkOptions, Walker, scan_all,
};

use crate::Found;
use crate::cli::{ListsAction, ListsArgs, ListsTestArgs};
use crate::quarantine;
use crate::scan::{escaped, worker};

const LISTS_BYTES_MAX: u64 = 32 << 20;
/// Expired entries that are named; all are counted.
const EXPIRED_NAMED_MAX: usize = 5;
/// Entries for signers of which it is told why they do not act on a program; all are counted.
const UNSIGNED_NAMED_MAX: usize = 20;

/// Runs the command.
///
/// # Errors
/// When the lists are not understood, or a path cannot be read.
pub(crate) fn run(args: &ListsArgs) -> Result<Found> {
    match &args.action {
        ListsAction::Check { file, json } => check(file, *json),
        ListsAction::Test(args) => test(args),
    }
}

/// The lists of a scan: those named, or those of the default place where there are any. Says which
/// entries have expired.
///
/// # Errors
/// When they cannot be read, others may write them, or something in them is not understood.
pub(crate) fn load(named: Option<&Path>) -> Result<Lists> {
    let Some(path) = named.map(Path::to_path_buf).or_else(default_file) else {
        return Ok(Lists::default());
    };
    if named.is_none() && fs::symlink_metadata(&path).is_err() {
        return Ok(Lists::default());
    }
    let lists = read(&path)?;
    let expired = lists.expired();
    let name = legible(&path.to_string_lossy());
    for entry in expired.iter().take(EXPIRED_NAMED_MAX) {
        let (what, day) = (legible(&told(entry)), entry.expires);
        eprintln!("thymus: {name}: {what} expired with {day} and does not act");
    }
    if let Some(more @ 1..) = expired.len().checked_sub(EXPIRED_NAMED_MAX) {
        eprintln!("thymus: {name}: {more} more entries expired and do not act");
    }
    Ok(lists)
}

/// How a person would look an entry up.
pub(crate) fn told(entry: &ListEntry) -> String {
    let (list, number) = (entry.list.as_str(), entry.number);
    let (key, value) = (entry.named.key(), entry.named.value());
    let subject = subject(entry).map(|subject| format!(" with the name {subject}"));
    let subject = subject.unwrap_or_default();
    format!("[[{list}]] number {number}, {key} {value}{subject}")
}

fn subject(entry: &ListEntry) -> Option<&str> {
    match &entry.named {
        Named::Signer { subject, .. } => subject.as_deref(),
        _ => None,
    }
}

/// The path by which lists know a file: absolute and, but for its last step, without links.
pub(crate) fn path_of(path: &Path) -> Option<PathBuf> {
    if path.as_os_str() == "-" {
        return None;
    }
    let whole = std::path::absolute(path).ok()?;
    let folder = fs::canonicalize(whole.parent()?);
    Some(match (folder, whole.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => whole,
    })
}

fn default_file() -> Option<PathBuf> {
    let folder = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        folder.filter(|folder| folder.is_absolute())
    };
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("thymus/lists.toml"))
}

fn read(path: &Path) -> Result<Lists> {
    let name = legible(&path.to_string_lossy());
    trusted(path, "what to trust")?;
    let bytes = thymus_scan::read(path, true, LISTS_BYTES_MAX);
    let bytes = bytes.map_err(|(_, why)| anyhow::anyhow!("cannot read {name}: {why}"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is no text"))?;
    Lists::parse(&text, today()).with_context(|| format!("cannot use {name}"))
}

/// Makes sure that nobody else can write a file that says something weighty, and gives its size.
///
/// # Errors
/// When somebody can, or it cannot be read.
pub(crate) fn trusted(path: &Path, says: &str) -> Result<u64> {
    let name = legible(&path.to_string_lossy());
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {name}"))?;
    let user = nix::unistd::geteuid().as_raw();
    if metadata.mode() & 0o022 != 0 || ![user, 0].contains(&metadata.uid()) {
        bail!("{name} says {says}, so it must be yours or root's, and no others may write it");
    }
    Ok(metadata.len())
}

fn today() -> Day {
    let now = Timestamp::from_second(quarantine::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    let date = now.to_zoned(TimeZone::UTC).date();
    Day {
        year: date.year(),
        month: date.month().unsigned_abs(),
        day: date.day().unsigned_abs(),
    }
}

/// An entry in JSON.
#[derive(Serialize)]
pub(crate) struct Shown<'l> {
    list: &'l str,
    number: usize,
    by: &'l str,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'l str>,
    scope: String,
    owner: &'l str,
    reason: &'l str,
    expires: String,
}

impl<'l> Shown<'l> {
    /// The entry as reports show it.
    pub(crate) fn new(entry: &'l ListEntry) -> Self {
        Self {
            list: entry.list.as_str(),
            number: entry.number,
            by: entry.named.key(),
            value: entry.named.value(),
            subject: subject(entry),
            scope: entry.scope.to_string_lossy().into_owned(),
            owner: &entry.owner,
            reason: &entry.reason,
            expires: entry.expires.to_string(),
        }
    }
}

fn say(line: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    Ok(writeln!(out, "{}", escaped(&serde_json::to_string(line)?))?)
}

fn check(file: &Path, json: bool) -> Result<Found> {
    #[derive(Serialize)]
    struct Line<'l> {
        #[serde(flatten)]
        entry: Shown<'l>,
        expired: bool,
    }
    let lists = read(file)?;
    let mut out = stdout().lock();
    let acting = lists.entries().iter().map(|entry| (entry, false));
    let expired = lists.expired().iter().map(|entry| (entry, true));
    for (entry, expired) in acting.chain(expired) {
        if json {
            let entry = Shown::new(entry);
            say(&Line { entry, expired }, &mut out)?;
        } else if expired {
            let (what, day) = (legible(&told(entry)), entry.expires);
            writeln!(out, "expired with {day}: {what}")?;
        }
    }
    if !json {
        let (acting, expired) = (lists.entries().len(), lists.expired().len());
        writeln!(out, "{acting} entries act, {expired} have expired")?;
    }
    Ok(match lists.expired() {
        [] => Found::Nothing,
        _ => Found::Something,
    })
}

fn test(args: &ListsTestArgs) -> Result<Found> {
    for path in &args.paths {
        fs::symlink_metadata(path)
            .with_context(|| format!("cannot read {}", legible(&path.to_string_lossy())))?;
    }
    let lists = load(args.lists.as_deref())?;
    let policy = ScanPolicy::default();
    let began = crate::replay::now();
    let clock = move || began.elapsed().as_millis() as u64;
    let workers = worker::workers(&policy, &[], None, 1, &clock)?;
    let job = Job {
        engine: Engine::Workers(&workers),
        walker: Walker::new(args.paths.clone(), WalkOptions::default())?,
        threads: 2,
        clock: &clock,
    };
    let mut out = stdout().lock();
    let (mut found, mut trouble) = (Found::Nothing, Ok(()));
    scan_all(job, &mut |scanned| {
        let path = path_of(&scanned.path);
        for verdict in scanned.report.verdicts() {
            if let Some(entry) = lists.matching(path.as_deref(), verdict) {
                found = Found::Something;
                let member = verdict.member.as_deref();
                trouble = tell(&scanned.path, member, entry, args.json, &mut out);
            }
            if trouble.is_ok() {
                trouble = tell_signers(&scanned.path, verdict, &lists, args.json, &mut out);
            }
            if trouble.is_err() {
                break;
            }
        }
        trouble.is_ok()
    });
    trouble?;
    if found == Found::Nothing && !args.json {
        writeln!(out, "no entry names any of it")?;
    }
    Ok(found)
}

fn tell(
    path: &Path,
    member: Option<&str>,
    entry: &ListEntry,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'l> {
        path: &'l str,
        member: Option<&'l str>,
        listed: Shown<'l>,
    }
    let path = path.to_string_lossy();
    if json {
        let line = Line {
            path: &path,
            member,
            listed: Shown::new(entry),
        };
        return say(&line, out);
    }
    let member = member
        .map(|member| format!("!{member}"))
        .unwrap_or_default();
    let name = legible(&format!("{path}{member}"));
    let (what, owner, reason) = (told(entry), &entry.owner, &entry.reason);
    let what = legible(&format!("{what} ({owner}: {reason})"));
    Ok(writeln!(out, "{name}: {what}")?)
}

/// Tells why entries for signers do not act on a Windows program.
fn tell_signers(
    path: &Path,
    verdict: &Verdict,
    lists: &Lists,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'l> {
        path: &'l str,
        member: Option<&'l str>,
        not_listed: Shown<'l>,
        because: String,
    }
    let whys = lists.unsigned(path_of(path).as_deref(), verdict);
    let path = path.to_string_lossy();
    let member = verdict.member.as_deref();
    let inside = member.map(|member| format!("!{member}"));
    let name = legible(&format!("{path}{}", inside.unwrap_or_default()));
    for (entry, why) in whys.iter().take(UNSIGNED_NAMED_MAX) {
        if json {
            let line = Line {
                path: &path,
                member,
                not_listed: Shown::new(entry),
                because: why.to_string(),
            };
            say(&line, out)?;
        } else {
            let what = legible(&told(entry));
            writeln!(out, "{name}: not by {what}: {why}")?;
        }
    }
    if let Some(more @ 1..) = whys.len().checked_sub(UNSIGNED_NAMED_MAX)
        && !json
    {
        writeln!(out, "{name}: not by {more} more entries for signers")?;
    }
    Ok(())
}
