//! What becomes of a file and of each member in it.

use serde::{Deserialize, Serialize};

use crate::{
    Excerpt, FileType, Judgement, Leaning, Masking, Packer, Reason, RuleMatches, Signature,
};

/// One of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Judged, and like benign files.
    Clean,
    /// Judged, and neither here nor there.
    Suspicious,
    /// Judged, and like malicious files.
    Malicious,
    /// Not judged, and why.
    NotJudged(Reason),
}

impl Outcome {
    /// Stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Malicious => "malicious",
            Self::NotJudged(_) => "not_judged",
        }
    }

    /// Why it was not judged.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::NotJudged(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether a person must see it.
    pub const fn is_found(self) -> bool {
        matches!(self, Self::Suspicious | Self::Malicious)
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::NotJudged(_) => 1,
            Self::Suspicious => 2,
            Self::Malicious => 3,
        }
    }

    /// The worse of two, where not having looked is worse than clean. Of equals the first stays.
    #[must_use]
    pub const fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }
}

impl From<Leaning> for Outcome {
    fn from(leaning: Leaning) -> Self {
        match leaning {
            Leaning::Clean => Self::Clean,
            Leaning::Suspicious => Self::Suspicious,
            Leaning::Malicious => Self::Malicious,
        }
    }
}

/// What was found about a file or a member of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Path inside the file, steps joined by `!`; none for the file itself.
    pub member: Option<String>,
    /// SHA-256 of its bytes, where they were read.
    pub sha256: Option<[u8; 32]>,
    /// Bytes of it, as far as known.
    pub bytes: u64,
    /// Its type: the one that it was judged as, where it fits several.
    pub kind: FileType,
    /// What packed it, where it is a packed program: its bytes say little of what it does.
    pub packer: Option<Packer>,
    /// Who signed it, where it is a Windows program; says nothing of whether it is harmful.
    pub signatures: Vec<Signature>,
    /// What came of it.
    pub outcome: Outcome,
    /// The judgement that decided, where there was one.
    pub judgement: Option<Judgement>,
    /// For each range of the judgement, what stands there.
    pub excerpts: Vec<Excerpt>,
    /// What would turn it around, where the policy asks for that and it was found, and for each of its
    /// spans what stands there.
    pub masking: Option<(Masking, Vec<Excerpt>)>,
    /// Whether it follows from members only, which have verdicts of their own.
    pub is_sum: bool,
    /// The rules that match it, which say nothing of its outcome.
    pub rules: RuleMatches,
}

impl Verdict {
    /// One without content: only a reason.
    pub fn not_judged(kind: FileType, bytes: u64, reason: Reason) -> Self {
        Self {
            member: None,
            sha256: None,
            bytes,
            kind,
            packer: None,
            signatures: Vec::new(),
            outcome: Outcome::NotJudged(reason),
            judgement: None,
            excerpts: Vec::new(),
            masking: None,
            is_sum: false,
            rules: RuleMatches::default(),
        }
    }

    /// The digest in hexadecimal digits.
    pub fn sha256_hex(&self) -> Option<String> {
        let digest = self.sha256.as_ref()?;
        Some(thymus_parsers::hex(digest).into_string())
    }
}

/// What was found about one file: first the file itself, then its members.
#[derive(Clone, Debug, PartialEq)]
pub struct FileReport {
    /// The file as a whole.
    pub whole: Verdict,
    /// What is in it, in its own order.
    pub members: Vec<Verdict>,
}

impl FileReport {
    /// A file that was not opened.
    pub fn not_judged(bytes: u64, reason: Reason) -> Self {
        Self {
            whole: Verdict::not_judged(FileType::Unknown, bytes, reason),
            members: Vec::new(),
        }
    }

    /// The file, then its members.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        std::iter::once(&self.whole).chain(&self.members)
    }
}
