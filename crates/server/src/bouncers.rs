//! The API that bouncers ask: programs of others that ban addresses, made for CrowdSec's local API. Its paths, names
//! and answers are theirs, so that they work as they are.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thymus_schema::Timestamp;
use thymus_store::database::{Ban, Bouncer, BouncerStranger, Pull};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{AQuery, Answer};
use crate::error::{ApiError, ErrorDetail};
use crate::listen::Client;
use crate::state::App;

pub(crate) const KEY: &str = "x-api-key";
const ORIGIN: &str = "thymus";
const TYPE: &str = "ban";
const ADDRESS: &str = "Ip";
const RANGE: &str = "Range";
/// Strangers are noted this often, all together.
const NOTED_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// What is under `/v1`.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(decisions))
        .routes(routes!(stream))
        .routes(routes!(usage))
}

/// Whether a path is one of this API.
pub(crate) fn is_theirs(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// The bouncer that asks.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    name: String,
    agent: String,
}

/// An answer that is no success.
#[derive(Serialize, ToSchema)]
pub(crate) struct Refusal {
    /// Why.
    message: String,
}

/// An address or network to ban.
#[derive(Serialize, ToSchema)]
pub(crate) struct Decision {
    /// A number of its own.
    id: u64,
    /// Who decided: `thymus`.
    origin: &'static str,
    /// What is done: `ban`.
    r#type: &'static str,
    /// What `value` is: `Ip` or `Range`.
    scope: &'static str,
    /// The address or network.
    value: String,
    /// How long it holds from now on, such as `3h59m12.5s`; below nothing for what is over.
    duration: String,
    /// What it is about, such as `thymus/block_destination`.
    scenario: String,
    /// The same for the same ban, everywhere.
    uuid: String,
}

/// What changed since the bouncer asked last; `null` where nothing did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Changes {
    /// To be banned.
    new: Option<Vec<Decision>>,
    /// Not to be banned any more.
    deleted: Option<Vec<Decision>>,
}

/// Which decisions; lists are separated by commas.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Those about an address.
    ip: Option<String>,
    /// Those about a network.
    range: Option<String>,
    /// With `false` those that lie inside `ip` or `range`, else those that hold all of it.
    contains: Option<String>,
    /// Of this scope: `Ip` or `Range`.
    scope: Option<String>,
    /// Of these scopes.
    scopes: Option<String>,
    /// About exactly this.
    value: Option<String>,
    /// Of this type: all are `ban`.
    r#type: Option<String>,
    /// Of these origins: all are of `thymus`.
    origins: Option<String>,
    /// With one of these words in their scenario.
    scenarios_containing: Option<String>,
    /// With none of these words in their scenario.
    scenarios_not_containing: Option<String>,
    /// At most so many.
    limit: Option<u64>,
}

/// How the bouncer stands.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Standing {
    /// With `true` it has just started and is told everything.
    startup: Option<String>,
}

/// Addresses that are banned now; `null` when there are none.
#[utoipa::path(get, path = "/decisions", security(("bouncer" = [])), params(Wanted),
    responses((status = 200, body = Option<Vec<Decision>>)))]
pub(crate) async fn decisions(
    State(app): State<Arc<App>>,
    AQuery(wanted): AQuery<Wanted>,
) -> Answer<Option<Vec<Decision>>> {
    app.wait(move |app| {
        let now = app.host.now();
        let bans = wanted.of(app.host.bans()?.bans)?;
        Ok(Json(listed(bans, now)))
    })
    .await
}

/// What changed since the bouncer asked last. Each key has its own place, and each address that uses it.
#[utoipa::path(get, path = "/decisions/stream", security(("bouncer" = [])), params(Standing, Wanted),
    responses((status = 200, body = Changes)))]
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
    Extension(asking): Extension<Asking>,
    Extension(client): Extension<Client>,
    AQuery(standing): AQuery<Standing>,
    AQuery(wanted): AQuery<Wanted>,
    method: Method,
) -> Result<Response, ApiError> {
    if method == Method::HEAD {
        // Nothing is told, so nothing counts as told.
        return Ok(StatusCode::OK.into_response());
    }
    let changes = app
        .wait(move |app| {
            let now = app.host.now();
            let bans = wanted.of(app.host.bans()?.bans)?;
            let pull = Pull {
                bouncer: &asking.name,
                address: &client.0.ip().to_string(),
                asked_from: &client.0.to_string(),
                agent: &asking.agent,
                startup: standing.startup.as_deref() == Some("true"),
                at: now,
            };
            let delta = app.main.pull(&pull, &bans)?;
            Ok(Changes {
                new: listed(delta.new, now),
                deleted: listed(delta.deleted, now),
            })
        })
        .await?;
    Ok(Json(changes).into_response())
}

/// What bouncers say about themselves; it is not kept.
#[utoipa::path(post, path = "/usage-metrics", security(("bouncer" = [])),
    request_body(content = serde_json::Value, description = "anything"), responses((status = 201)))]
pub(crate) async fn usage() -> StatusCode {
    StatusCode::CREATED
}

/// Bouncers, and what they are told.
#[derive(Serialize, ToSchema)]
pub(crate) struct AllBouncers {
    /// Those that have a key.
    bouncers: Vec<Bouncer>,
    /// Who asked with a key that is none.
    strangers: Vec<BouncerStranger>,
    /// Bans that hold now.
    bans: usize,
    /// Decisions that hold and that a ban of an address cannot say, or not all of it.
    not_expressible: u64,
    /// Bans that nobody is told of, as they are about what is never acted upon.
    withheld: u64,
    /// Why nothing is told at all, where that is so.
    trouble: Option<String>,
}

/// Bouncers, and what they are told.
#[utoipa::path(get, path = "/bouncers", security(("session" = ["admin"]), ("token" = ["admin"])),
    responses((status = 200, body = AllBouncers)))]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Answer<AllBouncers> {
    app.wait(|app| {
        let bans = app.host.bans()?;
        Ok(Json(AllBouncers {
            bouncers: app.main.bouncers()?,
            strangers: app.main.bouncer_strangers()?,
            bans: bans.bans.len(),
            not_expressible: bans.not_expressible,
            withheld: bans.withheld,
            trouble: bans.trouble,
        }))
    })
    .await
}

/// Who asks, by the key.
pub(crate) async fn admitted(
    app: &Arc<App>,
    headers: &HeaderMap,
    address: Option<String>,
) -> Result<Asking, ApiError> {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (key, agent) = (text(KEY), text(header::USER_AGENT.as_str()));
    let address = address.ok_or_else(ApiError::internal)?;
    app.wait(move |app| {
        if let Some(name) = app.main.bouncer_of(&key)? {
            return Ok(Asking { name, agent });
        }
        note(app, &address, &agent);
        Err(ApiError::forbidden(
            "wrong_key",
            "access forbidden: the header X-Api-Key is missing or holds no key of this console; \
             `thymus bouncer add` makes one",
        ))
    })
    .await
}

/// Notes who has no key, so seldom that nobody can fill the disk with it.
fn note(app: &App, address: &str, agent: &str) {
    let now = app.host.now();
    if app.strangers.is_time(now, NOTED_EVERY) {
        // What cannot be noted is refused all the same.
        let _is_noted = app.main.note_stranger(address, agent, now).is_ok();
    }
}

/// An error in the words of this API.
pub(crate) fn in_their_words(answer: Response) -> Response {
    let Some(detail) = answer.extensions().get::<ErrorDetail>() else {
        return answer;
    };
    let message = detail.message.clone();
    let mut said = (answer.status(), Json(Refusal { message })).into_response();
    if let Some(after) = answer.headers().get(header::RETRY_AFTER) {
        said.headers_mut()
            .insert(header::RETRY_AFTER, after.clone());
    }
    said
}

impl Wanted {
    fn of(&self, mut bans: Vec<Ban>) -> Result<Vec<Ban>, ApiError> {
        let about =
            match self.ip.as_deref().or(self.range.as_deref()) {
                Some(text) => Some(net(text).ok_or_else(|| {
                    ApiError::bad(format!("{text:?} is no address and no network"))
                })?),
                None => None,
            };
        let contains = match self.contains.as_deref() {
            None | Some("true" | "True" | "TRUE" | "t" | "T" | "1") => true,
            Some("false" | "False" | "FALSE" | "f" | "F" | "0") => false,
            Some(_) => return Err(ApiError::bad("contains is true or false")),
        };
        let is_one = |list: &Option<String>, of: &str| {
            let mut words = list.iter().flat_map(|list| list.split(','));
            list.is_none() || words.any(|word| word.trim().eq_ignore_ascii_case(of))
        };
        let has_one = |list: &str, of: &str| {
            let mut words = list
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            words.any(|word| of.contains(&word.to_ascii_lowercase()))
        };
        bans.retain(|ban| {
            let scope = scope(&ban.value);
            let touches = about.is_none_or(|about| {
                net(&ban.value).is_some_and(|of| {
                    if contains {
                        of.contains(&about)
                    } else {
                        about.contains(&of)
                    }
                })
            });
            let words = ban.scenario.to_ascii_lowercase();
            touches
                && is_one(&self.scope, scope)
                && is_one(&self.scopes, scope)
                && is_one(&self.origins, ORIGIN)
                && self.value.as_ref().is_none_or(|value| *value == ban.value)
                && self.r#type.as_ref().is_none_or(|kind| kind == TYPE)
                && self
                    .scenarios_containing
                    .as_ref()
                    .is_none_or(|list| has_one(list, &words))
                && self
                    .scenarios_not_containing
                    .as_ref()
                    .is_none_or(|list| !has_one(list, &words))
        });
        if let Some(limit) = self.limit {
            bans.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(bans)
    }
}

fn net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().map(|net| net.trunc());
    net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .ok()
}

fn scope(value: &str) -> &'static str {
    if value.contains('/') { RANGE } else { ADDRESS }
}

/// As they are answered: an empty list is `null`.
fn listed(bans: Vec<Ban>, now: Timestamp) -> Option<Vec<Decision>> {
    let listed = bans.into_iter().map(|ban| Decision {
        id: ban.id,
        origin: ORIGIN,
        r#type: TYPE,
        scope: scope(&ban.value),
        duration: duration(ban.until.as_nanos().saturating_sub(now.as_nanos())),
        uuid: uuid(&ban),
        value: ban.value,
        scenario: ban.scenario,
    });
    Some(listed.collect::<Vec<_>>()).filter(|listed| !listed.is_empty())
}

/// A span as Go writes it: `3h59m12.5s`, `-12s`, `500ms`.
fn duration(nanos: i64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let (sign, all) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let fraction = |of: u64, unit: u64| {
        let digits = format!("{:09}", (of % unit) * (SECOND / unit));
        let digits = digits.trim_end_matches('0');
        let point = if digits.is_empty() { "" } else { "." };
        format!("{}{point}{digits}", of / unit)
    };
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(all, 1_000)),
        1_000_000..SECOND => format!("{sign}{}ms", fraction(all, 1_000_000)),
        _ => {
            let (hours, minutes) = (all / (3_600 * SECOND), all / (60 * SECOND) % 60);
            let seconds = fraction(all % (60 * SECOND), SECOND);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, _) => format!("{sign}{minutes}m{seconds}s"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// A UUID made of the ban itself (RFC 9562, version 8).
fn uuid(ban: &Ban) -> String {
    let made_of = format!("{} {}", ban.id, ban.value);
    let hash = blake3::hash(made_of.as_bytes());
    let hex = hash.to_hex();
    let part = |range| hex.get(range).unwrap_or_default();
    format!(
        "{}-{}-8{}-a{}-{}",
        part(0..8),
        part(8..12),
        part(12..15),
        part(15..18),
        part(18..30)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(value: &str) -> Ban {
        Ban {
            value: value.to_owned(),
            id: 1024,
            scenario: "thymus/block_destination".to_owned(),
            until: Timestamp::from_secs(100),
        }
    }

    #[test]
    fn spans_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (1_000_000_000, "1s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (14_352_500_000_000, "3h59m12.5s"),
            (-12_000_000_000, "-12s"),
            (90_000_000_001, "1m30.000000001s"),
        ] {
            assert_eq!(duration(nanos), text);
        }
        assert!(duration(i64::MIN).starts_with("-2562047h"));
    }

    #[test]
    fn filters_are_those_of_the_protocol() {
        let bans = ["192.0.2.7", "198.51.100.9", "2001:db8::/64", "2001:db8::7"];
        let found = |wanted: Wanted| {
            let bans = bans.map(ban).to_vec();
            let found = wanted.of(bans).unwrap();
            found.into_iter().map(|ban| ban.value).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        let all = Wanted::default();
        assert_eq!(found(all).len(), 4);
        let ip = |ip: &str| Wanted {
            ip: text(ip),
            ..Wanted::default()
        };
        assert_eq!(found(ip("192.0.2.7")), ["192.0.2.7"]);
        assert!(found(ip("192.0.2.8")).is_empty());
        assert_eq!(found(ip("2001:db8::7")), ["2001:db8::/64", "2001:db8::7"]);
        let range = |contains: &str| Wanted {
            range: text("2001:db8::/64"),
            contains: text(contains),
            ..Wanted::default()
        };
        assert_eq!(found(range("true")), ["2001:db8::/64"]);
        assert_eq!(found(range("false")).len(), 2);
        let scopes = Wanted {
            scopes: text("range,country"),
            ..Wanted::default()
        };
        assert_eq!(found(scopes), ["2001:db8::/64"]);
        for (wanted, number) in [
            (
                Wanted {
                    origins: text("CAPI,thymus"),
                    ..Wanted::default()
                },
                4,
            ),
            (
                Wanted {
                    origins: text("cscli"),
                    ..Wanted::default()
                },
                0,
            ),
            (
                Wanted {
                    r#type: text("captcha"),
                    ..Wanted::default()
                },
                0,
            ),
            (
                Wanted {
                    value: text("2001:db8::7"),
                    ..Wanted::default()
                },
                1,
            ),
            (
                Wanted {
                    limit: Some(2),
                    ..Wanted::default()
                },
                2,
            ),
            (
                Wanted {
                    scenarios_containing: text("x,BLOCK"),
                    ..Wanted::default()
                },
                4,
            ),
            (
                Wanted {
                    scenarios_not_containing: text("block"),
                    ..Wanted::default()
                },
                0,
            ),
        ] {
            assert_eq!(found(wanted).len(), number);
        }
        assert!(ip("nothing").of(Vec::new()).is_err());
    }

    #[test]
    fn a_ban_has_the_same_uuid_everywhere() {
        let one = uuid(&ban("192.0.2.7"));
        assert_eq!((one.len(), one.as_bytes()[14]), (36, b'8'));
        assert_eq!(one, uuid(&ban("192.0.2.7")));
        assert_ne!(one, uuid(&ban("192.0.2.8")));
    }
}
