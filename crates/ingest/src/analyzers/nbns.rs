//! NetBIOS name service (RFC 1002). As with LLMNR, a broadcast query and its answer are two
//! conversations. A registration is told as a query that brings its own answer.

use thymus_parsers::ParseBudget;
use thymus_parsers::nbns;
use thymus_schema::{DnsFlavor, DnsTransaction, EventBody, Service, Transport};

use super::dns::{Waiting, answers, sender};
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Nbns,
    transports: &[Transport::Udp],
    usual_ports: &[137],
    probe,
    build: || Box::new(NbnsAnalyzer::default()),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    if nbns::looks_like(bytes) {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct NbnsAnalyzer {
    waiting: Waiting,
}

impl Analyzer for NbnsAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some(parsed) = nbns::parse(bytes, &ParseBudget::default()) else {
            cx.quirk("nbns", "unreadable_message");
            return;
        };
        for quirk in parsed.quirks {
            cx.quirk("nbns", quirk);
        }
        let message = parsed.value;
        let (response, rcode, opcode) = (message.is_response(), message.rcode(), message.opcode());
        if !response {
            let transaction = Box::new(DnsTransaction {
                flavor: DnsFlavor::Nbns,
                query: message.question.name,
                qtype: message.question.qtype,
                answers: answers(message.records),
                query_len: bytes.len() as u16,
                ..DnsTransaction::default()
            });
            if opcode == 0 {
                self.waiting.query(message.id, 0, transaction, cx);
            } else {
                cx.emit(EventBody::Dns(transaction));
            }
            return;
        }
        let name = message.question.name;
        let waiting = self.waiting.take(message.id, &name, None);
        if waiting.is_none() && self.waiting.repeats(message.id, &name) {
            return;
        }
        let mut transaction = waiting.unwrap_or_else(|| {
            Box::new(DnsTransaction {
                flavor: DnsFlavor::Nbns,
                query: name,
                qtype: message.question.qtype,
                ..DnsTransaction::default()
            })
        });
        transaction.rcode = Some(rcode);
        transaction.response_len = bytes.len() as u32;
        transaction.answers = answers(message.records);
        transaction.responder = Some(sender(side, cx));
        cx.emit(EventBody::Dns(transaction));
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.waiting.close(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn message(flags: [u8; 2], counts: [u8; 2], tail: &[u8]) -> Vec<u8> {
        let mut bytes = vec![
            0xbe, 0xef, flags[0], flags[1], 0, counts[0], 0, counts[1], 0, 0, 0, 0,
        ];
        bytes.extend(b"\x20EGEJEMEFFDFCFGCACACACACACACACACA\0\0\x20\0\x01");
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn query_and_answer_in_one_conversation_are_one_transaction() {
        let mut talk = Talk::udp(&SPEC, 137);
        let query = message([1, 0x10], [1, 0], b"");
        assert_eq!(talk.probe(&query, b""), Probe::Yes);
        talk.client(&query);
        talk.server(&message(
            [0x85, 0],
            [0, 1],
            &[0, 0, 0, 60, 0, 6, 0, 0, 10, 0, 0, 66],
        ));
        talk.close();
        let [EventBody::Dns(dns)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*dns.query, dns.answers[0].addr()),
            ("filesrv<20>", "10.0.0.66".parse().ok())
        );
        assert_eq!(dns.responder, Some(talk.conn.server.addr));
    }
}
