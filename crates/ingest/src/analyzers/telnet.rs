//! Telnet: log-ins guessed from prompts and answers. After a log-in that worked nothing more is read.

use thymus_parsers::telnet::{self, Prompt, Stripper};
use thymus_parsers::text;
use thymus_schema::{Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::emit_password;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Telnet,
    transports: &[Transport::Tcp],
    usual_ports: &[23, 2323],
    probe,
    build: || Box::<TelnetAnalyzer>::default(),
};

/// Most text held of each side.
const TEXT_BYTES_MAX: usize = 2048;
/// Text after a password without any sign, after which the guess is given up.
const ANSWER_BYTES_MAX: usize = 1024;

fn probe(opening: &Opening<'_>) -> Probe {
    if telnet::looks_like_options(opening.server) || telnet::looks_like_options(opening.client) {
        return Probe::Yes;
    }
    let asks = telnet::prompt(opening.server) == Some(Prompt::Login);
    let usual = matches!(opening.server_port, 23 | 2323);
    match (usual, asks) {
        (true, true) => Probe::Yes,
        (true, false) if opening.client.len() + opening.server.len() < 200 => Probe::More,
        _ => Probe::No,
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Before,
    Account,
    Password,
    Answer,
}

#[derive(Default)]
struct TelnetAnalyzer {
    strippers: [Stripper; 2],
    client: Vec<u8>,
    server: Vec<u8>,
    stage: Stage,
    user: Box<str>,
}

impl Analyzer for TelnetAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        match side {
            Side::Client => self.client_text(bytes),
            Side::Server => self.server_text(bytes, cx),
        }
    }

    fn gap(&mut self, _side: Side, _missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.client.clear();
        self.server.clear();
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if self.stage == Stage::Answer {
            self.tell(Outcome::Unknown, cx);
        }
    }
}

impl TelnetAnalyzer {
    fn client_text(&mut self, bytes: &[u8]) {
        self.strippers[0].strip(bytes, &mut self.client, TEXT_BYTES_MAX);
        let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
        while let Some(end) = self.client.iter().position(ends) {
            let line: Vec<u8> = self.client.drain(..=end).collect();
            let line = line.trim_ascii();
            self.stage = match self.stage {
                Stage::Account if !line.is_empty() => {
                    self.user = text(line, 128);
                    Stage::Before
                }
                Stage::Password => {
                    self.server.clear();
                    Stage::Answer
                }
                stage => stage,
            };
        }
        if self.client.len() >= TEXT_BYTES_MAX {
            self.client.clear();
        }
    }

    fn server_text(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        self.strippers[1].strip(bytes, &mut self.server, TEXT_BYTES_MAX);
        let prompt = telnet::prompt(&self.server);
        if self.stage == Stage::Answer {
            let failed = telnet::says_refused(&self.server)
                || matches!(prompt, Some(Prompt::Login | Prompt::Password));
            if failed {
                self.tell(Outcome::Failure, cx);
            } else if prompt == Some(Prompt::Shell) {
                self.tell(Outcome::Success, cx);
                return cx.detach();
            } else if self.server.len() > ANSWER_BYTES_MAX {
                self.tell(Outcome::Unknown, cx);
                return cx.detach();
            }
        }
        match prompt {
            Some(Prompt::Login) => self.stage = Stage::Account,
            Some(Prompt::Password) => self.stage = Stage::Password,
            _ => {}
        }
        if prompt.is_some() || self.server.len() >= TEXT_BYTES_MAX {
            self.server.clear();
        }
    }

    fn tell(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        self.stage = Stage::Before;
        emit_password(Service::Telnet, &self.user, outcome, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn tries_are_told_until_a_shell_is_there() {
        let mut talk = Talk::tcp(&SPEC, 23);
        assert_eq!(talk.probe(b"", b"\xff\xfd\x18"), Probe::Yes);
        talk.server(b"\xff\xfd\x18host login: ");
        talk.client(b"root\r\n");
        talk.server(b"root\r\nPassword: ");
        talk.client(b"admin\r\n");
        talk.server(b"\r\nLogin incorrect\r\n");
        talk.server(b"host login: ");
        for byte in b"bob\r\0" {
            talk.client(&[*byte]);
        }
        talk.server(b"Password: ");
        talk.client(b"x\r\n");
        talk.server(b"\r\nWelcome\r\nbob@host:~$ ");
        assert!(talk.detached);
        let [EventBody::Login(one), EventBody::Login(two)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*one.user, one.outcome), ("root", Outcome::Failure));
        assert_eq!((&*two.user, two.outcome), ("bob", Outcome::Success));
    }
}
