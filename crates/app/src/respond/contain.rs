//! `thymus contain`: an action that a person wants and nobody proposed, rehearsed like any other.

use std::io::Write;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use serde_json::json;
use thymus_respond::{Cut, FlowBook, Port, Proposal, Realm, Rehearsal, Side, Verb, host as net_of};
use thymus_schema::{Confidence, EntityId, Timestamp};

use super::commands::user;
use super::control::{Ask, ask};
use super::{folder, host, kept};
use crate::Found;
use crate::cli::ContainArgs;

/// Runs the command.
///
/// # Errors
/// When what is asked for makes no action, no enforcer answers, or it refuses.
pub(crate) fn contain(args: &ContainArgs) -> Result<Found> {
    let folder = folder(&args.state);
    let (book, local) = kept::read(&folder).unzip();
    let book = book.unwrap_or_default();
    let now = Timestamp::from_nanos(crate::run::now_nanos());
    let is_here = matches!(args.verb.realm(), Some(Realm::Processes | Realm::Files));
    let (address, cuts) = if is_here {
        here(args)?
    } else {
        let address = args.address.context("name the address it is about")?;
        let address = address.to_canonical();
        (address, cuts(args, address, &book, now)?)
    };
    let rehearsal = local
        .map(|local| book.rehearse(&cuts, now, &local))
        .unwrap_or_default();
    let mut proposal = proposal(args, address, cuts.clone(), rehearsal, now);
    if is_here {
        let asked = Ask::Rehearse {
            proposal: Box::new(proposal.clone()),
        };
        proposal.rehearsal.held = serde_json::from_value(ask(&folder, &asked)?)?;
    }
    let rehearsal = proposal.rehearsal.clone();
    let mut out = std::io::stdout().lock();
    if !args.json {
        for cut in cuts.iter().take(50) {
            writeln!(out, "Cuts      {cut}")?;
        }
        writeln!(out, "Rehearsal {}", rehearsal.sentence())?;
        for (talk, flows) in &rehearsal.named {
            let service = Port {
                transport: talk.transport,
                port: talk.port,
            };
            let (client, server) = (talk.client, talk.server);
            writeln!(out, "          {flows} × {client} to {server} by {service}")?;
        }
    }
    let mut id = serde_json::Value::Null;
    if !args.dry_run {
        let secs = args.duration.as_secs();
        let by = user();
        let proposal = Box::new(proposal);
        id = ask(&folder, &Ask::Contain { proposal, by, secs })?;
    }
    if args.json {
        let value = json!({ "id": id, "cuts": cuts, "rehearsal": rehearsal });
        writeln!(out, "{value}")?;
    } else if let Some(id) = id.as_str() {
        writeln!(out, "{id} is active: thymus undo {id} takes it back")?;
    } else {
        writeln!(out, "Nothing was done (--dry-run).")?;
    }
    Ok(Found::Nothing)
}

fn proposal(
    args: &ContainArgs,
    address: IpAddr,
    cuts: Vec<Cut>,
    rehearsal: Rehearsal,
    now: Timestamp,
) -> Proposal {
    let why = match args.why.as_str() {
        "" => "by hand",
        why => why,
    };
    Proposal {
        incident: args.incident.clone().unwrap_or_default().into(),
        confidence: Confidence::High,
        device: EntityId::device(address.to_string()),
        addrs: vec![address],
        verb: args.verb,
        cuts,
        reason: why.to_owned(),
        harms: false,
        stage: 0,
        evidence_at: now,
        rehearsal,
    }
}

/// What the verb means on this very machine, and by which of its addresses it is known.
fn here(args: &ContainArgs) -> Result<(IpAddr, Vec<Cut>)> {
    let own = host::own();
    let known = args.address.or(own.first().copied());
    let known = known.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_canonical();
    if args.verb == Verb::QuarantineFile {
        let path = args.file.as_deref();
        let path =
            path.context("quarantine_file needs to know which: --file /srv/share/invoice.exe")?;
        // A person may go by links; what is done goes by none.
        let found = path.parent().and_then(|parent| parent.canonicalize().ok());
        let name = path.file_name();
        let path = found.zip(name).map(|(parent, name)| parent.join(name));
        let path = path.with_context(|| "there is no such file")?;
        let file = Cut::file(&path).with_context(|| format!("cannot read {}", path.display()))?;
        return Ok((known, vec![file]));
    }
    let cuts = match (args.pid, args.to) {
        (Some(pid), None) if args.port.is_none() => {
            let process = Cut::process(pid);
            vec![process.with_context(|| format!("there is no process {pid}"))?]
        }
        (None, Some(to)) => {
            let server = net_of(to);
            let own = args.address.map_or(own, |address| vec![address]);
            let same = own.into_iter().filter(|own| own.is_ipv4() == to.is_ipv4());
            let begins = same.map(|own| Cut::Pattern {
                client: net_of(own),
                server,
                port: args.port,
            });
            begins.collect()
        }
        _ => bail!(
            "freeze_process needs to know which: --pid 4711, or --to 198.51.100.7 --port tcp/443"
        ),
    };
    if cuts.is_empty() {
        bail!("this machine has no address of the family of --to");
    }
    Ok((known, cuts))
}

/// What the verb means for this address.
fn cuts(args: &ContainArgs, address: IpAddr, book: &FlowBook, now: Timestamp) -> Result<Vec<Cut>> {
    let of = net_of(address);
    let all = |side| vec![Cut::Address { of, side }];
    let to = args.to.map(net_of);
    if args.pid.is_some() || args.file.is_some() {
        bail!("--pid goes with freeze_process only, --file with quarantine_file");
    }
    if to.is_some_and(|to| to.addr().is_ipv4() != of.addr().is_ipv4()) {
        bail!("{address} and the address of --to are of different families");
    }
    let pattern = |server, port| {
        vec![Cut::Pattern {
            client: of,
            server,
            port,
        }]
    };
    let cuts = match (args.verb, to, args.port) {
        (Verb::BlockPattern, Some(to), Some(port)) => pattern(to, Some(port)),
        (Verb::BlockPattern, ..) => bail!(
            "block_pattern needs to know which: --to 198.51.100.7 --port tcp/443; to cut all between the two, \
             take block_destination"
        ),
        (_, _, Some(_)) => bail!("--port goes with block_pattern only"),
        (Verb::BlockDestination, Some(to), None) => pattern(to, None),
        (_, Some(_), None) => bail!("--to goes with block_pattern and block_destination only"),
        (Verb::BlockDestination | Verb::Quarantine, None, None) => all(Side::Both),
        (Verb::OutboundOnly, None, None) => all(Side::Taken),
        (Verb::InboundOnly, None, None) => all(Side::Begun),
        (Verb::EnforceLife, None, None) => {
            let habits = book.habits(&[address], now);
            if habits.is_empty() {
                bail!(
                    "nothing is known of what {address} usually does, so enforcing it would cut all: take quarantine"
                );
            }
            vec![Cut::AllBut { of, habits }]
        }
        (verb, None, None) => bail!(
            "{} is nothing that is done by hand; see thymus contain --help",
            verb.as_str()
        ),
    };
    Ok(cuts.into_iter().map(Cut::canonical).collect())
}

/// A verb by its word; hyphens are as good.
pub(crate) fn verb(text: &str) -> Result<Verb, String> {
    let word = text.replace('-', "_");
    let found = Verb::ALL.iter().find(|verb| verb.as_str() == word);
    found.copied().ok_or_else(|| {
        let known: Vec<&str> = BY_HAND.iter().map(|verb| verb.as_str()).collect();
        format!("there is no such verb; there are: {}", known.join(", "))
    })
}

/// What can be done by hand.
const BY_HAND: [Verb; 8] = [
    Verb::BlockPattern,
    Verb::BlockDestination,
    Verb::EnforceLife,
    Verb::OutboundOnly,
    Verb::InboundOnly,
    Verb::Quarantine,
    Verb::FreezeProcess,
    Verb::QuarantineFile,
];

/// A service: `tcp/443`.
pub(crate) fn service(text: &str) -> Result<Port> {
    let wrong = || format!("{text:?} is no service; write tcp/443, udp/53 or icmp");
    if text == "icmp" {
        let transport = thymus_schema::Transport::Icmp;
        return Ok(Port { transport, port: 0 });
    }
    let (transport, port) = text.split_once('/').with_context(wrong)?;
    let transport = match transport {
        "tcp" => thymus_schema::Transport::Tcp,
        "udp" => thymus_schema::Transport::Udp,
        "sctp" => thymus_schema::Transport::Sctp,
        _ => bail!(wrong()),
    };
    let port = port.parse().ok().filter(|port| *port > 0);
    let port = port.with_context(wrong)?;
    Ok(Port { transport, port })
}
