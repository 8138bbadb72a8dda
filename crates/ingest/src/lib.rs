//! Sources: captures and logs become events in order of time.
//!
//! Must not: judge anything, read a clock, resolve names. Every table and queue has a bound and a
//! counter; what was not read is in the [`Coverage`](thymus_schema::Coverage).

#![forbid(unsafe_code)]

mod error;
mod framing;
mod inner;
mod input;
mod ledger;
mod source;

mod analyzer;
mod analyzers;
mod auth;
mod carve;

mod capture;
mod collect;
mod flow;
mod follow;

mod indicators;
mod inventory;
mod local;
mod logs;
mod reorder;
mod replay;

pub use analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
pub use analyzers::ANALYZERS;
pub use capture::{CaptureLimits, CaptureSource, PEEK_PACKETS_MAX, PacketSeen, peek};
pub use carve::{FileJudge, SharedJudge};
pub use collect::{Collector, CollectorLimits, Export, ExporterCounters, ProgramCounter};
pub use error::IngestError;
pub use flow::{FlowEngine, FlowLimits};
pub use follow::{
    Follow, FollowCounters, FollowFrom, FollowLimits, FollowOptions, FollowedLog, Position,
};
pub use indicators::Indicators;
pub use input::{Input, InputReader};
pub use inventory::ReplayLimits;
pub use ledger::{InputStatus, Ledger, LedgerEntry, LedgerTotals, PROBLEMS_PER_INPUT_MAX, Problem};
pub use local::Evidence;
pub use replay::{Replay, ReplayOptions};
pub use source::{Head, Lane, SOURCES, Sniffed, Source, SourceCx, SourceSpec};
