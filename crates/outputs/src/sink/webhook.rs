//! A webhook: one POST a record, signed with a secret that both ends know.
//!
//! `X-Thymus-Signature` is `v1=` and the HMAC-SHA256, in hexadecimal, of the time in `X-Thymus-Timestamp`, a full stop
//! and the body. Who checks it, and that the time is no more than some minutes ago, knows that the record came from
//! here and is not an old one again. `X-Thymus-Delivery` is the id of the record, the same each time it is tried.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::{ANSWER_TIME, Blame, CONNECT_TIME, Failure, Opened, Opening, Sink, SinkKind};
use crate::escape::{clip, plain};
use crate::format::Format;
use crate::outlet::Clock;
use crate::record::Record;
use crate::target::{Target, TargetError};
use crate::tls;

pub(super) const KIND: SinkKind = SinkKind {
    id: "webhook",
    schemes: &["http", "https"],
    about: "a webhook, signed",
    format: "json",
    has_formats: true,
    open,
};

const SECRET_BYTES_MIN: usize = 16;
/// What is read of an answer, for the message when it is a no.
const ANSWER_MAX: u64 = 4_096;
const EXCERPT_MAX: usize = 120;

fn open(target: &mut Target, opening: &Opening<'_>) -> Result<Opened, TargetError> {
    let is_tls = target.scheme() == "https";
    let secret = target.secret("secret-file")?;
    if secret
        .as_ref()
        .is_some_and(|secret| secret.len() < SECRET_BYTES_MIN)
    {
        return Err(target.wrong(format!(
            "the secret is shorter than {SECRET_BYTES_MIN} bytes"
        )));
    }
    let header = match target.secret("header-file")? {
        None => None,
        Some(line) => Some(header(target, &line)?),
    };
    let hidden = target.secret("path-file")?;
    let host = target.host()?;
    let port = target.port().unwrap_or(if is_tls { 443 } else { 80 });
    let place = match &hidden {
        Some(path) => format!("/{}", path.trim_start_matches('/')),
        None => target.path_and_query(),
    };
    let bracketed = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let url = format!("{}://{bracketed}:{port}{place}", target.scheme());
    if let Err(error) = url.parse::<ureq::http::Uri>() {
        return Err(target.wrong(format!("it is no address: {error}")));
    }
    let mut config = Agent::config_builder()
        .timeout_global(Some(ANSWER_TIME))
        .timeout_connect(Some(CONNECT_TIME))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .https_only(is_tls)
        .proxy(None)
        .user_agent(concat!("thymus/", env!("CARGO_PKG_VERSION")));
    if is_tls {
        config = config.tls_config(tls_config(target)?);
    }
    let sink = Webhook {
        format: opening.format,
        agent: config.build().into(),
        url,
        key: secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())),
        header,
        clock: Arc::clone(opening.clock),
    };
    Ok(Opened {
        sink: Box::new(sink),
        folder: None,
        port: Some(port),
    })
}

fn tls_config(target: &mut Target) -> Result<TlsConfig, TargetError> {
    let roots = tls::roots(target)?;
    let roots: Vec<Certificate<'static>> = roots
        .iter()
        .map(|root| Certificate::from_der(root).to_owned())
        .collect();
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::from(roots))
        .build())
}

/// A line of a header, as `Authorization: Splunk 1234`.
fn header(target: &Target, line: &str) -> Result<(String, String), TargetError> {
    let parts = line.split_once(':');
    let (name, value) =
        parts.ok_or_else(|| target.wrong("the file of the header holds no `Name: value`"))?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let value = value.trim();
    if !is_name || !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Err(target.wrong("the file of the header holds no `Name: value`"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

struct Webhook {
    format: &'static Format,
    agent: Agent,
    url: String,
    key: Option<hmac::Key>,
    header: Option<(String, String)>,
    clock: Clock,
}

impl Sink for Webhook {
    fn send(&mut self, records: &[Record]) -> Result<(), Failure> {
        for (at, record) in records.iter().enumerate() {
            self.one(record).map_err(|failure| failure.after(at))?;
        }
        Ok(())
    }
}

impl Webhook {
    fn one(&self, record: &Record) -> Result<(), Failure> {
        let body = self
            .format
            .one(record)
            .map_err(|error| Failure::unwritable(&error))?;
        let mut request = self
            .agent
            .post(&self.url)
            .header("Content-Type", self.format.content_type)
            .header("Idempotency-Key", &record.id)
            .header("X-Thymus-Delivery", &record.id)
            .header("X-Thymus-Kind", record.kind.as_str());
        if let Some(key) = &self.key {
            let at = (self.clock)().as_secs().to_string();
            let signature = signature(key, &at, body.as_bytes());
            request = request
                .header("X-Thymus-Timestamp", &at)
                .header("X-Thymus-Signature", &signature);
        }
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        // What went wrong may name the address, whose path can be a secret.
        let answer = request.send(body.as_bytes());
        let mut answer = answer.map_err(|error| Failure::unreachable(reason(&error)))?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(());
        }
        let wait = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| value.trim().parse().ok());
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_MAX)
            .lossy_utf8(true);
        let text = text.read_to_string().unwrap_or_default();
        let excerpt = clip(&plain(&text), EXCERPT_MAX);
        let mut failure =
            Failure::unreachable(format!("the receiver answered {status}: {excerpt}"));
        failure.not_before = wait.map(Duration::from_secs);
        // Of these the record is the reason, and it will not change.
        Err(match status {
            400 | 413 | 415 | 422 => failure.blaming(Blame::Never),
            _ => failure,
        })
    }
}

/// An error without the address.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "it is no address".to_owned(),
        other => other.to_string(),
    }
}

fn signature(key: &hmac::Key, at: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(at.as_bytes());
    context.update(b".");
    context.update(body);
    let mut out = "v1=".to_owned();
    for byte in context.sign().as_ref() {
        // Writing to a string does not fail.
        let _is_written = write!(out, "{byte:02x}").is_ok();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_its_description_says() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret of 16 b");
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of 16 b'
        assert_eq!(
            signature(&key, "1700000000", br#"{"a":1}"#),
            "v1=0c4eefa52ddfc8729095e0cd461528b3c4fe1a8c5e2fd0cbd87a19d4629bee7d"
        );
    }
}
