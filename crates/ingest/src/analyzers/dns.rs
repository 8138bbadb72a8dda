//! DNS over UDP and TCP: queries matched with their answers by id and name. Also serves LLMNR,
//! whose messages are laid out alike (RFC 1035, RFC 4795).

use std::hash::BuildHasher;
use std::time::Duration;

use compact_str::CompactString;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;
use thymus_parsers::dns::{self, Depth, Record};
use thymus_parsers::{ParseBudget, Parsed};
use thymus_schema::{
    DnsAnswer, DnsData, DnsFlavor, DnsTransaction, EventBody, Service, Timestamp, Transport,
};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

/// Most queries of one conversation that wait for their answer; the oldest gives way.
const PENDING_MAX: usize = 64;
/// After this long a query counts as unanswered.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Dns,
    transports: &[Transport::Udp, Transport::Tcp],
    usual_ports: &[53],
    probe,
    build: || Box::new(DnsAnalyzer::new(DnsFlavor::Dns)),
};

/// Ports of the other name protocols, whose messages look the same.
pub(super) const KIN: [u16; 3] = [137, 5353, 5355];

fn probe(opening: &Opening<'_>) -> Probe {
    if KIN.contains(&opening.server_port) || KIN.contains(&opening.client_port) {
        return Probe::No;
    }
    let bytes = opening.first();
    if opening.transport == Transport::Udp {
        return if dns::looks_like(bytes) {
            Probe::Yes
        } else {
            Probe::No
        };
    }
    let Some((prefix, message)) = bytes.split_first_chunk::<2>() else {
        return Probe::More;
    };
    let length = usize::from(u16::from_be_bytes(*prefix));
    // The opening is all there is to judge; a longer first message is seen by its front.
    if length < 17 {
        Probe::No
    } else if let Some(message) = message.get(..length) {
        if dns::looks_like(message) {
            Probe::Yes
        } else {
            Probe::No
        }
    } else if message.len() >= 12 && !matches!(message, [_, _, _, _, 0, 0..=1, ..]) {
        Probe::No
    } else {
        Probe::More
    }
}

/// Queries that wait for their answers.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queries: SmallVec<[Query; 1]>,
    /// The last transaction that was answered, with a digest of its name, to know a repeated answer.
    answered: Option<(u16, u64)>,
}

#[derive(Debug)]
struct Query {
    id: u16,
    /// A digest of the question's bytes, 0 where they are not compared.
    asked: u64,
    since: Timestamp,
    transaction: Box<DnsTransaction>,
}

impl Waiting {
    /// A query came. A repetition of one that waits is dropped.
    pub(super) fn query(
        &mut self,
        id: u16,
        asked: u64,
        transaction: Box<DnsTransaction>,
        cx: &mut AnalyzerCx<'_>,
    ) {
        self.expire(cx);
        let repeated = |query: &Query| {
            query.id == id
                && query.transaction.qtype == transaction.qtype
                && query.transaction.query == transaction.query
        };
        if self.queries.iter().any(repeated) {
            return;
        }
        if self.queries.len() >= PENDING_MAX {
            cx.emit(EventBody::Dns(self.queries.remove(0).transaction));
        }
        self.queries.push(Query {
            id,
            asked,
            since: cx.now,
            transaction,
        });
    }

    /// An answer came: gives the query's transaction to complete, or none when it was not seen.
    pub(super) fn take(
        &mut self,
        id: u16,
        name: &str,
        qtype: Option<u16>,
    ) -> Option<Box<DnsTransaction>> {
        let matches = |query: &Query| {
            query.id == id
                && (name.is_empty() || *query.transaction.query == *name)
                && qtype.is_none_or(|qtype| qtype == query.transaction.qtype)
        };
        let at = self.queries.iter().position(matches)?;
        Some(self.queries.remove(at).transaction)
    }

    /// The place of the query with this id and these bytes of the question.
    fn place(&self, id: u16, asked: u64) -> Option<usize> {
        let matches = |query: &Query| query.id == id && query.asked == asked && asked != 0;
        self.queries.iter().position(matches)
    }

    /// Whether this answer repeats the one before; remembers it.
    pub(super) fn repeats(&mut self, id: u16, name: &str) -> bool {
        let this = Some((id, FxBuildHasher.hash_one(name)));
        std::mem::replace(&mut self.answered, this) == this
    }

    /// Gives up on queries that waited too long.
    fn expire(&mut self, cx: &mut AnalyzerCx<'_>) {
        let late = |query: &Query| cx.now.since(query.since) > ANSWER_WAIT;
        let count = self.queries.iter().take_while(|query| late(query)).count();
        if count == 0 {
            return;
        }
        for query in self.queries.drain(..count) {
            cx.out.push(EventBody::Dns(query.transaction));
        }
    }

    /// The conversation is over.
    pub(super) fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for query in self.queries.drain(..) {
            cx.emit(EventBody::Dns(query.transaction));
        }
    }
}

/// Records as answers.
pub(super) fn answers(records: impl IntoIterator<Item = Record>) -> SmallVec<[DnsAnswer; 2]> {
    records.into_iter().map(answer).collect()
}

fn answer(record: Record) -> DnsAnswer {
    DnsAnswer {
        rtype: record.rtype,
        data: match record.data {
            dns::Data::Address(addr) => DnsData::Address(addr),
            dns::Data::Text(text) => DnsData::Text(text),
        },
        ttl: record.ttl,
    }
}

/// Reads DNS or LLMNR.
pub(super) struct DnsAnalyzer {
    flavor: DnsFlavor,
    streams: Option<Box<[StreamBuffer; 2]>>,
    waiting: Waiting,
}

impl DnsAnalyzer {
    pub(super) fn new(flavor: DnsFlavor) -> Self {
        Self {
            flavor,
            streams: None,
            waiting: Waiting::default(),
        }
    }

    fn message(&mut self, side: Side, bytes: &[u8], tcp: bool, cx: &mut AnalyzerCx<'_>) {
        let digest = |question| FxBuildHasher.hash_one::<&[u8]>(question);
        let asked = dns::question_bytes(bytes).map_or(0, digest);
        // An answer mostly repeats a question that waits: its name was read then.
        let waits = match bytes {
            [high, low, flags, ..] if flags & 0x80 != 0 => {
                let id = u16::from_be_bytes([*high, *low]);
                self.waiting.place(id, asked)
            }
            _ => None,
        };
        let depth = waits.map_or(Depth::Answers, |_| Depth::Records);
        let mut answers = SmallVec::new();
        let Some(Parsed {
            value: message,
            quirks,
        }) = dns::parse_into(bytes, depth, &ParseBudget::default(), |record| {
            answers.push(answer(record));
        })
        else {
            cx.quirk("dns", "unreadable_message");
            return;
        };
        for quirk in quirks {
            cx.quirk("dns", quirk);
        }
        let (response, id, rcode) = (message.is_response(), message.id, message.rcode());
        let question = message.questions.into_iter().next();
        if !response {
            let Some(question) = question else { return };
            let transaction = Box::new(DnsTransaction {
                flavor: self.flavor,
                query: question.name,
                qtype: question.qtype,
                query_len: u16::try_from(bytes.len()).unwrap_or(u16::MAX),
                tcp,
                ..DnsTransaction::default()
            });
            return self.waiting.query(id, asked, transaction, cx);
        }
        let (name, qtype) = question.map_or((CompactString::default(), None), |q| {
            (q.name, Some(q.qtype))
        });
        let waited = match waits {
            Some(place) => Some(self.waiting.queries.remove(place).transaction),
            None => self.waiting.take(id, &name, qtype),
        };
        let transaction = match waited {
            Some(transaction) => Some(transaction),
            // Later parts of a zone transfer repeat no question and are not told.
            None if qtype.is_none() || self.waiting.repeats(id, &name) => return,
            None => None,
        };
        let mut transaction = transaction.unwrap_or_else(|| {
            Box::new(DnsTransaction {
                flavor: self.flavor,
                query: name.clone(),
                qtype: qtype.unwrap_or(0),
                tcp,
                ..DnsTransaction::default()
            })
        });
        self.waiting.repeats(id, &transaction.query);
        transaction.rcode = Some(rcode);
        transaction.response_len = bytes.len() as u32;
        transaction.answers = answers;
        if self.flavor != DnsFlavor::Dns {
            transaction.responder = Some(sender(side, cx));
        }
        cx.emit(EventBody::Dns(transaction));
    }

    fn stream(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let mut streams = self.streams.take().unwrap_or_default();
        let [client, server] = &mut *streams;
        let buffer = if side == Side::Client { client } else { server };
        let readable = buffer.feed(bytes, |bytes| {
            let Some((prefix, rest)) = bytes.split_first_chunk::<2>() else {
                return Step::Need(2);
            };
            let length = usize::from(u16::from_be_bytes(*prefix));
            let Some(message) = rest.get(..length) else {
                return Step::Need(length + 2);
            };
            if length < 12 {
                return Step::Stop;
            }
            self.message(side, message, true, cx);
            Step::Take(length as u64 + 2)
        });
        self.streams = Some(streams);
        if !readable {
            cx.quirk("dns", "bad_length");
            cx.detach();
        }
    }
}

impl Analyzer for DnsAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if cx.conn.transport == Transport::Tcp {
            self.stream(side, bytes, cx);
        } else {
            self.message(side, bytes, false, cx);
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.waiting.close(cx);
    }
}

/// The address a message came from.
pub(super) fn sender(side: Side, cx: &AnalyzerCx<'_>) -> std::net::IpAddr {
    match side {
        Side::Client => cx.conn.client.addr,
        Side::Server => cx.conn.server.addr,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03WWW\x07example\x03org\0\0\x01\0\x01";
    const ANSWER: &[u8] =
        b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x09";

    fn transactions(talk: Talk) -> Vec<DnsTransaction> {
        talk.events
            .into_iter()
            .filter_map(|body| {
                if let EventBody::Dns(dns) = body {
                    Some(*dns)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn a_query_and_its_answer_are_one_transaction() {
        let mut talk = Talk::udp(&SPEC, 53);
        talk.client(QUERY);
        talk.client(QUERY);
        talk.server(ANSWER);
        talk.server(ANSWER);
        talk.close();
        let seen = transactions(talk);
        assert_eq!(seen.len(), 1, "repetitions are dropped: {seen:?}");
        assert_eq!(
            (&*seen[0].query, seen[0].rcode),
            ("www.example.org", Some(0))
        );
        assert_eq!(seen[0].answers[0].addr(), "10.0.0.9".parse().ok());
        assert_eq!((seen[0].query_len, seen[0].response_len), (33, 49));
    }

    #[test]
    fn a_query_without_answer_is_told_at_the_end() {
        let mut talk = Talk::udp(&SPEC, 53);
        talk.client(QUERY);
        assert!(talk.events.is_empty());
        talk.close();
        let seen = transactions(talk);
        assert_eq!((seen.len(), seen[0].rcode), (1, None));
    }

    #[test]
    fn a_query_that_waits_too_long_is_told_when_the_next_comes() {
        let mut talk = Talk::udp(&SPEC, 53);
        talk.client(QUERY);
        talk.wait(11);
        talk.client(&[b"\x99", &QUERY[1..]].concat());
        assert_eq!(talk.events.len(), 1);
    }

    #[test]
    fn an_answer_without_query_is_told_with_what_it_says() {
        let mut talk = Talk::udp(&SPEC, 53);
        talk.server(ANSWER);
        let seen = transactions(talk);
        assert_eq!((&*seen[0].query, seen[0].query_len), ("www.example.org", 0));
    }

    #[test]
    fn over_tcp_the_cut_of_segments_does_not_matter() {
        let framed = |message: &[u8]| {
            let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
            bytes.extend(message);
            bytes
        };
        let mut talk = Talk::tcp(&SPEC, 53);
        framed(QUERY).chunks(5).for_each(|piece| talk.client(piece));
        framed(ANSWER)
            .chunks(7)
            .for_each(|piece| talk.server(piece));
        let seen = transactions(talk);
        assert!(seen.len() == 1 && seen[0].tcp && seen[0].answers.len() == 1);
    }

    #[test]
    fn waiting_queries_are_bounded() {
        let mut talk = Talk::udp(&SPEC, 53);
        for id in 0..200_u16 {
            let mut query = QUERY.to_vec();
            query[..2].copy_from_slice(&id.to_be_bytes());
            talk.client(&query);
        }
        assert_eq!(talk.events.len(), 200 - PENDING_MAX);
    }
}
