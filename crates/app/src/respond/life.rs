//! `thymus life`: of which devices the pattern of life is known well enough to be enforced.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thymus_ingest::{Replay, ReplayOptions};
use thymus_respond::{FlowBook, Habit, LifeTest, Port, Talk};
use thymus_schema::{LocalNetworks, Timestamp};

use super::{folder, kept};
use crate::Found;
use crate::cli::LifeArgs;
use crate::console::Progress;
use crate::replay::declared;

/// Patterns that are named of one device.
const NAMED: usize = 40;

/// What is known of one device.
struct Known {
    addr: IpAddr,
    habits: Vec<Habit>,
    test: LifeTest,
}

/// Runs the command.
///
/// # Errors
/// When nothing can be read, or it has no day that could be held against one before it.
pub(crate) fn life(args: &LifeArgs) -> Result<Found> {
    let (book, local) = match &args.state {
        Some(state) => kept::read(&folder(state)).with_context(|| {
            format!(
                "{} holds no conversations: `thymus run --respond` keeps them there",
                state.display()
            )
        })?,
        None => learned(&args.paths, declared(&args.local), args.quiet)?,
    };
    let later = if args.held.is_empty() {
        None
    } else {
        Some(learned(&args.held, Some(local.clone()), args.quiet)?.0)
    };
    let known = known(&book, later.as_ref(), &local, args.device);
    if let Some(device) = args.device
        && known.is_empty()
    {
        bail!("nothing is known of {device}: no conversation of it came to anything");
    }
    let out = std::io::stdout().lock();
    if args.json {
        as_json(&known, later.as_ref(), out)?;
    } else if args.device.is_some() {
        about(&known, out)?;
    } else {
        table(&known, args.limit, out)?;
    }
    let mut tested = known.iter().filter(|one| one.test.days > 0).peekable();
    Ok(if tested.peek().is_none() {
        Found::Trouble
    } else if tested.any(|one| is_beyond(one, args.limit)) {
        Found::Something
    } else {
        Found::Nothing
    })
}

/// The conversations of captures and logs.
fn learned(
    paths: &[PathBuf],
    local: Option<LocalNetworks>,
    quiet: bool,
) -> Result<(FlowBook, LocalNetworks)> {
    let options = ReplayOptions {
        local,
        ..ReplayOptions::default()
    };
    let mut replay = Replay::open(paths, options)?;
    let progress = Progress::bytes(replay.progress().1, quiet);
    let mut book = FlowBook::default();
    let mut events = Vec::new();
    while replay.next_batch(&mut events)? {
        book.events(&events);
        events.clear();
        progress.to(replay.progress().0);
    }
    book.events(&events);
    progress.done();
    Ok((book, replay.local().clone()))
}

/// Every local address, the least known first.
fn known(
    book: &FlowBook,
    later: Option<&FlowBook>,
    local: &LocalNetworks,
    device: Option<IpAddr>,
) -> Vec<Known> {
    let ends = book
        .patterns()
        .flat_map(|(talk, _)| [talk.client, talk.server]);
    let addrs: BTreeSet<IpAddr> = ends
        .filter(|addr| local.contains(*addr) && !addr.is_multicast() && !is_broadcast(*addr))
        .filter(|addr| device.is_none_or(|device| device.to_canonical() == *addr))
        .collect();
    let mut known: Vec<Known> = addrs
        .into_iter()
        .map(|addr| Known {
            addr,
            habits: book.habits(&[addr], Timestamp::MAX),
            test: match later {
                Some(later) => book.life_test_with(&[addr], later),
                None => book.life_test(&[addr], Timestamp::MAX),
            },
        })
        .collect();
    known.sort_by(|a, b| {
        let share = b.test.share().total_cmp(&a.test.share());
        share.then(b.test.flows.cmp(&a.test.flows))
    });
    known
}

fn is_broadcast(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(addr) if addr.is_broadcast())
}

fn is_beyond(one: &Known, limit: f64) -> bool {
    one.test.days > 0 && one.test.share() * 100.0 > limit
}

fn table(known: &[Known], limit: f64, mut out: impl Write) -> Result<()> {
    writeln!(
        out,
        "{:<40} {:>6} {:>5} {:>14} {:>13} {:>9}",
        "device", "habits", "days", "conversations", "would be cut", "share"
    )?;
    let (mut tested, mut well, mut flows, mut cut) = (0, 0, 0, 0);
    for one in known {
        let LifeTest { days, .. } = one.test;
        if days == 0 {
            let soon = "too new to say";
            writeln!(out, "{:<40} {:>6} {soon:>46}", one.addr, one.habits.len())?;
            continue;
        }
        tested += 1;
        well += u64::from(!is_beyond(one, limit));
        flows += one.test.flows;
        cut += one.test.cut;
        writeln!(
            out,
            "{:<40} {:>6} {days:>5} {:>14} {:>13} {:>7.2} %",
            one.addr,
            one.habits.len(),
            one.test.flows,
            one.test.cut,
            one.test.share() * 100.0
        )?;
    }
    if tested == 0 {
        writeln!(
            out,
            "\nNo device was known for a day before another: more than a day of traffic is needed."
        )?;
        return Ok(());
    }
    let share = cut as f64 * 100.0 / flows.max(1) as f64;
    writeln!(
        out,
        "\nOf {tested} devices {well} are known well enough to have their pattern of life enforced (at most {limit} % \
         cut). Of all,\n{cut} of {flows} conversations ({share:.2} %) would have been cut. `--device ADDRESS` says \
         which."
    )?;
    Ok(())
}

fn about(known: &[Known], mut out: impl Write) -> Result<()> {
    for one in known {
        writeln!(out, "{}: {} habits", one.addr, one.habits.len())?;
        let none = "It was not known for a day before another: nobody can say how well they hold.";
        let sentence = one.test.sentence();
        writeln!(out, "{}", sentence.as_deref().unwrap_or(none))?;
        for (talk, flows) in one.test.named.iter().take(NAMED) {
            let (client, server) = (talk.client, talk.server);
            writeln!(out, "  {flows} × {client} to {server} by {}", service(talk))?;
        }
    }
    Ok(())
}

fn open(habit: &Habit) -> Value {
    json!({ "begins": habit.is_client, "peer": habit.peer, "service": habit.port.to_string() })
}

fn service(talk: &Talk) -> Port {
    Port {
        transport: talk.transport,
        port: talk.port,
    }
}

fn as_json(known: &[Known], later: Option<&FlowBook>, mut out: impl Write) -> Result<()> {
    let devices: Vec<Value> = known
        .iter()
        .map(|one| {
            let LifeTest {
                days,
                flows,
                cut,
                named,
            } = &one.test;
            let line = |talk: &Talk, flows: u64| {
                json!({ "client": talk.client, "server": talk.server, "service": service(talk).to_string(),
                    "flows": flows })
            };
            let outside: Vec<Value> = named.iter().map(|(talk, flows)| line(talk, *flows)).collect();
            let mut device = json!({ "device": one.addr, "habits": one.habits.len(), "days": days, "flows": flows,
                "cut": cut, "share": one.test.share(), "outside": outside,
                "stays_open": one.habits.iter().map(open).collect::<Vec<_>>() });
            if let (Some(later), Some(device)) = (later, device.as_object_mut()) {
                let of_it = later.patterns().filter(|(talk, _)| {
                    [talk.client, talk.server].contains(&one.addr)
                        && !named.iter().any(|(outside, _)| outside == *talk)
                });
                let inside: Vec<Value> =
                    of_it.map(|(talk, seen)| line(talk, seen.recent(later.now()))).collect();
                device.insert("inside".to_owned(), inside.into());
            }
            device
        })
        .collect();
    writeln!(out, "{}", json!({ "devices": devices }))?;
    Ok(())
}
