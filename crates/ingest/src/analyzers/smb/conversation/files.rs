//! Files and pipes that are opened, read, written and closed.

use thymus_schema::{SmbAction, SmbOperation};

use super::super::super::dce_rpc::Rpc;
use super::super::contents::Contents;
use super::super::exchange::{Answer, Asked};
use super::{Conversation, FILES_MAX, OpenFile};
use crate::analyzer::{AnalyzerCx, Side};

impl Conversation {
    pub(super) fn create_answer(
        &mut self,
        (session, tree): (u64, u32),
        path: Box<str>,
        delete: bool,
        (status, answer): (u32, &Answer<'_>),
        cx: &mut AnalyzerCx<'_>,
    ) {
        let share = self.share(tree);
        let user = self.user(session);
        let mut action = SmbAction::Open;
        if let (0, Answer::Create { file, created, .. }) = (status, answer) {
            if *created {
                action = SmbAction::Create;
            }
            if self.files.len() >= FILES_MAX
                && let Some((oldest, _)) = self.files.first_key_value()
            {
                self.close_file(*oldest, false, cx);
                self.quirk("files_max", cx);
            }
            let rpc = self.is_pipe(tree).then(|| Box::new(Rpc::in_pipe(&path)));
            self.compound_file = Some(*file);
            let open = OpenFile {
                path: path.clone(),
                share: share.clone(),
                user: user.clone(),
                delete,
                rpc,
                ..OpenFile::default()
            };
            self.files.insert(*file, open);
        } else {
            self.compound_file = None;
        }
        let operation = SmbOperation {
            share,
            path,
            user,
            ..SmbOperation::default()
        };
        self.emit(action, status, operation, cx);
    }

    /// A file is open: what its message wrote to it, and how long it is.
    pub(super) fn opened(&mut self, early: Contents, (status, answer): (u32, &Answer<'_>)) {
        if let (
            0,
            Answer::Create {
                file,
                created,
                size,
            },
        ) = (status, answer)
            && let Some(open) = self.files.get_mut(file)
        {
            open.contents = early;
            open.contents.size = Some(if *created { 0 } else { *size });
        }
    }

    pub(super) fn transferred(
        &mut self,
        file: u64,
        asked: &Asked,
        answer: &Answer<'_>,
        cx: &mut AnalyzerCx<'_>,
    ) {
        let &Answer::Bytes(count, bytes) = answer else {
            return;
        };
        let open = if self.files.len() < FILES_MAX {
            self.files.entry(file).or_default()
        } else if let Some(open) = self.files.get_mut(&file) {
            open
        } else {
            return;
        };
        match asked {
            Asked::Read(..) => open.read += u64::from(count),
            Asked::Write(_) => open.written += u64::from(count),
            _ => {}
        }
        if let (Some(rpc), false) = (open.rpc.as_mut(), matches!(asked, Asked::Write(_))) {
            rpc.data(Side::Server, bytes, cx);
        }
    }

    pub(super) fn list(&mut self, file: u64, status: u32, cx: &mut AnalyzerCx<'_>) {
        // A folder is listed in many answers; one event says so.
        let first = self
            .files
            .get_mut(&file)
            .is_none_or(|open| !std::mem::replace(&mut open.listed, true));
        if first {
            self.emit(SmbAction::List, status, self.about(file), cx);
        }
    }

    pub(super) fn about(&self, file: u64) -> SmbOperation {
        let Some(open) = self.files.get(&file) else {
            return SmbOperation::default();
        };
        SmbOperation {
            share: open.share.clone(),
            path: open.path.clone(),
            user: open.user.clone(),
            ..SmbOperation::default()
        }
    }

    pub(super) fn close_file(&mut self, file: u64, is_closed: bool, cx: &mut AnalyzerCx<'_>) {
        let operation = self.about(file);
        let Some(open) = self.files.remove(&file) else {
            return;
        };
        if let Some(mut rpc) = open.rpc {
            rpc.close(cx);
        } else {
            self.emit_sum(SmbAction::Read, open.read, &operation, cx);
            self.emit_sum(SmbAction::Write, open.written, &operation, cx);
            let name = if open.share.is_empty() {
                open.path
            } else {
                format!("{}\\{}", open.share, open.path).into()
            };
            open.contents.close(&name, is_closed, cx);
        }
        if open.delete {
            self.emit(SmbAction::Delete, 0, operation, cx);
        }
    }

    fn emit_sum(
        &self,
        action: SmbAction,
        bytes: u64,
        operation: &SmbOperation,
        cx: &mut AnalyzerCx<'_>,
    ) {
        if bytes > 0 {
            self.emit(
                action,
                0,
                SmbOperation {
                    bytes,
                    ..operation.clone()
                },
                cx,
            );
        }
    }
}
