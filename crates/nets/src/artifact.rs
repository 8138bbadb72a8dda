//! A model file: safetensors with the model card in its metadata. Loading runs no code and trusts no
//! length; a model loads only when its card names the input this build makes.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorView};

/// What a model is, where it comes from and what it was measured to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// Its name.
    pub name: String,
    /// Digest-like version set by training.
    pub version: String,
    /// The input it was trained on, word for word what the code that makes the input calls it.
    pub input: String,
    /// The card in Markdown: data, split, measured figures, limits.
    pub text: String,
}

/// Why a model was refused.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Not a safetensors file.
    #[error("model file is not valid safetensors")]
    Format(#[from] safetensors::SafeTensorError),
    /// The card lacks a field.
    #[error("model card has no {field}")]
    Card {
        /// The missing field.
        field: &'static str,
    },
    /// Trained on another input than this build makes.
    #[error("model wants input {found:?}, this build makes {wanted:?}")]
    Input {
        /// What the card names.
        found: String,
        /// What this build makes.
        wanted: &'static str,
    },
    /// A tensor is missing or has another type or shape.
    #[error("model tensor {name} is missing or is not {wanted}")]
    Tensor {
        /// Its name.
        name: String,
        /// Type and shape that were wanted.
        wanted: String,
    },
}

/// An opened model file.
#[derive(Debug)]
pub struct Artifact<'a> {
    tensors: SafeTensors<'a>,
    card: ModelCard,
    fields: BTreeMap<String, String>,
}

impl<'a> Artifact<'a> {
    /// Opens a model file and checks that its card names `input`.
    pub fn open(bytes: &'a [u8], input: &'static str) -> Result<Self, ArtifactError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let card = read_card(&metadata)?;
        if card.input != input {
            return Err(ArtifactError::Input {
                found: card.input,
                wanted: input,
            });
        }
        Ok(Self {
            tensors: SafeTensors::deserialize(bytes)?,
            card,
            fields: metadata
                .metadata()
                .iter()
                .flatten()
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect(),
        })
    }

    /// The model card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The 32-bit float tensor `name` of the given shape, row-major.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ArtifactError> {
        let view = self.view(name, Dtype::F32, shape)?;
        let words = view.data().as_chunks::<4>().0;
        Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// The signed byte tensor `name` of the given shape, row-major.
    pub fn i8(&self, name: &str, shape: &[usize]) -> Result<Vec<i8>, ArtifactError> {
        let view = self.view(name, Dtype::I8, shape)?;
        Ok(view.data().iter().map(|byte| byte.cast_signed()).collect())
    }

    /// The byte tensor `name` of the given shape, row-major, where it lies.
    pub fn bytes(&self, name: &str, shape: &[usize]) -> Result<&'a [u8], ArtifactError> {
        Ok(self.view(name, Dtype::U8, shape)?.data())
    }

    /// A further field of the card.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn view(
        &self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<TensorView<'a>, ArtifactError> {
        let wrong = || ArtifactError::Tensor {
            name: name.to_owned(),
            wanted: format!("{dtype:?} {shape:?}"),
        };
        let view = self.tensors.tensor(name).map_err(|_| wrong())?;
        if view.dtype() == dtype && view.shape() == shape {
            Ok(view)
        } else {
            Err(wrong())
        }
    }
}

fn read_card(metadata: &Metadata) -> Result<ModelCard, ArtifactError> {
    let field = |field: &'static str| {
        let fields = metadata.metadata().as_ref();
        fields
            .and_then(|map| map.get(field))
            .cloned()
            .ok_or(ArtifactError::Card { field })
    };
    Ok(ModelCard {
        name: field("name")?,
        version: field("version")?,
        input: field("input")?,
        text: field("card")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_an_error() {
        for bytes in [
            &b""[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x02\0\0\0\0\0\0\0{}",
            &[7; 64],
        ] {
            assert!(Artifact::open(bytes, "anything").is_err());
        }
    }
}
