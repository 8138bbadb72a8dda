//! What a conversation over SMB knows: sessions, shares, open files, requests that wait.

mod files;

use std::collections::{BTreeMap, BTreeSet};

use thymus_schema::{EventBody, Operation, Outcome, Service, SmbAction, SmbOperation};

use super::super::dce_rpc::Rpc;
use super::contents::{Bulk, Contents, Early, Way, Whose};
use super::exchange::{Answer, Asked, FILE_OF_COMPOUND, NO_ANSWER, Place};
use crate::analyzer::{AnalyzerCx, Side};
use crate::auth::Security;

const SESSIONS_MAX: usize = 64;
const TREES_MAX: usize = 64;
const FILES_MAX: usize = 1024;
const REQUESTS_MAX: usize = 512;

/// `STATUS_PENDING`: the answer comes later.
const PENDING: u32 = 0x103;
/// `STATUS_MORE_PROCESSING_REQUIRED`: the log-in goes on.
const MORE: u32 = 0xc000_0016;
/// `STATUS_BUFFER_OVERFLOW`: a warning that comes with data.
const OVERFLOW: u32 = 0x8000_0005;

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    session: u64,
    tree: u32,
}

#[derive(Debug, Default)]
struct Session {
    security: Security,
    user: Box<str>,
}

#[derive(Debug)]
struct Tree {
    share: Box<str>,
    pipe: bool,
}

#[derive(Debug, Default)]
struct OpenFile {
    path: Box<str>,
    share: Box<str>,
    user: Box<str>,
    read: u64,
    written: u64,
    delete: bool,
    listed: bool,
    contents: Contents,
    rpc: Option<Box<Rpc>>,
}

#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) dialect: u16,
    sessions: BTreeMap<u64, Session>,
    trees: BTreeMap<u32, Tree>,
    files: BTreeMap<u64, OpenFile>,
    waiting: BTreeMap<u64, Waiting>,
    compound_file: Option<u64>,
    /// The request of a compound that opens its file, and what the same compound writes.
    opening: Option<u64>,
    early: Early,
    noted: BTreeSet<&'static str>,
}

impl Conversation {
    pub(super) fn is_pipe(&self, tree: u32) -> bool {
        self.trees.get(&tree).is_some_and(|tree| tree.pipe)
    }

    /// Whether the answer to this request comes from a pipe; asynchronous answers name no tree.
    pub(super) fn waits_for_pipe(&self, exchange: u64) -> bool {
        self.waiting
            .get(&exchange)
            .is_some_and(|waiting| self.is_pipe(waiting.tree))
    }

    /// The dialect was agreed.
    pub(super) fn negotiated(&mut self, dialect: u16, status: u32, cx: &mut AnalyzerCx<'_>) {
        self.dialect = dialect;
        self.emit(SmbAction::Negotiate, status, SmbOperation::default(), cx);
    }

    /// Tells once that a part of the conversation cannot be read, and why.
    pub(super) fn note_unreadable(&mut self, verb: &'static str, cx: &mut AnalyzerCx<'_>) {
        if self.noted.insert(verb) {
            cx.encrypted();
            cx.emit(EventBody::Operation(Box::new(Operation {
                service: Some(Service::Smb),
                verb: verb.into(),
                ..Operation::default()
            })));
        }
    }

    /// Tells a quirk once.
    pub(super) fn quirk(&mut self, quirk: &'static str, cx: &mut AnalyzerCx<'_>) {
        if self.noted.insert(quirk) {
            cx.quirk("smb", quirk);
        }
    }

    /// A piece of a log-in from the client.
    pub(super) fn client_blob(&mut self, session: u64, blob: &[u8]) {
        self.session(session).security.read(blob);
    }

    /// A log-in without a blob.
    pub(super) fn plain_log_in(&mut self, user: Box<str>, domain: Box<str>, anonymous: bool) {
        self.session(0).security.plain(user, domain, anonymous);
    }

    fn session(&mut self, id: u64) -> &mut Session {
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&id) {
            self.sessions.pop_first();
        }
        self.sessions.entry(id).or_default()
    }

    fn user(&self, session: u64) -> Box<str> {
        self.sessions
            .get(&session)
            .map(|session| session.user.clone())
            .unwrap_or_default()
    }

    fn share(&self, tree: u32) -> Box<str> {
        self.trees
            .get(&tree)
            .map(|tree| tree.share.clone())
            .unwrap_or_default()
    }

    /// A request that waits for its answer.
    pub(super) fn asked(&mut self, place: Place, asked: Asked, cx: &mut AnalyzerCx<'_>) {
        if self.waiting.len() >= REQUESTS_MAX
            && let Some((_, oldest)) = self.waiting.pop_first()
        {
            self.unanswered(oldest, cx);
            self.quirk("requests_max", cx);
        }
        match &asked {
            Asked::Create { .. } => self.opening = Some(place.exchange),
            Asked::Resize(file, size) => {
                let file = self.resolve(*file);
                if let Some(open) = self.files.get_mut(&file) {
                    open.contents.resized = Some(*size);
                }
            }
            _ => {}
        }
        let waiting = Waiting {
            asked,
            session: place.session,
            tree: place.tree,
        };
        self.waiting.insert(place.exchange, waiting);
    }

    /// Bytes written to a pipe.
    pub(super) fn pipe_bytes(
        &mut self,
        file: u64,
        side: Side,
        bytes: &[u8],
        cx: &mut AnalyzerCx<'_>,
    ) {
        let file = self.files.get_mut(&file);
        if let Some(rpc) = file.and_then(|file| file.rpc.as_mut()) {
            rpc.data(side, bytes, cx);
        }
    }

    /// Whose bytes a write brings, when it is a file's that may be put together.
    pub(super) fn writes(&self, place: Place, file: u64) -> Option<Whose> {
        if self.is_pipe(place.tree) {
            return None;
        }
        if file == FILE_OF_COMPOUND {
            return self.opening.map(Whose::Early);
        }
        self.files.contains_key(&file).then_some(Whose::Open(file))
    }

    /// Whose bytes, and from where on, the answer to a read brings.
    pub(super) fn reads(&self, place: Place, status: u32) -> Option<(Whose, u64)> {
        let waiting = self.waiting.get(&place.exchange)?;
        let Asked::Read(file, at) = waiting.asked else {
            return None;
        };
        let file = self.resolve(file);
        let is_file = self.files.get(&file).is_some_and(|open| open.rpc.is_none());
        (status == 0 && is_file).then_some((Whose::Open(file), at))
    }

    fn contents(&mut self, whose: Whose) -> Option<(&mut Contents, &str)> {
        match whose {
            Whose::Open(file) => {
                let open = self.files.get_mut(&file)?;
                Some((&mut open.contents, &open.path))
            }
            Whose::Early(request) => Some((self.early.of(request), "")),
        }
    }

    /// Bytes of a file came.
    pub(super) fn file_bytes(&mut self, bulk: &Bulk, bytes: &[u8], cx: &AnalyzerCx<'_>) {
        if let Some((contents, name)) = self.contents(bulk.whose) {
            contents.put(bulk.way, bulk.at, bytes, name, cx);
        }
    }

    /// Whole messages were lost.
    pub(super) fn lost(&mut self) {
        for open in self.files.values_mut() {
            open.contents.lost();
        }
    }

    /// Bytes of a file were lost.
    pub(super) fn file_gap(&mut self, bulk: &Bulk, cx: &AnalyzerCx<'_>) {
        if let Some((contents, _)) = self.contents(bulk.whose) {
            contents.miss(bulk.way, cx);
        }
    }

    /// Which file a request in flight is about.
    fn resolve(&self, file: u64) -> u64 {
        if file == FILE_OF_COMPOUND {
            self.compound_file.unwrap_or(file)
        } else {
            file
        }
    }

    /// An answer came.
    pub(super) fn answered(
        &mut self,
        place: Place,
        status: u32,
        answer: &Answer<'_>,
        cx: &mut AnalyzerCx<'_>,
    ) {
        if status == PENDING {
            return;
        }
        let Some(waiting) = self.waiting.remove(&place.exchange) else {
            return;
        };
        let ok = status == 0;
        let Waiting {
            asked,
            session,
            tree,
        } = waiting;
        match asked {
            Asked::SessionSetup => self.session_answer(session, place.session, status, answer, cx),
            Asked::TreeConnect(share) => {
                if let (true, Answer::TreeConnect { pipe }) = (ok, answer) {
                    if self.trees.len() >= TREES_MAX {
                        self.trees.pop_first();
                    }
                    let pipe = *pipe || share.to_ascii_uppercase().ends_with("IPC$");
                    self.trees.insert(
                        place.tree,
                        Tree {
                            share: share.clone(),
                            pipe,
                        },
                    );
                }
                let user = self.user(session);
                let operation = SmbOperation {
                    share,
                    user,
                    ..SmbOperation::default()
                };
                self.emit(SmbAction::TreeConnect, status, operation, cx);
            }
            Asked::Create { tree, path, delete } => {
                let early = self.early.take(place.exchange);
                self.create_answer((session, tree), path, delete, (status, answer), cx);
                self.opened(early, (status, answer));
            }
            Asked::Close(file) if ok => self.close_file(self.resolve(file), true, cx),
            Asked::Write(file) if !ok => {
                if let Some(open) = self.files.get_mut(&self.resolve(file)) {
                    open.contents.miss(Way::Write, cx);
                }
            }
            Asked::Read(file, _) | Asked::Write(file) | Asked::Transceive(file)
                if ok || status == OVERFLOW =>
            {
                let file = self.resolve(file);
                self.transferred(file, &asked, answer, cx);
            }
            Asked::List(file) => self.list(self.resolve(file), status, cx),
            Asked::Rename(file, new_path) => {
                let mut operation = self.about(self.resolve(file));
                operation.new_path = new_path;
                self.emit(SmbAction::Rename, status, operation, cx);
            }
            Asked::Dispose(file, delete) => {
                let file = self.resolve(file);
                if let (true, Some(open)) = (ok, self.files.get_mut(&file)) {
                    open.delete = delete;
                } else if delete {
                    self.emit(SmbAction::Delete, status, self.about(file), cx);
                }
            }
            other => self.path_answer(other, (session, tree), status, cx),
        }
    }

    /// Answers to commands that name paths and no open file.
    fn path_answer(
        &mut self,
        asked: Asked,
        (session, tree): (u64, u32),
        status: u32,
        cx: &mut AnalyzerCx<'_>,
    ) {
        let (action, path, new_path) = match asked {
            Asked::ListPath(path) => (SmbAction::List, path, Box::default()),
            Asked::DeletePath(path) => (SmbAction::Delete, path, Box::default()),
            Asked::RenamePath(old, new) => (SmbAction::Rename, old, new),
            _ => return,
        };
        let share = self.share(tree);
        let user = self.user(session);
        let operation = SmbOperation {
            share,
            path,
            new_path,
            user,
            ..SmbOperation::default()
        };
        self.emit(action, status, operation, cx);
    }

    fn session_answer(
        &mut self,
        asked_as: u64,
        id: u64,
        status: u32,
        answer: &Answer<'_>,
        cx: &mut AnalyzerCx<'_>,
    ) {
        // The first request of a log-in has no session id yet: the answer gives it.
        let mut session = self.sessions.remove(&asked_as).unwrap_or_default();
        if let Answer::SessionSetup(blob) = answer {
            session.security.read(blob);
        }
        if status != MORE {
            let outcome = if status == 0 {
                Outcome::Success
            } else {
                Outcome::Failure
            };
            let user = session.security.finish(Service::Smb, outcome, cx);
            if let (0, Some(user)) = (status, user) {
                session.user = user;
            }
        }
        *self.session(id) = session;
    }

    fn unanswered(&mut self, waiting: Waiting, cx: &mut AnalyzerCx<'_>) {
        let Waiting {
            asked,
            session,
            tree,
        } = waiting;
        match asked {
            Asked::SessionSetup => {
                self.session(session)
                    .security
                    .finish(Service::Smb, Outcome::Unknown, cx);
            }
            Asked::TreeConnect(share) => {
                let user = self.user(session);
                let operation = SmbOperation {
                    share,
                    user,
                    ..SmbOperation::default()
                };
                self.emit(SmbAction::TreeConnect, NO_ANSWER, operation, cx);
            }
            Asked::Create { tree, path, delete } => {
                let place = (session, tree);
                self.create_answer(place, path, delete, (NO_ANSWER, &Answer::None), cx);
            }
            Asked::Rename(file, new_path) => {
                let operation = SmbOperation {
                    new_path,
                    ..self.about(file)
                };
                self.emit(SmbAction::Rename, NO_ANSWER, operation, cx);
            }
            Asked::Dispose(file, true) => {
                self.emit(SmbAction::Delete, NO_ANSWER, self.about(file), cx);
            }
            other => self.path_answer(other, (session, tree), NO_ANSWER, cx),
        }
    }

    /// The conversation is over.
    pub(super) fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            self.unanswered(waiting, cx);
        }
        while let Some((file, open)) = self.files.first_key_value() {
            // A mark for deletion without a close has deleted nothing yet.
            let (file, _) = (*file, open.delete);
            if let Some(open) = self.files.get_mut(&file) {
                open.delete = false;
            }
            self.close_file(file, false, cx);
        }
    }

    fn emit(
        &self,
        action: SmbAction,
        status: u32,
        operation: SmbOperation,
        cx: &mut AnalyzerCx<'_>,
    ) {
        let dialect = self.dialect;
        let operation = SmbOperation {
            action,
            dialect,
            status,
            ..operation
        };
        cx.emit(EventBody::Smb(Box::new(operation)));
    }
}
