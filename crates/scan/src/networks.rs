//! The networks as a judge: those that ship, and those that a user put in their place.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use thymus_nets::ArtifactError;
use thymus_nets::file::{FileNet, SHIPPED, STRONGEST, Window, log_score, logit};

use crate::{ByteRange, Calibration, FileType, Judge, Judgement, Leaning};

/// Most ranges named as what decided.
const RANGES_MAX: usize = 5;
/// A window with less than this share of a score is no reason for it.
const SHARE_MIN: f32 = 0.02;

/// The networks that judge: those that ship with Thymus, and in their place or beside them others.
/// Without any, nothing is judged.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    nets: Vec<Network>,
    /// Threads that share the work on one file.
    pool: Option<Arc<ThreadPool>>,
}

#[derive(Clone, Debug)]
struct Network {
    net: FileNet<'static>,
    file: &'static [u8],
    is_shipped: bool,
}

/// What is known of a network.
#[derive(Clone, Debug)]
pub struct NetworkInfo<'n> {
    /// Its name.
    pub name: &'n str,
    /// Its version.
    pub version: &'n str,
    /// The types it judges, each with the shares of harmless files that it calls suspicious or worse, and
    /// malicious, if it does, at most.
    pub types: Vec<(&'n str, f32, Option<f32>)>,
    /// Its card in Markdown.
    pub card: &'n str,
    /// Its file.
    pub file: &'static [u8],
    /// Whether it ships with Thymus.
    pub is_shipped: bool,
}

impl NetworkInfo<'_> {
    /// What judgements call it.
    pub fn id(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// The types it judges.
    pub fn type_names(&self) -> Vec<String> {
        let names = self.types.iter().map(|(kind, _, _)| (*kind).to_owned());
        names.collect()
    }
}

/// Why a model file cannot judge.
#[derive(Debug)]
pub enum WrongModel {
    /// It does not fit this build.
    Artifact(ArtifactError),
    /// Another network judges the type.
    Overlap {
        /// The type.
        kind: String,
        /// Name of the model.
        name: String,
        /// Name of the other.
        other: String,
    },
}

impl fmt::Display for WrongModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Artifact(error) => write!(f, "{error}"),
            Self::Overlap { kind, name, other } => write!(
                f,
                "{name} judges {kind}, and so does {other}: a model takes the place of the one of its own name only"
            ),
        }
    }
}

impl Error for WrongModel {}

impl Network {
    fn open(file: &'static [u8], is_shipped: bool) -> Result<Self, ArtifactError> {
        Ok(Self {
            net: FileNet::open(file)?,
            file,
            is_shipped,
        })
    }
}

impl Networks {
    /// Opens those that ship.
    ///
    /// # Errors
    /// When one does not fit this build.
    pub fn shipped() -> Result<Self, ArtifactError> {
        let shipped = SHIPPED.iter().map(|file| Network::open(file, true));
        Ok(Self {
            nets: shipped.collect::<Result<_, _>>()?,
            pool: None,
        })
    }

    /// Puts models in the place of those of the same name, or beside them. Their bytes stay in memory until
    /// the program ends, as those of the shipped ones do.
    ///
    /// # Errors
    /// Which of them cannot judge, by its place in `models`, and why.
    pub fn with(mut self, models: Vec<Vec<u8>>) -> Result<Self, (usize, WrongModel)> {
        let mut names = Vec::new();
        for (at, bytes) in models.into_iter().enumerate() {
            let opened = Network::open(bytes.leak(), false);
            let fresh = opened.map_err(|error| (at, WrongModel::Artifact(error)))?;
            names.push(fresh.net.card().name.clone());
            let same = |old: &&mut Network| old.net.card().name == fresh.net.card().name;
            match self.nets.iter_mut().find(same) {
                Some(old) => *old = fresh,
                None => self.nets.push(fresh),
            }
        }
        // Only now: one may give up a type that another takes.
        for (at, name) in names.into_iter().enumerate() {
            if let Some((kind, other)) = self.overlap(&name) {
                return Err((at, WrongModel::Overlap { kind, name, other }));
            }
        }
        Ok(self)
    }

    /// Heeds what harmless files of their user are judged, where these networks judged them.
    #[must_use]
    pub fn calibrated(mut self, calibrations: &[Calibration]) -> Self {
        for Network { net, .. } in &mut self.nets {
            let id = model(net);
            for of_kind in calibrations
                .iter()
                .filter(|c| c.model == id && c.is_sound())
            {
                net.calibrate(&of_kind.kind, of_kind.tails(), of_kind.files);
            }
        }
        self
    }

    /// What is known of each.
    pub fn infos(&self) -> impl Iterator<Item = NetworkInfo<'_>> {
        self.nets.iter().map(|network| {
            let net = &network.net;
            let promised = |kind| {
                let (suspicious, malicious) = net.limits(kind)?;
                Some((kind, suspicious, malicious))
            };
            NetworkInfo {
                name: &net.card().name,
                version: &net.card().version,
                types: net.kinds().filter_map(promised).collect(),
                card: &net.card().text,
                file: network.file,
                is_shipped: network.is_shipped,
            }
        })
    }

    /// A type that the network called `name` and another one judge, and the other's name.
    fn overlap(&self, name: &str) -> Option<(String, String)> {
        let of = |network: &Network| network.net.card().name == name;
        let fresh = self.nets.iter().find(|network| of(network))?;
        let others = || self.nets.iter().filter(|network| !of(network));
        fresh.net.kinds().find_map(|kind| {
            let knows = |other: &&Network| other.net.kinds().any(|known| known == kind);
            let other = others().find(knows)?;
            Some((kind.to_owned(), other.net.card().name.clone()))
        })
    }

    fn of(&self, kind: FileType) -> Option<&FileNet<'static>> {
        let knows = |net: &&FileNet<'_>| net.kinds().any(|known| known == kind.as_str());
        self.nets.iter().map(|network| &network.net).find(knows)
    }
}

impl Judge for Networks {
    fn judge(&self, kind: FileType, bytes: &[u8]) -> Option<Judgement> {
        let (net, name) = (self.of(kind)?, kind.as_str());
        let judged = net.judge_on(self.pool.as_deref(), name, bytes)?;
        let rarity = net.rarity(name, &judged)?;
        let (suspicious, malicious) = net.limits(name)?;
        let leaning = match rarity.share {
            share if malicious.is_some_and(|limit| share <= limit) => Leaning::Malicious,
            share if share <= suspicious => Leaning::Suspicious,
            _ => Leaning::Clean,
        };
        let certified = |limit| judged.certified_bytes(net.score(name, limit)?.next_up());
        let is_malicious = leaning == Leaning::Malicious;
        let ranges = match (leaning, judged.worst) {
            (Leaning::Clean, _) => Vec::new(),
            (_, Some(worst)) if rarity.is_by_trees => ranges(&net.places(name, bytes, worst.end)),
            _ => ranges(&judged.windows),
        };
        let label = match leaning {
            Leaning::Clean => None,
            _ => net.label(name, bytes).map(str::to_owned),
        };
        Some(Judgement {
            leaning,
            probability: net.probability(name, &judged)?.into(),
            benign_share: rarity.share,
            score: log_score(judged.score),
            logit: logit(&judged),
            certified_bytes: malicious.filter(|_| is_malicious).and_then(certified),
            outlives_additions: is_malicious && malicious >= Some(rarity.closed_share),
            ranges,
            label,
            model: model(net),
        })
    }

    fn start_threads(&mut self, threads: usize) {
        // Without them it takes longer, and that is all.
        self.pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .ok()
            .map(Arc::new);
    }
}

/// Id of a network.
fn model(net: &FileNet<'_>) -> String {
    format!("{}-{}", net.card().name, net.card().version)
}

/// The heaviest windows that do not overlap; `windows` stand heaviest first.
fn ranges(windows: &[Window]) -> Vec<ByteRange> {
    let sum: f32 = windows.iter().take(STRONGEST).map(|w| w.evidence).sum();
    let mut chosen: Vec<&Window> = Vec::new();
    for window in windows {
        let apart = |other: &&Window| window.end <= other.start || window.start >= other.end;
        let weighs = window.evidence >= SHARE_MIN * sum;
        if weighs && chosen.len() < RANGES_MAX && chosen.iter().all(apart) {
            chosen.push(window);
        }
    }
    let range = |window: &Window| ByteRange {
        offset: window.start,
        length: window.end - window.start,
        weight: window.evidence / sum,
    };
    chosen.into_iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_learned_is_not_judged() {
        let networks = Networks::shipped().unwrap();
        assert_eq!(networks.judge(FileType::Perl, b"print 1;"), None);
        let judged = networks.judge(FileType::Pdf, b"%PDF-1.4\n").unwrap();
        assert!(
            judged.model.starts_with("file_document-"),
            "{}",
            judged.model
        );
        assert!((0.0..=1.0).contains(&judged.probability));
    }

    #[test]
    fn threads_change_no_judgement() {
        let alone = Networks::shipped().unwrap();
        let mut shared = alone.clone();
        shared.start_threads(3);
        let text = (0..60_000_u32).flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_be_bytes());
        let bytes: Vec<u8> = b"%PDF-1.4\n".iter().copied().chain(text).collect();
        let of = |networks: &Networks| networks.judge(FileType::Pdf, &bytes).unwrap();
        assert_eq!(of(&alone), of(&shared));
        assert!(of(&alone).score > -13.0, "there is something to compare");
    }

    /// The shipped model for scripts with other words in its card, each as long as before.
    fn changed(words: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = SHIPPED[3].to_vec();
        for (old, new) in words {
            assert_eq!(old.len(), new.len());
            let found = |bytes: &[u8]| {
                let mut parts = bytes.windows(old.len());
                parts.position(|part| part == old.as_bytes())
            };
            assert_ne!(found(&bytes), None);
            while let Some(at) = found(&bytes) {
                bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
            }
        }
        bytes
    }

    #[test]
    fn a_model_takes_the_place_of_the_one_of_its_name_only() {
        let shipped = Networks::shipped().unwrap();
        let version = shipped.infos().nth(3).unwrap().version.to_owned();
        let other = format!("x{}", version.get(1..).unwrap());
        let networks = shipped.clone().with(vec![changed(&[(&version, &other)])]);
        let networks = networks.unwrap();
        let infos: Vec<_> = networks.infos().collect();
        assert_eq!(infos.len(), 4);
        assert!(!infos[3].is_shipped && infos[2].is_shipped);
        assert_eq!(infos[3].id(), format!("file_script-{other}"));
        let judged = networks.judge(FileType::Php, b"<?php echo 1;").unwrap();
        assert_eq!(judged.model, infos[3].id());
        let renamed = changed(&[("file_script", "file_zcript")]);
        let (at, told) = shipped.clone().with(vec![renamed]).unwrap_err();
        assert_eq!(at, 0);
        assert!(told.to_string().contains("file_zcript judges"), "{told}");
        let (at, told) = shipped
            .with(vec![SHIPPED[0].to_vec(), vec![7; 99]])
            .unwrap_err();
        assert!(at == 1 && matches!(told, WrongModel::Artifact(_)));
    }

    #[test]
    fn the_strongest_windows_apart_from_each_other_are_the_reasons() {
        let window = |start: u64, evidence: f32| Window {
            start,
            end: start + 100,
            evidence,
            open: false,
            ends: false,
        };
        let windows = [
            window(500, 6.0),
            window(550, 2.875),
            window(0, 3.0),
            window(900, 0.125),
        ];
        let found: Vec<_> = ranges(&windows)
            .iter()
            .map(|r| (r.offset, r.weight))
            .collect();
        assert_eq!(found, [(500, 0.5), (0, 0.25)]);
    }
}
