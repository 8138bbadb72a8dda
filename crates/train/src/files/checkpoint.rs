//! Where training stands after a round, so that a run that was stopped goes on as if it had not been.

#[expect(
    clippy::disallowed_types,
    reason = "the safetensors crate takes its metadata so"
)]
use std::collections::HashMap as Metadata;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::learn::State;
use super::net::{Dice, Heads};

/// Writes `state` to `path`, whole or not at all. `run` says what is being trained, and how.
pub(super) fn write(path: &Path, run: &str, state: &State) -> Result<()> {
    let rows = state.rows.numbers.iter().zip(&state.rows.squares);
    let rows = rows.flat_map(|(numbers, square)| numbers.iter().chain([square]));
    let weights = state.heads.iter().flat_map(Heads::weights);
    let weights = weights.flat_map(|weight| [weight.value, weight.squares]);
    let bytes = |number: f32| number.to_le_bytes();
    let rows: Vec<u8> = rows.copied().flat_map(bytes).collect();
    let weights: Vec<u8> = weights.flat_map(bytes).collect();
    let view = |bytes| TensorView::new(Dtype::U8, vec![<[u8]>::len(bytes)], bytes);
    let tensors = [("rows", view(&rows)?), ("weights", view(&weights)?)];
    let metadata: Metadata<String, String> = [
        ("run", run.to_owned()),
        ("epoch", state.epoch.to_string()),
        ("dice", state.dice.state().to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let bytes = safetensors::serialize(tensors, Some(metadata))?;
    let waiting = path.with_extension("waiting");
    fs::write(&waiting, bytes).with_context(|| format!("write {}", waiting.display()))?;
    fs::rename(&waiting, path).with_context(|| format!("write {}", path.display()))
}

/// Reads into `state` what [`write()`] wrote of the same run; false when there is nothing yet.
pub(super) fn read(path: &Path, run: &str, state: &mut State) -> Result<bool> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let no_checkpoint = || format!("{} is no checkpoint", path.display());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).with_context(no_checkpoint)?;
    let fields = metadata.metadata().as_ref();
    let field = |name: &str| {
        let field = fields.and_then(|fields| fields.get(name));
        field.with_context(no_checkpoint)
    };
    ensure!(
        field("run")? == run,
        "{} is of another run ({}): name another file or remove it",
        path.display(),
        field("run")?
    );
    let tensors = SafeTensors::deserialize(&bytes).with_context(no_checkpoint)?;
    let floats = |name| -> Result<Vec<f32>> {
        let (words, _) = tensors.tensor(name)?.data().as_chunks::<4>();
        Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    };
    let (rows, weights) = (floats("rows")?, floats("weights")?);
    let width = state.rows.numbers.first().map_or(0, |row| row.len() + 1);
    let count: usize = state
        .heads
        .iter()
        .map(|heads| heads.weights().count())
        .sum();
    let fits = rows.len() == width * state.rows.numbers.len() && weights.len() == 2 * count;
    ensure!(fits, "{} is of a network of another shape", path.display());
    let into = state.rows.numbers.iter_mut().zip(&mut state.rows.squares);
    for ((numbers, square), from) in into.zip(rows.chunks(width)) {
        numbers.copy_from_slice(&from[..width - 1]);
        *square = from[width - 1];
    }
    let into = state.heads.iter_mut().flat_map(Heads::weights_mut);
    for (weight, from) in into.zip(weights.chunks(2)) {
        (weight.value, weight.squares) = (from[0], from[1]);
    }
    state.epoch = field("epoch")?.parse().with_context(no_checkpoint)?;
    state.dice = Dice::new(field("dice")?.parse().with_context(no_checkpoint)?);
    Ok(true)
}
