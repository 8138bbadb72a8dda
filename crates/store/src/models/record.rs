//! What is noted of models, and of their trials.

use serde::{Deserialize, Serialize};

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// BLAKE3 digest of its file, in hexadecimal digits.
    pub blake3: String,
    /// Number of the key that signed it.
    pub signer: String,
    /// The types it judges.
    pub types: Vec<String>,
    /// When it was installed, and by whom.
    pub installed: Act,
    /// When it was activated, and by whom; none while it is in shadow.
    pub activated: Option<Activation>,
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// When (RFC 3339, UTC).
    pub time: String,
    /// The user.
    pub user: String,
}

/// How a model came to act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Who and when.
    pub act: Act,
    /// The reason given, where the shadow run did not say yes.
    pub anyway: Option<String>,
}

/// How a shadow run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowRun {
    /// Id of the model that was tried.
    pub model: String,
    /// BLAKE3 digest of its file.
    pub blake3: String,
    /// Number of the key that signed it.
    pub signer: String,
    /// Ids of the models that it was compared with.
    pub in_use: Vec<String>,
    /// Who and when.
    pub act: Act,
    /// Different contents that it judged.
    pub judged: u64,
    /// Of them suspicious.
    pub suspicious: u64,
    /// Of them malicious.
    pub malicious: u64,
    /// Whether that is no more than it promises.
    pub passed: bool,
    /// Why not.
    pub why: Option<String>,
}

/// The versions of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The one that judges.
    pub active: Option<Installed>,
    /// The one that waits to.
    pub shadow: Option<Installed>,
}

impl Versions {
    /// Both.
    pub fn both(&self) -> impl Iterator<Item = &Installed> {
        self.active.iter().chain(&self.shadow)
    }
}
