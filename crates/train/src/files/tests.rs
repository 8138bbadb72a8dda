//! The whole way on made-up files: learned, written, read back by the program's own network.

use thymus_nets::file::FileNet;
use thymus_nets::file::forest::{Counts, Forest};

use super::behaviours::Named;
use super::checkpoint;
use super::data::{Sample, Samples};
use super::learn::{Plan, State, learn, round};
use super::measure::{measure, table};
use super::net::{Dice, Reading};
use super::start::{self, Start};
use super::write::Learned;
use super::{Group, forest, labels, write};
use crate::corpus::Kind;

const PLAN: Plan = Plan {
    bits: 6,
    row_bits: 14,
    epochs: 4,
    benign: 2,
    rate: 0.05,
    hidden: 0.1,
    blind: 0.2,
    unlabelled: 0,
    bytes_max: 1 << 20,
};

const FEW: forest::Plan = forest::Plan {
    trees: 20,
    depth: 3,
    rate: 0.3,
    shortest: 128,
    benign_max: 1_000,
};

/// Words in a drawn order; a malicious file has a few words of its own somewhere.
fn side(seed: u64, files: u32) -> Vec<Sample> {
    let words = [
        "return ", "value = ", "index", "(", ") ", "{ ", "} ", "name ", "for ", "list\n",
    ];
    let bad = ["eval(", "unpack(", "$_POST[", "exec(", "base64"];
    let mut dice = Dice::new(seed);
    (0..files)
        .map(|number| {
            let malicious = number % 2 == 0;
            let mut text = String::new();
            let at = dice.below(400);
            for word in 0..500 {
                text.push_str(words[dice.below(words.len())]);
                if malicious && (at..at + 40).contains(&word) {
                    text.push_str(bad[dice.below(bad.len())]);
                }
            }
            Sample {
                bytes: text.into_bytes(),
                malicious,
                cluster: number,
                package: None,
                form: "",
            }
        })
        .collect()
}

fn kinds() -> Vec<(Kind, Samples)> {
    let samples = Samples {
        train: side(1, 200),
        tune: side(2, 60),
        test: side(3, 60),
    };
    vec![(Kind::Php, samples)]
}

#[test]
fn what_is_learned_is_found_in_new_files_and_survives_the_model_file() {
    let kinds = kinds();
    let (rows, heads) = learn(&kinds, &PLAN, None, None).unwrap();
    let (kind, samples) = &kinds[0];
    let trees = vec![forest::learn(&samples.train, FEW, None).unwrap()];
    let learned = Learned {
        rows,
        shortest: FEW.shortest,
        heads,
        trees,
    };
    let draft = write::encode(Group::Script, &kinds, &learned).unwrap();
    let net = FileNet::open(&draft).unwrap();
    let figures = [measure((*kind, None), samples, &net, true)];
    let text = table(&figures);
    assert!(text.contains("| php | tuning | 100.0 % |"), "{text}");
    let bytes = write::with_limits(&draft, &kinds, &figures, &text).unwrap();
    let net = FileNet::open(&bytes).unwrap();
    assert_eq!(net.kinds().collect::<Vec<_>>(), ["php"]);
    let unmeasured = write::with_limits(&draft, &kinds, &[], &text).unwrap();
    let version = |bytes| FileNet::open(bytes).unwrap().card().version.clone();
    assert_eq!(version(&bytes).len(), 12);
    assert_ne!(
        version(&bytes),
        version(&unmeasured),
        "limits change judgements"
    );
    assert!(net.judge("elf", b"anything").is_none());
    assert_eq!(
        net.limits("php").unwrap().1,
        None,
        "too few benign files to claim it"
    );
    let suspicious = net.score("php", 0.01).unwrap();
    // The worst of many beginnings is high in harmless files too: how high, the tuning side says.
    let benign = samples.tune.iter().filter(|sample| !sample.malicious);
    let logit = |sample: &Sample| {
        let judged = net.judge("php", &sample.bytes).unwrap();
        judged.worst.unwrap().logit
    };
    let highest = benign.map(logit).fold(f32::MIN, f32::max);
    let mut reading = Reading::default();
    let (mut right, mut right_trees, mut proof) = (0, 0, 0);
    for sample in &samples.test {
        let judged = net.judge("php", &sample.bytes).unwrap();
        reading.read(
            &sample.bytes,
            PLAN.bits,
            (&learned.rows, &learned.heads[0]),
            [true; _],
        );
        let float = reading.score();
        // A network of so little data has many giants, which bytes clip.
        let far = (judged.score - float).abs() / float;
        assert!(
            !sample.malicious || far < 0.25,
            "{} in bytes, {float} in floats",
            judged.score
        );
        right_trees += usize::from((logit(sample) > highest) == sample.malicious);
        right += usize::from((judged.score > suspicious) == sample.malicious);
        // Harmless text before and behind takes nothing away.
        let more = [
            &samples.test[1].bytes,
            &sample.bytes,
            &samples.test[3].bytes,
        ];
        let more = net.judge("php", &more.map(Vec::as_slice).concat()).unwrap();
        assert!(more.score >= judged.closed_score);
        if let Some(certified) = judged.certified_bytes(suspicious) {
            proof += 1;
            assert!(sample.malicious && certified < sample.bytes.len() as u64);
            assert!(more.score >= suspicious);
        }
    }
    assert!(right >= 58, "{right} of 60");
    assert!(right_trees >= 50, "{right_trees} of 60 by the trees");
    assert!(proof >= 25, "{proof} of 30");
}

#[test]
fn a_model_goes_on_from_another_and_still_knows_what_that_knew() {
    let known = kinds();
    let (rows, heads) = learn(&known, &PLAN, None, None).unwrap();
    let learned = Learned {
        rows,
        shortest: FEW.shortest,
        heads,
        trees: vec![forest::learn(&known[0].1.train, FEW, None).unwrap()],
    };
    let draft = write::encode(Group::Script, &known, &learned).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    std::fs::write(&path, &draft).unwrap();
    let empty = || State::new(1, &PLAN).heads;
    let start = Start::read(&path, &known, PLAN.bits, empty()).unwrap();
    assert_eq!(start.shortest, FEW.shortest);
    assert_eq!(start.trees, learned.trees);
    let again = Learned {
        rows: start.rows,
        shortest: start.shortest,
        heads: start.heads,
        trees: start.trees,
    };
    let same = write::encode(Group::Script, &known, &again).unwrap();
    assert!(same == draft, "nothing is lost on the way");
    assert!(
        Start::read(&path, &known, 8, empty()).is_err(),
        "of another group"
    );
    let other = vec![(Kind::Shell, Samples::default())];
    let error = Start::read(&path, &other, PLAN.bits, empty())
        .err()
        .unwrap();
    assert!(error.to_string().contains("--only"), "{error}");
    // Files that end the way no known one did are harmless so far; now half of them are not.
    let ends = |samples: Vec<Sample>| -> Vec<Sample> {
        let benign = samples.into_iter().filter(|sample| !sample.malicious);
        let end = |mut sample: Sample| {
            sample.malicious = sample.cluster % 4 == 1;
            let word: &[u8] = if sample.malicious { b"~^~^" } else { b"----" };
            sample.bytes.extend(word.repeat(100));
            sample
        };
        benign.map(end).collect()
    };
    let mine = ends(side(7, 120));
    let forest = start::forest(&again.trees[0]).unwrap();
    let added = forest::learn(&mine, FEW, Some(&forest)).unwrap();
    let both = start::forest(&start::joined(&again.trees[0], &added)).unwrap();
    let logit = |forest: &Forest, sample: &Sample| {
        let mut counts = Counts::default();
        counts.add(&sample.bytes);
        forest.logit(&counts)
    };
    let test = ends(side(8, 60));
    // Above all harmless files of the same kind.
    let found = |samples: &[Sample], forest: &Forest| {
        let (malicious, benign): (Vec<_>, Vec<_>) =
            samples.iter().partition(|sample| sample.malicious);
        let benign = benign.into_iter().map(|sample| logit(forest, sample));
        let highest = benign.fold(f32::MIN, f32::max);
        let found = malicious
            .into_iter()
            .filter(|sample| logit(forest, sample) > highest);
        found.count()
    };
    assert!(found(&test, &forest) < 8, "what is new was not known");
    assert_eq!(found(&test, &both), 15);
    let still = found(&known[0].1.test, &both);
    assert!(still >= 25, "{still} of 30");
}

#[test]
fn the_same_files_give_the_same_network() {
    let rows = || learn(&kinds(), &PLAN, None, None).unwrap().0.numbers;
    assert!(rows() == rows());
}

#[test]
fn a_run_that_was_stopped_goes_on_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let samples = kinds();
    let whole = learn(&samples, &PLAN, None, None).unwrap().0.numbers;
    let mut state = State::new(1, &PLAN);
    round(&samples, &PLAN, &mut state);
    checkpoint::write(&path, "run", &state).unwrap();
    let gone_on = learn(&samples, &PLAN, Some((&path, "run")), None).unwrap();
    assert!(gone_on.0.numbers == whole);
    let again = learn(&samples, &PLAN, Some((&path, "run")), None)
        .unwrap()
        .0
        .numbers;
    assert!(again == whole, "all rounds are done");
    let other = learn(&samples, &PLAN, Some((&path, "other")), None);
    assert!(other.err().unwrap().to_string().contains("another run"));
}

/// Malicious files of two behaviours, half of them each, the last few without a name.
fn named(seed: u64) -> Named {
    let mut samples = side(seed, 160);
    samples.retain(|sample| sample.malicious);
    let word = |at: usize| {
        if at.is_multiple_of(2) {
            "wallet("
        } else {
            "spread("
        }
    };
    for (at, sample) in samples.iter_mut().enumerate() {
        let text = String::from_utf8(std::mem::take(&mut sample.bytes)).unwrap();
        sample.bytes = text.replace("value = ", word(at)).into_bytes();
    }
    let of = |at: usize| (at < 70).then_some(at % 2);
    Named {
        names: vec!["miner".to_owned(), "worm".to_owned()],
        of: (0..samples.len()).map(of).collect(),
        families: (0..samples.len()).map(|at| (at / 4).to_string()).collect(),
        samples,
    }
}

#[test]
fn labels_are_learned_told_apart_in_new_files_and_change_no_judgement() {
    let kinds = kinds();
    let (kind, samples) = &kinds[0];
    let (rows, heads) = (
        super::net::Rows::new(14),
        super::net::Heads::new(&mut Dice::new(1)),
    );
    let trees = vec![forest::learn(&samples.train, FEW, None).unwrap()];
    let heads = vec![heads];
    let learned = Learned {
        rows,
        shortest: FEW.shortest,
        heads,
        trees,
    };
    let draft = write::encode(Group::Script, &kinds, &learned).unwrap();
    let draft = write::with_limits(&draft, &kinds, &[], "# Card\n").unwrap();
    let net = FileNet::open(&draft).unwrap();
    assert_eq!(net.labels("php").count(), 0);
    let mut table = String::new();
    let of_kind = labels::learn(*kind, &mut named(5), &mut table).unwrap();
    assert!(table.starts_with("| php | miner | 35 | "), "{table}");
    let labels = [(*kind, of_kind)];
    let once = write::with_labels(&draft, &labels, &table).unwrap();
    let bytes = write::with_labels(&once, &labels, &table).unwrap();
    assert_eq!(
        bytes.len(),
        once.len(),
        "they take the place of those before"
    );
    let labelled = FileNet::open(&bytes).unwrap();
    assert_eq!(labelled.card().version, net.card().version);
    let card = format!("# Card\n\n## Labels\n{table}");
    assert_eq!(labelled.card().text, card);
    assert_eq!(
        labelled.labels("php").collect::<Vec<_>>(),
        ["miner", "worm"]
    );
    let new = named(6);
    let mut right = 0;
    for (at, sample) in new.samples.iter().enumerate() {
        let judged = labelled.judge("php", &sample.bytes).unwrap();
        assert_eq!(net.judge("php", &sample.bytes), Some(judged));
        assert_eq!(net.label("php", &sample.bytes), None);
        let label = labelled.label("php", &sample.bytes);
        right += usize::from(label == Some(["miner", "worm"][at % 2]));
    }
    assert!(right >= 70, "{right} of 80");
    let measured = write::with_limits(&bytes, &kinds, &[], "# Card\n").unwrap();
    let measured = FileNet::open(&measured).unwrap();
    assert_eq!(measured.card().version, net.card().version);
    assert_eq!(measured.labels("php").count(), 2);
}

#[test]
fn a_type_of_one_behaviour_carries_it_always() {
    let kinds = kinds();
    let heads = vec![super::net::Heads::new(&mut Dice::new(1))];
    let trees = vec![forest::Trees::default()];
    let rows = super::net::Rows::new(14);
    let learned = Learned {
        rows,
        shortest: FEW.shortest,
        heads,
        trees,
    };
    let draft = write::encode(Group::Script, &kinds, &learned).unwrap();
    let mut only = named(5);
    only.names = vec!["web shell".to_owned()];
    for of in &mut only.of {
        *of = of.map(|_| 0);
    }
    let mut table = String::new();
    let of_kind = labels::learn(Kind::Php, &mut only, &mut table).unwrap();
    assert!(table.contains("70 of its 80 malicious clusters"), "{table}");
    let bytes = write::with_labels(&draft, &[(Kind::Php, of_kind)], &table).unwrap();
    let net = FileNet::open(&bytes).unwrap();
    assert_eq!(net.label("php", b"<?php"), Some("web shell"));
}
