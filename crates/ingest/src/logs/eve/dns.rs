//! DNS records of all three versions: one per query and one per answer record (1), one per answer
//! message (2), and with all queries in a list (3).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};
use thymus_parsers::Json;
use thymus_schema::{Conn, DnsAnswer, DnsFlavor, DnsTransaction, EventBody, Timestamp, Transport};

use super::EveRecord;
use crate::logs::names::{dns_rcode, dns_type, name_text};
use crate::logs::{Decoded, Records};

/// Most queries that wait; the oldest then counts as unanswered.
const WAITING_MAX: usize = 4_096;
/// Most answered ids remembered, to know the further records of one answer.
const ANSWERED_MAX: usize = 256;
/// After this long a query counts as unanswered.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Most answers kept.
const ANSWERS_MAX: usize = 32;

type Key = (u64, u64);

#[derive(Serialize, Deserialize)]
struct Query {
    key: Key,
    ts: Timestamp,
    conn: Option<Conn>,
    transaction: DnsTransaction,
}

/// Queries whose answer has not come.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Waiting {
    queries: VecDeque<Query>,
    answered: VecDeque<Key>,
}

impl Waiting {
    pub(super) fn record(
        &mut self,
        dns: &Json<'_>,
        record: &EveRecord<'_>,
        records: &mut Records,
    ) -> Decoded {
        self.expire(record.ts, records);
        let id = dns
            .get("id")
            .u64()
            .or_else(|| dns.get("tx_id").u64())
            .unwrap_or(0);
        let key = (record.json.get("flow_id").u64().unwrap_or(0), id);
        let transaction = transaction(dns, record);
        if matches!(dns.get("type").text(), "query" | "request") {
            if self.queries.len() >= WAITING_MAX {
                self.unanswered(records);
            }
            let (ts, conn) = (record.ts, record.conn);
            self.queries.push_back(Query {
                key,
                ts,
                conn,
                transaction,
            });
            return Decoded::Used;
        }
        let asked = self.queries.iter().position(|query| query.key == key);
        let asked = asked.and_then(|at| self.queries.remove(at));
        if asked.is_none() && self.answered.contains(&key) {
            return Decoded::Unused("further_record_of_one_answer");
        }
        if self.answered.len() >= ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back(key);
        let transaction = match &asked {
            Some(asked) => DnsTransaction {
                query: asked.transaction.query.clone(),
                qtype: asked.transaction.qtype,
                ..transaction
            },
            None => transaction,
        };
        let conn = asked.and_then(|asked| asked.conn).or(record.conn);
        records.emit(record.ts, conn, EventBody::Dns(Box::new(transaction)));
        Decoded::Used
    }

    /// The file has ended: what waits was not answered.
    pub(super) fn finish(&mut self, records: &mut Records) {
        while !self.queries.is_empty() {
            self.unanswered(records);
        }
    }

    fn expire(&mut self, now: Timestamp, records: &mut Records) {
        while self
            .queries
            .front()
            .is_some_and(|query| query.ts.plus(ANSWER_WAIT) < now)
        {
            self.unanswered(records);
        }
    }

    fn unanswered(&mut self, records: &mut Records) {
        if let Some(query) = self.queries.pop_front() {
            records.emit(
                query.ts,
                query.conn,
                EventBody::Dns(Box::new(query.transaction)),
            );
        }
    }
}

fn transaction(dns: &Json<'_>, record: &EveRecord<'_>) -> DnsTransaction {
    let question = dns.get("queries").list().first().unwrap_or(dns);
    let of_list = dns.get("answers").list().iter();
    let answers: SmallVec<[DnsAnswer; 2]> = match of_list.as_slice() {
        [] if dns.get("rdata").text().is_empty() => SmallVec::new(),
        [] => smallvec![answer(dns)],
        list => list.iter().take(ANSWERS_MAX).map(answer).collect(),
    };
    let port = record.conn.map_or(53, |conn| conn.server.port);
    DnsTransaction {
        flavor: match port {
            5353 => DnsFlavor::Mdns,
            5355 => DnsFlavor::Llmnr,
            137 => DnsFlavor::Nbns,
            _ => DnsFlavor::Dns,
        },
        query: name_text(question.get("rrname").text()),
        qtype: dns_type(question.get("rrtype").text()),
        rcode: dns_rcode(dns.get("rcode").text()),
        answers,
        tcp: record
            .conn
            .is_some_and(|conn| conn.transport == Transport::Tcp),
        ..DnsTransaction::default()
    }
}

fn answer(json: &Json<'_>) -> DnsAnswer {
    DnsAnswer::of_text(
        dns_type(json.get("rrtype").text()),
        name_text(json.get("rdata").text()),
        json.get("ttl").u64().unwrap_or(0) as u32,
    )
}
