//! What has to be remembered of exporters: templates, data that came before them, sampling, sequence numbers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thymus_parsers::netflow::Template;
use thymus_schema::{Coverage, Timestamp};

use super::CollectorLimits;
use super::sequence::Sequence;
use super::times::{Base, Skew};

/// Most samplers remembered of one stream.
const SAMPLERS_MAX: usize = 64;
/// Most sources of samples, and most programs, remembered of one exporter.
const SOURCES_MAX: usize = 256;
const PROGRAMS_MAX: usize = 32;
/// Stands for the program of a message that is none.
pub(super) const UNREADABLE: &str = "unreadable";
/// Most sets of one stream that wait for their template.
const PENDING_MAX: usize = 64;
/// Other streams of an exporter that are asked for a template.
const COUSINS_MAX: usize = 16;

/// What a program's messages amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCounter {
    /// Its name; `other` for those beyond the most that are kept apart.
    pub program: String,
    /// Messages that told nothing that is judged.
    pub not_judged: u64,
}

/// What came from one exporter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExporterCounters {
    /// Its address.
    pub exporter: IpAddr,
    /// What it sends: `NetFlow v5`, `NetFlow v9`, `IPFIX`, `sFlow`, `syslog`.
    pub kinds: Vec<String>,
    /// When something last came from it.
    pub last_seen: Timestamp,
    /// Datagrams of flows and samples.
    pub datagrams: u64,
    /// Flow records, samples of packets, and messages.
    pub records: u64,
    /// Samples of counters, which say nothing of conversations.
    pub counter_samples: u64,
    /// Records that the exporter made about itself.
    pub options: u64,
    /// Templates held.
    pub templates: u64,
    /// Templates that could not be kept: broken, or more than there is room for.
    pub templates_refused: u64,
    /// Sets of records that wait for their template.
    pub waiting: u64,
    /// Sets of records that were given up because their template did not come.
    pub templates_missing: u64,
    /// Datagrams and messages, or parts of them, that could not be read.
    pub unreadable: u64,
    /// Flow records and datagrams that were sent and did not arrive.
    pub lost: u64,
    /// Records whose times no flow can have; the time of their export stands for them.
    pub times_not_believed: u64,
    /// What is added to its clock, in seconds, because it is more than a minute off.
    pub clock_shift_secs: i64,
    /// One packet in so many is looked at, as it last said; 1 when all are.
    pub sampling: u64,
    /// Syslog messages that were not judged, by program.
    pub programs: Vec<ProgramCounter>,
}

/// An exporter.
#[derive(Debug)]
pub(super) struct Exporter {
    pub(super) counters: ExporterCounters,
    pub(super) skew: Skew,
    kinds: BTreeSet<&'static str>,
    programs: BTreeMap<String, u64>,
    /// Of sFlow: samples dropped by source, as it last said.
    drops: BTreeMap<(u32, u32), u32>,
    pub(super) dropped_samples: u64,
}

/// Which part of an exporter numbers its exports and templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamKey {
    pub(super) addr: IpAddr,
    pub(super) version: u8,
    pub(super) domain: u32,
    pub(super) port: u16,
}

impl StreamKey {
    pub(super) fn new(from: SocketAddr, version: u8, domain: u32) -> Self {
        Self {
            addr: from.ip(),
            version,
            domain,
            port: from.port(),
        }
    }
}

/// A set that came before its template.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) template: u16,
    pub(super) base: Base,
    pub(super) body: Box<[u8]>,
}

/// Such a part.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) sequence: Sequence,
    pub(super) uptime_ms: Option<u32>,
    pub(super) boot: Option<i64>,
    templates: BTreeMap<u16, Template>,
    pending: VecDeque<Pending>,
    sampling: Option<u64>,
    samplers: BTreeMap<u64, u64>,
}

impl Stream {
    /// What an options record says about sampling.
    pub(super) fn learn_sampling(&mut self, sampler: Option<u64>, sampling: u64) {
        match sampler {
            Some(sampler)
                if self.samplers.len() < SAMPLERS_MAX || self.samplers.contains_key(&sampler) =>
            {
                self.samplers.insert(sampler, sampling);
            }
            Some(_) => {}
            None => self.sampling = Some(sampling),
        }
    }

    /// One packet in so many, for a record that names `sampler`.
    pub(super) fn sampling_of(&self, sampler: Option<u64>) -> Option<u64> {
        let named = sampler.and_then(|sampler| self.samplers.get(&sampler));
        // Where there is one sampler, a record need not name it.
        let only = || (self.samplers.len() == 1).then(|| self.samplers.values().next())?;
        named.copied().or(self.sampling).or_else(|| only().copied())
    }

    pub(super) fn template(&self, id: u16) -> Option<&Template> {
        self.templates.get(&id)
    }

    /// The exporter began anew: its numbers mean something else now.
    pub(super) fn restart(&mut self) {
        self.sequence.reset();
    }

    /// Takes out what waited for a template.
    fn take_pending(&mut self, id: u16) -> Vec<Pending> {
        let (ready, rest) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending: &Pending| pending.template == id);
        self.pending = rest;
        Vec::from(ready)
    }
}

/// All exporters.
#[derive(Debug)]
pub(super) struct Exporters {
    limits: CollectorLimits,
    numbers: BTreeMap<IpAddr, u32>,
    list: Vec<Exporter>,
    streams: BTreeMap<StreamKey, Stream>,
    template_bytes: usize,
    pending_bytes: usize,
}

impl Exporters {
    pub(super) fn new(limits: CollectorLimits) -> Self {
        Self {
            limits,
            numbers: BTreeMap::new(),
            list: Vec::new(),
            streams: BTreeMap::new(),
            template_bytes: 0,
            pending_bytes: 0,
        }
    }

    /// The number of an exporter; `None` when there are too many.
    pub(super) fn of(&mut self, addr: IpAddr) -> Option<u32> {
        if let Some(number) = self.numbers.get(&addr) {
            return Some(*number);
        }
        if self.list.len() >= self.limits.exporters_max {
            return None;
        }
        let number = self.list.len() as u32;
        self.numbers.insert(addr, number);
        self.list.push(Exporter {
            counters: ExporterCounters {
                exporter: addr,
                kinds: Vec::new(),
                last_seen: Timestamp::MIN,
                datagrams: 0,
                records: 0,
                counter_samples: 0,
                options: 0,
                templates: 0,
                templates_refused: 0,
                waiting: 0,
                templates_missing: 0,
                unreadable: 0,
                lost: 0,
                times_not_believed: 0,
                clock_shift_secs: 0,
                sampling: 1,
                programs: Vec::new(),
            },
            skew: Skew::default(),
            kinds: BTreeSet::new(),
            programs: BTreeMap::new(),
            drops: BTreeMap::new(),
            dropped_samples: 0,
        });
        Some(number)
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Exporter> {
        self.list.get_mut(number as usize)
    }

    /// Something came from it, of this kind where that can be told.
    pub(super) fn heard(&mut self, number: u32, kind: Option<&'static str>, at: Timestamp) {
        if let Some(exporter) = self.get(number) {
            exporter.kinds.extend(kind);
            exporter.counters.last_seen = exporter.counters.last_seen.max(at);
        }
    }

    /// Counts something of it.
    pub(super) fn count(&mut self, number: u32, what: impl FnOnce(&mut ExporterCounters)) {
        if let Some(exporter) = self.get(number) {
            what(&mut exporter.counters);
        }
    }

    pub(super) fn addr(&self, number: u32) -> IpAddr {
        let exporter = self.list.get(number as usize);
        exporter.map_or(IpAddr::from([0, 0, 0, 0]), |exporter| {
            exporter.counters.exporter
        })
    }

    /// The stream with this key, made when it is new; `None` when there are too many.
    pub(super) fn stream(&mut self, key: StreamKey) -> Option<&mut Stream> {
        if !self.streams.contains_key(&key) && self.streams.len() >= self.limits.streams_max {
            return None;
        }
        Some(self.streams.entry(key).or_default())
    }

    /// The template of a stream; else that of another stream of the exporter that differs in nothing but
    /// its port: some send from many.
    pub(super) fn template(&self, key: StreamKey, id: u16) -> Option<&Template> {
        let own = self
            .streams
            .get(&key)
            .and_then(|stream| stream.template(id));
        let (first, last) = (
            StreamKey { port: 0, ..key },
            StreamKey {
                port: u16::MAX,
                ..key
            },
        );
        let cousins = || self.streams.range(first..=last).take(COUSINS_MAX);
        own.or_else(|| cousins().find_map(|(_, stream)| stream.template(id)))
    }

    /// Keeps a template; gives back what waited for it, or nothing and `false` when there is no room.
    pub(super) fn keep_template(
        &mut self,
        key: StreamKey,
        template: Template,
    ) -> Option<Vec<Pending>> {
        let (bytes_max, templates_max) =
            (self.limits.template_bytes_max, self.limits.templates_max);
        let (all, id, size) = (self.template_bytes, template.id, template.size());
        let stream = self.streams.get_mut(&key)?;
        let old = stream.templates.get(&id).map_or(0, Template::size);
        let is_new = old == 0;
        let after = all.saturating_sub(old) + size;
        if after > bytes_max || (is_new && stream.templates.len() >= templates_max) {
            return None;
        }
        stream.templates.insert(id, template);
        let ready = stream.take_pending(id);
        self.template_bytes = after;
        self.pending_bytes -= ready
            .iter()
            .map(|pending| pending.body.len())
            .sum::<usize>();
        Some(ready)
    }

    /// The exporter withdraws a template, or all of them with the number of a set of templates.
    pub(super) fn withdraw(&mut self, key: StreamKey, id: u16) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let (gone, kept) =
            std::mem::take(&mut stream.templates)
                .into_iter()
                .partition(|(number, template)| match id {
                    2 => !template.is_options,
                    3 => template.is_options,
                    _ => *number == id,
                });
        stream.templates = kept;
        let gone: BTreeMap<u16, Template> = gone;
        self.template_bytes -= gone.values().map(Template::size).sum::<usize>();
    }

    /// Puts a set aside until its template comes; gives back how many sets are given up for it.
    pub(super) fn put_aside(&mut self, key: StreamKey, pending: Pending) -> u64 {
        let size = pending.body.len();
        let Some(stream) = self.streams.get_mut(&key) else {
            return 1;
        };
        let mut given_up = 0;
        while stream.pending.len() >= PENDING_MAX
            || (self.pending_bytes + size > self.limits.pending_bytes_max
                && !stream.pending.is_empty())
        {
            let oldest = stream.pending.pop_front();
            self.pending_bytes -= oldest.map_or(0, |oldest| oldest.body.len());
            given_up += 1;
        }
        if self.pending_bytes + size > self.limits.pending_bytes_max {
            return given_up + 1;
        }
        self.pending_bytes += size;
        stream.pending.push_back(pending);
        given_up
    }

    /// Whether the bounds hold.
    #[cfg(test)]
    pub(super) fn within(&self, limits: &CollectorLimits) -> bool {
        let streams = || self.streams.values();
        let templates = streams().flat_map(|stream| stream.templates.values());
        let pending = streams().flat_map(|stream| stream.pending.iter());
        let template_bytes: usize = templates.map(Template::size).sum();
        let pending_bytes: usize = pending.map(|pending| pending.body.len()).sum();
        template_bytes == self.template_bytes
            && pending_bytes == self.pending_bytes
            && template_bytes <= limits.template_bytes_max
            && pending_bytes <= limits.pending_bytes_max
            && self.streams.len() <= limits.streams_max
    }

    /// Counts what still waits for a template as not judged.
    pub(super) fn give_up_pending(&mut self, coverage: &mut Coverage) {
        for stream in self.streams.values_mut() {
            let left = stream.pending.len() as u64;
            coverage.records += left;
            coverage.drop_for("template_not_seen", left);
            stream.pending.clear();
        }
        self.pending_bytes = 0;
    }

    /// An sFlow sample says how many were dropped at its source.
    pub(super) fn sample_drops(&mut self, number: u32, source: (u32, u32), drops: u32) {
        let Some(exporter) = self.get(number) else {
            return;
        };
        let last = exporter.drops.get(&source).copied();
        if last.is_none() && exporter.drops.len() >= SOURCES_MAX {
            return;
        }
        exporter.drops.insert(source, drops);
        let more = last.map_or(0, |last| drops.wrapping_sub(last));
        // A counter that goes back began anew.
        if more < u32::MAX / 2 {
            exporter.dropped_samples += u64::from(more);
        }
    }

    /// A message came; `program` when it was not judged.
    pub(super) fn syslog(&mut self, number: u32, program: Option<String>) {
        let Some(exporter) = self.get(number) else {
            return;
        };
        exporter.counters.records += 1;
        if let Some(program) = program {
            exporter.counters.unreadable += u64::from(program == UNREADABLE);
            let programs = &mut exporter.programs;
            let is_known = programs.contains_key(&program) || programs.len() < PROGRAMS_MAX;
            let name = if is_known {
                program
            } else {
                "other".to_owned()
            };
            *programs.entry(name).or_default() += 1;
        }
    }

    /// Adds what did not arrive.
    pub(super) fn add_to(&self, coverage: &mut Coverage) {
        for (key, stream) in &self.streams {
            let reason = match key.version {
                5 | 10 => "export_records_lost",
                _ => "export_datagrams_lost",
            };
            coverage.drop_for(reason, stream.sequence.lost);
        }
        for exporter in &self.list {
            coverage.drop_for("samples_dropped_by_exporter", exporter.dropped_samples);
        }
    }

    pub(super) fn counters(&self) -> Vec<ExporterCounters> {
        let each = |number: &u32| {
            let exporter = self.list.get(*number as usize)?;
            let addr = exporter.counters.exporter;
            let streams = || self.streams.iter().filter(move |(key, _)| key.addr == addr);
            let programs = exporter
                .programs
                .iter()
                .map(|(program, count)| ProgramCounter {
                    program: program.clone(),
                    not_judged: *count,
                });
            Some(ExporterCounters {
                kinds: exporter.kinds.iter().map(ToString::to_string).collect(),
                waiting: streams()
                    .map(|(_, stream)| stream.pending.len() as u64)
                    .sum(),
                templates: streams()
                    .map(|(_, stream)| stream.templates.len() as u64)
                    .sum(),
                lost: streams().map(|(_, stream)| stream.sequence.lost).sum(),
                clock_shift_secs: exporter.skew.shift / 1_000_000_000,
                programs: programs.collect(),
                ..exporter.counters.clone()
            })
        };
        self.numbers.values().filter_map(each).collect()
    }
}
