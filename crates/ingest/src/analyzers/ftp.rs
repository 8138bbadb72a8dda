//! FTP's control channel: log-ins with their outcome, and what is done to files, and which connection
//! will carry which file: the data channel is a conversation of its own, and is known by what is said here.

use std::collections::VecDeque;

use thymus_parsers::ftp::{self, Command};
use thymus_parsers::reply::reply;
use thymus_schema::{Conn, Endpoint, EventBody, Operation, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::emit_password;
use crate::carve::Expected;
use crate::framing::LineBuffer;
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Ftp,
    transports: &[Transport::Tcp],
    usual_ports: &[21],
    probe,
    build: || Box::<FtpAnalyzer>::default(),
};

/// Most commands that wait for their reply.
const WAITING_MAX: usize = 16;

fn probe(opening: &Opening<'_>) -> Probe {
    let greeted = opening.server.starts_with(b"220");
    if greeted && ftp::looks_like_greeting(first_line(opening.server)) {
        return Probe::Yes;
    }
    let usual = opening.server_port == 21;
    if ftp::looks_like_command(first_line(opening.client)) && (greeted || usual) {
        return Probe::Yes;
    }
    let maybe = (greeted || opening.server.is_empty())
        && (opening.client.is_empty() || ftp::looks_like_command(first_line(opening.client)));
    if maybe && opening.server.len() < 300 {
        Probe::More
    } else {
        Probe::No
    }
}

/// The first line of an opening, without its end.
pub(super) fn first_line(bytes: &[u8]) -> &[u8] {
    bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii_end()
}

#[derive(Default)]
struct FtpAnalyzer {
    lines: [LineBuffer; 2],
    state: State,
    inner: Option<Inner>,
}

#[derive(Default)]
struct State {
    user: Box<str>,
    waiting: VecDeque<Command>,
    to_tls: bool,
    data: DataChannel,
}

/// The data connection that comes next.
#[derive(Default)]
struct DataChannel {
    /// Who listens for it, and who will connect.
    ends: Option<(Endpoint, Endpoint)>,
    /// Where the file that passes begins.
    from: u64,
    is_encrypted: bool,
    /// Sizes that were asked for last.
    size: Option<(Box<str>, u64)>,
}

impl DataChannel {
    fn listen(&mut self, side: Side, port: u16, conn: &Conn) {
        // The address is that of the control connection: what else may be said is not believed, as clients
        // do not either.
        let (listener, peer) = match side {
            Side::Client => (conn.client, conn.server),
            Side::Server => (conn.server, conn.client),
        };
        self.ends = Some((Endpoint::new(listener.addr, port), peer));
    }

    /// A file will pass.
    fn begin(&mut self, verb: &str, name: &str, cx: &mut AnalyzerCx<'_>) {
        let from = std::mem::take(&mut self.from);
        let upload = matches!(verb, "stor" | "stou" | "appe");
        let Some((listener, peer)) = self.ends.filter(|_| upload || verb == "retr") else {
            return;
        };
        if self.is_encrypted {
            return cx.encrypted();
        }
        let size = self
            .size
            .as_ref()
            .filter(|size| !upload && *size.0 == *name);
        let expected = Expected {
            peer: Some(peer.addr),
            name: name.into(),
            is_part: from > 0 || verb == "appe",
            size: size.map(|size| size.1),
            is_used: false,
        };
        cx.carver.expectations().add(listener, expected);
    }
}

impl Analyzer for FtpAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.data(side, bytes, cx);
        }
        let state = &mut self.state;
        let used = self.lines[usize::from(side == Side::Server)].feed(bytes, |line| {
            match side {
                Side::Client => state.client(line, cx),
                Side::Server => state.server(line, cx),
            }
            !state.to_tls
        });
        if self.state.to_tls {
            let inner = self.inner.insert(Inner::known(Service::Tls));
            if used < bytes.len() {
                inner.data(side, &bytes[used..], cx);
            }
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        match &mut self.inner {
            Some(inner) => inner.gap(side, missing, cx),
            None => self.lines[usize::from(side == Side::Server)].clear(),
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for command in std::mem::take(&mut self.state.waiting) {
            self.state.done(command, Outcome::Unknown, cx);
        }
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}

impl State {
    fn client(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        if self.waiting.len() == WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.done(oldest, Outcome::Unknown, cx);
        }
        let command = ftp::command(line);
        match &command {
            Command::User(user) => self.user.clone_from(user),
            Command::Port(port) => self.data.listen(Side::Client, *port, cx.conn),
            Command::Restart(from) => self.data.from = *from,
            Command::File(verb, name) => self.data.begin(verb, name, cx),
            _ => {}
        }
        self.waiting.push_back(command);
    }

    fn server(&mut self, line: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some((code, true)) = reply(line) else {
            return;
        };
        if code < 200
            && let (Some((listener, _)), Some(size)) = (self.data.ends, ftp::told_size(line))
        {
            cx.carver.expectations().set_size(listener, size);
        }
        // 1xx says that a transfer begins; 220 greets; 120 asks to wait; 421 ends everything.
        if code < 200 || code == 220 && self.waiting.is_empty() {
            return;
        }
        let Some(command) = self.waiting.pop_front() else {
            return;
        };
        let outcome = match code {
            200..=399 => Outcome::Success,
            _ => Outcome::Failure,
        };
        match command {
            // 331 and 332 ask for more; a user that is let in at once needs no password.
            Command::User(_) if (300..400).contains(&code) => {}
            Command::AuthTls => self.to_tls = outcome == Outcome::Success,
            Command::Passive => {
                if let Some(port) = ftp::passive_port(line) {
                    self.data.listen(Side::Server, port, cx.conn);
                }
            }
            Command::Protect(is_encrypted) if outcome == Outcome::Success => {
                self.data.is_encrypted = is_encrypted;
            }
            Command::Size(name) => {
                self.data.size = ftp::told_size(line).map(|size| (name, size));
            }
            command => self.done(command, outcome, cx),
        }
    }

    fn done(&mut self, command: Command, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        match command {
            Command::User(_) | Command::Password => {
                if matches!(command, Command::User(_)) && outcome == Outcome::Unknown {
                    return;
                }
                emit_password(Service::Ftp, &self.user, outcome, cx);
            }
            Command::File(verb, object) => cx.emit(EventBody::Operation(Box::new(Operation {
                service: Some(Service::Ftp),
                verb,
                object,
                outcome,
                ..Operation::default()
            }))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn log_ins_and_transfers_are_told_with_their_outcome() {
        let mut talk = Talk::tcp(&SPEC, 2121);
        assert_eq!(talk.probe(b"", b"220 (vsFTPd 3.0.3)\r\n"), Probe::Yes);
        talk.server(b"220 (vsFTPd 3.0.3)\r\n");
        for (asked, answered) in [
            ("USER bob", "331 Password please"),
            ("PASS x", "530 Login incorrect."),
            ("USER bob", "331 Password please"),
            ("PASS y", "230-Hello\r\n230 in"),
            ("STOR a.zip", "150 go on\r\n226 done"),
        ] {
            talk.client(format!("{asked}\r\n").as_bytes());
            talk.server(format!("{answered}\r\n").as_bytes());
        }
        let outcomes: Vec<_> = talk
            .events
            .iter()
            .map(|event| match event {
                EventBody::Login(login) => (&*login.user, login.outcome),
                EventBody::Operation(operation) => (&*operation.object, operation.outcome),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("bob", Outcome::Failure),
            ("bob", Outcome::Success),
            ("a.zip", Outcome::Success),
        ];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn a_mail_server_is_not_ftp() {
        let talk = Talk::tcp(&SPEC, 25);
        assert_eq!(talk.probe(b"EHLO c\r\n", b"220 m ESMTP\r\n"), Probe::No);
    }
}
