//! Trains the networks that judge files by their raw bytes.

mod data;
mod learn;
mod measure;
mod net;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use thymus_nets::file::FileNet;

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
}

impl Group {
    const fn name(self) -> &'static str {
        match self {
            Self::Program => "file_program",
            Self::Document => "file_document",
            Self::Script => "file_script",
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
                Kind::JavaScript,
                Kind::VbScript,
                Kind::Vba,
                Kind::Batch,
                Kind::PowerShell,
                Kind::Shell,
                Kind::Python,
            ],
        }
    }

    /// Pieces have `2^bits` bytes on average.
    const fn bits(self) -> u32 {
        match self {
            Self::Program | Self::Document => 8,
            Self::Script => 6,
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
    /// Measure on the test side too: once, when everything is chosen.
    #[arg(long)]
    open_test: bool,
    /// Only these types of the group.
    #[arg(long)]
    only: Vec<String>,
}

/// Trains, measures and writes the network of a group.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let secret = Secret::read(&arguments.key).context("read the key of the pack")?;
    let mut kinds = Vec::new();
    for kind in arguments.group.kinds() {
        let wanted = arguments.only.is_empty() || arguments.only.iter().any(|o| o == kind.as_str());
        if !wanted {
            continue;
        }
        let samples = data::load(&arguments.pack, &secret, *kind, arguments.class_max)?;
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
        kinds.push((*kind, samples));
    }
    let plan = learn::Plan {
        bits: arguments.group.bits(),
        epochs: arguments.epochs,
        benign: arguments.benign,
        rate: arguments.rate,
        hidden: arguments.hidden,
        blind: arguments.blind,
    };
    let (rows, heads) = learn::learn(&kinds, &plan);
    let card = |table: &str| write::card(arguments, &kinds, table);
    // The figures that count are those of the bytes that ship.
    let draft = write::encode(arguments.group, &kinds, &rows, &heads, &[], &card(""))?;
    let net = FileNet::open(&draft)?;
    let measured = kinds
        .iter()
        .map(|(kind, samples)| measure::measure(*kind, samples, &net, arguments.open_test));
    let figures: Vec<measure::Figures> = measured.collect();
    let card = card(&measure::table(&figures));
    println!("{card}");
    let bytes = write::encode(arguments.group, &kinds, &rows, &heads, &figures, &card)?;
    std::fs::write(&arguments.out, &bytes)
        .with_context(|| format!("write {}", arguments.out.display()))?;
    println!("wrote {} ({} bytes)", arguments.out.display(), bytes.len());
    Ok(())
}
