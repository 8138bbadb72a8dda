//! IRC: nicknames taken and channels joined; what is said there is not told.

use thymus_parsers::irc::{self, Line};
use thymus_schema::{Operation, Outcome, Service, Transport};

use super::calls::Calls;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::LineBuffer;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Irc,
    transports: &[Transport::Tcp],
    usual_ports: &[6667, 6666, 6668, 6669, 194],
    probe,
    build: || Box::<IrcAnalyzer>::default(),
};

/// Lines looked at for a certain one.
const LINES_MAX: usize = 4;

fn probe(opening: &Opening<'_>) -> Probe {
    let server = speaks(opening.server, |line| match irc::parse(line) {
        Line::Numeric(1..=5 | 433 | 451) => Probe::Yes,
        Line::Notice if line.starts_with(b":") || line.starts_with(b"NOTICE ") => Probe::Yes,
        _ => Probe::No,
    });
    let client = speaks(opening.client, |line| match irc::parse(line) {
        Line::Nick(_) | Line::User | Line::Capabilities => Probe::Yes,
        Line::Pass => Probe::More,
        _ => Probe::No,
    });
    match (client, server) {
        (Probe::Yes, _) | (_, Probe::Yes) => Probe::Yes,
        (Probe::No, _) | (_, Probe::No) => Probe::No,
        _ => Probe::More,
    }
}

/// Asks of whole lines until one is certain.
fn speaks(bytes: &[u8], judge: impl Fn(&[u8]) -> Probe) -> Probe {
    const STARTS: [&[u8]; 6] = [b":", b"NICK ", b"USER ", b"PASS ", b"CAP LS", b"NOTICE "];
    let mut rest = bytes;
    for _ in 0..LINES_MAX {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            let begins = |start: &&[u8]| {
                rest.iter()
                    .zip(*start)
                    .all(|(a, b)| a.eq_ignore_ascii_case(b))
            };
            let possible = rest.len() <= 512 && STARTS.iter().any(begins);
            return if possible { Probe::More } else { Probe::No };
        };
        match judge(rest[..end].trim_ascii_end()) {
            Probe::More => rest = &rest[end + 1..],
            sure => return sure,
        }
    }
    Probe::No
}

#[derive(Default)]
struct IrcAnalyzer {
    lines: [LineBuffer; 2],
    calls: Calls,
}

impl Analyzer for IrcAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { lines, calls } = self;
        lines[usize::from(side == Side::Server)].feed(bytes, |line| {
            match (irc::parse(line), side) {
                (Line::Nick(name), Side::Client) => calls.ask(operation("nick", name, line), cx),
                (Line::Join(name), Side::Client) => calls.ask(operation("join", name, line), cx),
                (Line::Numeric(code), Side::Server) if calls.is_open() => {
                    let outcome = match code {
                        1 | 353 | 366 => Outcome::Success,
                        403 | 405 | 432 | 433 | 437 | 471..=477 => Outcome::Failure,
                        _ => Outcome::Unknown,
                    };
                    calls.answer(line.len() as u64, outcome, Operation::default);
                }
                _ => {}
            }
            true
        });
        if calls.is_full() {
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, _missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.lines[usize::from(side == Side::Server)].clear();
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.calls.close(cx);
    }
}

fn operation(verb: &str, object: Box<str>, line: &[u8]) -> Operation {
    Operation {
        service: Some(Service::Irc),
        verb: verb.into(),
        object,
        request_len: line.len() as u64,
        ..Operation::default()
    }
}

#[cfg(test)]
mod tests {
    use thymus_schema::EventBody;

    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_bot_is_named_with_its_channel() {
        let mut talk = Talk::tcp(&SPEC, 443);
        let hello = b"PASS x\r\nNICK bot-7\r\nUSER a 0 * :A\r\n";
        assert_eq!(talk.probe(&hello[..8], b""), Probe::More);
        assert_eq!(talk.probe(hello, b""), Probe::Yes);
        hello.chunks(5).for_each(|piece| talk.client(piece));
        talk.server(b":irc.example 001 bot-7 :Welcome\r\n");
        talk.client(b"JOIN #cmd key\r\n");
        talk.server(b":irc.example 475 bot-7 #cmd :Cannot join\r\n");
        talk.close();
        let told: Vec<_> = talk
            .events
            .iter()
            .filter_map(|body| match body {
                EventBody::Operation(call) => Some((&*call.verb, &*call.object, call.outcome)),
                _ => None,
            })
            .collect();
        assert_eq!(
            told,
            [
                ("nick", "bot-7", Outcome::Success),
                ("join", "#cmd", Outcome::Failure)
            ]
        );
    }

    #[test]
    fn file_transfer_and_mail_are_not_taken() {
        let talk = Talk::tcp(&SPEC, 6667);
        assert_eq!(
            talk.probe(b"USER anonymous\r\nPASS x\r\n", b"220 ready\r\n"),
            Probe::No
        );
        assert_eq!(talk.probe(b"USER bob\r\n", b"+OK ready\r\n"), Probe::No);
        assert_eq!(
            talk.probe(b"", b":irc.example NOTICE * :*** Looking up\r\n"),
            Probe::Yes
        );
        assert_eq!(talk.probe(b"GET / HTTP/1.1\r\n", b""), Probe::No);
    }
}
