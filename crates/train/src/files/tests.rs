//! The whole way on made-up files: learned, written, read back by the program's own network.

use thymus_nets::file::FileNet;

use super::data::{Sample, Samples};
use super::learn::{Plan, learn};
use super::measure::{measure, table};
use super::net::{Dice, Reading};
use super::{Group, write};
use crate::corpus::Kind;

const PLAN: Plan = Plan {
    bits: 6,
    epochs: 4,
    benign: 2,
    rate: 0.05,
    hidden: 0.1,
    blind: 0.2,
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
    let (rows, heads) = learn(&kinds, &PLAN);
    let (kind, samples) = &kinds[0];
    let draft = write::encode(Group::Script, &kinds, &rows, &heads, &[], "").unwrap();
    let net = FileNet::open(&draft).unwrap();
    let figures = [measure(*kind, samples, &net, true)];
    let text = table(&figures);
    assert!(text.contains("| php | 100.0 % |"), "{text}");
    let bytes = write::encode(Group::Script, &kinds, &rows, &heads, &figures, &text).unwrap();
    let net = FileNet::open(&bytes).unwrap();
    assert_eq!(net.kinds().collect::<Vec<_>>(), ["php"]);
    assert!(net.judge("elf", b"anything").is_none());
    let (suspicious, malicious) = net.thresholds("php").unwrap();
    assert_eq!(malicious, f32::MAX, "too few benign files to claim it");
    let mut reading = Reading::default();
    let (mut right, mut proof) = (0, 0);
    for sample in &samples.test {
        let judged = net.judge("php", &sample.bytes).unwrap();
        reading.read(&sample.bytes, PLAN.bits, (&rows, &heads[0]), [true; _]);
        let float = reading.score();
        // A network of so little data has many giants, which bytes clip.
        let far = (judged.score - float).abs() / float;
        assert!(
            !sample.malicious || far < 0.25,
            "{} in bytes, {float} in floats",
            judged.score
        );
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
    assert!(proof >= 25, "{proof} of 30");
}

#[test]
fn the_same_files_give_the_same_network() {
    let rows = || learn(&kinds(), &PLAN).0.numbers;
    assert!(rows() == rows());
}
