//! Trains the model that tells which script language a text is in, on the scripts of a pack and on texts of other
//! kinds, and measures it on scripts of the pack's other sides and on texts of other folders.

#[expect(
    clippy::disallowed_types,
    reason = "the safetensors crate takes its metadata so"
)]
use std::collections::HashMap as Metadata;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use safetensors::tensor::{Dtype, TensorView};
use thymus_nets::language::{
    BUCKETS, CLASSES, INPUT, LANGUAGES, Language, STRETCH, for_each_feature, softmax,
};

use crate::corpus::{Part, Role, Secret, parts};

/// What to learn from.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder of a pack of scripts.
    #[arg(long)]
    pack: PathBuf,
    /// Its key file.
    #[arg(long)]
    key: PathBuf,
    /// Folders of texts that are no scripts, and of packages that have such: a file is told by the ending of its
    /// name, and scripts among them are left out. May be given several times.
    #[arg(long, required = true)]
    others: Vec<PathBuf>,
    /// Model file to write; the model card is inside.
    #[arg(long)]
    out: PathBuf,
}

/// Clusters of a language and side that are taken at most.
const CLASS_MAX: usize = 8_000;
/// Files with one ending that are taken at most.
const ENDING_MAX: usize = 2_500;
/// Bytes that are read of a file.
const FILE_MAX: usize = 64 << 10;
const EPOCHS: usize = 10;
const RATE: f32 = 0.4;
/// Endings of texts that are no scripts of [`LANGUAGES`].
const OTHERS: &[&str] = &[
    "c",
    "h",
    "cc",
    "cpp",
    "hpp",
    "cxx",
    "cs",
    "java",
    "kt",
    "swift",
    "go",
    "rs",
    "d",
    "f",
    "f90",
    "m",
    "mm",
    "s",
    "asm",
    "rb",
    "lua",
    "tcl",
    "r",
    "jl",
    "hs",
    "ml",
    "mli",
    "el",
    "lisp",
    "scm",
    "erl",
    "ex",
    "exs",
    "clj",
    "scala",
    "groovy",
    "dart",
    "pas",
    "ada",
    "adb",
    "ads",
    "v",
    "vhd",
    "sql",
    "proto",
    "thrift",
    "cmake",
    "mk",
    "am",
    "ac",
    "m4",
    "in",
    "pc",
    "ninja",
    "json",
    "xml",
    "svg",
    "xsl",
    "xsd",
    "html",
    "htm",
    "css",
    "scss",
    "less",
    "yml",
    "yaml",
    "toml",
    "ini",
    "cfg",
    "conf",
    "desktop",
    "service",
    "properties",
    "csv",
    "tsv",
    "md",
    "rst",
    "txt",
    "tex",
    "bib",
    "po",
    "pot",
    "pod",
    "1",
    "3",
    "5",
    "7",
    "8",
    "man",
    "texi",
    "log",
    "diff",
    "patch",
    "pem",
    "crt",
    "asc",
    "awk",
    "sed",
    "vim",
    "gradle",
    "plist",
    "ics",
    "vcf",
    "dtd",
    "ts",
    "tsx",
    "vue",
    "pyx",
    "pxd",
    "rnc",
    "glsl",
    "cl",
    "cu",
    "qml",
    "ui",
    "glade",
    "map",
    "lock",
    "list",
    "dat",
    "srt",
    "bdf",
    "afm",
    "ps",
    "eps",
];

/// One text and its class.
struct Text {
    bytes: Vec<u8>,
    class: usize,
}

/// What is learned from, and what is measured on.
#[derive(Default)]
struct Texts {
    train: Vec<Text>,
    test: Vec<Text>,
}

/// Learns, measures, writes the model file and prints its card.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut texts = Texts::default();
    scripts(&arguments.pack, &Secret::read(&arguments.key)?, &mut texts)?;
    let mut counts = BTreeMap::new();
    for folder in &arguments.others {
        others(folder, &mut counts, &mut texts)
            .with_context(|| format!("read {}", folder.display()))?;
    }
    eprintln!(
        "{} texts to learn from, {} to measure on",
        texts.train.len(),
        texts.test.len()
    );
    let (weights, bias) = learn(&texts.train);
    let draft = encode(&weights, &bias, "draft")?;
    let table = table(&Language::load(&draft)?, &texts.test)?;
    let card = card(&texts, &table);
    let bytes = encode(&weights, &bias, &card)?;
    fs::write(&arguments.out, &bytes)
        .with_context(|| format!("write {}", arguments.out.display()))?;
    println!("{card}");
    println!("wrote {} ({} bytes)", arguments.out.display(), bytes.len());
    Ok(())
}

/// The scripts of a pack, one of each cluster of near duplicates: its training side to learn from.
fn scripts(pack: &Path, secret: &Secret, texts: &mut Texts) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut counts: BTreeMap<(usize, bool), usize> = BTreeMap::new();
    for path in parts(pack)? {
        let mut part = Part::open(&path, secret)?;
        for number in 0..part.entries.len() {
            let entry = part.entries[number].clone();
            let class = LANGUAGES
                .iter()
                .position(|name| *name == entry.kind.as_str());
            let Some(class) = class.filter(|class| seen.insert((*class, entry.cluster))) else {
                continue;
            };
            let is_train = entry.role == Role::Train;
            let count = counts.entry((class, is_train)).or_default();
            if *count >= CLASS_MAX {
                continue;
            }
            *count += 1;
            let mut bytes = part.sample(number)?.bytes;
            bytes.truncate(FILE_MAX);
            let side = if is_train {
                &mut texts.train
            } else {
                &mut texts.test
            };
            side.push(Text { bytes, class });
        }
    }
    Ok(())
}

/// Texts below a folder that are no scripts; those of one folder stand on one side.
fn others(folder: &Path, counts: &mut BTreeMap<String, usize>, texts: &mut Texts) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let side = blake3::hash(folder.as_os_str().as_encoded_bytes()).as_bytes()[0] % 5;
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            // A folder that may not be read is nobody's loss here.
            let _unread = others(&path, counts, texts);
            continue;
        }
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let ending = ending.to_ascii_lowercase();
        if !kind.is_file() || !OTHERS.contains(&ending.as_str()) {
            continue;
        }
        let count = counts.entry(ending).or_default();
        if *count >= ENDING_MAX {
            continue;
        }
        let Ok(mut bytes) = fs::read(&path) else {
            continue;
        };
        bytes.truncate(FILE_MAX);
        if bytes.is_empty() || bytes.contains(&0) {
            continue;
        }
        *count += 1;
        let text = Text {
            bytes,
            class: LANGUAGES.len(),
        };
        let side = if side == 0 {
            &mut texts.test
        } else {
            &mut texts.train
        };
        side.push(text);
    }
    Ok(())
}

/// Softmax regression by AdaGrad, on a stretch of each text in each round; every class weighs the same but the
/// last, which weighs as much as three.
fn learn(train: &[Text]) -> (Vec<[f32; CLASSES]>, [f32; CLASSES]) {
    let mut counts = [0_usize; CLASSES];
    for text in train {
        counts[text.class] += 1;
    }
    let share = |class: usize| if class + 1 == CLASSES { 3.0 } else { 1.0 };
    let weight = |class: usize| {
        let even = train.len() as f32 / CLASSES as f32;
        (share(class) * even / counts[class].max(1) as f32).min(8.0)
    };
    let mut weights = vec![[0.0_f32; CLASSES]; BUCKETS];
    let mut squares = vec![1e-3_f32; BUCKETS];
    let mut bias = [0.0_f32; CLASSES];
    let mut state = 17_u64;
    let mut below = |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end.max(1)
    };
    let mut order: Vec<&Text> = train.iter().collect();
    let mut rows = Vec::new();
    for round in 0..EPOCHS {
        for at in (1..order.len()).rev() {
            order.swap(at, below(at + 1));
        }
        let rate = RATE * (1.0 - round as f32 / EPOCHS as f32);
        let mut loss = 0.0_f64;
        for text in &order {
            let bytes = stretch(&text.bytes, &mut below);
            rows.clear();
            for_each_feature(bytes, |row| rows.push(row));
            let norm = 1.0 / (rows.len().max(1) as f32).sqrt();
            let mut logits = bias;
            for row in &rows {
                for (logit, weight) in logits.iter_mut().zip(&weights[*row]) {
                    *logit += weight * norm;
                }
            }
            let mut slopes = softmax(logits);
            loss -= f64::from(slopes[text.class].max(1e-9).ln());
            slopes[text.class] -= 1.0;
            let slopes = slopes.map(|slope| slope * weight(text.class));
            let square = slopes.iter().map(|slope| slope * slope).sum::<f32>() * norm * norm;
            for row in &rows {
                squares[*row] += square;
                let step = rate * norm / squares[*row].sqrt();
                for (weight, slope) in weights[*row].iter_mut().zip(&slopes) {
                    *weight -= step * slope;
                }
            }
            for (bias, slope) in bias.iter_mut().zip(&slopes) {
                *bias -= 0.01 * rate * slope;
            }
        }
        eprintln!(
            "round {} of {EPOCHS}: loss {:.4}",
            round + 1,
            loss / order.len().max(1) as f64
        );
    }
    (weights, bias)
}

/// A beginning of 32 bytes or more, or a stretch from anywhere.
fn stretch<'t>(bytes: &'t [u8], below: &mut impl FnMut(usize) -> usize) -> &'t [u8] {
    let len = match below(4) {
        0 => 32 + below(STRETCH - 32),
        _ => STRETCH,
    };
    let start = match below(2) {
        0 => 0,
        _ => below(bytes.len().saturating_sub(len) + 1),
    };
    &bytes[start..bytes.len().min(start + len)]
}

fn encode(weights: &[[f32; CLASSES]], bias: &[f32; CLASSES], card: &str) -> Result<Vec<u8>> {
    let mut sizes: Vec<f32> = weights
        .as_flattened()
        .iter()
        .map(|weight| weight.abs())
        .collect();
    sizes.sort_by(f32::total_cmp);
    let large = sizes
        .get(sizes.len() * 9_999 / 10_000)
        .copied()
        .unwrap_or(1.0);
    let scale = large.max(1e-9) / 127.0;
    let weights: Vec<u8> = weights
        .as_flattened()
        .iter()
        .map(|weight| ((weight / scale).round().clamp(-127.0, 127.0) as i8).cast_unsigned())
        .collect();
    let bias: Vec<u8> = bias
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let scale = scale.to_le_bytes();
    let tensors = [
        (
            "weights",
            TensorView::new(Dtype::I8, vec![BUCKETS, CLASSES], &weights)?,
        ),
        ("scale", TensorView::new(Dtype::F32, vec![1], &scale)?),
        ("bias", TensorView::new(Dtype::F32, vec![CLASSES], &bias)?),
    ];
    let version = blake3::hash(&weights).to_hex();
    let metadata: Metadata<String, String> = [
        ("name", "language"),
        ("version", version.as_str().get(..12).unwrap_or_default()),
        ("input", INPUT),
        ("card", card),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    crate::files::ordered(&safetensors::serialize(tensors, Some(metadata))?)
}

/// Of each class, how many texts it is named for, and what else is.
fn table(model: &Language, test: &[Text]) -> Result<String> {
    let mut rows: BTreeMap<usize, (usize, usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    for text in test {
        let found = model.of(&text.bytes);
        let (count, right, instead) = rows.entry(text.class).or_default();
        *count += 1;
        match LANGUAGES.get(text.class) {
            Some(name) => *right += usize::from(found.contains(name)),
            None => *right += usize::from(found.is_empty()),
        }
        for name in found
            .iter()
            .filter(|name| LANGUAGES.get(text.class) != Some(*name))
        {
            *instead.entry(*name).or_default() += 1;
        }
    }
    let mut out = String::from(
        "| text | clusters | told rightly | also or instead told |\n|---|--:|--:|---|\n",
    );
    for (class, (count, right, instead)) in rows {
        let name = LANGUAGES.get(class).copied().unwrap_or("no script (files)");
        let share = right as f64 * 100.0 / count.max(1) as f64;
        let mut instead: Vec<(&str, usize)> = instead.into_iter().collect();
        instead.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let instead = instead
            .iter()
            .take(5)
            .map(|(name, count)| format!("{name} {count}"));
        let instead: Vec<String> = instead.collect();
        writeln!(
            out,
            "| {name} | {count} | {share:.1} % | {} |",
            instead.join(", ")
        )?;
    }
    Ok(out)
}

fn card(texts: &Texts, table: &str) -> String {
    format!(
        "# language

Tells which script language a text is in where no word, tag or name says so: softmax regression over hashed triples of bytes and words.

## Data
{} texts: scripts of the training sides of the corpora of `eval/files`, harmless and malicious, one of each cluster of near duplicates, and files of a Debian machine whose endings say that they are no scripts. Measured on {} others: scripts of the other sides, and files of other folders of that machine.

## Measured
{table}
## Limits
What a text is told to be is judged as that; a language that is not named here is none. Texts of less than a line say little.
",
        texts.train.len(),
        texts.test.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_kinds_of_text_are_told_apart_and_the_file_is_the_same_again() {
        let text = |class: usize, words: [&str; 3]| Text {
            bytes: words.join(" ").repeat(40).into_bytes(),
            class,
        };
        let train: Vec<Text> = (0..60)
            .map(|at| match at % 2 {
                0 => text(7, ["import os", "def run():", "    return"]),
                _ => text(LANGUAGES.len(), ["the weather", "was fine,", "and dry."]),
            })
            .collect();
        let once = || {
            let (weights, bias) = learn(&train);
            encode(&weights, &bias, "card").unwrap()
        };
        let bytes = once();
        assert!(bytes == once());
        let model = Language::load(&bytes).unwrap();
        assert_eq!(model.of(b"def run(): import os return os"), ["python"]);
        assert!(model.of(b"it was dry and fine, the weather").is_empty());
        let table = table(&model, &train).unwrap();
        assert!(table.contains("| python | 30 | 100.0 % |"), "{table}");
    }
}
