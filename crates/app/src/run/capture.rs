//! The capturing process: the packets of an interface, or what others send, passed on. It looks into none
//! of them.

use std::io::{stdin, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use thymus_ingest::Export;
use thymus_sensor::{
    CaptureReport, Catch, Change, Filter, ListenOn, Listener, PacketRing, RelaySender, RingKeeper,
    Sensor, Waited,
};

use super::orders::{Answer, Ear, Orders};
use super::stop::Stop;
use super::{MIB, now_nanos, open};
use crate::Found;
use crate::cli::{CollectOn, LiveArgs};
use crate::packets;
use crate::replay::now;

const WAIT: Duration = Duration::from_millis(100);
/// How the capture stands is told this often, so that an analysis that was started anew hears of it.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long an end that was asked for waits for an analysis that does not read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Captures until it is asked to end.
pub(super) fn run(args: &LiveArgs, interface: &str) -> Result<Found> {
    let tap = open(args, interface)?;
    let ring = ring(args, tap.interface().link_type)?;
    if !args.no_sandbox {
        let written = ring.as_ref().and_then(|_| packets_folder(args));
        thymus_sensor::confine(written.as_slice(), &[])?;
    }
    pass_on(tap, ring, args)
}

fn packets_folder(args: &LiveArgs) -> Option<PathBuf> {
    args.run.state.as_deref().map(packets::folder)
}

/// Where packets are kept for evidence: here and not in the analysis, so that what the analysis has no time
/// for is kept too. There is one also where none are to be kept, as that may change.
fn ring(args: &LiveArgs, link_type: u32) -> Result<Option<PacketRing>> {
    let Some(folder) = packets_folder(args) else {
        return Ok(None);
    };
    let bytes_max = bytes_kept(args.keep_packets);
    let ring = PacketRing::open(&folder, link_type, bytes_max);
    if bytes_max == 0 {
        return Ok(ring.ok());
    }
    let at = || {
        format!(
            "cannot keep packets in {}; --keep-packets 0 keeps none",
            folder.display()
        )
    };
    ring.with_context(at).map(Some)
}

fn bytes_kept(mib: u32) -> u64 {
    u64::from(mib) * MIB as u64
}

/// Takes what others send until it is asked to end.
pub(super) fn listen(args: &LiveArgs) -> Result<Found> {
    let on: Vec<ListenOn> = args.collect.iter().map(listen_on).collect();
    let listener = Listener::open("exports", &on, args.buffer as usize * MIB)?;
    if !args.no_sandbox {
        thymus_sensor::confine_listener()?;
    }
    pass_on(listener, None, args)
}

fn listen_on(on: &CollectOn) -> ListenOn {
    ListenOn {
        address: on.address,
        streams: on.export == Export::Syslog,
    }
}

fn pass_on(catch: impl Catch, ring: Option<PacketRing>, args: &LiveArgs) -> Result<Found> {
    // Before any thread is started: all are to leave the signals to the one that waits for them.
    let stop = Stop::listen()?;
    let ring = ring.map(RingKeeper::start).transpose();
    let ring = ring.context("cannot start a thread that keeps packets")?;
    let mut sensor = Sensor::start(catch, args.buffer as usize * MIB, ring);
    let mut sender = RelaySender::new(stdout());
    let started = now_nanos();
    let mut asked: Option<Instant> = None;
    let mut told: Option<(Instant, bool)> = None;
    let mut filter = args.filter.clone();
    let mut ear = Ear::open();
    loop {
        if let Some(orders) = ear.listen() {
            let answer = obey(&orders, &sensor, &mut filter);
            // The supervisor may have lost patience.
            let answer = serde_json::to_vec(&answer).unwrap_or_default();
            let _is_heard = RelaySender::new(stdin()).tell(&answer, || false).is_ok();
            // Which packets come from now on is told before them.
            told = None;
        }
        if asked.is_none() && stop.is_due() {
            asked = Some(now());
            sensor.stop();
        }
        let patient = || asked.is_none_or(|at| at.elapsed() < PATIENCE);
        let waited = if told.is_none() {
            Waited::Nothing
        } else {
            sensor.next(WAIT)
        };
        let ended = matches!(waited, Waited::Ended);
        if let Waited::Block(block) = waited {
            sender.packets(&block, patient)?;
            sensor.give_back(block);
        }
        if ended && let Some(trouble) = sensor.take_trouble() {
            return Err(trouble.into());
        }
        let is_down = sensor.is_down();
        let is_news =
            |(at, was_down): (Instant, bool)| was_down != is_down || at.elapsed() >= REPORT_EVERY;
        if ended || told.is_none_or(is_news) {
            let report = CaptureReport {
                started,
                interface: sensor.interface().clone(),
                is_down,
                shortfall: sensor.shortfall(),
                ring: sensor.ring(),
                filter: filter.as_ref().map(Filter::to_string),
                ended,
            };
            sender.report(&report, patient)?;
            told = Some((now(), is_down));
        }
        if ended {
            return Ok(Found::Nothing);
        }
    }
}

/// Takes over what changed, packet by packet, on the socket there is.
fn obey(orders: &Orders, sensor: &Sensor, filter: &mut Option<Filter>) -> Answer {
    let mut answer = Answer::default();
    let wanted = orders.filter.as_deref().map(str::parse).transpose();
    match wanted {
        Ok(wanted) if wanted == *filter => {}
        Ok(wanted) => match sensor.change(Change::Filter(wanted.clone())) {
            Ok(()) => *filter = wanted,
            Err(error) => answer.filter = Some(error.to_string()),
        },
        Err(error) => answer.filter = Some(error.to_string()),
    }
    if !sensor.keep(bytes_kept(orders.keep_packets)) && orders.keep_packets > 0 {
        answer.keep_packets = Some("there is no folder for packets".to_owned());
    }
    answer
}
