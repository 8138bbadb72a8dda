//! `thymus run`: packets, logs or exports in, incidents out, as they happen.
//!
//! One program, several processes: the supervisor starts the others and starts again what dies; the
//! capture passes packets on; the analysis makes events of packets or of followed logs, and judges. The path
//! from events on is that of a replay: only the stream differs. In the analysis one thread reads and
//! parses, one judges, prints and saves, and one writes the journal.

mod analyse;
mod capture;
mod chronicle;
mod collected;
mod desk;
mod first;
mod followed;
mod live;
mod member;
mod orders;
mod printer;
mod reload;
mod resume;
mod stop;
mod supervise;
mod vitals;
mod wire;

pub(crate) use reload::reload;
pub(crate) use stop::Stop;
pub(crate) use vitals::{detectors, devices};

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use thymus_ingest::Ledger;
use thymus_parsers::packet::decode_frame;
use thymus_schema::LocalNetworks;
use thymus_sensor::{Catch as _, Fan, TapOptions};

use crate::Found;
use crate::cli::{LiveArgs, Role};
use crate::config;
use crate::replay::Memory;

const MIB: usize = 1 << 20;

/// Runs the command, or one process of it.
///
/// # Errors
/// When there is nothing that can be watched, or when results or state cannot be written. What was seen
/// until then is reported and saved.
pub(crate) fn run(args: &LiveArgs) -> Result<Found> {
    let Some(role) = args.role else {
        config::sound(args)?;
        return supervise::run(args);
    };
    if let Some(parent) = args.parent {
        end_with(parent)?;
    }
    match (role, args.interface.as_deref()) {
        (Role::Capture, Some(interface)) => capture::run(args, interface),
        (Role::Capture, None) if !args.collect.is_empty() => capture::listen(args),
        (Role::Analysis, _) => analyse::run(args),
        (Role::Capture, None) | (Role::Console | Role::Teller | Role::Enforcer, _) => {
            bail!("there is nothing to capture on")
        }
    }
}

/// Asks the kernel to end this process with the one that started it, as if somebody had asked it to end.
pub(crate) fn end_with(parent: i32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot be tied to the parent")?;
    let is_there = getppid().is_some_and(|now| now.as_raw_nonzero().get() == parent);
    if !is_there {
        bail!("the process that started this one is gone");
    }
    Ok(())
}

/// The local networks that the live run before went by.
pub(crate) fn kept_local(memory: &Memory) -> Option<LocalNetworks> {
    resume::Kept::of(memory).map(|kept| kept.local)
}

/// Packets wait no longer for those that come after them: the judging has seconds, and short blocks cost time.
const HAND_OVER_MILLIS: u32 = 50;
/// Where something is done about what is found, every moment counts.
const HAND_OVER_MILLIS_SOON: u32 = 5;

/// Opens the capture; all that can go wrong goes wrong here, before anything is printed.
fn open(args: &LiveArgs, interface: &str) -> Result<Fan> {
    let tap = Fan::open(&TapOptions {
        interface: interface.to_owned(),
        promiscuous: !args.no_promiscuous,
        sockets: args.capture_sockets.into(),
        ring_bytes: args.buffer as usize * MIB,
        hand_over_millis: if args.respond.is_some() {
            HAND_OVER_MILLIS_SOON
        } else {
            HAND_OVER_MILLIS
        },
        filter: args.filter.clone(),
    })?;
    let link_type = tap.interface().link_type;
    if decode_frame(link_type, &[]).is_none() {
        bail!("packets of link type {link_type} are not read");
    }
    Ok(tap)
}

/// The clock that the kernel stamps packets with: for how far behind the analysis is, to tell one run's
/// events from those of another, and for logs that nobody writes to.
#[expect(
    clippy::disallowed_methods,
    reason = "lag, and the name of this run; never the time of an event"
)]
pub(crate) fn now_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// What a live run read: no files.
fn no_files() -> Ledger {
    Ledger::default()
}

/// Standard output, with the status line out of the way.
fn out_of_the_way(status: bool) -> Result<()> {
    use std::io::Write;
    if status {
        let mut err = std::io::stderr();
        err.write_all(b"\r\x1b[2K").context("standard error")?;
    }
    Ok(())
}
