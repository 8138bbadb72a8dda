//! Stratum: what a miner asks of a pool, and as whom.

use thymus_parsers::stratum::{self, Line};
use thymus_schema::{EventBody, Operation, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::LineBuffer;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Stratum,
    transports: &[Transport::Tcp],
    usual_ports: &[3333, 4444, 14444],
    probe,
    build: || Box::<StratumAnalyzer>::default(),
};

/// Most calls told of a conversation: a miner submits for days.
const CALLS_MAX: u32 = 64;

fn probe(opening: &Opening<'_>) -> Probe {
    let mut verdict = Probe::No;
    for side in [opening.client, opening.server] {
        if side.first() != Some(&b'{') {
            continue;
        }
        let line = side.split(|&byte| byte == b'\n').next().unwrap_or_default();
        match stratum::parse(line) {
            Some(Line::Call { .. }) => return Probe::Yes,
            None if line.len() == side.len() => verdict = Probe::More,
            _ => {}
        }
    }
    verdict
}

#[derive(Default)]
struct StratumAnalyzer {
    lines: [LineBuffer; 2],
    waiting: Option<(u64, Operation)>,
    told: u32,
}

impl Analyzer for StratumAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self {
            lines,
            waiting,
            told,
        } = self;
        lines[usize::from(side == Side::Server)].feed(bytes, |line| {
            match stratum::parse(line) {
                Some(Line::Call {
                    method,
                    subject,
                    agent,
                    id,
                }) => {
                    tell(waiting.take(), Outcome::Unknown, told, cx);
                    let operation = Operation {
                        service: Some(Service::Stratum),
                        verb: method,
                        object: subject,
                        detail: agent,
                        request_len: line.len() as u64,
                        ..Operation::default()
                    };
                    *waiting = Some((id, operation));
                    // Work that the pool hands out has no answer.
                    if side == Side::Server {
                        tell(waiting.take(), Outcome::Unknown, told, cx);
                    }
                }
                Some(Line::Answer { id, failed })
                    if waiting.as_ref().is_some_and(|(asked, _)| *asked == id) =>
                {
                    let outcome = if failed {
                        Outcome::Failure
                    } else {
                        Outcome::Success
                    };
                    tell(waiting.take(), outcome, told, cx);
                }
                _ => {}
            }
            true
        });
        if *told >= CALLS_MAX {
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, _missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.lines[usize::from(side == Side::Server)].clear();
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        tell(self.waiting.take(), Outcome::Unknown, &mut self.told, cx);
    }
}

fn tell(
    waiting: Option<(u64, Operation)>,
    outcome: Outcome,
    told: &mut u32,
    cx: &mut AnalyzerCx<'_>,
) {
    let Some((_, mut operation)) = waiting else {
        return;
    };
    operation.outcome = outcome;
    *told += 1;
    cx.emit(EventBody::Operation(Box::new(operation)));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_worker_is_named_with_the_pools_answer() {
        let ask = b"{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"w.1\",\"x\"]}\n";
        let mut talk = Talk::tcp(&SPEC, 443);
        assert_eq!(talk.probe(ask, b""), Probe::Yes);
        assert_eq!(talk.probe(b"{\"method\":\"getinfo\"}\n", b""), Probe::No);
        talk.client(ask);
        talk.server(b"{\"id\":2,\"result\":true,\"error\":null}\n");
        let [EventBody::Operation(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*call.verb, &*call.object), ("mining.authorize", "w.1"));
        assert_eq!(call.outcome, Outcome::Success);
    }
}
