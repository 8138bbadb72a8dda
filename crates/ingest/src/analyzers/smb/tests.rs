//! Conversations written out by hand after MS-SMB2.

use thymus_schema::{EventBody, Outcome, SmbAction, SmbOperation};

use super::super::testing::Talk;
use super::*;

const COMMAND_CREATE: u16 = 5;
const COMMAND_CLOSE: u16 = 6;
const COMMAND_READ: u16 = 8;
const COMMAND_WRITE: u16 = 9;
const COMMAND_TREE: u16 = 3;
const COMMAND_SET_INFO: u16 = 17;

fn message(command: u16, response: bool, id: u64, status: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\xfeSMB\x40\0\0\0".to_vec();
    bytes.extend(status.to_le_bytes());
    bytes.extend(command.to_le_bytes());
    bytes.extend([0, 0, u8::from(response), 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(id.to_le_bytes());
    bytes.extend([0, 0, 0, 0, 5, 0, 0, 0]);
    bytes.extend(9_u64.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(body);
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes()[..], message].concat()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn tree_connect(share: &str) -> Vec<u8> {
    let name = wide(share);
    let mut body = vec![9, 0, 0, 0, 72, 0];
    body.extend((name.len() as u16).to_le_bytes());
    body.extend(name);
    framed(&message(COMMAND_TREE, false, 1, 0, &body))
}

fn create(id: u64, path: &str) -> Vec<u8> {
    let name = wide(path);
    let mut body = vec![57, 0];
    body.extend([0; 42]);
    body.extend(120_u16.to_le_bytes());
    body.extend((name.len() as u16).to_le_bytes());
    body.extend([0; 8]);
    body.extend(name);
    framed(&message(COMMAND_CREATE, false, id, 0, &body))
}

fn created(id: u64, file: u64, action: u8) -> Vec<u8> {
    let mut body = vec![89, 0, 0, 0, action, 0, 0, 0];
    body.extend([0; 64]);
    body.extend(file.to_le_bytes());
    body.extend([0; 8]);
    framed(&message(COMMAND_CREATE, true, id, 0, &body))
}

fn about_file(command: u16, id: u64, before: usize, file: u64) -> Vec<u8> {
    let mut body = vec![1, 0];
    body.resize(before, 0);
    body.extend([0; 8]);
    body.extend(file.to_le_bytes());
    body.extend([0; 20]);
    framed(&message(command, false, id, 0, &body))
}

fn start() -> Talk {
    let mut talk = Talk::tcp(&SPEC, 445);
    assert_eq!(talk.probe(&tree_connect("\\\\s\\docs"), b""), Probe::Yes);
    talk.client(&tree_connect("\\\\s\\docs"));
    talk.server(&framed(&message(
        COMMAND_TREE,
        true,
        1,
        0,
        &[16, 0, 1, 0, 0, 0, 0, 0],
    )));
    talk.client(&create(2, "a.txt"));
    talk.server(&created(2, 77, 2));
    talk
}

fn operations(talk: &Talk) -> Vec<&SmbOperation> {
    talk.events
        .iter()
        .filter_map(|event| match event {
            EventBody::Smb(operation) => Some(&**operation),
            _ => None,
        })
        .collect()
}

fn actions(talk: &Talk) -> Vec<SmbAction> {
    operations(talk)
        .iter()
        .map(|operation| operation.action)
        .collect()
}

#[test]
fn bytes_are_summed_until_the_file_is_closed() {
    let mut talk = start();
    for id in 10..13 {
        talk.client(&about_file(COMMAND_READ, id, 16, 77));
        let mut body = vec![17, 0, 80, 0];
        body.extend(100_000_u32.to_le_bytes());
        body.resize(16 + 100_000, 0);
        for piece in framed(&message(COMMAND_READ, true, id, 0, &body)).chunks(1460) {
            talk.server(piece);
        }
    }
    assert_eq!(actions(&talk), [SmbAction::TreeConnect, SmbAction::Create]);
    talk.client(&about_file(COMMAND_CLOSE, 20, 8, 77));
    talk.server(&framed(&message(
        COMMAND_CLOSE,
        true,
        20,
        0,
        &[60, 0, 0, 0],
    )));
    let read = operations(&talk)[2];
    assert_eq!((read.action, read.bytes), (SmbAction::Read, 300_000));
    assert_eq!((&*read.share, &*read.path), ("\\\\s\\docs", "a.txt"));
}

#[test]
fn a_hole_inside_bulk_data_does_no_harm() {
    let mut talk = start();
    let mut body = vec![49, 0, 112, 0];
    body.extend(50_000_u32.to_le_bytes());
    body.extend([0; 16]);
    body.extend(77_u64.to_le_bytes());
    body.resize(48 + 50_000, 1);
    let write = framed(&message(COMMAND_WRITE, false, 10, 0, &body));
    talk.client(&write[..1000]);
    talk.gap(Side::Client, 40_000);
    talk.client(&write[41_000..]);
    talk.server(&framed(&message(
        COMMAND_WRITE,
        true,
        10,
        0,
        &[17, 0, 0, 0, 0x50, 0xc3, 0, 0],
    )));
    talk.close();
    let write = operations(&talk)[2];
    assert_eq!((write.action, write.bytes), (SmbAction::Write, 50_000));
}

#[test]
fn reading_goes_on_at_the_next_frame_after_a_hole() {
    let mut talk = start();
    talk.gap(Side::Client, 500);
    talk.client(b"the end of something that was lost");
    talk.client(&create(30, "b.txt"));
    talk.server(&created(30, 78, 1));
    let last = operations(&talk)[2];
    assert_eq!(
        (last.action, &*last.path, &*last.share),
        (SmbAction::Open, "b.txt", "\\\\s\\docs")
    );
}

#[test]
fn a_file_is_renamed_then_deleted_when_it_is_closed() {
    let mut talk = start();
    let name = wide("a.locked");
    let mut info = vec![0; 16];
    info.extend((name.len() as u32).to_le_bytes());
    info.extend(name);
    for (id, class, info) in [(10, 10, &info[..]), (11, 13, &[1])] {
        let mut body = vec![33, 0, 1, class];
        body.extend((info.len() as u32).to_le_bytes());
        body.extend([96, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([0; 8]);
        body.extend(77_u64.to_le_bytes());
        body.extend(info);
        talk.client(&framed(&message(COMMAND_SET_INFO, false, id, 0, &body)));
        talk.server(&framed(&message(COMMAND_SET_INFO, true, id, 0, &[2, 0])));
    }
    talk.client(&about_file(COMMAND_CLOSE, 20, 8, 77));
    talk.server(&framed(&message(
        COMMAND_CLOSE,
        true,
        20,
        0,
        &[60, 0, 0, 0],
    )));
    assert_eq!(actions(&talk)[2..], [SmbAction::Rename, SmbAction::Delete]);
    assert_eq!(&*operations(&talk)[2].new_path, "a.locked");
}

#[test]
fn the_client_alone_is_told_without_an_answer() {
    let mut talk = Talk::tcp(&SPEC, 445);
    talk.client(&create(2, "a.txt"));
    assert!(talk.events.is_empty());
    talk.close();
    assert_eq!(operations(&talk)[0].status, 0xffff_ffff);
}

#[test]
fn an_encrypted_session_is_noted_once() {
    let mut talk = Talk::tcp(&SPEC, 445);
    let sealed = framed(&[&b"\xfdSMB"[..], &[0; 80]].concat());
    talk.client(&sealed);
    talk.client(&sealed);
    let [EventBody::Operation(noted)] = &talk.events[..] else {
        panic!("{:?}", talk.events)
    };
    assert_eq!(
        (&*noted.verb, noted.outcome),
        ("encrypted", Outcome::Unknown)
    );
}
