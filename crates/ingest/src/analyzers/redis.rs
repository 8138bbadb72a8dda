//! Redis: log-ins, and the commands that change the server and not only its data.

use thymus_parsers::redis::{self, Command};
use thymus_parsers::text;
use thymus_schema::{EventBody, Operation, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::emit_password;
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Redis,
    transports: &[Transport::Tcp],
    usual_ports: &[6379],
    probe,
    build: || Box::<RedisAnalyzer>::default(),
};

/// Commands that change the server, its peers or all of its data, or run code.
const TOLD: &[&[u8]] = &[
    b"CONFIG",
    b"SLAVEOF",
    b"REPLICAOF",
    b"MODULE",
    b"EVAL",
    b"FLUSHALL",
    b"FLUSHDB",
    b"SHUTDOWN",
    b"DEBUG",
    b"MIGRATE",
    b"ACL",
    b"SAVE",
    b"BGSAVE",
    b"SCRIPT",
];
/// Most commands told of a conversation.
const TOLD_MAX: u32 = 64;
/// Commands read before a conversation is left alone.
const COMMANDS_MAX: u32 = 10_000;

fn probe(opening: &Opening<'_>) -> Probe {
    let client = opening.client;
    if !client.starts_with(b"*") {
        return Probe::No;
    }
    match redis::command(client) {
        Command::Words(..) => Probe::Yes,
        Command::More => Probe::More,
        Command::Not => Probe::No,
    }
}

#[derive(Default)]
struct RedisAnalyzer {
    client: StreamBuffer,
    state: State,
}

#[derive(Default)]
struct State {
    user: Option<Box<str>>,
    told: u32,
    commands: u32,
}

impl Analyzer for RedisAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { client, state } = self;
        if side == Side::Server {
            return state.server(bytes, cx);
        }
        let ok = client.feed(bytes, |front| match redis::command(front) {
            Command::Words(words, length) => {
                state.command(&words, cx);
                Step::Take(length as u64)
            }
            Command::More => Step::Need(front.len() + 1),
            Command::Not => Step::Stop,
        });
        if !ok || state.told >= TOLD_MAX || state.commands >= COMMANDS_MAX {
            state.tell(Outcome::Unknown, cx);
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.state.tell(Outcome::Unknown, cx);
    }
}

impl State {
    fn command(&mut self, words: &[Vec<u8>], cx: &mut AnalyzerCx<'_>) {
        self.commands += 1;
        let Some(verb) = words.first() else { return };
        if verb.eq_ignore_ascii_case(b"AUTH") {
            self.tell(Outcome::Unknown, cx);
            let user = words.get(1).filter(|_| words.len() > 2);
            self.user = Some(user.map_or_else(|| "default".into(), |user| text(user, 128)));
        } else if verb.eq_ignore_ascii_case(b"HELLO") {
            let auth = words
                .iter()
                .position(|word| word.eq_ignore_ascii_case(b"AUTH"));
            if let Some(user) = auth.and_then(|at| words.get(at + 1)) {
                self.user = Some(text(user, 128));
            }
        } else if TOLD.iter().any(|told| verb.eq_ignore_ascii_case(told)) {
            self.told += 1;
            let word = |at: usize| {
                words
                    .get(at)
                    .map(|word| text(word, 128))
                    .unwrap_or_default()
            };
            cx.emit(EventBody::Operation(Box::new(Operation {
                service: Some(Service::Redis),
                verb: text(verb, 32).to_ascii_lowercase().into(),
                object: word(1),
                detail: word(2),
                ..Operation::default()
            })));
        }
    }

    fn server(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        match bytes.first() {
            Some(b'-') => self.tell(Outcome::Failure, cx),
            Some(b'+' | b'%' | b'*') => self.tell(Outcome::Success, cx),
            _ => {}
        }
    }

    fn tell(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        let Some(user) = self.user.take() else { return };
        emit_password(Service::Redis, &user, outcome, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_log_in_and_a_change_of_the_server_are_told() {
        let auth = b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n";
        let mut talk = Talk::tcp(&SPEC, 6380);
        assert_eq!(talk.probe(auth, b""), Probe::Yes);
        talk.client(auth);
        talk.server(b"-WRONGPASS no\r\n");
        talk.client(b"*3\r\n$7\r\nSLAVEOF\r\n$8\r\n10.0.0.9\r\n$4\r\n6379\r\n");
        let [EventBody::Login(login), EventBody::Operation(told)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("default", Outcome::Failure));
        assert_eq!((&*told.verb, &*told.object), ("slaveof", "10.0.0.9"));
    }
}
