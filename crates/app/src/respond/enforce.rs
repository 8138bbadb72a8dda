//! `thymus enforce`: the process that carries decisions out. It reads no packet, no log and no file of others; what it
//! is told is checked against the policy and against what is never acted upon.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use thymus_respond::{DecisionId, Enforcer, NeverAct, Place, Policy, Realm, Responders, State};
use thymus_schema::Timestamp;

use super::bans::NeverFile;
use super::control::{self, Answer, Ask, Asked};
use super::freezer::Helper;
use super::policy::PolicyFile;
use super::probe::{Health, Probes};
use super::wire::{Listener, Said};
use super::{folder, host, planner, vault};
use crate::Found;
use crate::cli::EnforceArgs;
use crate::replay::now;
use crate::run::{self, Stop};

/// Nothing waits longer to be looked after.
const TICK: Duration = Duration::from_millis(500);
/// What the machine depends on is looked up this often.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// What wakes the process.
enum Wake {
    /// The file of proposals has grown.
    Said,
    /// Somebody asks.
    Asked(Asked),
}

/// Runs the command.
///
/// # Errors
/// When the policy, the folder or its journal cannot be used, or another enforcer has the folder.
pub(crate) fn run(args: &EnforceArgs) -> Result<Found> {
    if let Some(parent) = args.parent {
        run::end_with(parent)?;
    }
    let folder = folder(&args.state);
    planner::make(&folder)?;
    let _lock = lock(&folder)?;
    let (file, policy) = PolicyFile::open(args.policy.as_deref())?;
    let mut helper = Helper::start(&args.state, &policy, !args.no_sandbox)?;
    let place = Place {
        freezer: helper.as_ref().map(Helper::hand),
        files: vault::shelf(&args.state, &policy)?,
    };
    let roots = place.files.iter().flat_map(|shelf| shelf.roots.clone());
    let written: Vec<PathBuf> = roots.chain([folder.clone()]).collect();
    if !args.no_sandbox && !thymus_sensor::confine_enforcer(&written, place.files.is_some())? {
        eprintln!("thymus: this kernel has no Landlock, so files are not kept from the enforcer");
    }
    let responders = Responders::of(&policy, &place).map_err(anyhow::Error::msg)?;
    let stop = Stop::listen()?;
    let (enforcer, remarks) = Enforcer::open(&folder, policy, Box::new(responders), clock())?;
    for remark in remarks {
        eprintln!("thymus: {remark}");
    }
    let (wake, woken) = sync_channel(64);
    let (asks, asked) = sync_channel(16);
    control::listen(&folder, asks)?;
    pass_on(asked, wake.clone());
    watch(&folder, wake)?;
    let mut office = Office {
        file,
        listener: Listener::new(&folder),
        enforcer,
        probes: Probes::new(),
        learned: NeverAct::default(),
        devices: 0,
        looked_up: None,
        looked_after: now(),
        trouble: None,
        policy_trouble: None,
        managed: args.managed.clone(),
        delays: Delays::default(),
        never_file: NeverFile::new(&folder),
        place,
    };
    office.look_after();
    office.hear();
    while !stop.is_due() {
        office.wait(&woken);
        if helper.as_mut().is_some_and(Helper::is_gone) {
            bail!(
                "the process that stops others has ended; what it stopped is taken over by the next enforcer"
            );
        }
    }
    // What holds goes on holding until its time is over: a restart is no reason to let an attacker go. But nobody is
    // stopped for good because nobody came back.
    if let Some(helper) = &helper {
        helper.hand().let_go()?;
    }
    Ok(Found::Nothing)
}

/// The time of day.
fn clock() -> Timestamp {
    Timestamp::from_nanos(run::now_nanos())
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!(
            "another enforcer is using {}; two would undo each other",
            folder.display()
        );
    }
    Ok(file)
}

fn pass_on(asked: Receiver<Asked>, into: SyncSender<Wake>) {
    thread::spawn(move || {
        for one in asked {
            if into.send(Wake::Asked(one)).is_err() {
                return;
            }
        }
    });
}

/// Wakes for what happens in the folder (inotify(7)).
fn watch(folder: &Path, into: SyncSender<Wake>) -> Result<()> {
    use rustix::fs::inotify;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).context("cannot watch folders")?;
    let what =
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE;
    inotify::add_watch(&watch, folder, what)
        .with_context(|| format!("cannot watch {}", folder.display()))?;
    thread::spawn(move || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&watch, &mut buffer);
        loop {
            let name = match reader.next() {
                Ok(event) => event
                    .file_name()
                    .map(|name| name.to_bytes().starts_with(b"proposals")),
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            };
            if name == Some(true)
                && matches!(
                    into.try_send(Wake::Said),
                    Err(std::sync::mpsc::TrySendError::Disconnected(_))
                )
            {
                return;
            }
        }
    });
    Ok(())
}

/// How long the latest actions took, from the packet that tipped the score until the cut was there.
#[derive(Default)]
struct Delays {
    millis: VecDeque<u64>,
}

impl Delays {
    const KEPT: usize = 1_000;

    /// Takes note of what was done just now, of decisions of which some are active.
    fn note(&mut self, enforcer: &Enforcer, made: &[DecisionId], tipped: Option<Timestamp>) {
        let is_active = |id: &DecisionId| {
            let decision = enforcer.ledger().get(*id);
            decision.is_ok_and(|one| one.state == State::Active && !one.cuts.is_empty())
        };
        let Some(tipped) = tipped.filter(|_| made.iter().any(is_active)) else {
            return;
        };
        let millis = clock().since(tipped).as_millis();
        self.millis
            .push_back(u64::try_from(millis).unwrap_or(u64::MAX));
        if self.millis.len() > Self::KEPT {
            self.millis.pop_front();
        }
    }

    fn told(&self) -> Value {
        let mut sorted: Vec<u64> = self.millis.iter().copied().collect();
        sorted.sort_unstable();
        let at =
            |share: usize| sorted.get((sorted.len() * share / 100).min(sorted.len().max(1) - 1));
        json!({ "actions": sorted.len(), "p50": at(50), "p95": at(95), "max": sorted.last() })
    }
}

/// The enforcer and what it is told.
struct Office {
    file: PolicyFile,
    listener: Listener,
    enforcer: Enforcer,
    probes: Probes,
    learned: NeverAct,
    devices: u64,
    looked_up: Option<Timestamp>,
    looked_after: Instant,
    trouble: Option<String>,
    policy_trouble: Option<String>,
    managed: Vec<u16>,
    delays: Delays,
    never_file: NeverFile,
    place: Place,
}

impl Office {
    /// Does what comes next, or what is due.
    fn wait(&mut self, woken: &Receiver<Wake>) {
        let due = self.enforcer.next_due().map(|at| at.since(clock()));
        match woken.recv_timeout(due.unwrap_or(TICK).min(TICK)) {
            Ok(Wake::Asked(asked)) => {
                let answer = self.answer(asked.ask);
                // Who asked may be gone.
                let _is_heard = asked.answer.send(answer).is_ok();
            }
            Ok(Wake::Said) | Err(RecvTimeoutError::Timeout) => self.hear(),
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
        }
        // However much there is to hear.
        if self.looked_after.elapsed() >= TICK {
            self.look_after();
        }
        let began = now();
        if self.enforcer.tick(clock()) {
            self.enforcer.looking_took(began.elapsed());
        }
        self.tell();
    }

    /// Takes what the analysis said.
    fn hear(&mut self) {
        for said in self.listener.heard(clock()) {
            match said {
                Said::Proposals {
                    proposals, tipped, ..
                } => match self.enforcer.propose(proposals, clock()) {
                    Ok(made) => self.delays.note(&self.enforcer, &made, tipped),
                    Err(error) => eprintln!("thymus: {error}"),
                },
                Said::Learned { never, devices } => {
                    (self.learned, self.devices) = (never, devices);
                    self.looked_up = None;
                    self.look_after();
                }
            }
        }
    }

    /// The policy file, the machine's own surroundings, and the health probes.
    fn look_after(&mut self) {
        self.looked_after = now();
        match self.file.again() {
            Some(Ok(policy)) => match self.change(policy) {
                Ok(()) => eprintln!("thymus: the policy was read anew"),
                Err(error) => self.keep_policy(&error),
            },
            Some(Err(error)) => self.keep_policy(&format!("{error:#}")),
            None => {}
        }
        let now = clock();
        if self
            .looked_up
            .is_none_or(|at| now.since(at) >= LOOK_UP_EVERY)
        {
            self.looked_up = Some(now);
            let never = self.never();
            self.enforcer.learned(never, self.devices, now);
        }
        let mut waiting: Vec<DecisionId> = Vec::new();
        waiting.extend(
            self.enforcer
                .ledger()
                .active()
                .filter(|one| one.confirm_by.is_some())
                .map(|one| one.id),
        );
        let targets = self.enforcer.policy().probes.clone();
        match self.probes.round(&targets, !waiting.is_empty()) {
            Some(Health::Harmed(why)) => self.enforcer.harmed(&why, now),
            Some(Health::Good) => {
                for id in waiting {
                    if let Err(error) = self.enforcer.confirm_it(id, "health probes", now) {
                        eprintln!("thymus: {error}");
                    }
                }
            }
            None => {}
        }
    }

    /// Another policy from now on, with other means where it names them.
    fn change(&mut self, policy: Policy) -> Result<(), String> {
        if policy.reaches(Realm::Processes) && self.place.freezer.is_none() {
            return Err(
                "the policy names the freezer, and the enforcer gave up the rights for it when it began: start thymus \
                 again to have it"
                    .to_owned(),
            );
        }
        let named = self
            .place
            .files
            .as_ref()
            .map(|shelf| shelf.named.as_slice());
        if policy.reaches(Realm::Files) && named != Some(policy.file_roots.as_slice()) {
            return Err(
                "the policy lets files be taken from other folders than it did when the enforcer began and gave up the \
                 rest: start thymus again to have that"
                    .to_owned(),
            );
        }
        let responders = policy
            .has_other_means(self.enforcer.policy())
            .then(|| Responders::of(&policy, &self.place))
            .transpose()?;
        self.enforcer.policy_changed(policy, clock());
        if let Some(responders) = responders {
            self.enforcer.carried_out_by(Box::new(responders), clock());
        }
        self.looked_up = None;
        self.policy_trouble = None;
        Ok(())
    }

    fn keep_policy(&mut self, error: &str) {
        let said = format!("{error}; the one before goes on");
        eprintln!("thymus: {said}");
        self.policy_trouble = Some(said);
    }

    /// All that is never acted upon.
    fn never(&self) -> NeverAct {
        let mut never = NeverAct::of(self.enforcer.policy());
        for ((server, port), why) in self.learned.relied_on() {
            never.service(*server, *port, why);
        }
        for (net, why) in self.learned.nets() {
            never.network(*net, why);
        }
        host::add(&mut never, &self.managed);
        never
    }

    /// Says on standard error what does not work, once, and to bouncers what is never acted upon.
    fn tell(&mut self) {
        self.never_file.keep(self.enforcer.never());
        let trouble = &self.enforcer.standing().trouble;
        if *trouble != self.trouble {
            match trouble {
                Some(what) => eprintln!("thymus: {what}"),
                None => eprintln!("thymus: the response works again"),
            }
            self.trouble.clone_from(trouble);
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let now = clock();
        let enforcer = &mut self.enforcer;
        let done = match ask {
            Ask::Status => return Answer::Done(self.status()),
            Ask::Approve { id, by } => enforcer.approve(id, &by, now),
            Ask::Deny { id, by, why } => enforcer.deny(id, &by, &why, now),
            Ask::Undo { ids, by, why } => enforcer.undo(&ids, &by, &why, now),
            Ask::Extend { id, by, secs } => {
                enforcer.extend(id, &by, Duration::from_secs(secs), now)
            }
            Ask::Contain { proposal, by, secs } => {
                let duration = Duration::from_secs(secs);
                return match enforcer.order(*proposal, &by, duration, now) {
                    Ok(id) => Answer::Done(json!(id.to_string())),
                    Err(error) => Answer::Refused(error.to_string()),
                };
            }
            Ask::Rehearse { proposal } => {
                return match enforcer.rehearse(*proposal) {
                    Ok(proposal) => Answer::Done(json!(proposal.rehearsal.held)),
                    Err(error) => Answer::Refused(error.to_string()),
                };
            }
            Ask::Confirm { id, by } => enforcer.confirm_it(id, &by, now),
            Ask::Panic { by } => enforcer.panic(&by, now),
            Ask::Resume { by } => enforcer.resume(&by, now),
        };
        match done {
            Ok(()) => Answer::Done(Value::Null),
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    fn status(&self) -> Value {
        let standing = self.enforcer.standing();
        let policy: &Policy = self.enforcer.policy();
        let of_state = |state| {
            self.enforcer
                .ledger()
                .live()
                .filter(|one| one.state == state)
                .count()
        };
        let cut: BTreeMap<String, (u64, u64)> = standing
            .cut
            .iter()
            .map(|(id, counted)| (id.to_string(), *counted))
            .collect();
        let held: BTreeMap<String, &Vec<String>> = standing
            .held
            .iter()
            .map(|(id, held)| (id.to_string(), held))
            .collect();
        let never: Vec<Value> = self
            .enforcer
            .never()
            .nets()
            .map(|(net, why)| json!({"what": net, "why": why}))
            .chain(self.enforcer.never().relied_on().map(
                |((server, port), why)| json!({"what": format!("{server} {port}"), "why": why}),
            ))
            .collect();
        json!({
            "mode": policy.mode,
            "acts": policy.acts(),
            "halted": self.enforcer.ledger().is_halted(),
            "active": of_state(State::Active),
            "pending": of_state(State::Pending),
            "elements": standing.elements,
            "trouble": standing.trouble,
            "policy_trouble": self.policy_trouble,
            "repaired": standing.repaired,
            "cut": cut,
            "held": held,
            "never": never,
            "devices": self.devices,
            "delay_ms": self.delays.told(),
        })
    }
}
