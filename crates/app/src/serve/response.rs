//! What is done about incidents, as the console shows it and passes on what people want.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;
use thymus_respond::{Decision, DecisionId, Port};
use thymus_server::{
    CutTalk, DecisionFilter, DecisionLine, DecisionState, DecisionView, HostError, NeverView,
    RehearsalView, ResponseAsk, ResponseError, ResponseView,
};

use super::{demo, now};
use crate::replay;
use crate::respond::{Ask, Door, Reader, Unanswered, folder};

const JOURNAL: &str = "decisions.jnl";
/// Lines of a cut that are shown.
const CUTS_MAX: usize = 50;
/// What the enforcer said is good for so long: many may be looking.
const FRESH: Duration = Duration::from_secs(1);

/// Why nothing is carried out in the demo.
const DEMO: &str =
    "this is the demo data set: it shows what would be asked and done about its incidents";

/// The decisions of a state folder; those of the demo while that is loaded and there was never an enforcer here.
pub(super) struct Response {
    reader: Reader,
    demo: Reader,
    door: Door,
    journal: PathBuf,
    journal_of_demo: PathBuf,
    said: Mutex<Option<(Instant, Result<Standing, String>)>>,
}

/// What the enforcer says of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Standing {
    mode: Option<String>,
    acts: Option<bool>,
    trouble: Option<String>,
    policy_trouble: Option<String>,
    cut: BTreeMap<String, (u64, u64)>,
    never: Vec<Never>,
    devices: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Never {
    what: String,
    why: String,
}

impl Response {
    /// Of a state folder; to be made before rights are given up.
    pub(super) fn open(state: &Path, is_confined: bool) -> Result<Self> {
        Ok(Self {
            reader: Reader::new(state),
            demo: Reader::new(&demo::folder(state)),
            door: Door::open(state, is_confined)?,
            journal: folder(state).join(JOURNAL),
            journal_of_demo: folder(&demo::folder(state)).join(JOURNAL),
            said: Mutex::new(None),
        })
    }

    pub(super) fn decisions(
        &self,
        filter: &DecisionFilter,
    ) -> Result<(Vec<DecisionView>, u64), ResponseError> {
        let ledger = self.ledger()?;
        let counted = self.standing().map(|standing| standing.cut);
        let id = filter.id.as_deref().map(str::parse::<DecisionId>);
        let Ok(id) = id.transpose() else {
            return Ok((Vec::new(), 0));
        };
        let fits = |one: &&Decision| {
            let is_wanted = |wanted: &Option<String>, is: &str| {
                wanted.as_ref().is_none_or(|wanted| wanted == is)
            };
            id.is_none_or(|id| id == one.id)
                && stands(one, filter.state)
                && is_wanted(&filter.incident, &one.incident)
                && is_wanted(&filter.device, &one.device.to_string())
        };
        let all: Vec<&Decision> = ledger.decisions().rev().filter(fits).collect();
        let shown = all.iter().skip(filter.offset).take(filter.limit);
        let shown = shown.map(|one| view(one, counted.as_ref().ok()));
        Ok((shown.collect(), all.len() as u64))
    }

    pub(super) fn response(&self) -> Result<ResponseView, ResponseError> {
        let ledger = self.ledger()?;
        let count = |state| ledger.decisions().filter(|one| stands(one, state)).count() as u64;
        let (standing, why_not) = match self.standing() {
            Ok(standing) => (standing, None),
            Err(_) if self.is_demo() => (Standing::default(), Some(DEMO.to_owned())),
            Err(why) => (Standing::default(), Some(why)),
        };
        let never = standing.never.into_iter().map(|one| NeverView {
            what: one.what,
            why: one.why,
        });
        Ok(ResponseView {
            is_set_up: why_not.is_none() || self.journal.exists() || self.is_demo(),
            is_running: why_not.is_none(),
            why_not,
            mode: standing.mode,
            acts: standing.acts,
            is_halted: ledger.is_halted(),
            trouble: standing.trouble,
            policy_trouble: standing.policy_trouble,
            pending: count(DecisionState::Pending),
            active: count(DecisionState::Active),
            over: count(DecisionState::Over),
            devices: standing.devices,
            never: never.collect(),
        })
    }

    pub(super) fn respond(&self, ask: &ResponseAsk, by: &str) -> Result<(), ResponseError> {
        let asked = asked(ask, by)?;
        *self.lock() = None;
        let answer = self.door.ask(&asked);
        *self.lock() = None;
        match answer {
            Ok(_) => Ok(()),
            Err(Unanswered::Refused(why)) => Err(ResponseError::Refused(why)),
            Err(Unanswered::Nobody(why)) => Err(ResponseError::Nobody(why)),
        }
    }

    fn ledger(&self) -> Result<std::sync::Arc<thymus_respond::Ledger>, ResponseError> {
        let reader = if self.is_demo() {
            &self.demo
        } else {
            &self.reader
        };
        let read = reader.ledger(now());
        read.map_err(|error| ResponseError::Host(HostError(error.to_string())))
    }

    fn is_demo(&self) -> bool {
        !self.journal.exists() && self.journal_of_demo.exists()
    }

    fn standing(&self) -> Result<Standing, String> {
        let mut said = self.lock();
        if let Some((at, standing)) = &*said
            && at.elapsed() < FRESH
        {
            return standing.clone();
        }
        let standing = match self.door.ask(&Ask::Status) {
            Ok(value) => read(value),
            Err(Unanswered::Nobody(why) | Unanswered::Refused(why)) => Err(why),
        };
        *said = Some((replay::now(), standing.clone()));
        standing
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Result<Standing, String>)>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(value: Value) -> Result<Standing, String> {
    serde_json::from_value(value)
        .map_err(|error| format!("the enforcer says what this console does not know: {error}"))
}

fn asked(ask: &ResponseAsk, by: &str) -> Result<Ask, ResponseError> {
    let number = |id: &String| {
        let id: Result<DecisionId, _> = id.parse();
        id.map_err(ResponseError::Unknown)
    };
    let by = by.to_owned();
    Ok(match ask {
        ResponseAsk::Approve(id) => Ask::Approve {
            id: number(id)?,
            by,
        },
        ResponseAsk::Deny(id, why) => Ask::Deny {
            id: number(id)?,
            by,
            why: why.clone(),
        },
        ResponseAsk::Undo(id, why) => Ask::Undo {
            ids: vec![number(id)?],
            by,
            why: why.clone(),
        },
        ResponseAsk::Extend(id, more) => Ask::Extend {
            id: number(id)?,
            by,
            secs: more.as_secs(),
        },
        ResponseAsk::Confirm(id) => Ask::Confirm {
            id: number(id)?,
            by,
        },
        ResponseAsk::Panic => Ask::Panic { by },
        ResponseAsk::Resume => Ask::Resume { by },
    })
}

fn stands(one: &Decision, state: DecisionState) -> bool {
    use thymus_respond::State;
    match state {
        DecisionState::Pending => one.state == State::Pending,
        DecisionState::Active => one.state == State::Active,
        DecisionState::Over => one.state.is_over(),
        DecisionState::All => true,
    }
}

/// A decision for people; `counted` is what each has cut, where that is known.
fn view(one: &Decision, counted: Option<&BTreeMap<String, (u64, u64)>>) -> DecisionView {
    let id = one.id.to_string();
    let cut = counted.map(|counted| counted.get(&id).copied().unwrap_or_default());
    let history = one.history.iter().map(|line| DecisionLine {
        at: line.at,
        by: line.by.to_string(),
        what: line.what.to_string(),
    });
    DecisionView {
        id,
        incident: one.incident.to_string(),
        incident_title: None,
        device: one.device.to_string(),
        verb: one.verb.as_str().to_owned(),
        title: one.verb.title().to_owned(),
        cuts: one
            .cuts
            .iter()
            .take(CUTS_MAX)
            .map(ToString::to_string)
            .collect(),
        cuts_total: one.cuts.len() as u64,
        reason: one.reason.clone(),
        mode: word(&one.mode),
        state: one.state.as_str().to_owned(),
        is_over: one.state.is_over(),
        stage: one.stage,
        rehearsal: rehearsal(one),
        proposed_at: one.proposed_at,
        duration_secs: one.duration.as_secs(),
        began_at: one.began_at,
        until: one.until,
        confirm_by: one.confirm_by,
        packets: cut.map(|cut| cut.0),
        bytes: cut.map(|cut| cut.1),
        history: history.collect(),
    }
}

fn rehearsal(one: &Decision) -> RehearsalView {
    let found = &one.rehearsal;
    let named = found.named.iter().map(|(talk, flows)| {
        let port = Port {
            transport: talk.transport,
            port: talk.port,
        };
        CutTalk {
            client: talk.client.to_string(),
            server: talk.server.to_string(),
            service: port.to_string(),
            flows: *flows,
        }
    });
    RehearsalView {
        sentence: found.sentence(),
        days: found.days,
        flows: found.flows,
        cut: found.cut,
        devices: found.devices,
        named: named.collect(),
        unknown: found.unknown,
    }
}

/// How it is called in a policy.
fn word(of: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(of).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
