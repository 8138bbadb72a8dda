//! The kernel's packet filter, by the program `nft`: a table of our own at the hooks input, output and forward, for a
//! host and for a gateway; and, as another responder, one at the hook of bridges.
//!
//! What is cut is refused with a TCP reset or an ICMP error towards whoever sent it, and as both directions are cut
//! both ends learn of it; beyond a rate it is dropped without a word. Each element has the kernel's own timeout: it
//! ends in time even when nobody is left to end it.

mod listing;
mod run;
mod script;

use std::collections::BTreeMap;

use ipnet::IpNet;
use thymus_schema::Timestamp;

pub use self::listing::fuzz_listing;
use self::listing::{Listing, listing};
use self::run::nft;
use self::script::{Dialect, SHORT, Step, TABLE, skeleton, steps};
use crate::cut::Port;
use crate::decision::Realm;
use crate::responder::{Receipt, Responder, ResponderError, ResponderSpec};
use crate::table::{Element, Set, Table};

/// The kernel tells seconds; a smaller difference is none.
const SLACK_SECS: u64 = 2;
const NFT: &str = "nft";

pub(crate) const SPEC: ResponderSpec = ResponderSpec {
    id: "nftables",
    title: "the kernel's packet filter of this machine, as a host and as a gateway",
    realm: Realm::Traffic,
    build: |_, _| Ok(Box::<Nftables>::default()),
};

pub(crate) const BRIDGE: ResponderSpec = ResponderSpec {
    id: "bridge",
    title: "the kernel's packet filter of this machine, between the ports of its bridges",
    realm: Realm::Traffic,
    build: |_, _| Ok(Box::new(Nftables::bridge())),
};

/// The responder.
#[derive(Debug, Default)]
pub struct Nftables {
    /// Where it hooks in, and what the kernel offers there.
    dialect: Dialect,
    /// What is there, as far as is known: until when.
    believed: BTreeMap<Element, Option<Timestamp>>,
    /// Digest of the table's sets and rules, once they were made.
    shape: Option<blake3::Hash>,
    /// Whether whole tables are too long for this kernel's sockets.
    is_short: bool,
}

impl Responder for Nftables {
    fn apply(&mut self, wanted: &Table, now: Timestamp) -> Result<Receipt, ResponderError> {
        if self.shape.is_none() {
            return self.reconcile(wanted, now);
        }
        let wanted = effective(wanted);
        match self.change(&wanted, now) {
            // Somebody else was at it: look.
            Err(ResponderError::Refused { .. }) => self.make(&wanted, now),
            other => other,
        }
    }

    fn reconcile(&mut self, wanted: &Table, now: Timestamp) -> Result<Receipt, ResponderError> {
        let mut receipt = self.make(&effective(wanted), now)?;
        receipt.cut = BTreeMap::new();
        let there = list(self.dialect)?.unwrap_or_default();
        for (element, there) in there.elements {
            if !script::counts(element.set) {
                continue;
            }
            let claim = match element.set {
                Set::LifeCut => wanted.get(&Element {
                    set: Set::Life,
                    ..element
                }),
                _ => wanted.get(&element),
            };
            for id in claim.into_iter().flat_map(|claim| &claim.of) {
                let counted: &mut (u64, u64) = receipt.cut.entry(*id).or_default();
                counted.0 += there.counted.0;
                counted.1 += there.counted.1;
            }
        }
        Ok(receipt)
    }

    fn remove(&mut self) -> Result<(), ResponderError> {
        self.believed.clear();
        self.shape = None;
        let table = self.dialect.table();
        let script = format!("add table {table}\ndelete table {table}\n");
        nft(&["-f", "-"], &script).map(|_| ())
    }
}

impl Nftables {
    /// Between the ports of the bridges of this machine.
    pub fn bridge() -> Self {
        Self {
            dialect: Dialect::BRIDGE,
            ..Self::default()
        }
    }

    /// Puts the table there, in the richest words that this kernel understands.
    fn lay(&mut self, anew: bool) -> Result<(), ResponderError> {
        let mut said = Ok(());
        for dialect in self.dialect.poorer() {
            match nft(&["-f", "-"], &skeleton(dialect, anew)) {
                Ok(_) => {
                    self.dialect = dialect;
                    return Ok(());
                }
                Err(error) => said = said.and(Err(error)),
            }
        }
        said
    }

    /// Makes it so, looking first.
    fn make(
        &mut self,
        wanted: &BTreeMap<Element, Option<Timestamp>>,
        now: Timestamp,
    ) -> Result<Receipt, ResponderError> {
        let mut repaired = Vec::new();
        let is_known = self.shape.is_some();
        let mut there = list(self.dialect)?;
        if there.as_ref().and_then(|there| there.shape) != self.shape || self.shape.is_none() {
            if is_known {
                repaired.push(match there {
                    None => "the table was gone".to_owned(),
                    Some(_) => "the rules of the table were changed by somebody else".to_owned(),
                });
            }
            // Elements stay where the sets are ours; where not, the table begins anew.
            if self.lay(false).is_err() {
                self.lay(true)?;
            }
            there = list(self.dialect)?;
            let shape = there.as_ref().and_then(|there| there.shape);
            if is_known && shape != self.shape {
                // Something of somebody else's is still in it.
                self.lay(true)?;
                there = list(self.dialect)?;
            }
            self.shape = there.as_ref().and_then(|there| there.shape);
        }
        let there = there.unwrap_or_default();
        if there.foreign.is_empty() {
            let found = there.elements.iter().map(|(element, there)| {
                let until = believed(there.expires, wanted.get(element), now);
                (element.clone(), until)
            });
            self.believed = found.collect();
        } else {
            let count = there.foreign.len();
            repaired.push(format!("{count} elements that are none of ours"));
            self.lay(true)?;
            self.believed.clear();
        }
        let mut receipt = self.change(wanted, now)?;
        if is_known && (receipt.added > 0 || receipt.removed > 0) && repaired.is_empty() {
            repaired.push(format!(
                "{} elements were missing, {} were too many",
                receipt.added, receipt.removed
            ));
        }
        receipt.repaired = repaired;
        Ok(receipt)
    }

    /// Puts and takes what differs from what is believed to be there.
    fn change(
        &mut self,
        wanted: &BTreeMap<Element, Option<Timestamp>>,
        now: Timestamp,
    ) -> Result<Receipt, ResponderError> {
        let mut todo = Vec::new();
        let mut receipt = Receipt::default();
        for element in self.believed.keys() {
            if !wanted.contains_key(element) {
                todo.push(Step::Take(element));
                receipt.removed += 1;
            }
        }
        for (element, until) in wanted {
            let step = match self.believed.get(element) {
                Some(there) if there == until => continue,
                Some(_) => Step::Renew(element, *until),
                None => Step::Put(element, *until),
            };
            todo.push(step);
            receipt.added += 1;
        }
        if todo.is_empty() {
            return Ok(receipt);
        }
        let mut done = Err(ResponderError::Refused {
            tool: NFT,
            said: "Message too long".to_owned(),
        });
        if !self.is_short {
            done = nft(&["-f", "-"], &steps(self.dialect, &todo, now)).map(|_| ());
        }
        if let Err(ResponderError::Refused { said, .. }) = &done
            && said.contains("Message too long")
        {
            self.is_short = true;
            done = todo.chunks(SHORT).try_for_each(|some| {
                nft(&["-f", "-"], &steps(self.dialect, some, now)).map(|_| ())
            });
        }
        match done {
            Ok(()) => {
                self.believed = wanted.clone();
                Ok(receipt)
            }
            Err(error) => Err(error),
        }
    }
}

fn list(dialect: Dialect) -> Result<Option<Listing>, ResponderError> {
    match nft(&["-j", "list", "table", dialect.family, TABLE], "") {
        Ok(json) => listing(&json).map(Some).ok_or(ResponderError::Rubbish {
            tool: NFT,
            what: "the table as JSON".to_owned(),
        }),
        Err(ResponderError::Refused { said, .. }) if said.contains("No such file") => Ok(None),
        Err(other) => Err(other),
    }
}

/// What is believed of an element that is there: as wanted, where the kernel's seconds agree with it.
fn believed(
    expires: Option<u64>,
    wanted: Option<&Option<Timestamp>>,
    now: Timestamp,
) -> Option<Timestamp> {
    let there = expires.map(|secs| now.plus(std::time::Duration::from_secs(secs)));
    match (there, wanted.copied().flatten()) {
        (Some(there), Some(wanted)) => {
            let apart = there.since(wanted).max(wanted.since(there)).as_secs();
            Some(if apart <= SLACK_SECS { wanted } else { there })
        }
        (there, _) => there,
    }
}

/// By set, service and all networks but the last: the last, and until when.
type Wide = BTreeMap<(Set, Option<Port>, Vec<IpNet>), Vec<(IpNet, Option<Timestamp>)>>;

/// The elements that the kernel needs: those inside a wider one of the same set are left out, as it refuses two that
/// overlap, and a device that is held to its pattern of life is in the set that counts too.
fn effective(table: &Table) -> BTreeMap<Element, Option<Timestamp>> {
    let mut wanted = BTreeMap::new();
    let mut wide = Wide::new();
    let counted = table
        .elements()
        .filter(|(element, _)| element.set == Set::Life)
        .map(|(element, claim)| {
            let set = Set::LifeCut;
            (
                Element {
                    set,
                    ..element.clone()
                },
                claim.until,
            )
        });
    let all = table
        .elements()
        .map(|(element, claim)| (element.clone(), claim.until))
        .chain(counted);
    for (element, until) in all {
        if element.is_wide() {
            let Element {
                set,
                mut nets,
                port,
            } = element;
            if let Some(last) = nets.pop() {
                wide.entry((set, port, nets))
                    .or_default()
                    .push((last, until));
            }
        } else {
            wanted.insert(element, until);
        }
    }
    for ((set, port, first), mut last) in wide {
        // In this order whatever lies inside another follows it.
        last.sort();
        let mut outer: Option<IpNet> = None;
        for (net, until) in last {
            if outer.is_some_and(|outer| outer.contains(&net)) {
                continue;
            }
            outer = Some(net);
            let mut nets = first.clone();
            nets.push(net);
            wanted.insert(Element { set, nets, port }, until);
        }
    }
    wanted
}
