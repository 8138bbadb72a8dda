//! `thymus-train attack`: changes malicious files of the test side as attackers do, in memory, and counts what
//! the file engine finds of them before and after. Nothing is run, nothing is written; UPX, where its program
//! is given, reads and writes memory only, in a namespace where nothing can be executed from it.
//!
//! What a change does to the program is not tried out: that would mean to run it. Additions and changes of
//! headers leave alone what runs; changes of scripts follow the language's rules of thumb.

mod add;
mod dice;
mod program;
mod script;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use thymus_scan::{Networks, Outcome, ScanPolicy, Scanner};

use crate::corpus::{Kind, Label, Part, Role, Secret, parts};
use dice::Dice;

/// Benign files that additions are taken from.
const BENIGN_MAX: usize = 200;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder of a pack that holds whole files.
    #[arg(long)]
    pack: PathBuf,
    /// Its key.
    #[arg(long)]
    key: PathBuf,
    /// Model file that judges in the place of the one of its name; may be given several times. The models that ship have
    /// learned the test side, so what outlives attacks is to be measured with models that have not.
    #[arg(long)]
    model: Vec<PathBuf>,
    /// Types to attack, all in the pack otherwise.
    #[arg(long)]
    only: Vec<String>,
    /// Malicious files of a type, one a cluster.
    #[arg(long, default_value_t = 300)]
    samples_max: usize,
    /// Program of UPX to pack with, by an absolute path; needs `unshare` of util-linux and user namespaces.
    #[arg(long)]
    upx: Option<PathBuf>,
    /// What chance begins with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Files looked at at once.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// What an attack works with.
struct Victim<'v> {
    bytes: &'v [u8],
    kind: Kind,
    benign: &'v [Vec<u8>],
    upx: Option<&'v Path>,
}

/// A way to change a file; none where it does not fit.
struct Attack {
    name: &'static str,
    /// How often it is tried on each file, by other chances each time.
    times: u64,
    change: fn(&Victim<'_>, &mut Dice) -> Option<Vec<u8>>,
}

const fn attack(
    name: &'static str,
    times: u64,
    change: fn(&Victim<'_>, &mut Dice) -> Option<Vec<u8>>,
) -> Attack {
    Attack {
        name,
        times,
        change,
    }
}

/// All attacks, in the order of the table.
const ATTACKS: &[Attack] = &[
    attack("1 KiB of a benign file behind", 3, |v, dice| {
        Some(add::behind(v, dice, 1 << 10))
    }),
    attack("64 KiB of a benign file behind", 3, |v, dice| {
        Some(add::behind(v, dice, 64 << 10))
    }),
    attack("1 MiB of benign files behind", 3, |v, dice| {
        Some(add::behind(v, dice, 1 << 20))
    }),
    attack("64 KiB of zeros behind", 1, |v, _| {
        add::raw_behind(v, &vec![0; 64 << 10])
    }),
    attack("64 KiB of chance behind", 1, |v, dice| {
        add::raw_behind(v, &dice.bytes(64 << 10))
    }),
    attack("benign bytes in front", 3, add::in_front),
    attack("sections renamed", 1, program::rename_sections),
    attack("table of sections taken away", 1, program::strip_sections),
    attack("section of benign text added", 3, program::add_section),
    attack("DOS header rewritten", 1, program::rewrite_dos_header),
    attack("packed by UPX", 1, |v, _| program::upx(v, "--nrv2e")),
    attack("packed by UPX, LZMA", 1, |v, _| program::upx(v, "--lzma")),
    attack("packed by UPX, its marks wiped", 1, |v, _| {
        program::upx(v, "--nrv2e").map(program::wipe_marks)
    }),
    attack("blank lines and spaces", 1, script::spaces),
    attack("comments", 3, script::comments),
    attack("variables renamed", 1, script::rename),
    attack("wrapped in Base64 and eval", 1, |v, _| script::wrap(v)),
];

/// What became of the files that one attack fits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Row {
    tried: usize,
    found: usize,
    still_found: usize,
    malicious: usize,
    still_malicious: usize,
}

impl Row {
    /// Counts a file that was judged so before, and so after each time.
    fn count(&mut self, before: Outcome, after: &[Outcome]) {
        if after.is_empty() {
            return;
        }
        self.tried += 1;
        if before.is_found() {
            self.found += 1;
            self.still_found += usize::from(after.iter().all(|outcome| outcome.is_found()));
        }
        if before == Outcome::Malicious {
            self.malicious += 1;
            let is_still = after.iter().all(|outcome| *outcome == Outcome::Malicious);
            self.still_malicious += usize::from(is_still);
        }
    }

    fn add(&mut self, other: &Self) {
        self.tried += other.tried;
        self.found += other.found;
        self.still_found += other.still_found;
        self.malicious += other.malicious;
        self.still_malicious += other.still_malicious;
    }
}

/// A file to attack.
struct Sample {
    sha256: [u8; 32],
    bytes: Vec<u8>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let secret = Secret::read(&arguments.key)?;
    let networks = networks(&arguments.model)?;
    if let Some(upx) = &arguments.upx {
        ensure!(upx.is_absolute(), "--upx needs an absolute path");
        check_upx(upx)?;
    }
    let policy = ScanPolicy::default();
    for kind in Kind::ALL {
        let name = kind.as_str();
        let is_asked = arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
        if !is_asked {
            continue;
        }
        let (samples, benign) = load(arguments, &secret, *kind)?;
        if samples.is_empty() {
            continue;
        }
        let shared = samples.len().div_ceil(arguments.threads.max(1));
        let rows = std::thread::scope(|scope| {
            let works: Vec<_> = samples
                .chunks(shared)
                .map(|samples| {
                    let (networks, policy, benign) = (&networks, &policy, &benign);
                    scope.spawn(move || {
                        attack_all(arguments, *kind, samples, benign, networks, policy)
                    })
                })
                .collect();
            let mut sums = vec![Row::default(); ATTACKS.len()];
            for work in works {
                let rows = work
                    .join()
                    .map_err(|_| anyhow::anyhow!("a thread failed"))?;
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    sum.add(row);
                }
            }
            anyhow::Ok(sums)
        })?;
        print!("{}", table(*kind, samples.len(), &rows));
    }
    Ok(())
}

/// Whether UPX packs anything at all here: this program itself.
fn check_upx(upx: &Path) -> Result<()> {
    let own = fs::read("/proc/self/exe").context("read this program")?;
    let victim = Victim {
        bytes: &own,
        kind: Kind::Elf,
        benign: &[],
        upx: Some(upx),
    };
    let packed = program::upx(&victim, "-1");
    ensure!(packed.is_some(), "{} packs nothing", upx.display());
    Ok(())
}

fn networks(models: &[PathBuf]) -> Result<Networks> {
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("read {}", path.display()));
    let bytes: Vec<_> = models.iter().map(read).collect::<Result<_>>()?;
    let shipped = Networks::shipped().context("open the shipped models")?;
    shipped.with(bytes).map_err(|(at, why)| {
        let path = models.get(at).map(|path| path.display().to_string());
        anyhow::anyhow!("{}: {why}", path.unwrap_or_default())
    })
}

/// Malicious files of the test side, one a cluster, and benign ones, both in the order of their digests.
fn load(arguments: &Arguments, secret: &Secret, kind: Kind) -> Result<(Vec<Sample>, Vec<Vec<u8>>)> {
    let mut samples = Vec::new();
    let mut benign = Vec::new();
    let mut clusters = std::collections::BTreeSet::new();
    let prefix = format!("{}-{}-", kind.as_str(), Role::Test.as_str());
    for path in parts(&arguments.pack)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(&prefix) {
            continue;
        }
        let mut part = Part::open(&path, secret)?;
        for number in 0..part.entries.len() {
            let entry = part.entries[number].clone();
            let is_malicious = entry.label == Label::Malicious;
            let is_wanted = if is_malicious {
                samples.len() < arguments.samples_max && !clusters.contains(&entry.cluster)
            } else {
                benign.len() < BENIGN_MAX
            };
            if !is_wanted || entry.kind != kind || entry.role != Role::Test {
                continue;
            }
            let bytes = part.sample(number)?.bytes;
            // Of a longer file the pack keeps a part.
            if bytes.len() as u64 != entry.size || bytes.is_empty() {
                continue;
            }
            if is_malicious {
                clusters.insert(entry.cluster);
                let sha256 = entry.sha256;
                samples.push(Sample { sha256, bytes });
            } else {
                benign.push(bytes);
            }
        }
    }
    ensure!(
        samples.is_empty() || !benign.is_empty(),
        "no benign {} to take bytes from",
        kind.as_str()
    );
    Ok((samples, benign))
}

fn attack_all(
    arguments: &Arguments,
    kind: Kind,
    samples: &[Sample],
    benign: &[Vec<u8>],
    networks: &Networks,
    policy: &ScanPolicy,
) -> Vec<Row> {
    let scanner = Scanner::new(policy, Some(networks));
    let name = format!("sample.{}", ending(kind));
    let judge = |bytes: &[u8]| scanner.scan(&name, bytes, &|| false).whole.outcome;
    let mut rows = vec![Row::default(); ATTACKS.len()];
    for sample in samples {
        let before = judge(&sample.bytes);
        let victim = Victim {
            bytes: &sample.bytes,
            kind,
            benign,
            upx: arguments.upx.as_deref(),
        };
        for (number, (attack, row)) in ATTACKS.iter().zip(&mut rows).enumerate() {
            // What was not found before cannot be lost; that it was tried is counted all the same.
            let times = if before.is_found() { attack.times } else { 1 };
            let after = (0..times).filter_map(|time| {
                let seed = arguments.seed.wrapping_add((number as u64) << 32 | time);
                let mut dice = Dice::new(seed, &sample.sha256);
                let changed = (attack.change)(&victim, &mut dice)?;
                Some(if before.is_found() {
                    judge(&changed)
                } else {
                    before
                })
            });
            row.count(before, &after.collect::<Vec<_>>());
        }
    }
    rows
}

/// Ending of a file's name: text is told by it too.
const fn ending(kind: Kind) -> &'static str {
    match kind {
        Kind::Php => "php",
        Kind::Python => "py",
        Kind::PowerShell => "ps1",
        Kind::JavaScript => "js",
        Kind::VbScript => "vbs",
        Kind::Shell => "sh",
        Kind::Batch => "bat",
        _ => "bin",
    }
}

/// The rows as a table in Markdown.
fn table(kind: Kind, samples: usize, rows: &[Row]) -> String {
    use std::fmt::Write as _;
    let mut out = format!(
        "\n{}: {samples} malicious test files, one a cluster\n\n| attack | files | found before | found after | \
         bypasses | malicious before | malicious after |\n|---|--:|--:|--:|--:|--:|--:|\n",
        kind.as_str()
    );
    for (attack, row) in ATTACKS.iter().zip(rows).filter(|(_, row)| row.tried > 0) {
        let _written = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            attack.name,
            row.tried,
            row.found,
            row.still_found,
            row.found - row.still_found,
            row.malicious,
            row.still_malicious
        );
    }
    out
}

#[cfg(test)]
mod tests;
