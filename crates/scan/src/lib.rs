//! The file engine: identifies, unpacks and judges files, in memory and within bounds.
//!
//! Every file ends in one of four outcomes: clean, suspicious, malicious, or not judged with the
//! reason. What was not looked at is never called clean: an archive is clean when everything in it was
//! judged clean, and a file that fits several types is judged as each, where the worst counts.
//!
//! Must not: run anything but its own workers, write anything, follow a link, open what is no regular
//! file, read a clock.
//! What judges content is a [`Judge`], handed in, mostly the shipped [`Networks`]; without one nothing
//! is judged, and that is said. Rules that people wrote are looked for beside it by a [`RuleMatcher`]; what
//! they find changes no outcome.
//!
//! Reading order: the types ([`FileType`], [`identify`]), what is found ([`Verdict`], [`Reason`]), the
//! bounds ([`ScanPolicy`]), what opens archives and documents, the [`Scanner`] of one file, the processes
//! it works in ([`Workers`]), then many files ([`Walker`], [`scan_all`]).

#![forbid(unsafe_code)]

mod budget;
mod cache;
mod calibration;
mod coverage;
mod excerpt;
mod explain;
mod file_type;
mod formats;
mod identify;
mod judge;
mod layout;
mod lists;
mod networks;
mod order;
mod policy;
mod read;
mod reason;
mod rules;
mod run;
#[cfg(test)]
mod samples;
mod scanner;
mod shadow;
mod signature;
mod unpack;
mod verdict;
mod walk;
mod worker;

pub use calibration::{Calibration, Calibrator};
pub use coverage::Coverage;
pub use excerpt::Excerpt;
pub use explain::Masking;
pub use file_type::FileType;
pub use formats::{FORMATS, Format, fuzz_format};
pub use identify::{Packer, identify, overlay};
pub use judge::{ByteRange, Judge, Judgement, Leaning};
pub use lists::{Day, Decision, List, ListEntry, ListError, Lists, Named, Unsigned};
pub use networks::{NetworkInfo, Networks, WrongModel};
pub use policy::ScanPolicy;
pub use read::{open, read};
pub use reason::{Reason, Special};
pub use rules::{RULES_MAX, RuleMatch, RuleMatcher, RuleMatches, RuleString, RuleTarget};
pub use run::{Beside, Engine, FileId, Job, Scanned, scan_all};
pub use scanner::Scanner;
pub use shadow::{ALPHA, Change, Promise, Shadow, ShadowResult, Tried, TypeResult};
pub use signature::{Refusal, Signature, SignerCertificate, Timestamp};
pub use verdict::{FileReport, Outcome, Verdict};
pub use walk::{Entry, Found, IgnoreFile, WalkOptions, Walker};
pub use worker::{Confinement, Landlock, Limits, StartError, Worker, Workers, serve};
