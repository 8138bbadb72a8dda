//! Reads captures and prints their flows, one a line, for comparison with other tools; with
//! `--count` only totals, for measuring.

#![allow(clippy::print_stdout, reason = "an example's results go to stdout")]

use std::path::Path;

use thymus_ingest::{CaptureLimits, CaptureSource, Input, Source, SourceCx};
use thymus_schema::EventBody;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (options, paths): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let has = |name: &str| options.iter().any(|option| option == name);
    let mut files = Vec::new();
    for path in &paths {
        files.push(Input::identify(Path::new(path))?.0);
    }
    let limits = CaptureLimits {
        read_ahead: !has("--inline"),
        ..CaptureLimits::default()
    };
    let mut source = CaptureSource::open(files, &SourceCx::default(), limits);
    let mut events = Vec::new();
    let mut kinds = std::collections::BTreeMap::new();
    while source.next_batch(&mut events)? {
        for event in events.drain(..) {
            *kinds.entry(event.body.kind()).or_insert(0_u64) += 1;
            let (EventBody::Flow(flow), Some(conn)) = (&event.body, event.conn) else {
                continue;
            };
            if !has("--count") {
                println!(
                    "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
                    conn.client.addr,
                    conn.client.port,
                    conn.server.addr,
                    conn.server.port,
                    conn.transport.as_str(),
                    flow.state.as_str(),
                    flow.history,
                    flow.client_bytes,
                    flow.server_bytes,
                    flow.client_packets,
                    flow.server_packets,
                    flow.missed_bytes,
                );
            }
        }
    }
    if has("--count") {
        println!("{:#?}\n{kinds:?}", source.coverage());
    }
    for problem in source.take_problems() {
        println!(
            "# offset {}: {}; {}",
            problem.offset, problem.reason, problem.remedy
        );
    }
    Ok(())
}
