//! E-mail: one message a record, in plain text, by SMTP with STARTTLS (`smtp`), with TLS from the start (`smtps`), or
//! in the clear to this machine alone (`smtp+plain`).

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::{Mailbox, Message, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};

use super::{ANSWER_TIME, Blame, Failure, Opened, Opening, Sink, SinkKind};
use crate::escape::{clip, plain};
use crate::outlet::Clock;
use crate::record::{Claim, Kind, Record, Story, Verdict};
use crate::target::{Target, TargetError};

pub(super) const KIND: SinkKind = SinkKind {
    id: "mail",
    schemes: &["smtp", "smtps", "smtp+plain"],
    about: "e-mail",
    format: "json",
    has_formats: false,
    open,
};

const SUBJECT_MAX: usize = 150;
const BODY_MAX: usize = 64 << 10;

fn open(target: &mut Target, opening: &Opening<'_>) -> Result<Opened, TargetError> {
    let host = target.host()?;
    let scheme = target.scheme().to_owned();
    let usual = match scheme.as_str() {
        "smtps" => 465,
        "smtp" => 587,
        _ => 25,
    };
    let port = target.port().unwrap_or(usual);
    let from = mailbox(target, "from")?;
    let from = from
        .into_iter()
        .next()
        .ok_or_else(|| target.wrong("say who writes: from=thymus@example.org"))?;
    let to = mailbox(target, "to")?;
    if to.is_empty() {
        return Err(target.wrong("say who is written to: to=soc@example.org"));
    }
    let tls = match scheme.as_str() {
        "smtp+plain" => {
            let is_here =
                host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
            if !is_here {
                return Err(
                    target.wrong("mail goes in the clear to this machine only; take smtp or smtps")
                );
            }
            Tls::None
        }
        "smtps" => Tls::Wrapper(parameters(target, &host)?),
        _ => Tls::Required(parameters(target, &host)?),
    };
    let mut builder = SmtpTransport::builder_dangerous(host)
        .port(port)
        .tls(tls)
        .timeout(Some(ANSWER_TIME))
        .hello_name(ClientId::Domain(hello(opening.host)));
    let password = target.secret("password-file")?;
    match (target.option("user")?, password) {
        (Some(user), Some(password)) => {
            builder = builder.credentials(Credentials::new(user, password));
        }
        (None, None) => {}
        _ => return Err(target.wrong("user and password-file go together")),
    }
    let sink = Mail {
        transport: builder.build(),
        from,
        to,
        clock: opening.clock.clone(),
    };
    Ok(Opened {
        sink: Box::new(sink),
        folder: None,
        port: Some(port),
    })
}

fn mailbox(target: &mut Target, key: &str) -> Result<Vec<Mailbox>, TargetError> {
    let all = target.options(key);
    let each = all.iter().map(|text| {
        let parsed: Result<Mailbox, _> = text.parse();
        parsed.map_err(|error| target.wrong(format!("{text} is no address of mail: {error}")))
    });
    each.collect()
}

fn parameters(target: &mut Target, host: &str) -> Result<TlsParameters, TargetError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = target.file("ca")? {
        let root = Certificate::from_pem(&pem);
        let root = root.map_err(|error| target.wrong(format!("the certificate of ca: {error}")))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(root);
    }
    builder
        .build()
        .map_err(|error| target.wrong(error.to_string()))
}

/// How this host greets; a name of mail servers has no odd characters.
fn hello(host: &str) -> String {
    let kept: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .collect();
    if kept.is_empty() {
        "localhost".to_owned()
    } else {
        kept
    }
}

struct Mail {
    transport: SmtpTransport,
    from: Mailbox,
    to: Vec<Mailbox>,
    clock: Clock,
}

impl Sink for Mail {
    fn send(&mut self, records: &[Record]) -> Result<(), Failure> {
        for (at, record) in records.iter().enumerate() {
            self.one(record).map_err(|failure| failure.after(at))?;
        }
        Ok(())
    }
}

impl Mail {
    fn one(&self, record: &Record) -> Result<(), Failure> {
        let (subject, text) = letter(record);
        let now = (self.clock)().as_nanos();
        let date = UNIX_EPOCH + Duration::from_nanos(u64::try_from(now).unwrap_or(0));
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(subject)
            // The same each time it is tried, so that a mailbox can tell.
            .message_id(Some(format!("<{}@thymus>", hello(&record.id))))
            .date(date)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let never = |error: String| Failure::unreachable(error).blaming(Blame::Never);
        let message = builder
            .body(text)
            .map_err(|error| never(error.to_string()))?;
        match self.transport.send(&message) {
            Ok(_) => Ok(()),
            Err(error) => {
                let failure = Failure::unreachable(error.to_string());
                Err(if error.is_permanent() {
                    failure.blaming(Blame::Rejected)
                } else {
                    failure
                })
            }
        }
    }
}

/// Subject and text, for people.
fn letter(record: &Record) -> (String, String) {
    let body = record.body.clone();
    let (title, paragraphs) = match record.kind {
        Kind::Incident => {
            let story: Story = serde_json::from_value(body).unwrap_or_default();
            let steps: Vec<String> = story
                .next_steps
                .iter()
                .map(|step| format!("- {step}"))
                .collect();
            let span = format!("From {} to {}.", story.first_seen, story.last_seen);
            let all = vec![story.hypothesis, story.narrative, steps.join("\n"), span];
            (story.title, all)
        }
        Kind::Alert => {
            let claim: Claim = serde_json::from_value(body).unwrap_or_default();
            let normal = claim.counterfactual.clone().unwrap_or_default();
            (claim.title(), vec![claim.sentence(), normal])
        }
        Kind::Decision => {
            let said: Verdict = serde_json::from_value(body).unwrap_or_default();
            (said.title, vec![said.text])
        }
    };
    let confidence = record.body["confidence"].as_str().unwrap_or("low");
    let again = if record.is_update { ", changed" } else { "" };
    let subject = match record.kind {
        Kind::Decision => format!("[thymus] {}", plain(&title)),
        Kind::Incident | Kind::Alert => {
            let title = plain(&title);
            format!("[thymus] {title} ({confidence} confidence{again})")
        }
    };
    let mut text = String::new();
    for paragraph in paragraphs.iter().filter(|text| !text.is_empty()) {
        let lines: Vec<String> = paragraph.lines().map(plain).collect();
        text.push_str(&lines.join("\n"));
        text.push_str("\n\n");
    }
    text.extend([record.kind.as_str(), " ", &plain(&record.id), "\n"]);
    (clip(&subject, SUBJECT_MAX), clip(&text, BODY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::hostile;

    #[test]
    fn a_hostile_title_adds_no_header_and_no_line() {
        let (subject, text) = letter(&hostile("x\r\nBcc: evil@example.org\u{1b}[2J"));
        assert!(
            subject.starts_with("[thymus] x  Bcc: evil@example.org"),
            "{subject}"
        );
        assert!(!subject.contains(['\r', '\n', '\u{1b}']));
        assert!(!text.contains(['\r', '\u{1b}']));
    }
}
