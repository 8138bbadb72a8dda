//! Multicast DNS (RFC 6762): nobody waits for an answer, so every question and every announced name
//! is told as it comes.

use thymus_parsers::ParseBudget;
use thymus_parsers::dns::{self, Depth, Record};
use thymus_schema::{DnsFlavor, DnsTransaction, EventBody, Service, Transport};

use super::dns::{answers, sender};
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

/// Most names of one message that are told.
const NAMES_MAX: usize = 8;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Mdns,
    transports: &[Transport::Udp],
    usual_ports: &[5353],
    probe,
    build: || Box::new(MdnsAnalyzer),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    let port = opening.server_port == 5353 || opening.client_port == 5353;
    if port && dns::looks_like(bytes) {
        Probe::Yes
    } else {
        Probe::No
    }
}

struct MdnsAnalyzer;

impl Analyzer for MdnsAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some(parsed) = dns::parse(bytes, Depth::Everything, &ParseBudget::default()) else {
            cx.quirk("mdns", "unreadable_message");
            return;
        };
        for quirk in parsed.quirks {
            cx.quirk("mdns", quirk);
        }
        let message = parsed.value;
        if message.is_response() {
            let responder = sender(side, cx);
            for group in by_owner(message.records) {
                cx.emit(EventBody::Dns(Box::new(DnsTransaction {
                    flavor: DnsFlavor::Mdns,
                    query: group[0].name.clone(),
                    qtype: group[0].rtype,
                    rcode: Some((message.flags & 15) as u8),
                    answers: answers(group),
                    response_len: bytes.len() as u32,
                    responder: Some(responder),
                    ..DnsTransaction::default()
                })));
            }
            return;
        }
        for question in message.questions.into_iter().take(NAMES_MAX) {
            cx.emit(EventBody::Dns(Box::new(DnsTransaction {
                flavor: DnsFlavor::Mdns,
                query: question.name,
                qtype: question.qtype,
                query_len: bytes.len() as u16,
                ..DnsTransaction::default()
            })));
        }
    }
}

/// Records put together by owner, in order of first appearance; none of the groups is empty.
fn by_owner(records: impl IntoIterator<Item = Record>) -> Vec<Vec<Record>> {
    let mut groups: Vec<Vec<Record>> = Vec::new();
    for record in records {
        if let Some(group) = groups.iter_mut().find(|group| group[0].name == record.name) {
            group.push(record);
        } else if groups.len() < NAMES_MAX {
            groups.push(vec![record]);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn an_announcement_tells_each_name_with_its_records() {
        let mut bytes =
            b"\0\0\x84\0\0\0\0\x02\0\0\0\x01\x05_http\x04_tcp\x05local\0\0\x0c\0\x01".to_vec();
        bytes.extend(b"\0\0\x11\x94\0\x0a\x07printer\xc0\x0c");
        bytes.extend(b"\xc0\x28\0\x21\x80\x01\0\0\0\x78\0\x0d\0\0\0\0\0\x50\x04prn1\xc0\x17");
        bytes.extend(b"\xc0\x44\0\x01\x80\x01\0\0\0\x78\0\x04\x0a\0\0\x09");
        let mut talk = Talk::udp(&SPEC, 5353);
        assert_eq!(talk.probe(&bytes, b""), Probe::Yes);
        talk.client(&bytes);
        let told: Vec<(&str, String)> = talk
            .events
            .iter()
            .filter_map(|body| {
                if let EventBody::Dns(dns) = body {
                    Some(dns)
                } else {
                    None
                }
            })
            .map(|dns| (&*dns.query, dns.answers[0].data.to_string()))
            .collect();
        assert_eq!(
            told,
            [
                ("_http._tcp.local", "printer._http._tcp.local".to_owned()),
                ("printer._http._tcp.local", "0 0 80 prn1.local".to_owned()),
                ("prn1.local", "10.0.0.9".to_owned()),
            ]
        );
    }
}
