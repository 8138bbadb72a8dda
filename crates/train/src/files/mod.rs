//! Trains the networks that judge files by their raw bytes.

mod behaviours;
mod checkpoint;
mod clean;
mod data;
mod forest;
mod labels;
mod learn;
mod measure;
mod net;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use thymus_nets::file::{FileNet, shortest_beginning};

use crate::corpus::{Kind, Secret};

/// Types that share their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Programs.
    Program,
    /// Documents.
    Document,
    /// Scripts and sources.
    Script,
    /// JavaScript, with rows of its own: there is more of it than of all other scripts.
    #[value(name = "javascript")]
    JavaScript,
}

impl Group {
    const fn name(self) -> &'static str {
        match self {
            Self::Program => "file_program",
            Self::Document => "file_document",
            Self::Script => "file_script",
            Self::JavaScript => "file_javascript",
        }
    }

    /// Its types.
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Program => &[Kind::Elf, Kind::Pe],
            Self::Document => &[Kind::Pdf, Kind::Ole],
            Self::Script => &[
                Kind::Php,
                Kind::Asp,
                Kind::Jsp,
                Kind::VbScript,
                Kind::Vba,
                Kind::Batch,
                Kind::PowerShell,
                Kind::Shell,
                Kind::Python,
            ],
            Self::JavaScript => &[Kind::JavaScript],
        }
    }

    /// Pieces have `2^bits` bytes on average.
    const fn bits(self) -> u32 {
        match self {
            Self::Program | Self::Document => 8,
            Self::Script | Self::JavaScript => 6,
        }
    }
}

/// What to train on, and how.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder of the pack that `corpus pack` wrote.
    #[arg(long)]
    pack: PathBuf,
    /// Key file of the pack.
    #[arg(long)]
    key: PathBuf,
    /// Which types.
    #[arg(long, value_enum)]
    group: Group,
    /// Model file to write; the model card is inside.
    #[arg(long)]
    out: PathBuf,
    /// Times each malicious cluster is learned from.
    #[arg(long, default_value_t = 6)]
    epochs: usize,
    /// Benign files learned from for each malicious one.
    #[arg(long, default_value_t = 4)]
    benign: usize,
    /// Samples read of each label, side and type at most.
    #[arg(long, default_value_t = 40_000)]
    class_max: usize,
    /// How far one step goes.
    #[arg(long, default_value_t = 0.05)]
    rate: f32,
    /// Share of a malicious file's windows that is left out at each look.
    #[arg(long, default_value_t = 0.3)]
    hidden: f32,
    /// Share of the tables of runs that is left out at each look.
    #[arg(long, default_value_t = 0.4)]
    blind: f32,
    /// A model file to measure anew, instead of learning one.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Measure on the test side too: once, when everything is chosen.
    #[arg(long)]
    open_test: bool,
    /// File that holds where training stands after each round; a run that was stopped goes on from it.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Sources (names of the index) whose malicious files are not learned from but tuned on: to compare
    /// plans by what they find of another origin, not for a network to ship.
    #[arg(long, requires = "index")]
    leave_out: Vec<String>,
    /// The index of the corpora.
    #[arg(long)]
    index: Option<PathBuf>,
    /// Adds to the model file what malicious files do, learned from the names that this file maps to
    /// behaviours, and measures nothing else: no judgement changes.
    #[arg(long, value_name = "TOML", requires = "model", requires = "index")]
    behaviours: Option<PathBuf>,
    /// Types whose malicious files are so labelled because of the package they lie in: those that look
    /// harmless are not learned from, and a package counts as found by its worst file.
    #[arg(long, value_name = "TYPE", requires = "index")]
    by_package: Vec<String>,
    /// Rows of each table, as a power of two.
    #[arg(long, default_value_t = 14)]
    row_bits: u32,
    /// Bytes of each sample that are measured on, and that trees learn from, at most, in KiB.
    #[arg(long, default_value_t = 4096)]
    head_kib: usize,
    /// Bytes of each sample that the network learns from at most, in KiB.
    #[arg(long, default_value_t = 512)]
    learn_kib: usize,
    /// Learn from the test side too: for a network to ship, after its plan was measured without.
    #[arg(long, conflicts_with = "open_test")]
    all: bool,
    /// Trees of each type.
    #[arg(long, default_value_t = 250)]
    trees: usize,
    /// Questions that a tree asks one after the other.
    #[arg(long, default_value_t = 6)]
    depth: usize,
    /// Only these types of the group.
    #[arg(long)]
    only: Vec<String>,
}

impl Arguments {
    fn trees(&self) -> forest::Plan {
        forest::Plan {
            trees: self.trees,
            depth: self.depth,
            rate: 25.0 / self.trees as f32,
            shortest: shortest_beginning(self.group.bits()),
        }
    }
}

/// Trains, measures and writes the network of a group.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let (Some(model), Some(behaviours)) = (&arguments.model, &arguments.behaviours) {
        return labels::run(arguments, (model, behaviours));
    }
    let secret = Secret::read(&arguments.key).context("read the key of the pack")?;
    let origins = match &arguments.index {
        Some(index) => data::origins(index, &arguments.leave_out, &arguments.by_package)?,
        None => data::Origins::default(),
    };
    let mut kinds = Vec::new();
    for kind in arguments.group.kinds() {
        let wanted = arguments.only.is_empty() || arguments.only.iter().any(|o| o == kind.as_str());
        if !wanted {
            continue;
        }
        let mut samples = data::load(&arguments.pack, &secret, *kind, arguments, &origins)?;
        let count = |side: &[data::Sample]| {
            let (malicious, benign) = data::Samples::counts(side);
            format!("{malicious} + {benign}")
        };
        eprintln!(
            "{}: train {}, tune {}, test {}",
            kind.as_str(),
            count(&samples.train),
            count(&samples.tune),
            count(&samples.test)
        );
        if arguments.model.is_none() {
            let plan = arguments.trees();
            let dropped = clean::drop_harmless(&mut samples.train, plan)?;
            if dropped > 0 {
                let kind = kind.as_str();
                eprintln!(
                    "{kind}: {dropped} files of malicious packages look harmless, not learned from"
                );
            }
        }
        kinds.push((*kind, samples));
    }
    let draft = match &arguments.model {
        Some(path) => fs::read(path).with_context(|| format!("read {}", path.display()))?,
        None => learned(arguments, &kinds)?,
    };
    // The figures that count are those of the bytes that ship.
    let draft = write::with_limits(&draft, &kinds, &[], "")?;
    let net = FileNet::open(&draft)?;
    let measured = kinds
        .iter()
        .map(|(kind, samples)| measure::measure(*kind, samples, &net, arguments.open_test));
    let figures: Vec<measure::Figures> = measured.collect();
    let card = write::card(arguments, &kinds, &measure::table(&figures));
    println!("{card}");
    let bytes = write::with_limits(&draft, &kinds, &figures, &card)?;
    fs::write(&arguments.out, &bytes)
        .with_context(|| format!("write {}", arguments.out.display()))?;
    println!("wrote {} ({} bytes)", arguments.out.display(), bytes.len());
    Ok(())
}

/// Learns the network and the trees of a group; gives the model file without limits.
fn learned(arguments: &Arguments, kinds: &[(Kind, data::Samples)]) -> Result<Vec<u8>> {
    let plan = learn::Plan {
        bits: arguments.group.bits(),
        row_bits: arguments.row_bits,
        epochs: arguments.epochs,
        benign: arguments.benign,
        rate: arguments.rate,
        hidden: arguments.hidden,
        blind: arguments.blind,
        bytes_max: arguments.learn_kib << 10,
    };
    let run = format!("{} {plan:?}", run_name(kinds));
    let checkpoint = arguments.checkpoint.as_deref();
    let (rows, heads) = learn::learn(kinds, &plan, checkpoint.map(|path| (path, run.as_str())))?;
    let trees = kinds.iter().map(|(kind, samples)| {
        eprintln!("{}: learning trees", kind.as_str());
        forest::learn(&samples.train, arguments.trees())
    });
    let trees = trees.collect::<Result<_>>()?;
    write::encode(
        arguments.group,
        kinds,
        &write::Learned { rows, heads, trees },
    )
}

/// What is learned from, by name and count: a run on other samples is another run.
fn run_name(kinds: &[(Kind, data::Samples)]) -> String {
    let names = kinds.iter().map(|(kind, samples)| {
        let bytes: usize = samples.train.iter().map(|sample| sample.bytes.len()).sum();
        format!("{} {}/{bytes}", kind.as_str(), samples.train.len())
    });
    names.collect::<Vec<_>>().join(", ")
}
