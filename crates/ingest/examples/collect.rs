//! Reads datagrams, one a file, through the collector and prints what became of them: folders are groups of
//! files of one exporter. The time of arrival is the one that the datagram says it was sent at.

#![allow(clippy::print_stdout, reason = "an example's results go to stdout")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use thymus_ingest::{Collector, CollectorLimits, Export};
use thymus_schema::{EventBody, InputId, Timestamp};

/// When a datagram says it was sent: behind the uptime, but in IPFIX, which has none.
fn sent(bytes: &[u8]) -> Timestamp {
    let at = if bytes.starts_with(&[0, 10]) { 4 } else { 8 };
    let secs = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    Timestamp::from_secs(i64::from(secs.map_or(0, u32::from_be_bytes)))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("group\trecords\tjudged\tflows\tpackets\tdropped");
    for folder in std::env::args().skip(1).map(PathBuf::from) {
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?;
        files.sort();
        let mut collector = Collector::new(InputId(0), CollectorLimits::default());
        let mut events = Vec::new();
        let exporter = SocketAddr::from((Ipv4Addr::LOCALHOST, 2055));
        for file in files {
            let bytes = fs::read(file)?;
            collector.datagram(Export::NetFlow, exporter, sent(&bytes), &bytes, &mut events);
        }
        collector.finish(&mut events);
        let packets = events.iter().map(|event| match &event.body {
            EventBody::Flow(flow) => flow.client_packets + flow.server_packets,
            _ => 0,
        });
        let packets: u64 = packets.sum();
        let coverage = collector.coverage();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        println!(
            "{name}\t{}\t{}\t{}\t{packets}\t{:?}",
            coverage.records, coverage.records_judged, coverage.flows, coverage.dropped,
        );
    }
    Ok(())
}
