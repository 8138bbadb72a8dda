//! What malicious files of a type do: which of the learned behaviours a file looks like.
//!
//! One forest against the rest for each behaviour, over the same counts as the judging one; the highest
//! logit names the behaviour, where it reaches the threshold that training chose for it (infinite where it
//! found none: what looks most like that one is not named). A type whose malicious files are all of one behaviour has that one with a forest of no trees.

use super::forest::{Counts, Forest};
use crate::artifact::{Artifact, ArtifactError};

/// Numbers of a behaviour: its nodes, its roots, what is added to the leaves, the threshold.
pub const LABEL_NUMBERS: usize = 4;
/// What stands between the names of behaviours.
pub const LABELS_SEPARATOR: &str = "; ";

/// The behaviours of one type of file.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(Vec<Label>);

#[derive(Clone, Debug)]
struct Label {
    name: Box<str>,
    forest: Forest,
    threshold: f32,
}

impl Labels {
    /// Reads those of the type `kind`; a model file that has none is one without.
    pub(super) fn read(artifact: &Artifact<'_>, kind: &str) -> Result<Self, ArtifactError> {
        let Some(names) = artifact.field(&format!("{kind}.labels")) else {
            return Ok(Self::default());
        };
        let names: Vec<&str> = names.split(LABELS_SEPARATOR).collect();
        let numbers = artifact.f32(&format!("{kind}.labels"), &[names.len(), LABEL_NUMBERS])?;
        let (numbers, _) = numbers.as_chunks::<LABEL_NUMBERS>();
        let counts = |at: usize| numbers.iter().map(move |of| of[at] as usize);
        let count = |at: usize| counts(at).fold(0, usize::saturating_add);
        let nodes = artifact.f32(&format!("{kind}.label_nodes"), &[count(0), 4])?;
        let roots = artifact.f32(&format!("{kind}.label_roots"), &[count(1)])?;
        let (mut node, mut root) = (0, 0);
        let mut labels = Vec::new();
        for (name, [of_nodes, of_roots, base, threshold]) in names.iter().zip(numbers) {
            let (to_node, to_root) = (node + *of_nodes as usize * 4, root + *of_roots as usize);
            let forest = Forest::new(&nodes[node..to_node], &roots[root..to_root], *base);
            (node, root) = (to_node, to_root);
            labels.push(Label {
                name: (*name).into(),
                forest: forest.ok_or_else(|| ArtifactError::Tensor {
                    name: format!("{kind}.label_nodes"),
                    wanted: "trees".to_owned(),
                })?,
                threshold: *threshold,
            });
        }
        Ok(Self(labels))
    }

    /// Those that are ever named.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let named = self
            .0
            .iter()
            .filter(|label| label.threshold < f32::INFINITY);
        named.map(|label| &*label.name)
    }

    /// The behaviour that `bytes` look like; none when they look like none enough.
    pub(super) fn of(&self, bytes: &[u8]) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let mut counts = Counts::default();
        counts.add(bytes);
        let logits = self
            .0
            .iter()
            .map(|label| (label.forest.logit(&counts), label));
        let (logit, label) = logits.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (logit >= label.threshold).then_some(&*label.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::forest::Node;
    use super::*;

    /// The more of `byte`, the higher.
    fn label(name: &str, byte: u8, threshold: f32) -> Label {
        let nodes = [
            Node::question(usize::from(byte), 0.25, 1, 2),
            Node::leaf(-1.0),
            Node::question(usize::from(byte), 0.5, 3, 4),
            Node::leaf(1.0),
            Node::leaf(2.0),
        ];
        let numbers: Vec<f32> = nodes.iter().flat_map(|node| node.numbers()).collect();
        Label {
            name: name.into(),
            forest: Forest::new(&numbers, &[0.0], 0.0).unwrap(),
            threshold,
        }
    }

    #[test]
    fn the_likeliest_behaviour_is_named_where_it_is_likely_enough() {
        let labels = Labels(vec![label("miner", b'm', 0.5), label("worm", b'w', 1.5)]);
        assert_eq!(labels.of(b"mmmw"), Some("miner"));
        assert_eq!(labels.of(b"mxxx"), Some("miner"));
        assert_eq!(labels.of(b"mwww"), Some("worm"));
        assert_eq!(labels.of(b"xwxx"), None, "below its threshold");
        assert_eq!(labels.of(b"xxxx"), None);
        assert_eq!(Labels::default().of(b"mmmm"), None);
    }

    #[test]
    fn a_type_of_one_behaviour_needs_no_trees() {
        let only = Label {
            name: "web shell".into(),
            forest: Forest::new(&[], &[], 0.0).unwrap(),
            threshold: 0.0,
        };
        let labels = Labels(vec![only]);
        assert_eq!(labels.of(b"anything"), Some("web shell"));
        assert_eq!(labels.names().collect::<Vec<_>>(), ["web shell"]);
    }
}
