//! Why something was not judged. Each reason is counted by its text.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::FileType;

/// Why something was not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Nothing has learned files of this type.
    NoNetwork(FileType),
    /// No bytes.
    Empty,
    /// Locked with a password that was not given.
    Encrypted,
    /// Larger than the policy allows.
    TooLarge,
    /// Archives in archives, more than the policy allows.
    TooDeep,
    /// More members than the policy allows.
    TooManyMembers,
    /// More comes out of it than the policy allows, for its size or at all.
    ExpandsTooMuch,
    /// Members share bytes, as only bombs do.
    Overlapping,
    /// Members of one name, of which only the last can be had.
    SameName,
    /// Not what it claims to be, or cut off.
    Broken(FileType),
    /// Recognised, but there is nothing to open it with.
    Unsupported(FileType),
    /// Took longer than the policy allows.
    OutOfTime,
    /// A decoder gave up in a way it should not.
    DecoderPanicked,
    /// The process that looked at it came to an end: out of memory, or stopped by the system.
    WorkerDied,
    /// The system refused to read it.
    Unreadable,
    /// It was gone before it could be read.
    Vanished,
    /// Neither file nor folder.
    Special(Special),
    /// A folder of the kernel's, in which no files are.
    KernelFiles,
    /// A folder with more names than can be sorted.
    TooManyNames,
    /// Something in it was not judged.
    MembersNotJudged,
}

/// What is neither file nor folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Special {
    /// A pipe with a name.
    Fifo,
    /// A socket with a name.
    Socket,
    /// A device.
    Device,
    /// Something that took the place of a file.
    Changed,
}

impl Special {
    /// How reports name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Device => "device",
            Self::Changed => "changed while it was opened",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoNetwork(kind) => return write!(f, "no network for {}", kind.as_str()),
            Self::Broken(kind) => return write!(f, "broken {}", kind.as_str()),
            Self::Unsupported(kind) => return write!(f, "unsupported {}", kind.as_str()),
            Self::Special(what) => return write!(f, "not a regular file ({})", what.as_str()),
            Self::Empty => "empty",
            Self::Encrypted => "encrypted",
            Self::TooLarge => "too large",
            Self::TooDeep => "too deep",
            Self::TooManyMembers => "too many members",
            Self::ExpandsTooMuch => "expands too much",
            Self::Overlapping => "overlapping members",
            Self::SameName => "members of one name",
            Self::OutOfTime => "out of time",
            Self::DecoderPanicked => "decoder failed",
            Self::WorkerDied => "worker died",
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
            Self::KernelFiles => "files of the kernel",
            Self::TooManyNames => "too many names in a folder",
            Self::MembersNotJudged => "members not judged",
        };
        f.write_str(text)
    }
}
