//! What both versions of SMB say to the conversation: requests, answers and where they belong.

/// Status of a request that never was answered.
pub(super) const NO_ANSWER: u32 = 0xffff_ffff;
/// In a compound: the file that the command before opened.
pub(super) const FILE_OF_COMPOUND: u64 = u64::MAX;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) enum Asked {
    SessionSetup,
    TreeConnect(Box<str>),
    Create {
        tree: u32,
        path: Box<str>,
        delete: bool,
    },
    Close(u64),
    /// From this byte on.
    Read(u64, u64),
    Write(u64),
    Transceive(u64),
    List(u64),
    ListPath(Box<str>),
    Rename(u64, Box<str>),
    RenamePath(Box<str>, Box<str>),
    DeletePath(Box<str>),
    Dispose(u64, bool),
    Resize(u64, u64),
}

/// What an answer said.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    None,
    SessionSetup(&'a [u8]),
    TreeConnect { pipe: bool },
    Create { file: u64, created: bool, size: u64 },
    Bytes(u32, &'a [u8]),
}

/// Where a message belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) exchange: u64,
    pub(super) session: u64,
    pub(super) tree: u32,
}
