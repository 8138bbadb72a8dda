//! SMTP: envelopes with subject and size, log-ins, and the way over to TLS. Bodies are counted.

use std::collections::VecDeque;

use thymus_parsers::reply::reply;
use thymus_parsers::sasl;
use thymus_parsers::smtp::{self, Command};
use thymus_schema::{EventBody, MailEnvelope, Outcome, Service, Transport};

use super::ftp::first_line;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, Security, emit_login};
use crate::carve::{Carving, FileTold};
use crate::framing::LineBuffer;
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Smtp,
    transports: &[Transport::Tcp],
    usual_ports: &[25, 587, 2525],
    probe,
    build: || Box::<SmtpAnalyzer>::default(),
};

/// A mail as a file.
const NAME: &str = "message.eml";
/// Most recipients named.
const RECIPIENTS_MAX: usize = 32;
/// Most commands that wait for their reply.
const WAITING_MAX: usize = 64;

fn probe(opening: &Opening<'_>) -> Probe {
    let greeted = opening.server.starts_with(b"220") || opening.server.starts_with(b"554");
    if greeted && smtp::looks_like_greeting(first_line(opening.server))
        || smtp::looks_like_command(first_line(opening.client))
    {
        return Probe::Yes;
    }
    let maybe = greeted && opening.client.is_empty();
    if maybe || opening.server.is_empty() && opening.client.is_empty() {
        return Probe::More;
    }
    Probe::No
}

#[derive(Default)]
struct SmtpAnalyzer {
    lines: [LineBuffer; 2],
    state: State,
    inner: Option<Inner>,
}

/// What the client's next bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Commands,
    Headers,
    Body,
    /// So many bytes of a chunk are to come.
    Chunk(u64),
    Auth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    To,
    Data,
    Message,
    Auth,
    StartTls,
    Other,
}

#[derive(Default)]
struct State {
    mode: Mode,
    helo: Box<str>,
    mail: MailEnvelope,
    waiting: VecDeque<Waiting>,
    mechanism: Vec<u8>,
    user: Box<str>,
    security: Security,
    to_tls: bool,
    /// The mail, as a file.
    file: Option<Carving>,
    is_cut: bool,
    /// Whether the chunk at hand is the mail's last.
    is_last_chunk: bool,
}

impl Analyzer for SmtpAnalyzer {
    fn data(&mut self, side: Side, mut bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        while self.inner.is_none() && !bytes.is_empty() {
            if let (Side::Client, Mode::Chunk(left)) = (side, self.state.mode) {
                let here = left.min(bytes.len() as u64);
                let (chunk, rest) = bytes.split_at(here as usize);
                self.state.chunk(chunk, left, cx);
                bytes = rest;
                continue;
            }
            let state = &mut self.state;
            let used = self.lines[usize::from(side == Side::Server)].feed(bytes, |line| {
                match side {
                    Side::Client => state.client(line, cx),
                    Side::Server => state.server(line, cx),
                }
                !(state.to_tls || side == Side::Client && matches!(state.mode, Mode::Chunk(_)))
            });
            bytes = &bytes[used..];
            if self.state.to_tls {
                self.inner = Some(Inner::known(Service::Tls));
            }
        }
        if let (Some(inner), false) = (&mut self.inner, bytes.is_empty()) {
            inner.data(side, bytes, cx);
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.gap(side, missing, cx);
        }
        self.lines[usize::from(side == Side::Server)].clear();
        if side == Side::Client {
            self.state.gap(missing);
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.state.is_cut = true;
        self.state.tell_file(cx);
        self.state.tell_mail(cx);
        if self.state.waiting.contains(&Waiting::Auth) {
            self.state.tell_login(Outcome::Unknown, cx);
        }
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}

impl State {
    fn gap(&mut self, missing: u64) {
        match self.mode {
            Mode::Headers | Mode::Body => {
                self.mail.bytes += missing;
                self.is_cut = true;
            }
            Mode::Chunk(left) => {
                self.mail.bytes += missing.min(left);
                self.is_cut = true;
                self.mode = match left.saturating_sub(missing) {
                    0 => Mode::Commands,
                    left => Mode::Chunk(left),
                };
            }
            // A chunk may have been lost with its command.
            Mode::Commands => self.is_cut = true,
            Mode::Auth => {}
        }
    }

    fn client(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        match self.mode {
            Mode::Headers | Mode::Body => self.content(line, cx),
            Mode::Auth => self.auth_answer(line),
            Mode::Commands | Mode::Chunk(_) => self.command(line, cx),
        }
    }

    /// Bytes of a chunk (RFC 3030) of which `left` were to come.
    fn chunk(&mut self, bytes: &[u8], left: u64, cx: &mut AnalyzerCx<'_>) {
        if self.mail.bytes == 0 {
            (self.file, self.is_cut) = (cx.carve(), false);
        }
        if let Some(file) = &mut self.file {
            file.push(bytes, NAME);
        }
        self.mail.bytes += bytes.len() as u64;
        self.mode = match left.saturating_sub(bytes.len() as u64) {
            0 => Mode::Commands,
            left => Mode::Chunk(left),
        };
        if self.mode == Mode::Commands && self.is_last_chunk {
            self.tell_file(cx);
        }
    }

    fn content(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        if line == b"." {
            self.mode = Mode::Commands;
            self.tell_file(cx);
            return self.wait(Waiting::Message);
        }
        if self.mail.bytes == 0 {
            (self.file, self.is_cut) = (cx.carve(), false);
        }
        if let Some(file) = &mut self.file {
            // A dot in front is doubled on the way (RFC 5321 section 4.5.2).
            file.push(line.strip_prefix(b".").unwrap_or(line), NAME);
            file.push(b"\r\n", NAME);
        }
        self.mail.bytes += line.len() as u64 + 2;
        if self.mode == Mode::Body {
            return;
        }
        if line.is_empty() {
            self.mode = Mode::Body;
        } else if let Some(subject) = smtp::header(line, b"Subject") {
            self.mail.subject = thymus_parsers::text(subject, 512);
        } else if let Some(from) = smtp::header(line, b"From") {
            self.mail.header_from = thymus_parsers::text(from, 512);
        }
    }

    fn tell_file(&mut self, cx: &mut AnalyzerCx<'_>) {
        if let Some(file) = self.file.take() {
            let told = FileTold {
                name: NAME.into(),
                content_type: "message/rfc822".into(),
                service: Some(Service::Smtp),
                upload: true,
            };
            cx.file(&file, !self.is_cut, told);
        }
    }

    fn auth_answer(&mut self, line: &[u8]) {
        if let Some(message) = sasl::ntlm(line) {
            self.security.read(&message);
        } else if self.user.is_empty() {
            self.user = sasl::user(&self.mechanism, line).unwrap_or_default();
        }
    }

    fn command(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        let waiting = match smtp::command(line) {
            Command::Hello(name) => {
                self.helo = name;
                Waiting::Other
            }
            Command::From(from) => {
                let tls = self.mail.tls;
                self.file = None;
                self.mail = MailEnvelope {
                    from,
                    tls,
                    ..MailEnvelope::default()
                };
                Waiting::Other
            }
            Command::To(to) => {
                self.mail.recipients += 1;
                if self.mail.to.len() < RECIPIENTS_MAX {
                    self.mail.to.push(to);
                }
                Waiting::To
            }
            Command::Data => {
                self.mode = Mode::Headers;
                Waiting::Data
            }
            Command::Chunk(size, last) => {
                self.mode = if size == 0 {
                    Mode::Commands
                } else {
                    Mode::Chunk(size)
                };
                self.is_last_chunk = last;
                if last && size == 0 {
                    self.tell_file(cx);
                }
                if last {
                    Waiting::Message
                } else {
                    Waiting::Other
                }
            }
            Command::StartTls => Waiting::StartTls,
            Command::Auth(mechanism, answer) => {
                self.mechanism = mechanism[..mechanism.len().min(32)].to_vec();
                self.user = Box::default();
                self.mode = Mode::Auth;
                self.auth_answer(answer);
                Waiting::Auth
            }
            Command::Other => Waiting::Other,
        };
        self.wait(waiting);
    }

    fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(waiting);
    }

    fn server(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some((code, true)) = reply(line) else {
            return;
        };
        if code == 334 {
            if let Some(message) = line.get(4..).and_then(sasl::ntlm) {
                self.security.read(&message);
            }
            return;
        }
        let Some(waiting) = self.waiting.pop_front() else {
            return;
        };
        self.mail.status = code;
        let refused = code >= 400;
        match waiting {
            Waiting::Data if refused => self.mode = Mode::Commands,
            Waiting::Message => self.tell_mail(cx),
            Waiting::Auth => {
                self.mode = Mode::Commands;
                self.tell_login(
                    if refused {
                        Outcome::Failure
                    } else {
                        Outcome::Success
                    },
                    cx,
                );
            }
            Waiting::StartTls if !refused => {
                self.to_tls = true;
                cx.emit(EventBody::Mail(Box::new(MailEnvelope {
                    helo: self.helo.clone(),
                    tls: true,
                    status: code,
                    ..MailEnvelope::default()
                })));
            }
            _ => {}
        }
    }

    fn tell_login(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        if self.security.is_pending() {
            self.security.finish(Service::Smtp, outcome, cx);
            return;
        }
        let user = std::mem::take(&mut self.user);
        let attempt = Attempt {
            user: &user,
            domain: "",
            method: "password",
            client: &self.helo,
            outcome,
        };
        emit_login(Service::Smtp, &attempt, cx);
    }

    fn tell_mail(&mut self, cx: &mut AnalyzerCx<'_>) {
        let mut mail = std::mem::take(&mut self.mail);
        if mail.from.is_empty() && mail.recipients == 0 {
            return;
        }
        mail.helo.clone_from(&self.helo);
        cx.emit(EventBody::Mail(Box::new(mail)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn greeted() -> Talk {
        let mut talk = Talk::tcp(&SPEC, 25);
        assert_eq!(talk.probe(b"", b"220 m ESMTP\r\n"), Probe::Yes);
        talk.server(b"220 m ESMTP\r\n");
        talk.client(b"EHLO laptop\r\n");
        talk.server(b"250-m\r\n250 AUTH PLAIN\r\n");
        talk
    }

    #[test]
    fn a_mail_is_told_with_its_envelope_subject_and_size() {
        let mut talk = greeted();
        talk.client(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n");
        talk.server(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
        talk.client(b"Subject: hello\r\nFrom: A <a@b>\r\n\r\nSubject: not this\r\n.\r\n");
        talk.server(b"250 queued\r\n");
        let [EventBody::Mail(mail)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*mail.from, &*mail.subject, &*mail.helo),
            ("a@b", "hello", "laptop")
        );
        assert_eq!((mail.recipients, mail.status, mail.bytes), (2, 250, 52));
    }

    #[test]
    fn a_chunked_mail_is_counted_by_its_chunks() {
        let mut talk = greeted();
        talk.client(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 10 LAST\r\nQUIT\r\n0123QUIT\r\n");
        talk.server(b"250 ok\r\n250 ok\r\n250 done\r\n");
        let [EventBody::Mail(mail)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(mail.bytes, 10);
    }

    #[test]
    fn log_ins_are_told_with_their_outcome() {
        let mut talk = greeted();
        talk.client(b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n");
        talk.server(b"535 no\r\n");
        talk.client(b"AUTH LOGIN\r\n");
        talk.server(b"334 VXNlcm5hbWU6\r\n");
        talk.client(b"Ym9i\r\n");
        talk.server(b"334 UGFzc3dvcmQ6\r\n");
        talk.client(b"c2VjcmV0\r\n");
        talk.server(b"235 ok\r\n");
        let [EventBody::Login(one), EventBody::Login(two)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*one.user, one.outcome), ("bob", Outcome::Failure));
        assert_eq!((&*two.user, two.outcome), ("bob", Outcome::Success));
    }
}
