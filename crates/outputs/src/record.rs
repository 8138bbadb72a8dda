//! What is told, one thing at a time.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thymus_schema::{EntityId, EntityKind, Technique, Timestamp};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An incident, as `thymus replay --json` has it.
    Incident,
    /// One alert of an incident, with the incident's id and confidence beside what it has there.
    Alert,
    /// A decision about an incident: asked, carried out, or over.
    Decision,
}

impl Kind {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Alert => "alert",
            Self::Decision => "decision",
        }
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it is about.
    pub kind: Kind,
    /// The same for the same content, so that who gets it twice can tell.
    pub id: String,
    /// Whether it was told before and is not what it was.
    pub is_update: bool,
    /// The object itself.
    pub body: Value,
}

impl Record {
    /// A record of `body`, whose own `id` its own begins with.
    pub fn new(kind: Kind, is_update: bool, body: Value) -> Self {
        let digest = blake3::hash(body.to_string().as_bytes());
        let name = body["id"].as_str().unwrap_or("unnamed");
        let digest: String = digest.to_hex().chars().take(8).collect();
        let id = format!("{name}-{digest}");
        Self {
            kind,
            id,
            is_update,
            body,
        }
    }

    /// The same with less in it, for receivers that take no more: the evidence goes first, then most of the
    /// alerts and the story; of a decision the rehearsal, then what is cut. What was left out is said in `left_out`.
    #[must_use]
    pub fn smaller(&self, step: usize) -> Self {
        const ALERTS_MAX: usize = 8;
        let mut fewer = self.clone();
        let body = &mut fewer.body;
        if self.kind == Kind::Decision {
            // Cuts go as a whole: by half of them something else would be cut.
            let gone = ["rehearsal", "cuts", "text"].into_iter().take(step);
            let gone: Vec<&str> = gone.inspect(|key| drop_of(body, key)).collect();
            if step >= 3 {
                shorten(body);
            }
            if step >= 1 {
                body["left_out"] = json!(gone);
            }
            return fewer;
        }
        let mut left_out = Vec::new();
        if step >= 1 {
            left_out.push("evidence");
            drop_of(body, "evidence");
            for alert in alerts_of(body).into_iter().flatten() {
                drop_of(alert, "evidence");
                drop_of(alert, "counterfactual");
            }
        }
        if step >= 2 {
            left_out.push("alerts");
            if let Some(alerts) = alerts_of(body) {
                alerts.truncate(ALERTS_MAX);
            }
        }
        if step >= 3 {
            left_out.push("narrative");
            for key in [
                "alerts",
                "narrative",
                "next_steps",
                "merged_from",
                "counterfactual",
            ] {
                drop_of(body, key);
            }
            shorten(body);
        }
        if step >= 1 {
            body["left_out"] = json!(left_out);
        }
        fewer
    }

    /// How often [`Self::smaller`] makes it smaller.
    pub const STEPS: usize = 3;
}

fn alerts_of(body: &mut Value) -> Option<&mut Vec<Value>> {
    body.get_mut("alerts")?.as_array_mut()
}

fn drop_of(value: &mut Value, key: &str) {
    if let Some(object) = value.as_object_mut() {
        object.remove(key);
    }
}

/// Long texts and lists cut.
fn shorten(value: &mut Value) {
    const TEXT_MAX: usize = 256;
    const ITEMS_MAX: usize = 12;
    match value {
        Value::String(text) if text.len() > TEXT_MAX => *text = crate::escape::clip(text, TEXT_MAX),
        Value::Array(items) => {
            items.truncate(ITEMS_MAX);
            items.iter_mut().for_each(shorten);
        }
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

/// An incident as formats read it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Story {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) hypothesis: String,
    pub(crate) confidence: String,
    pub(crate) p_value: f64,
    pub(crate) shown: bool,
    pub(crate) affected: Vec<Party>,
    pub(crate) techniques: Vec<String>,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) narrative: String,
    pub(crate) next_steps: Vec<String>,
    pub(crate) merged_from: Vec<String>,
    pub(crate) alerts: Vec<Claim>,
}

/// Somebody in an incident.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Party {
    pub(crate) entity: String,
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) suspected: bool,
}

/// An alert as formats read it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Claim {
    pub(crate) id: String,
    pub(crate) detector: String,
    pub(crate) entity: String,
    pub(crate) peers: Vec<Peer>,
    pub(crate) phase: String,
    pub(crate) techniques: Vec<String>,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) p_value: f64,
    pub(crate) statement: Option<String>,
    pub(crate) counterfactual: Option<String>,
    /// The incident it belongs to, and how sure the analyst is of that.
    pub(crate) incident: String,
    pub(crate) confidence: String,
}

/// A decision as formats read it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Verdict {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) state: String,
    pub(crate) verb: String,
    pub(crate) device: String,
    pub(crate) incident: String,
    pub(crate) reason: String,
    pub(crate) cuts_in_words: Vec<String>,
    pub(crate) proposed_at: Timestamp,
    pub(crate) began_at: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// What happened last: when, by whom, and what.
    pub(crate) at: Timestamp,
    pub(crate) by: Option<String>,
    pub(crate) why: Option<String>,
}

/// Who else takes part.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Peer {
    pub(crate) role: String,
    pub(crate) entity: String,
}

impl Verdict {
    /// What became of it.
    pub(crate) fn why(&self) -> &str {
        self.why.as_deref().unwrap_or_default()
    }
}

impl Claim {
    /// A line for a list.
    pub(crate) fn title(&self) -> String {
        let who = Who::of(&self.entity, "", &[]);
        format!("{}: {}", self.detector.replace('_', " "), who.label)
    }

    /// What was seen, as a sentence.
    pub(crate) fn sentence(&self) -> String {
        let who = Who::of(&self.entity, "", &[]);
        format!(
            "{} {}",
            who.label,
            self.statement.as_deref().unwrap_or_default()
        )
    }
}

/// What is known of an entity, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    /// For people.
    pub(crate) label: String,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) macs: Vec<String>,
    /// Names of hosts.
    pub(crate) hosts: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) is_external: bool,
}

impl Who {
    /// What an entity, its name and its aliases say.
    pub(crate) fn of(entity: &str, name: &str, aliases: &[String]) -> Self {
        let parsed: Option<EntityId> = entity.parse().ok();
        let (kind, key) = match &parsed {
            Some(id) => (Some(id.kind), &*id.key),
            None => (None, entity),
        };
        let mut who = Self {
            label: if name.is_empty() { key } else { name }.to_owned(),
            is_external: kind == Some(EntityKind::External),
            ..Self::default()
        };
        match kind {
            Some(EntityKind::User) => who.user = Some(key.to_owned()),
            // Of a service, `10.0.0.8:445` or `10.0.0.8/share`, the part that names the host may be an address.
            _ => who.take(key, kind == Some(EntityKind::Service)),
        }
        for alias in aliases {
            who.take(alias, false);
        }
        who
    }

    /// A name that is one by RFC 1123; names from the wire need not be.
    pub(crate) fn host_name(&self) -> Option<&str> {
        let host = self.hosts.first()?;
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        (host.len() <= 253 && host.split('.').all(is_label)).then_some(host)
    }

    fn take(&mut self, text: &str, is_service: bool) {
        if let Some(address) = address(text) {
            if !self.ips.contains(&address) {
                self.ips.push(address);
            }
        } else if let Some(mac) = mac(text) {
            if !self.macs.contains(&mac) {
                self.macs.push(mac);
            }
        } else if !is_service && !text.is_empty() && !self.hosts.iter().any(|host| host == text) {
            self.hosts.push(text.to_owned());
        }
    }
}

/// The address in `10.0.0.7`, `10.0.0.7%vlan10`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.split('%').next().unwrap_or_default();
    let address: IpAddr = bare.parse().ok()?;
    Some(address.to_canonical())
}

/// A hardware address as RFC 7042 writes it: `00-50-56-5B-6C-CB`.
fn mac(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_one = parts.len() == 6
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()));
    is_one.then(|| parts.join("-").to_ascii_uppercase())
}

/// Everybody in an incident.
pub(crate) fn everybody(story: &Story) -> Vec<(Who, &Party)> {
    let each = |party| (who(party), party);
    story.affected.iter().map(each).collect()
}

pub(crate) fn who(party: &Party) -> Who {
    Who::of(&party.entity, &party.name, &party.aliases)
}

/// Sure, in steps that formats translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Low,
    /// Worth a look today.
    Medium,
    /// Look now.
    High,
}

impl Level {
    /// From the word in an incident; what is not known is taken for the lowest.
    pub fn of(word: &str) -> Self {
        match word {
            "high" => Self::High,
            "medium" => Self::Medium,
            _ => Self::Low,
        }
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "low" | "medium" | "high" => Ok(Self::of(text)),
            _ => Err("low, medium or high".to_owned()),
        }
    }
}

impl Record {
    /// How sure the analyst is.
    pub fn level(&self) -> Level {
        Level::of(self.body["confidence"].as_str().unwrap_or_default())
    }
}

/// A tactic of ATT&CK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tactic {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
}

/// The tactic of a phase, by its word in alerts.
pub(crate) fn tactic(phase: &str) -> Option<Tactic> {
    let (id, name) = match phase {
        "reconnaissance" => ("TA0007", "Discovery"),
        "access" => ("TA0001", "Initial Access"),
        "credentials" => ("TA0006", "Credential Access"),
        "control" => ("TA0011", "Command and Control"),
        "lateral" => ("TA0008", "Lateral Movement"),
        "exfiltration" => ("TA0010", "Exfiltration"),
        "impact" => ("TA0040", "Impact"),
        _ => return None,
    };
    Some(Tactic { id, name })
}

/// The tactics of the alerts of an incident, in the order of an attack, each once.
pub(crate) fn tactics(story: &Story) -> Vec<Tactic> {
    let mut found: Vec<Tactic> = Vec::new();
    for claim in &story.alerts {
        if let Some(tactic) = tactic(&claim.phase)
            && !found.contains(&tactic)
        {
            found.push(tactic);
        }
    }
    found.sort_by_key(|tactic| tactic.id);
    found
}

/// Techniques that are known, in order, each once.
pub(crate) fn techniques(ids: &[String]) -> Vec<Technique> {
    let mut found: Vec<Technique> = ids.iter().filter_map(|id| Technique::from_id(id)).collect();
    found.sort();
    found.dedup();
    found
}

/// The page of a technique at its authors'.
pub(crate) fn technique_url(id: &str) -> String {
    format!(
        "https://attack.mitre.org/techniques/{}/",
        id.replace('.', "/")
    )
}

/// Milliseconds since 1970.
pub(crate) fn millis(ts: Timestamp) -> i64 {
    ts.as_nanos().div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_has_the_same_id() {
        let body = json!({"id": "aa", "title": "x"});
        let one = Record::new(Kind::Incident, false, body.clone());
        assert_eq!(one.id, Record::new(Kind::Incident, true, body).id);
        let other = Record::new(Kind::Incident, false, json!({"id": "aa", "title": "y"}));
        assert_ne!(one.id, other.id);
        assert!(other.id.starts_with("aa-"));
    }

    #[test]
    fn entities_are_taken_apart_by_what_they_are() {
        let aliases = ["10.0.0.7", "00:50:56:5b:6c:cb", "anna-pc"].map(str::to_owned);
        let who = Who::of("device:10.0.0.7%vlan10", "10.0.0.7 (anna-pc)", &aliases);
        assert_eq!(who.label, "10.0.0.7 (anna-pc)");
        assert_eq!(who.ips, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(who.macs, ["00-50-56-5B-6C-CB"]);
        assert_eq!(who.hosts, ["anna-pc"]);
        assert_eq!(
            Who::of("user:CORP\\ann", "", &[]).user.unwrap(),
            "CORP\\ann"
        );
        let mapped = Who::of("external:::ffff:192.0.2.1", "", &[]);
        assert!(mapped.is_external && mapped.ips[0].is_ipv4());
    }

    #[test]
    fn what_is_too_large_loses_evidence_first_and_says_so() {
        let body = json!({"id": "aa", "title": "t".repeat(5_000), "narrative": "n", "alerts":
            vec![json!({"id": "b", "statement": "s", "evidence": [1]}); 40]});
        let record = Record::new(Kind::Incident, false, body);
        let one = record.smaller(1);
        assert_eq!(one.body["alerts"][0], json!({"id": "b", "statement": "s"}));
        assert_eq!(
            record.smaller(2).body["alerts"].as_array().unwrap().len(),
            8
        );
        let least = record.smaller(Record::STEPS);
        assert!(least.body.to_string().len() < 500);
        assert_eq!(
            least.body["left_out"],
            json!(["evidence", "alerts", "narrative"])
        );
        assert_eq!(least.id, record.id);
    }
}
