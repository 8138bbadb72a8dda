//! Corpora for the file networks: gathers labelled files out of git stores and packages without ever
//! writing one in the clear, indexes them, audits the index for confounds, and packs samples for training.

mod audit;
mod counts;
mod facts;
mod gather;
mod git;
mod glob;
mod index;
mod kind;
mod manifest;
mod near;
mod pack;
mod roles;
mod tokens;
mod types;
mod unpack;
mod walk;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

pub(crate) use self::facts::of as facts_of;
pub(crate) use self::glob::wanted;
pub(crate) use self::index::read as read_index;
pub(crate) use self::kind::Kind;
pub(crate) use self::manifest::{Label, Role};
pub(crate) use self::pack::{Part, Secret, parts};

use self::gather::SourceReport;
use self::pack::{Choice, Policy};
use self::walk::Places;

/// What to do with the corpora.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Walk every source, drop duplicates, find near twins, split, write the index.
    ///
    /// Example: thymus-train corpus index --manifest eval/files/corpus.toml --mirror MIRROR --data DATA
    /// --out index.tsv --counts counts.md --scrub scrub.tsv
    Index {
        #[command(flatten)]
        sources: Sources,
        /// Index to write.
        #[arg(long)]
        out: PathBuf,
        /// Tables to write, in Markdown.
        #[arg(long)]
        counts: Option<PathBuf>,
        /// List to write of files found with both labels.
        #[arg(long)]
        scrub: Option<PathBuf>,
        /// Sources walked at once.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Write the enciphered pack that training reads.
    Pack {
        #[command(flatten)]
        sources: Sources,
        /// Index to read.
        #[arg(long)]
        index: PathBuf,
        /// Folder to write the parts into.
        #[arg(long)]
        out: PathBuf,
        /// Key file; made where there is none.
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        choice: ChoiceArguments,
    },
    /// Print how far dull facts tell the classes apart.
    Audit {
        /// Index to read.
        #[arg(long)]
        index: PathBuf,
        /// Folder of the pack.
        #[arg(long)]
        pack: PathBuf,
        /// Key file of the pack.
        #[arg(long)]
        key: PathBuf,
    },
    /// Print how many files of a pack `thymus scan` takes for what they are by their bytes alone, without a name.
    Types {
        /// Folder of the pack; it should hold whole files.
        #[arg(long)]
        pack: PathBuf,
        /// Key file of the pack.
        #[arg(long)]
        key: PathBuf,
    },
    /// Open every record of a pack and print what its parts hold.
    Verify {
        /// Folder of the pack.
        #[arg(long)]
        pack: PathBuf,
        /// Key file of the pack.
        #[arg(long)]
        key: PathBuf,
    },
}

/// Where sources are.
#[derive(Args)]
pub(crate) struct Sources {
    /// The corpus manifest; package lists lie beside it.
    #[arg(long)]
    manifest: PathBuf,
    /// Folder of git stores, OWNER+NAME/repo.
    #[arg(long)]
    mirror: PathBuf,
    /// Folder that package folders are named from.
    #[arg(long)]
    data: PathBuf,
}

impl Sources {
    fn read(&self) -> Result<(manifest::Manifest, Places)> {
        let places = Places {
            mirror: self.mirror.clone(),
            data: self.data.clone(),
            lists: self.manifest.parent().unwrap_or(Path::new(".")).to_owned(),
        };
        Ok((manifest::read(&self.manifest)?, places))
    }
}

/// What goes into a pack and how much of each file.
#[derive(Args)]
pub(crate) struct ChoiceArguments {
    /// Types, separated by commas; all where none is given.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    types: Vec<Kind>,
    /// Files of one near-duplicate cluster at most.
    #[arg(long, default_value_t = 4)]
    cluster_files_max: usize,
    /// Files of one type, label and side at most.
    #[arg(long, default_value_t = 12_000)]
    class_files_max: usize,
    /// Size of one part at most, in MiB.
    #[arg(long, default_value_t = 30)]
    part_mib_max: u64,
    /// KiB kept of a file's start.
    #[arg(long, default_value_t = 64)]
    head_kib: u32,
    /// Windows kept from between.
    #[arg(long, default_value_t = 3)]
    windows: u32,
    /// KiB of each window.
    #[arg(long, default_value_t = 16)]
    window_kib: u32,
    /// KiB kept of a file's end.
    #[arg(long, default_value_t = 16)]
    tail_kib: u32,
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::parse(name).ok_or_else(|| format!("no type {name}"))
}

/// Runs one command.
pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Index {
            sources,
            out,
            counts,
            scrub,
            threads,
        } => index(&sources, &out, counts.as_deref(), scrub.as_deref(), threads),
        Command::Pack {
            sources,
            index,
            out,
            key,
            choice,
        } => pack(&sources, &index, &out, &key, choice),
        Command::Audit { index, pack, key } => {
            let rows = index::read(&index)?;
            println!("{}", audit::run(&rows, &pack, &Secret::read(&key)?)?);
            Ok(())
        }
        Command::Types { pack, key } => {
            println!("{}", types::table(&pack, &Secret::read(&key)?)?);
            Ok(())
        }
        Command::Verify { pack, key } => verify(&pack, &key),
    }
}

fn index(
    sources: &Sources,
    out: &Path,
    counts: Option<&Path>,
    scrub: Option<&Path>,
    threads: usize,
) -> Result<()> {
    let (manifest, places) = sources.read()?;
    let told = |report: &SourceReport| {
        eprintln!(
            "{}: {} files, {} usable",
            report.name, report.files, report.usable
        );
    };
    let gathered = gather::run(&manifest, &places, threads, &told)?;
    store(out, &index::render(&gathered.rows)?)?;
    if let Some(path) = counts {
        let tables = counts::tables(&gathered.rows)?;
        let reports = counts::reports(&gathered.sources, gathered.scrubbed.len())?;
        store(path, &format!("{tables}\n{reports}"))?;
    }
    if let Some(path) = scrub {
        let lines: Vec<String> = gathered
            .scrubbed
            .iter()
            .map(|(sha256, bad, good)| format!("{sha256}\t{bad}\t{good}\n"))
            .collect();
        store(
            path,
            &format!("sha256\tmalicious\tbenign\n{}", lines.concat()),
        )?;
    }
    eprintln!(
        "{} distinct files, {} dropped",
        gathered.rows.len(),
        gathered.scrubbed.len()
    );
    Ok(())
}

fn pack(
    sources: &Sources,
    index: &Path,
    out: &Path,
    key: &Path,
    arguments: ChoiceArguments,
) -> Result<()> {
    let (manifest, places) = sources.read()?;
    let rows = index::read(index)?;
    let policy = Policy {
        head_kib: arguments.head_kib,
        windows: arguments.windows,
        window_kib: arguments.window_kib,
        tail_kib: arguments.tail_kib,
    };
    let choice = Choice {
        kinds: arguments.types,
        cluster_files_max: arguments.cluster_files_max,
        class_files_max: arguments.class_files_max,
        part_bytes_max: arguments.part_mib_max << 20,
    };
    let secret = Secret::read_or_make(key)?;
    let written = pack::write(&manifest, &places, &rows, &choice, policy, &secret, out)?;
    for (name, records) in &written {
        println!("{name}\t{records}");
    }
    Ok(())
}

fn verify(folder: &Path, key: &Path) -> Result<()> {
    let secret = Secret::read(key)?;
    for path in pack::parts(folder)? {
        let mut part = pack::Part::open(&path, &secret)?;
        let (mut bad, mut bytes) = (0, 0);
        for number in 0..part.entries.len() {
            bytes += part.sample(number)?.bytes.len();
            let entry = part.entries.get(number);
            bad += usize::from(entry.is_some_and(|e| e.label == manifest::Label::Malicious));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        println!(
            "{name}\t{} records\t{bad} malicious\t{bytes} bytes",
            part.entries.len()
        );
    }
    Ok(())
}

fn store(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
