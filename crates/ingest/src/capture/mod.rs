//! Captures as a source: files of packets, plain or compressed, become events through the flow
//! engine. All files of an import are one stream, so a flow is not cut where a file ends.

mod file;
mod merge;
mod pcapng;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use thymus_parsers::packet::{Next, decode_frame, decode_ip};
use thymus_schema::{Coverage, Event, InputId, Mac, Timestamp};

use crate::analyzers::ANALYZERS;
use crate::error::IngestError;
use crate::flow::{FlowEngine, FlowLimits};
use crate::input::Input;
use crate::ledger::Problem;
use crate::local::Evidence;
use crate::source::{Head, Lane, Sniffed, Source, SourceCx, SourceSpec};
use file::{Block, FileReader};
use merge::{Merger, Waiting};

/// Captures: pcap and pcapng.
pub(crate) const SPEC: SourceSpec = SourceSpec {
    id: "capture",
    title: "packet captures: pcap and pcapng",
    sniff: |head: &Head<'_>| {
        let sniffed = |format: &str| Sniffed {
            format: format.to_owned(),
            first: None,
        };
        file::sniff(head.bytes).map(sniffed)
    },
    look: |input, evidence| {
        if !evidence.wants_more() {
            return;
        }
        for seen in peek(input, PEEK_PACKETS_MAX) {
            evidence.seen(&seen);
        }
    },
    open,
};

/// Packets of each file, or of a live capture, looked at to find the local networks.
pub const PEEK_PACKETS_MAX: usize = 20_000;
/// Most unreadable link types told of.
const TOLD_MAX: usize = 64;
/// Packets after which a batch of events is handed over.
const RUN_PACKETS_MAX: usize = 512;

/// Bounds of reading captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureLimits {
    /// Most files read at once, because they overlap in time.
    pub open_files_max: usize,
    /// Whether files are read and decompressed ahead in a thread of their own. The events are the
    /// same either way.
    pub read_ahead: bool,
    /// Bounds of the flow engine.
    pub flow: FlowLimits,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self {
            open_files_max: 32,
            read_ahead: true,
            flow: FlowLimits::default(),
        }
    }
}

/// All captures of an import as one stream of events.
pub struct CaptureSource {
    merger: Merger,
    engine: FlowEngine,
    problems: Vec<Problem>,
    /// Link types that cannot be read, by input, already told of.
    told: BTreeSet<(InputId, u32)>,
    finished: bool,
}

impl CaptureSource {
    /// Opens captures. Files that cannot be read, or hold no packet, are reported as problems.
    pub fn open(files: Vec<Input>, cx: &SourceCx, limits: CaptureLimits) -> Self {
        let mut problems = Vec::new();
        let files = files
            .into_iter()
            .filter_map(|input| waiting(input, &mut problems))
            .collect();
        Self::over(files, problems, cx, limits)
    }

    fn over(
        files: Vec<Waiting>,
        problems: Vec<Problem>,
        cx: &SourceCx,
        limits: CaptureLimits,
    ) -> Self {
        Self {
            merger: Merger::new(files, limits),
            engine: FlowEngine::new(cx.local.clone(), limits.flow, ANALYZERS)
                .with_judge(cx.judge.clone()),
            problems,
            told: BTreeSet::new(),
            finished: false,
        }
    }
}

impl Source for CaptureSource {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, IngestError> {
        if self.finished {
            return Ok(false);
        }
        if let Some(run) = self.merger.next_run(RUN_PACKETS_MAX) {
            self.engine.set_input(run.input);
            let mut known = u32::MAX;
            for (at, record) in run.records.iter().enumerate() {
                let next_ts = run.records.get(at + 1).map(|next| next.ts).or(run.next_ts);
                if record.link_type != known {
                    known = record.link_type;
                    tell_unknown_link(known, run.input, &mut self.told, &mut self.problems);
                }
                self.engine.packet(
                    record.ts,
                    next_ts,
                    record.link_type,
                    run.block.packet(record),
                );
            }
        } else {
            self.finished = true;
            self.engine.finish();
        }
        let events = self.engine.events();
        if out.is_empty() {
            // Handed over instead of copied, and the room of `out` used next.
            std::mem::swap(out, events);
        } else {
            out.append(events);
        }
        Ok(true)
    }

    fn coverage(&self) -> Coverage {
        let mut coverage = self.engine.coverage();
        coverage.drop_for("capture_files_not_merged", self.merger.unmerged_files);
        coverage
    }

    fn bytes_done(&self) -> u64 {
        self.merger.bytes_done()
    }

    fn take_problems(&mut self) -> Vec<Problem> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.append(&mut self.merger.take_problems());
        problems
    }
}

/// Reports a link type that cannot be read, once an input.
fn tell_unknown_link(
    link_type: u32,
    input: InputId,
    told: &mut BTreeSet<(InputId, u32)>,
    problems: &mut Vec<Problem>,
) {
    if decode_frame(link_type, &[]).is_some() || told.len() >= TOLD_MAX {
        return;
    }
    if told.insert((input, link_type)) {
        problems.push(Problem {
            input: Some(input),
            offset: 0,
            reason: format!("packets of link type {link_type} are not read"),
            remedy: "capture on an Ethernet, cooked, raw IP, PPP or loopback interface".to_owned(),
        });
    }
}

/// One lane over all captures.
fn open(inputs: Vec<Input>, cx: &SourceCx) -> Vec<Lane> {
    let mut problems = Vec::new();
    let files: Vec<Waiting> = inputs
        .into_iter()
        .filter_map(|input| waiting(input, &mut problems))
        .collect();
    let first = files.iter().map(|file| file.first_ts).min().unwrap_or(0);
    let cx = cx.clone();
    let open = move || {
        let limits = CaptureLimits::default();
        let source = CaptureSource::over(files, problems, &cx, limits);
        Ok(Box::new(source) as Box<dyn Source>)
    };
    vec![Lane {
        first: Timestamp::from_nanos(first),
        open: Box::new(open),
    }]
}

/// A file with the time of its first packet; `None`, and a problem, when it has none.
fn waiting(input: Input, problems: &mut Vec<Problem>) -> Option<Waiting> {
    match file::first_time(&input) {
        Ok((Some(first), _)) => Some(Waiting {
            first_ts: first.as_nanos(),
            input,
        }),
        Ok((None, mut found)) => {
            if found.is_empty() {
                found.push(Problem {
                    input: Some(input.id),
                    offset: 0,
                    reason: "the capture holds no packet".to_owned(),
                    remedy: "nothing to do, unless packets were expected".to_owned(),
                });
            }
            problems.append(&mut found);
            None
        }
        Err(error) => {
            problems.push(Problem {
                input: Some(input.id),
                offset: 0,
                reason: format!("cannot open: {error}"),
                remedy: "check that the file is still there and may be read".to_owned(),
            });
            None
        }
    }
}

/// One packet's ends, as far as they tell which addresses are local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSeen {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Hardware source address, where the link has one.
    pub source_mac: Option<Mac>,
}

/// The first packets of a capture, outermost IP headers only.
pub fn peek(input: &Input, packets_max: usize) -> Vec<PacketSeen> {
    let mut seen = Vec::new();
    let Ok(mut reader) = FileReader::open(input.clone()) else {
        return seen;
    };
    let mut block = Block::default();
    let mut left = packets_max;
    while left > 0 && reader.fill(&mut block) {
        for record in block.records.iter().take(left) {
            seen.extend(look_at(record.link_type, block.packet(record)));
        }
        left = left.saturating_sub(block.records.len());
    }
    seen
}

impl Evidence {
    /// A packet, as it was captured on a link of this type.
    pub fn packet(&mut self, link_type: u32, bytes: &[u8]) {
        if let Some(seen) = look_at(link_type, bytes) {
            self.seen(&seen);
        }
    }

    fn seen(&mut self, seen: &PacketSeen) {
        self.pair(seen.source, seen.destination);
        if let Some(mac) = seen.source_mac {
            self.mac(mac, seen.source);
        }
    }
}

fn look_at(link_type: u32, bytes: &[u8]) -> Option<PacketSeen> {
    let frame = decode_frame(link_type, bytes)?;
    let Next::Ip(packet) = frame.next else {
        return None;
    };
    let ip = decode_ip(packet)?;
    Some(PacketSeen {
        source: ip.source.to_canonical(),
        destination: ip.destination.to_canonical(),
        source_mac: frame.source_mac.map(Mac),
    })
}
