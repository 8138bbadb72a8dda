//! Files put together in memory.

use std::sync::atomic::Ordering;

use super::carving::{BYTES_MAX, FILE_BYTES_MAX, FRONT};
use super::*;

struct Nobody;

impl FileJudge for Nobody {
    fn judge(&mut self, _: &FileSeen, _: &[u8]) -> Option<Observation> {
        None
    }

    fn tell(&self, _: &mut Coverage) {}
}

fn held(carver: &Carver) -> usize {
    carver.held.load(Ordering::Relaxed)
}

#[test]
fn without_a_judge_nothing_is_put_together() {
    assert!(Carver::default().begin().is_none());
}

#[test]
fn what_is_let_go_gives_its_room_back() {
    let carver = Carver::new(Some(SharedJudge::new(Nobody)));
    let mut picture = carver.begin().unwrap();
    picture.push(b"\x89PNG", "a.exe");
    assert_eq!(held(&carver), 4);
    picture.push(&[0; FRONT], "a.exe");
    assert_eq!(
        (held(&carver), picture.state()),
        (0, State::Unwanted("image"))
    );
    let mut program = carver.begin().unwrap();
    program.push(b"MZ", "");
    for _ in 0..(FILE_BYTES_MAX >> 20) {
        program.push(&vec![0; 1 << 20], "");
    }
    assert_eq!((held(&carver), program.state()), (0, State::TooLarge));
    let mut files: Vec<Carving> = Vec::new();
    for _ in 0..=(BYTES_MAX / FILE_BYTES_MAX) {
        let mut file = carver.begin().unwrap();
        file.push(b"\x7fELF", "");
        file.push(&vec![0; FILE_BYTES_MAX - 4], "");
        files.push(file);
    }
    assert_eq!(files.pop().unwrap().state(), State::NoRoom);
    assert_eq!(held(&carver), BYTES_MAX);
    drop(files);
    assert_eq!(held(&carver), 0);
}
#[test]
fn pieces_in_any_order_make_the_same_file() {
    let carver = Carver::new(Some(SharedJudge::new(Nobody)));
    let body: Vec<u8> = (0..5_000_u32).map(|n| (n / 7) as u8).collect();
    let order = [3, 1, 4, 0, 2];
    let mut file = carver.begin().unwrap();
    for at in order {
        file.put(at * 1_000, &body[at as usize * 1_000..][..1_000], "a.py");
    }
    assert!(!file.is_scattered());
    assert_eq!(file.bytes(), body);
    assert_eq!(held(&carver), body.len());
    let mut torn = carver.begin().unwrap();
    torn.put(0, &body[..1_000], "a.py");
    torn.put(2_000, &body[2_000..3_000], "a.py");
    assert!(torn.is_scattered());
    torn.put(1_000, &body[1_000..2_000], "a.py");
    assert!(!torn.is_scattered());
    torn.put(500, b"changed", "a.py");
    assert_eq!(&torn.bytes()[500..507], b"changed");
    drop((file, torn));
    assert_eq!(held(&carver), 0);
}

#[test]
fn pieces_that_contradict_each_other_make_no_file() {
    let carver = Carver::new(Some(SharedJudge::new(Nobody)));
    let mut file = carver.begin().unwrap();
    file.put(4, b"late", "a.py");
    file.put(6, b"other", "a.py");
    file.put(0, b"MZ__", "a.py");
    assert!(file.is_scattered());
}
