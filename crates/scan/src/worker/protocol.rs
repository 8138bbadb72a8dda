//! What parent and worker say to each other: a length, then so many bytes in postcard's form
//! (postcard.jamesmunns.com/wire-format). A task carries the open file beside its first bytes
//! (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::confine::Confinement;
use crate::{FileReport, FileType, Reason, ScanPolicy, Verdict};

/// Longest message that is no report, in bytes: a policy with its passwords.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest model, in bytes.
const MODEL_BYTES_MAX: usize = 64 << 20;
/// Longest rule set, compiled, in bytes.
const RULE_SET_BYTES_MAX: usize = 256 << 20;
/// Longest report, in bytes.
pub(super) const REPORT_BYTES_MAX: usize = 64 << 20;

/// The first word to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) policy: ScanPolicy,
    pub(super) limits: Limits,
    /// How many models follow, each as it is in its file.
    pub(super) models: u32,
    /// Whether compiled rules follow after them.
    pub(super) has_rules: bool,
}

/// What the system lets a worker use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory that it may write to.
    pub memory_bytes_max: u64,
    /// Seconds of processor time in its whole life.
    pub cpu_secs_max: u64,
    /// Threads that may share the work on one file.
    pub threads: usize,
}

/// Its answer: how far it is confined, or why it is not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ready {
    Confined(Confinement),
    Failed(String),
}

/// One file to look at.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) path: String,
    pub(super) bytes: u64,
}

fn broken(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn framed(payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).map_err(broken)?;
    let mut frame = Vec::with_capacity(payload.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Sends a message.
pub(super) fn send<T: Serialize>(mut stream: &UnixStream, message: &T) -> io::Result<()> {
    let payload = postcard::to_stdvec(message).map_err(broken)?;
    stream.write_all(&framed(&payload)?)
}

/// Receives a message.
pub(super) fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let payload = body(stream, length, MESSAGE_BYTES_MAX)?;
    postcard::from_bytes(&payload).map_err(broken)
}

/// Sends a model, or compiled rules.
pub(super) fn send_blob(mut stream: &UnixStream, blob: &[u8]) -> io::Result<()> {
    let length = u32::try_from(blob.len()).map_err(broken)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(blob)
}

/// Receives compiled rules.
pub(super) fn receive_rules(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    body(stream, length, RULE_SET_BYTES_MAX)
}

/// Receives a model.
pub(super) fn receive_model(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    body(stream, length, MODEL_BYTES_MAX)
}

fn body(stream: &mut impl Read, length: [u8; 4], most: usize) -> io::Result<Vec<u8>> {
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(broken("a message is too long"));
    }
    let mut payload = Vec::new();
    // Grows with what comes, not with what was announced.
    stream.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(payload)
}

/// Sends a task with its file.
pub(super) fn send_task(mut stream: &UnixStream, task: &Task, file: BorrowedFd) -> io::Result<()> {
    let payload = postcard::to_stdvec(task).map_err(broken)?;
    let frame = framed(&payload)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    if !beside.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(broken("no room for a descriptor"));
    }
    let parts = [IoSlice::new(&frame)];
    let sent = sendmsg(stream, &parts, &mut beside, SendFlags::NOSIGNAL)?;
    stream.write_all(frame.get(sent..).unwrap_or_default())
}

/// Receives a task with its file; none when the parent hung up.
pub(super) fn receive_task(mut stream: &UnixStream) -> io::Result<Option<(Task, OwnedFd)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut length)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let read = recvmsg(stream, &mut parts, &mut beside, flags)?.bytes;
    if read == 0 {
        return Ok(None);
    }
    let mut file = None;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last();
        }
    }
    stream.read_exact(length.get_mut(read..).unwrap_or_default())?;
    let payload = body(&mut stream, length, MESSAGE_BYTES_MAX)?;
    let task = postcard::from_bytes(&payload).map_err(broken)?;
    let file = file.ok_or_else(|| broken("a task came without its file"))?;
    Ok(Some((task, file)))
}

/// Verdicts that a report may hold: some are of members that only have a reason.
fn verdicts_max(policy: &ScanPolicy) -> usize {
    policy.members_max as usize * 2 + 64
}

/// Sends a report: the file, then its members one after the other. What is too much is left out, and
/// the file and a last member say so.
pub(super) fn send_report(
    mut stream: &UnixStream,
    mut report: FileReport,
    policy: &ScanPolicy,
) -> io::Result<()> {
    let mut members = Vec::new();
    for (count, member) in report.members.iter().enumerate() {
        let whole = members.len();
        members = postcard::to_extend(member, members).map_err(broken)?;
        if count + 1 >= verdicts_max(policy) || members.len() > REPORT_BYTES_MAX / 2 {
            members.truncate(whole);
            let mut cut = Verdict::not_judged(FileType::Unknown, 0, Reason::TooManyMembers);
            cut.member = Some("…".to_owned());
            members = postcard::to_extend(&cut, members).map_err(broken)?;
            report.whole.outcome = cut.outcome.worse(report.whole.outcome);
            break;
        }
    }
    let mut payload = postcard::to_stdvec(&report.whole).map_err(broken)?;
    payload.append(&mut members);
    stream.write_all(&framed(&payload)?)
}

/// Receives a report, from a worker that may be in a stranger's hands.
pub(super) fn receive_report(
    stream: &mut impl Read,
    policy: &ScanPolicy,
) -> io::Result<FileReport> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let payload = body(stream, length, REPORT_BYTES_MAX)?;
    let (whole, mut rest) = postcard::take_from_bytes::<Verdict>(&payload).map_err(broken)?;
    let mut members = Vec::new();
    while !rest.is_empty() {
        if members.len() >= verdicts_max(policy) {
            return Err(broken("a report has too many members"));
        }
        let (member, after) = postcard::take_from_bytes(rest).map_err(broken)?;
        members.push(member);
        rest = after;
    }
    Ok(FileReport { whole, members })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{ByteRange, Judgement, Leaning, Outcome};

    fn report(members: usize) -> FileReport {
        let mut report = FileReport::not_judged(7, Reason::Broken(FileType::Zip));
        report.whole.sha256 = Some([9; 32]);
        report.whole.judgement = Some(Judgement {
            leaning: Leaning::Malicious,
            probability: 0.1 + 0.2,
            benign_share: 0.25,
            score: 0.5,
            logit: -1.5,
            certified_bytes: Some(1 << 40),
            outlives_additions: false,
            ranges: vec![ByteRange {
                offset: u64::MAX,
                length: 3,
                weight: 0.1,
            }],
            label: Some("ü".to_owned()),
            model: "m".to_owned(),
        });
        report.members = (0..members)
            .map(|number| Verdict {
                member: Some(format!("{number}\n")),
                ..Verdict::not_judged(FileType::JavaScript, 0, Reason::Empty)
            })
            .collect();
        report
    }

    #[test]
    fn a_report_comes_back_as_it_was() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let policy = ScanPolicy::default();
        for members in [0, 3] {
            let sent = report(members);
            send_report(&here, sent.clone(), &policy).unwrap();
            assert_eq!(receive_report(&mut there, &policy).unwrap(), sent);
        }
    }

    #[test]
    fn every_reason_comes_back_as_it_was() {
        use Reason as R;
        let kind = FileType::Unknown;
        let reasons = [
            R::NoNetwork(kind),
            R::Encrypted,
            R::Broken(kind),
            R::DecoderPanicked,
            R::WorkerDied,
            R::Unreadable,
            R::Special(crate::Special::Changed),
            R::KernelFiles,
            R::MembersNotJudged,
        ];
        let sent = postcard::to_stdvec(&reasons.to_vec()).unwrap();
        let told: Vec<Reason> = postcard::from_bytes(&sent).unwrap();
        assert_eq!(told, reasons);
    }

    #[test]
    fn a_report_of_too_many_members_is_cut_and_says_so() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let policy = ScanPolicy {
            members_max: 2,
            ..ScanPolicy::default()
        };
        send_report(&here, report(90), &policy).unwrap();
        let told = receive_report(&mut there, &policy).unwrap();
        assert_eq!(told.members.len(), verdicts_max(&policy));
        let cut = Outcome::NotJudged(Reason::TooManyMembers);
        assert_eq!(told.whole.outcome, cut);
        assert_eq!(told.members.last().unwrap().outcome, cut);
    }

    #[test]
    fn what_a_stranger_sends_is_refused_and_costs_what_it_is_long() {
        let policy = ScanPolicy {
            members_max: 0,
            ..ScanPolicy::default()
        };
        let good = postcard::to_stdvec(&report(0).whole).unwrap();
        let many = good.repeat(66);
        for payload in [b"".to_vec(), vec![0xff; 100], many, good[..9].to_vec()] {
            let frame = framed(&payload).unwrap();
            assert!(receive_report(&mut &frame[..], &policy).is_err());
        }
        let announced = u32::MAX.to_le_bytes();
        assert!(receive_report(&mut &announced[..], &policy).is_err());
        assert!(receive::<Ready>(&mut &announced[..]).is_err());
    }

    #[test]
    fn a_model_comes_as_it_is_and_not_longer_than_any() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let model: Vec<u8> = (0..=255).cycle().take(9_000).collect();
        send_blob(&here, &model).unwrap();
        assert_eq!(receive_model(&mut there).unwrap(), model);
        let announced = u32::MAX.to_le_bytes();
        assert!(receive_model(&mut &announced[..]).is_err());
    }

    #[test]
    fn a_task_brings_its_file_and_an_end_is_an_end() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let task = Task {
            path: "n".to_owned(),
            bytes: 7,
        };
        send_task(&here, &task, file.as_fd()).unwrap();
        let (told, theirs) = receive_task(&there).unwrap().unwrap();
        assert_eq!((told.path.as_str(), told.bytes), ("n", 7));
        let mut text = String::new();
        std::fs::File::from(theirs)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "content");
        send(&here, &task).unwrap();
        assert!(receive_task(&there).is_err(), "no file");
        drop(here);
        assert!(receive_task(&there).unwrap().is_none());
    }
}
