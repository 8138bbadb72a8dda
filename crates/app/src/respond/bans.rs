//! What may be told to bouncers, which can only ban a whole address or network.
//!
//! A decision becomes a ban only where its cut is a whole address; what is finer is counted, never widened. What is
//! never acted upon is left out here once more, as the enforcer said last (`never.json`): it learns of it after a
//! decision was made, too, and a bouncer has no list of its own.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ipnet::IpNet;
use thymus_respond::{Cut, Decision, Ledger, NeverAct, Side};
use thymus_schema::Timestamp;
use thymus_server::Bans;
use thymus_store::database::Ban;

use super::{Reader, folder};

const NAME: &str = "never.json";
/// A decision has fewer cuts than this.
const PLACES: u64 = 1 << 10;

/// Writes down what is never acted upon, whenever it is another.
pub(super) struct NeverFile {
    path: PathBuf,
    last: Option<NeverAct>,
}

impl NeverFile {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(NAME),
            last: None,
        }
    }

    /// Writes it whole, or leaves what was there and says so.
    pub(super) fn keep(&mut self, never: &NeverAct) {
        if self.last.as_ref() == Some(never) {
            return;
        }
        // Also where it fails: it is said once, and tried again when there is something new.
        self.last = Some(never.clone());
        let fresh = self.path.with_extension("new");
        let written = serde_json::to_vec(never).map_err(anyhow::Error::from);
        let written = written.and_then(|bytes| {
            std::fs::write(&fresh, bytes)?;
            Ok(std::fs::rename(&fresh, &self.path)?)
        });
        if let Err(error) = written {
            let path = self.path.display();
            eprintln!("thymus: bouncers may not hear what is never acted upon: {path}: {error}");
        }
    }
}

/// What bouncers are told at `now`.
///
/// # Errors
/// When the decisions, or what is never acted upon, cannot be read: bouncers then keep what they have.
pub(crate) fn bans(state: &Path, reader: &Reader, now: Timestamp) -> Result<Bans> {
    let ledger = reader.ledger(now)?;
    let path = folder(state).join(NAME);
    let never = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} cannot be understood", path.display()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let trouble = "no enforcer has said what is never acted upon, so nothing is told";
            return Ok(Bans {
                trouble: Some(trouble.to_owned()),
                ..Bans::default()
            });
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok(of(&ledger, &never))
}

fn of(ledger: &Ledger, never: &NeverAct) -> Bans {
    let mut bans = Bans::default();
    for decision in ledger.active() {
        let Some(until) = decision.until else {
            continue;
        };
        let mut is_whole = true;
        let mut nets: Vec<IpNet> = Vec::new();
        for cut in &decision.cuts {
            match cut {
                Cut::Address {
                    of,
                    side: Side::Both,
                } => {
                    nets.push(*of);
                    nets.extend(actor(decision, *of));
                }
                _ => is_whole = false,
            }
        }
        bans.not_expressible += u64::from(!is_whole);
        for (place, net) in nets.into_iter().enumerate() {
            if is_never(&net, never) {
                bans.withheld += 1;
                continue;
            }
            bans.bans.push(Ban {
                value: value(&net),
                id: decision.id.0 * PLACES + place as u64 % PLACES,
                scenario: format!("thymus/{}", decision.verb.as_str()),
                until,
            });
        }
    }
    bans
}

/// The address that a network was chosen for: some bouncers can ban addresses only, and leave networks out.
fn actor(decision: &Decision, net: IpNet) -> Option<IpNet> {
    let addr: IpAddr = decision.device.key.parse().ok()?;
    let is_inside = net.prefix_len() < net.max_prefix_len() && net.contains(&addr);
    is_inside.then(|| thymus_respond::host(addr))
}

/// Whether anything in a network is never acted upon, or one that others rely on: a bouncer spares no service.
fn is_never(net: &IpNet, never: &NeverAct) -> bool {
    let addr = net.addr();
    addr.is_loopback()
        || addr.is_unspecified()
        || addr.is_multicast()
        || never
            .nets()
            .any(|(of, _)| of.contains(net) || net.contains(of))
        || never.relied_on().any(|((addr, _), _)| net.contains(addr))
}

fn value(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.trunc().to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::*;
    use thymus_respond::{Change, DecisionId, Mode, Port, Rehearsal, State, Verb};
    use thymus_schema::{EntityId, Transport};

    fn decided(id: u64, verb: Verb, device: EntityId, cuts: Vec<Cut>, state: State) -> Change {
        let decision = Decision {
            id: DecisionId(id),
            incident: "incident".into(),
            device,
            verb,
            cuts,
            reason: String::new(),
            mode: Mode::Act,
            rehearsal: Rehearsal::default(),
            proposed_at: Timestamp::from_secs(0),
            duration: Duration::from_hours(1),
            stage: 0,
            state,
            began_at: None,
            until: Some(Timestamp::from_secs(100)),
            confirm_by: None,
            history: Vec::new(),
        };
        Change::Made {
            decision: Box::new(decision),
        }
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn all_of(text: &str, side: Side) -> Cut {
        Cut::Address {
            of: net(text),
            side,
        }
    }

    fn told(changes: Vec<Change>, never: &NeverAct) -> (Vec<String>, u64, u64) {
        let (ledger, unfit) = Ledger::replay(changes);
        assert_eq!(unfit, 0);
        let bans = of(&ledger, never);
        let mut ids: Vec<u64> = bans.bans.iter().map(|ban| ban.id).collect();
        ids.dedup();
        assert_eq!(ids.len(), bans.bans.len(), "each has a number of its own");
        let values = bans.bans.into_iter().map(|ban| ban.value).collect();
        (values, bans.not_expressible, bans.withheld)
    }

    #[test]
    fn only_a_cut_of_a_whole_address_is_told_and_only_while_it_holds() {
        let device = || EntityId::device("10.0.0.5");
        let pattern = Cut::Pattern {
            client: net("10.0.0.5/32"),
            server: net("198.51.100.9/32"),
            port: None,
        };
        let life = Cut::AllBut {
            of: net("10.0.0.6/32"),
            habits: Vec::new(),
        };
        let whole = |text| vec![all_of(text, Side::Both)];
        let begun = vec![all_of("10.0.0.7/32", Side::Begun)];
        let taken = vec![all_of("10.0.0.8/32", Side::Taken)];
        let is = State::Active;
        let mut changes = vec![
            decided(1, Verb::Quarantine, device(), whole("10.0.0.5/32"), is),
            decided(2, Verb::BlockDestination, device(), vec![pattern], is),
            decided(3, Verb::EnforceLife, device(), vec![life], is),
            decided(4, Verb::InboundOnly, device(), begun, is),
            decided(5, Verb::OutboundOnly, device(), taken, is),
            decided(6, Verb::Notify, device(), Vec::new(), is),
        ];
        for (id, state) in [
            (7, State::Pending),
            (8, State::Simulated),
            (9, State::Undone),
        ] {
            let cuts = whole("10.0.0.9/32");
            changes.push(decided(id, Verb::Quarantine, device(), cuts, state));
        }
        let (values, finer, withheld) = told(changes, &NeverAct::default());
        assert_eq!((finer, withheld), (4, 0));
        assert_eq!(values, ["10.0.0.5"]);
    }

    #[test]
    fn what_is_never_acted_upon_is_not_told_nor_what_others_rely_on() {
        let mut never = NeverAct::default();
        never.network(net("10.0.0.0/28"), "the policy names it");
        never.address("2001:db8::1".parse().unwrap(), "it is the gateway");
        let dns = Port {
            transport: Transport::Udp,
            port: 53,
        };
        never.service("10.0.1.53".parse().unwrap(), dns, "many rely on it");
        let cuts = [
            "10.0.0.5/32",
            "10.0.1.53/32",
            "2001:db8::/64",
            "127.0.0.1/32",
            "10.0.1.54/32",
        ];
        let cuts = cuts.map(|of| all_of(of, Side::Both)).to_vec();
        let device = EntityId::device("x");
        let changes = vec![decided(1, Verb::Quarantine, device, cuts, State::Active)];
        let (values, finer, withheld) = told(changes, &never);
        assert_eq!(
            (values, finer, withheld),
            (vec!["10.0.1.54".to_owned()], 0, 4)
        );
    }

    #[test]
    fn a_network_is_told_with_the_address_it_was_chosen_for() {
        let device = EntityId::external("2001:db8:5::7");
        let cuts = vec![all_of("2001:db8:5::/64", Side::Both)];
        let changes = vec![decided(
            1,
            Verb::BlockDestination,
            device,
            cuts,
            State::Active,
        )];
        let (values, ..) = told(changes, &NeverAct::default());
        assert_eq!(values, ["2001:db8:5::/64", "2001:db8:5::7"]);
    }

    #[test]
    fn nothing_is_told_before_an_enforcer_said_what_is_never_acted_upon() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(state.path())).unwrap();
        let reader = Reader::new(state.path());
        let at = Timestamp::from_secs(1);
        assert!(bans(state.path(), &reader, at).unwrap().trouble.is_some());
        let mut file = NeverFile::new(&folder(state.path()));
        let mut never = NeverAct::default();
        never.network(net("10.0.0.0/28"), "the policy names it");
        file.keep(&never);
        assert_eq!(bans(state.path(), &reader, at).unwrap(), Bans::default());
        let path = folder(state.path()).join(NAME);
        let kept: NeverAct = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(kept, never);
        std::fs::write(&path, "{").unwrap();
        assert!(bans(state.path(), &reader, at).is_err());
    }
}
