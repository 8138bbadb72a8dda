//! Files in HTTP: bodies, parts of forms, and ranges that together are a file.

use thymus_parsers::multipart::{Multipart, Part};
use thymus_schema::Service;

use super::{Exchange, last_segment};
use crate::analyzer::AnalyzerCx;
use crate::carve::{Carving, FileTold, RangeKey, Span};

/// A form that is being sent, and the file in it that is at hand.
pub(super) struct Form {
    parts: Multipart,
    file: Option<(Carving, FileTold)>,
}

impl Form {
    /// Of a request with a body of this type, when it is a form and files are judged.
    pub(super) fn of(content_type: &str, cx: &AnalyzerCx<'_>) -> Option<Box<Self>> {
        let parts = Multipart::new(content_type.as_bytes())?;
        cx.carve()?;
        Some(Box::new(Self { parts, file: None }))
    }

    /// The next bytes of the body.
    pub(super) fn feed(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let file = &mut self.file;
        self.parts.feed(bytes, &mut |part| match part {
            Part::Begin(head) if !head.file_name.is_empty() => {
                let told = FileTold {
                    name: head.file_name,
                    content_type: head.content_type,
                    service: Some(Service::Http),
                    upload: true,
                };
                *file = cx.carve().map(|carving| (carving, told));
            }
            Part::Begin(_) => {}
            Part::Data(bytes) => {
                if let Some((carving, told)) = file {
                    carving.push(bytes, &told.name);
                }
            }
            Part::End => {
                if let Some((carving, told)) = file.take() {
                    cx.file(&carving, true, told);
                }
            }
        });
    }

    /// No more of it can be read: a file at hand is not whole.
    pub(super) fn end(&mut self, cx: &mut AnalyzerCx<'_>) {
        if let Some((carving, told)) = self.file.take() {
            cx.file(&carving, false, told);
        }
    }
}

/// Begins with the file that a response brings, or the part of one.
pub(super) fn carve_response(open: &Exchange, cx: &AnalyzerCx<'_>) -> Option<Carving> {
    if open.event.status != 206 {
        return cx.carve();
    }
    // Several ranges in one body (multipart/byteranges) are let pass.
    open.range.and_then(|_| cx.carve_piece())
}

/// What both sides sent, as files.
pub(super) struct Sent {
    files: [Option<Carving>; 2],
    told: [FileTold; 2],
    is_cut: [bool; 2],
    form: Option<Box<Form>>,
    range: Option<(u64, u64, Box<str>, Box<str>)>,
    total: u64,
}

impl Sent {
    /// Takes the files of an exchange that is over.
    pub(super) fn of(exchange: &mut Exchange) -> Self {
        let event = &exchange.event;
        let upload = FileTold {
            name: last_segment(&event.uri).into(),
            content_type: Box::default(),
            service: Some(Service::Http),
            upload: true,
        };
        let download = FileTold {
            name: event.file_name.clone(),
            content_type: event.content_type.clone(),
            service: Some(Service::Http),
            upload: false,
        };
        let what = exchange.range.map(|range| {
            let what = format!("{} {}", event.host, event.uri).into();
            let version = std::mem::take(&mut exchange.version);
            (range.first, range.last - range.first + 1, what, version)
        });
        Self {
            files: exchange.files.each_mut().map(Option::take),
            told: [upload, download],
            is_cut: exchange.is_cut,
            form: exchange.form.take(),
            range: what,
            total: exchange.range.map_or(0, |range| range.total),
        }
    }

    /// Tells of them, behind the exchange that carried them.
    pub(super) fn tell(self, cx: &mut AnalyzerCx<'_>) {
        if let Some(mut form) = self.form {
            form.end(cx);
        }
        let [request, response] = self.files;
        let [upload, download] = self.told;
        if let Some(file) = request {
            cx.file(&file, !self.is_cut[0], upload);
        }
        match (response, self.range) {
            (Some(piece), Some((first, length, what, version))) => {
                let key = RangeKey {
                    client: cx.conn.client.addr,
                    server: cx.conn.server.addr,
                    what,
                    version,
                    total: self.total,
                };
                let is_whole = !self.is_cut[1] && piece.len() == length;
                cx.piece(&key, &piece, Span { first, is_whole }, download);
            }
            (Some(file), None) => cx.file(&file, !self.is_cut[1], download),
            (None, _) => {}
        }
    }
}
