//! The capturing process: the packets of an interface, or what others send, passed on. It looks into none
//! of them.

use std::io::stdout;
use std::time::{Duration, Instant};

use anyhow::Result;
use thymus_ingest::Export;
use thymus_sensor::{CaptureReport, Catch, ListenOn, Listener, RelaySender, Sensor, Waited};

use super::stop::Stop;
use super::{MIB, now_nanos, open};
use crate::Found;
use crate::cli::{CollectOn, LiveArgs};
use crate::replay::now;

const WAIT: Duration = Duration::from_millis(100);
/// How the capture stands is told this often, so that an analysis that was started anew hears of it.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How long an end that was asked for waits for an analysis that does not read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Captures until it is asked to end.
pub(super) fn run(args: &LiveArgs, interface: &str) -> Result<Found> {
    let tap = open(args, interface)?;
    if !args.no_sandbox {
        thymus_sensor::confine(&[], &[])?;
    }
    pass_on(tap, args)
}

/// Takes what others send until it is asked to end.
pub(super) fn listen(args: &LiveArgs) -> Result<Found> {
    let on: Vec<ListenOn> = args.collect.iter().map(listen_on).collect();
    let listener = Listener::open("exports", &on, args.buffer as usize * MIB)?;
    if !args.no_sandbox {
        thymus_sensor::confine_listener()?;
    }
    pass_on(listener, args)
}

fn listen_on(on: &CollectOn) -> ListenOn {
    ListenOn {
        address: on.address,
        streams: on.export == Export::Syslog,
    }
}

fn pass_on(catch: impl Catch, args: &LiveArgs) -> Result<Found> {
    // Before any thread is started: all are to leave the signals to the one that waits for them.
    let stop = Stop::listen()?;
    let mut sensor = Sensor::start(catch, args.buffer as usize * MIB);
    let mut sender = RelaySender::new(stdout());
    let started = now_nanos();
    let mut asked: Option<Instant> = None;
    let mut told: Option<(Instant, bool)> = None;
    loop {
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
