//! `thymus console`: takes in what a run writes to the journal, keeps it, and serves it to browsers.
//!
//! A process of its own: it reads no packets and no logs, and cannot change what was learned; the analysis can
//! touch neither users nor cases nor the audit log.

pub(crate) mod accounts;
pub(crate) mod bouncers;
mod demo;
mod host;
mod keeper;
mod response;
mod steady;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use thymus_schema::Timestamp;
use thymus_server::{Hub, Options, Server, TlsFiles};
use thymus_store::database::{ConsoleLock, Limits};
use thymus_store::{ArchiveLimits, Database};

use crate::Found;
use crate::cli::{ConsoleArgs, KeepArgs};
use crate::run::{self, Stop};
use host::Site;
use keeper::Keeper;
use response::Response;

/// Runs the command.
///
/// # Errors
/// When the folder or the address cannot be used, or another console serves the folder.
pub(crate) fn run(args: &ConsoleArgs) -> Result<Found> {
    if let Some(parent) = args.parent {
        run::end_with(parent)?;
    }
    let store = folder(&args.state);
    let _lock = ConsoleLock::take(&store)?;
    let (events, rest) = limits(args.keep);
    let database = Arc::new(Database::open(&store, rest, now())?);
    for remark in database.remarks() {
        eprintln!("thymus: {remark}");
    }
    let site = Arc::new(Site::new(
        &args.state,
        events,
        Response::open(&args.state, !args.no_sandbox)?,
    ));
    let hub = Hub::default();
    let server = Server::bind(
        &options(args, &store),
        Arc::clone(&database),
        Arc::clone(&site) as Arc<dyn thymus_server::Host>,
        hub.clone(),
    )?;
    let url = url(args, &server)?;
    if !args.no_sandbox && !thymus_sensor::confine_server(std::slice::from_ref(&args.state))? {
        eprintln!("thymus: this kernel has no Landlock; the console may open any file of its user");
    }
    let stop = Stop::listen()?;
    greet(&url, &database)?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let keeper = Keeper::open(&args.state, &database, &site, &hub)?;
        let keeping = scope.spawn(|| {
            let kept = keeper.run(&|| is_over.load(Ordering::Relaxed));
            // A keeper that cannot go on ends the server too, so that whoever started them starts both again.
            is_over.store(true, Ordering::Relaxed);
            kept
        });
        let served = server.run(&|| stop.is_due() || is_over.load(Ordering::Relaxed));
        is_over.store(true, Ordering::Relaxed);
        let kept = keeping.join();
        served?;
        kept.unwrap_or_else(|_| anyhow::bail!("the keeper of the console panicked"))
    })?;
    Ok(Found::Nothing)
}

/// Where the console keeps what is its own.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("store")
}

/// The time of day, for people and for sessions; it never reaches what was found.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_nanos(run::now_nanos())
}

/// How much is kept: of events, and of the rest.
fn limits(keep: KeepArgs) -> (ArchiveLimits, Limits) {
    const DAY_HOURS: u64 = 24;
    let events = ArchiveLimits {
        bytes_max: keep.keep_events << 20,
        age_max: Some(Duration::from_hours(
            u64::from(keep.keep_event_days) * DAY_HOURS,
        )),
        ..ArchiveLimits::default()
    };
    let rest = Limits {
        days_max: u64::from(keep.keep_incident_days),
        ..Limits::default()
    };
    (events, rest)
}

fn options(args: &ConsoleArgs, store: &Path) -> Options {
    let tls = args.tls_cert.clone().zip(args.tls_key.clone());
    Options {
        listen: args.listen,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        hosts: args.host.clone(),
        dir: store.join("tls"),
    }
}

fn url(args: &ConsoleArgs, server: &Server) -> Result<String> {
    let address = server.address().context("no address to listen on")?;
    let scheme = if server.is_tls() { "https" } else { "http" };
    let host = match args.host.first() {
        Some(name) => format!("{name}:{}", address.port()),
        None => address.to_string(),
    };
    Ok(format!("{scheme}://{host}"))
}

fn greet(url: &str, database: &Database) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "thymus: the console is at {url}")?;
    if let Some(token) = database.setup_token()? {
        writeln!(
            out,
            "thymus: there is no user yet; make the first admin at {url}/setup?token={token}"
        )?;
    }
    Ok(out.flush()?)
}
