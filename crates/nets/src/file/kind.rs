//! What a model file holds of one type of file.

use super::cuts::LEVELS;
use super::forest::Forest;
use super::labels::Labels;
use super::model::{HIDDEN, LIMITS, WIDTH, array, leaky};
use super::rarity::Tails;
use super::tail::Tail;
use crate::artifact::{Artifact, ArtifactError};

/// The layers that judge the windows of one level for one type of file.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// [WIDTH, HIDDEN]
    hidden: Vec<[f32; HIDDEN]>,
    hidden_bias: [f32; HIDDEN],
    out: [f32; HIDDEN],
    out_bias: f32,
}

/// What the network knows of one type of file.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) name: Box<str>,
    /// Whether files of the type begin with their first byte and nowhere else: what something is put
    /// before is of another type.
    pub(super) is_anchored: bool,
    pub(super) heads: [Head; LEVELS],
    pub(super) forest: Forest,
    /// As shipped, and as calibrated on the user's own files, if they were.
    pub(super) tails: Vec<Tails>,
    /// How many harmless files were at hand to say what is rare.
    pub(super) files: usize,
    /// As badly as which share of harmless files one is judged when it is called suspicious, of a type that is
    /// never called worse.
    pub(super) cautious: Option<f32>,
    /// Slope and offset of the log odds over the logarithm of the score, and over the trees' logit.
    pub(super) odds: [f32; 4],
    pub(super) labels: Labels,
}

impl Kind {
    /// Reads what the model file holds of the type `name`.
    pub(super) fn read(artifact: &Artifact<'_>, name: &str) -> Result<Self, ArtifactError> {
        let hidden = artifact.f32(&format!("{name}.hidden"), &[LEVELS, WIDTH, HIDDEN])?;
        let hidden_bias = artifact.f32(&format!("{name}.hidden_bias"), &[LEVELS, HIDDEN])?;
        let out = artifact.f32(&format!("{name}.out"), &[LEVELS, HIDDEN])?;
        let out_bias = artifact.f32(&format!("{name}.out_bias"), &[LEVELS])?;
        let limits = artifact.f32(&format!("{name}.limits"), &[LIMITS])?;
        let tail = |at: usize| Tail {
            start: limits[at],
            scale: limits[at + 1],
            shape: limits[at + 2],
            share: limits[at + 3],
            least: limits[at + 4],
        };
        let head = |level: usize| {
            let (rows, _) = hidden[level * WIDTH * HIDDEN..].as_chunks::<HIDDEN>();
            Head {
                hidden: rows[..WIDTH].to_vec(),
                hidden_bias: array(&hidden_bias[level * HIDDEN..]),
                out: array(&out[level * HIDDEN..]),
                out_bias: out_bias[level],
            }
        };
        Ok(Self {
            name: name.into(),
            is_anchored: matches!(name, "elf" | "pe" | "ole"),
            heads: std::array::from_fn(head),
            forest: read_forest(artifact, name)?,
            tails: vec![Tails {
                places: tail(0),
                trees: tail(5),
            }],
            files: limits[10] as usize,
            cautious: cautious(artifact, name)?,
            odds: array(&limits[11..]),
            labels: Labels::read(artifact, name)?,
        })
    }
}

/// What the field `cautious` says of a type: `TYPE=SHARE`, parted by spaces.
fn cautious(artifact: &Artifact<'_>, name: &str) -> Result<Option<f32>, ArtifactError> {
    let entries = artifact.field("cautious").unwrap_or_default().split(' ');
    let mut of_type = entries.filter_map(|entry| entry.split_once('='));
    let Some((_, share)) = of_type.find(|(of, _)| *of == name) else {
        return Ok(None);
    };
    let share = share.parse().ok();
    share
        .filter(|share| (0.0..1.0).contains(share))
        .map(Some)
        .ok_or(ArtifactError::Card { field: "cautious" })
}

fn read_forest(artifact: &Artifact<'_>, name: &str) -> Result<Forest, ArtifactError> {
    let shape = artifact.f32(&format!("{name}.forest"), &[3])?;
    let nodes = artifact.f32(&format!("{name}.forest_nodes"), &[shape[0] as usize, 4])?;
    let roots = artifact.f32(&format!("{name}.forest_roots"), &[shape[1] as usize])?;
    Forest::new(&nodes, &roots, shape[2]).ok_or_else(|| ArtifactError::Tensor {
        name: format!("{name}.forest_nodes"),
        wanted: "trees".to_owned(),
    })
}

impl Head {
    /// The logit of the evidence of a window whose numbers these are.
    pub(super) fn logit(&self, numbers: &[f32; WIDTH]) -> f32 {
        let mut hidden = self.hidden_bias;
        for (number, weights) in numbers.iter().zip(&self.hidden) {
            for (sum, weight) in hidden.iter_mut().zip(weights) {
                *sum += number * weight;
            }
        }
        let mut logit = self.out_bias;
        for (sum, weight) in hidden.iter().zip(&self.out) {
            logit += leaky(*sum) * weight;
        }
        logit
    }
}
