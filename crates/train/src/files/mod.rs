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
mod pretrain;
mod start;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use thymus_nets::file::FileNet;

pub(crate) use self::write::ordered;

use self::start::Start;
use crate::corpus::{Kind, Secret};

/// Types that share their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Programs of Linux and its kin.
    Program,
    /// Programs of Windows.
    Windows,
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
            Self::Windows => "file_windows",
            Self::Document => "file_document",
            Self::Script => "file_script",
            Self::JavaScript => "file_javascript",
        }
    }

    /// Its types.
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Program => &[Kind::Elf],
            Self::Windows => &[Kind::Pe],
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
            Self::Program | Self::Windows | Self::Document => 8,
            Self::Script | Self::JavaScript => 6,
        }
    }

    /// Bytes of the shortest beginning that the trees judge: whole files are judged where they are shorter,
    /// which bytes put behind can change. Scripts are so short that this is to be few.
    const fn shortest(self) -> usize {
        match self {
            Self::Program | Self::Windows | Self::Document => 512,
            Self::Script | Self::JavaScript => 16,
        }
    }
}

fn cautious(text: &str) -> Result<(String, f32), String> {
    let wanted = || format!("{text:?} is not TYPE=SHARE, such as pe=0.003");
    let (kind, share) = text.split_once('=').ok_or_else(wanted)?;
    let share = share.parse().ok();
    let share = share.filter(|share| *share > 0.0 && *share < 1.0);
    Ok((kind.to_owned(), share.ok_or_else(wanted)?))
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
    /// Rounds over all files in which the network learns, before any label, which stretches are of one file.
    #[arg(long, default_value_t = 0)]
    unlabelled: usize,
    /// A model file to go on from: its network learns on, and trees are added to its own. For a few files of
    /// one's own, with few --epochs and --trees.
    #[arg(long, value_name = "MODEL", conflicts_with = "model")]
    from: Option<PathBuf>,
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
    /// Benign clusters that trees learn from at most, a file of each.
    #[arg(long, default_value_t = 20_000)]
    tree_files: usize,
    /// Questions that a tree asks one after the other.
    #[arg(long, default_value_t = 6)]
    depth: usize,
    /// Bytes of the shortest beginning that the trees judge; else as suits the group.
    #[arg(long, conflicts_with = "from")]
    shortest: Option<usize>,
    /// Sources (names of the index) whose benign files of the tuning side are learned from instead: their kind
    /// of file is not what the limits promise anything of.
    #[arg(long, requires = "index")]
    untuned: Vec<String>,
    /// Types that are called suspicious at most, each as `TYPE=SHARE`: when so large a share of harmless files
    /// is judged as badly. For types of which next to nothing is found at the usual limits.
    #[arg(long, value_name = "TYPE=SHARE", value_parser = cautious)]
    cautious: Vec<(String, f32)>,
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
            shortest: self.shortest.unwrap_or(self.group.shortest()),
            benign_max: self.tree_files,
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
        Some(index) => data::origins(index, arguments)?,
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
    let measured = kinds.iter().map(|(kind, samples)| {
        let cautious = arguments.cautious.iter();
        let mut cautious = cautious.filter(|(of, _)| of == kind.as_str());
        let share = cautious.next().map(|(_, share)| *share);
        measure::measure((*kind, share), samples, &net, arguments.open_test)
    });
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
        unlabelled: arguments.unlabelled,
        bytes_max: arguments.learn_kib << 10,
    };
    let run = format!("{} {plan:?}", run_name(kinds));
    let checkpoint = arguments.checkpoint.as_deref();
    let checkpoint = checkpoint.map(|path| (path, run.as_str()));
    let empty = learn::State::new(kinds.len(), &plan).heads;
    let start = arguments.from.as_deref();
    let start = start.map(|path| Start::read(path, kinds, plan.bits, empty));
    let mut of_trees = arguments.trees();
    let (start, known) = match start.transpose()? {
        Some(start) => {
            of_trees.shortest = start.shortest;
            (Some((start.rows, start.heads)), start.trees)
        }
        None => (None, Vec::new()),
    };
    let (rows, heads) = learn::learn(kinds, &plan, checkpoint, start)?;
    let mut trees = Vec::new();
    for (at, (kind, samples)) in kinds.iter().enumerate() {
        eprintln!("{}: learning trees", kind.as_str());
        trees.push(match known.get(at) {
            Some(known) => {
                let forest = start::forest(known)?;
                let added = forest::learn(&samples.train, of_trees, Some(&forest))?;
                start::joined(known, &added)
            }
            None => forest::learn(&samples.train, of_trees, None)?,
        });
    }
    write::encode(
        arguments.group,
        kinds,
        &write::Learned {
            rows,
            shortest: of_trees.shortest,
            heads,
            trees,
        },
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
