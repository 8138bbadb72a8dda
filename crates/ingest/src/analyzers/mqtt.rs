//! MQTT: the log-in, and the topics that are published and subscribed. Payloads are skipped.

use std::collections::BTreeSet;

use thymus_parsers::mqtt;
use thymus_schema::{EventBody, Operation, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, emit_login};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Mqtt,
    transports: &[Transport::Tcp],
    usual_ports: &[1883],
    probe,
    build: || Box::<MqttAnalyzer>::default(),
};

/// Most bytes of a packet that are read.
const PACKET_BYTES_MAX: usize = 1024;
/// Most topics told one by one; each is told once, its messages are not.
const TOPICS_MAX: usize = 64;

fn probe(opening: &Opening<'_>) -> Probe {
    match mqtt::header(opening.client) {
        Ok(Some(header)) if header.kind == 1 && header.flags == 0 => {
            let body = opening.client.get(header.header_len..).unwrap_or_default();
            match mqtt::connect(body) {
                Some(_) => Probe::Yes,
                None if body.len() < header.remaining.min(16) => Probe::More,
                None => Probe::No,
            }
        }
        Ok(None) if opening.client.first().is_none_or(|first| *first == 0x10) => Probe::More,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct MqttAnalyzer {
    buffers: [StreamBuffer; 2],
    state: State,
}

#[derive(Default)]
struct State {
    connect: Option<mqtt::Connect>,
    level: u8,
    topics: BTreeSet<(&'static str, Box<str>)>,
}

impl Analyzer for MqttAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { buffers, state } = self;
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            let header = match mqtt::header(front) {
                Ok(Some(header)) => header,
                Ok(None) => return Step::Need(front.len() + 1),
                Err(_) => return Step::Stop,
            };
            let length = header.header_len + header.remaining;
            let wanted = length.min(PACKET_BYTES_MAX);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            let body = &front[header.header_len..wanted.max(header.header_len)];
            state.packet(header.kind, header.remaining, body, cx);
            Step::Take(length as u64)
        });
        if !ok {
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        if !self.buffers[usize::from(side == Side::Server)].gap(missing) {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.state.connected(Outcome::Unknown, cx);
    }
}

impl State {
    fn packet(&mut self, kind: u8, length: usize, body: &[u8], cx: &mut AnalyzerCx<'_>) {
        match kind {
            1 => {
                self.connect = mqtt::connect(body);
                self.level = self.connect.as_ref().map_or(4, |connect| connect.level);
            }
            2 => {
                let outcome = match mqtt::connack_code(body) {
                    Some(0) => Outcome::Success,
                    Some(_) => Outcome::Failure,
                    None => Outcome::Unknown,
                };
                self.connected(outcome, cx);
            }
            3 => {
                if let Some(topic) = mqtt::publish_topic(body) {
                    self.topic("publish", topic, 1, length, cx);
                }
            }
            8 => {
                if let Some((topic, count)) = mqtt::subscribe_topics(body, self.level) {
                    self.topic("subscribe", topic, count, length, cx);
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        let Some(connect) = self.connect.take() else {
            return;
        };
        if let Some(user) = &connect.user {
            let client = &connect.client;
            let attempt = Attempt {
                user,
                domain: "",
                method: "password",
                client,
                outcome,
            };
            emit_login(Service::Mqtt, &attempt, cx);
        }
        cx.emit(EventBody::Operation(Box::new(Operation {
            service: Some(Service::Mqtt),
            verb: "connect".into(),
            object: connect.client,
            outcome,
            ..Operation::default()
        })));
    }

    fn topic(
        &mut self,
        verb: &'static str,
        topic: Box<str>,
        count: usize,
        length: usize,
        cx: &mut AnalyzerCx<'_>,
    ) {
        if self.topics.len() >= TOPICS_MAX || !self.topics.insert((verb, topic.clone())) {
            return;
        }
        cx.emit(EventBody::Operation(Box::new(Operation {
            service: Some(Service::Mqtt),
            verb: verb.into(),
            object: topic,
            detail: if count > 1 {
                format!("{count} topics").into()
            } else {
                Box::default()
            },
            request_len: length as u64,
            ..Operation::default()
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_refused_log_in_and_topics_are_told() {
        let mut talk = Talk::tcp(&SPEC, 1883);
        let connect = b"\x10\x1a\0\x04MQTT\x04\xc2\0\x3c\0\x02id\0\x03bob\0\x05plain";
        assert_eq!(talk.probe(connect, b""), Probe::Yes);
        talk.client(connect);
        talk.server(b"\x20\x02\0\x05");
        talk.client(b"\x30\x06\0\x03a/bx\x30\x06\0\x03a/by");
        let [
            EventBody::Login(login),
            EventBody::Operation(_),
            EventBody::Operation(publish),
        ] = &talk.events[..]
        else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("bob", Outcome::Failure));
        assert_eq!((&*publish.verb, &*publish.object), ("publish", "a/b"));
    }
}
