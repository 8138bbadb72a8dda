//! The one shape of all `rare_*` detectors: which item did the device use, and how surprising is it
//! that the item is new to the site? See [`crate::novelty`] for the model.

use std::borrow::Cow;
use std::net::IpAddr;

use thymus_schema::{
    Event, Fact, PeerRole, SnapshotError, SnapshotReader, SnapshotWriter, Statement, Value,
};

use crate::cx::{DetectCx, Finding};
use crate::detector::Detector;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::novelty::Novelty;
use crate::party::Party;

/// A device used something.
pub(crate) struct Used<'a> {
    pub(crate) party: Party,
    /// Stands for the item: a stable hash.
    pub(crate) item: u64,
    /// What people call it.
    pub(crate) name: Name<'a>,
    /// The other side, when it is worth naming.
    pub(crate) peer: Option<(PeerRole, Party)>,
}

/// What people call an item, put into words only when it is new.
pub(crate) enum Name<'a> {
    /// So.
    Is(Cow<'a, str>),
    /// A service on a server.
    On(Cow<'a, str>, IpAddr),
}

impl Name<'_> {
    fn text(&self) -> Box<str> {
        match self {
            Self::Is(name) => (&**name).into(),
            Self::On(service, addr) => format!("{service} on {addr}").into(),
        }
    }
}

/// What distinguishes one `rare_*` detector from another.
pub(crate) struct Rare {
    novelty: Novelty,
    /// The kinds of events that `used` looks at.
    interest: Interest,
    used: for<'a> fn(&'a Event, &'a DetectCx<'_>) -> Option<Used<'a>>,
    /// Sentence with `{new}`, `{names}`, `{draws}`.
    seen: &'static str,
    /// Sentence with `{expected}`.
    normal: &'static str,
}

impl Rare {
    pub(crate) fn new(
        interest: Interest,
        used: for<'a> fn(&'a Event, &'a DetectCx<'_>) -> Option<Used<'a>>,
        seen: &'static str,
        normal: &'static str,
    ) -> Self {
        Self {
            novelty: Novelty::by_time_of_day(),
            interest,
            used,
            seen,
            normal,
        }
    }
}

impl Detector for Rare {
    fn interest(&self) -> Interest {
        self.interest
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.novelty]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let Some(used) = (self.used)(event, cx) else {
            return;
        };
        let Some(surprise) =
            self.novelty
                .observe(used.party, used.item, || used.name.text(), event, cx)
        else {
            return;
        };
        if !cx.matters(surprise.score) {
            return;
        }
        let events = &surprise.events;
        let statement = Statement::new(
            self.seen,
            vec![
                Fact::new("new", Value::Count(surprise.new), events),
                Fact::new("names", Value::Names(surprise.names), events),
                Fact::new("draws", Value::Count(surprise.draws), events),
            ],
        );
        // People read whole numbers: the most that would have been unremarkable.
        let expected = surprise.expected.ceil().max(0.0) as u64;
        let counterfactual = Statement::new(
            self.normal,
            vec![Fact::new("expected", Value::Count(expected), &[])],
        );
        let mut finding =
            Finding::new(used.party, surprise.score, event, statement, counterfactual);
        finding.key = event.ts.as_secs().div_euclid(86_400) as u64;
        finding.first_event = surprise.events.first().copied().unwrap_or(event.id);
        finding.first_seen = surprise.first_seen;
        let peer = used
            .peer
            .map(|(role, party)| cx.entities().peer(role, party));
        finding.peers.extend(peer);
        cx.raise(finding);
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.novelty.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.novelty = Novelty::by_time_of_day().restore(from)?;
        Ok(())
    }
}
