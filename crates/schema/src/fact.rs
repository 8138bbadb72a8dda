//! Evidence as data. A report sentence is a template whose slots are facts; a fact names the events
//! it was counted from; a sentence whose fact is missing is not said.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EntityId, EventId, Timestamp};

/// A value that was seen or would have been normal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum Value {
    /// How many.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// Seconds.
    Seconds(f64),
    /// A share between 0 and 1.
    Share(f64),
    /// A plain number with no unit.
    Number(f64),
    /// A point in time.
    Time(Timestamp),
    /// A name from the wire: host, file, user, protocol. Untrusted text.
    Name(Box<str>),
    /// Several names, at most eight.
    Names(Vec<Box<str>>),
    /// An entity.
    Entity(EntityId),
}

impl fmt::Display for Value {
    /// Plain text for people: `12,400`, `3.2 MB`, `4 min 10 s`, `97 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => f.write_str(&grouped(*n)),
            Self::Bytes(n) => f.write_str(&bytes(*n)),
            Self::Seconds(s) => f.write_str(&seconds(*s)),
            Self::Share(share) => f.write_str(&percent(*share)),
            Self::Number(x) if x.abs() >= 100.0 || x.fract() == 0.0 => write!(f, "{x:.0}"),
            Self::Number(x) => write!(f, "{x:.2}"),
            Self::Time(ts) => {
                let text = Timestamp::from_secs(ts.as_secs()).to_string();
                f.write_str(&text.replace('T', " ").replace('Z', " UTC"))
            }
            Self::Name(name) => f.write_str(name),
            Self::Names(names) => f.write_str(&names.join(", ")),
            Self::Entity(id) => f.write_str(&id.key),
        }
    }
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 999.5 {
            return if unit == "bytes" {
                format!("{n} bytes")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

fn seconds(s: f64) -> String {
    let s = s.max(0.0);
    if s < 0.001 {
        return "less than 1 ms".to_owned();
    }
    if s < 1.0 {
        return format!("{:.0} ms", s * 1000.0);
    }
    if s < 10.0 {
        return format!("{s:.1} s");
    }
    let whole = s.round() as u64;
    let (days, hours, mins, secs) = (
        whole / 86_400,
        whole / 3_600 % 24,
        whole / 60 % 60,
        whole % 60,
    );
    let pair = |a: u64, unit_a: &str, b: u64, unit_b: &str| {
        if b == 0 {
            format!("{a} {unit_a}")
        } else {
            format!("{a} {unit_a} {b} {unit_b}")
        }
    };
    match (days, hours, mins) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, _) => pair(mins, "min", secs, "s"),
        (0, _, _) => pair(hours, "h", mins, "min"),
        _ => pair(days, "d", hours, "h"),
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || (1.0..=99.0).contains(&percent) || percent >= 100.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// One thing the evidence shows, with where it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// The slot it fills in the detector's sentence, snake case.
    pub key: Cow<'static, str>,
    /// The value.
    pub value: Value,
    /// The events it was read or counted from: the first ones, at most [`Fact::EVENTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
    /// How many events it was counted from in all.
    #[serde(default)]
    pub events_total: u64,
}

impl Fact {
    /// How many event ids a fact keeps.
    pub const EVENTS_MAX: usize = 16;

    /// A fact read from `events`.
    pub fn new(key: &'static str, value: Value, events: &[EventId]) -> Self {
        Self {
            key: Cow::Borrowed(key),
            value,
            events: events.iter().take(Self::EVENTS_MAX).copied().collect(),
            events_total: events.len() as u64,
        }
    }

    /// The same fact, counted from `total` events of which only some are kept.
    #[must_use]
    pub fn of_total(mut self, total: u64) -> Self {
        self.events_total = total.max(self.events.len() as u64);
        self
    }
}

/// A sentence with slots in braces, and the facts that fill them:
/// `"called {server} every {period}"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// The template.
    pub template: Cow<'static, str>,
    /// The facts; a slot without one makes the whole statement unsayable.
    pub facts: Vec<Fact>,
}

impl Statement {
    /// A sentence from a template and its facts.
    pub fn new(template: &'static str, facts: Vec<Fact>) -> Self {
        Self {
            template: Cow::Borrowed(template),
            facts,
        }
    }

    /// The fact in slot `key`.
    pub fn fact(&self, key: &str) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.key == key)
    }

    /// The sentence as text; `None` when a slot has no fact, so nothing is ever said that is not
    /// backed by evidence.
    pub fn text(&self) -> Option<String> {
        self.render(|fact, out| out.push_str(&fact.value.to_string()))
    }

    /// The sentence with each fact written by `write`; `None` as for [`Statement::text`].
    pub fn render(&self, mut write: impl FnMut(&Fact, &mut String)) -> Option<String> {
        let mut out = String::new();
        let mut rest: &str = &self.template;
        while let Some((before, after)) = rest.split_once('{') {
            let (key, tail) = after.split_once('}')?;
            out.push_str(before);
            let fact = self.fact(key)?;
            write(fact, &mut out);
            rest = match &fact.value {
                Value::Count(1) => singular(tail, &mut out),
                _ => tail,
            };
        }
        out.push_str(rest);
        Some(out)
    }
}

/// Nouns that templates count, with the ending that their plural has.
const COUNTED: &[(&str, &str)] = &[
    ("accounts", "s"),
    ("addresses", "es"),
    ("agents", "s"),
    ("answers", "s"),
    ("calls", "s"),
    ("characters", "s"),
    ("commands", "s"),
    ("connections", "s"),
    ("days", "s"),
    ("destinations", "s"),
    ("devices", "s"),
    ("domains", "s"),
    ("files", "s"),
    ("fingerprints", "s"),
    ("hosts", "s"),
    ("hours", "s"),
    ("kinds", "s"),
    ("machines", "s"),
    ("messages", "s"),
    ("names", "s"),
    ("outsiders", "s"),
    ("pages", "s"),
    ("places", "s"),
    ("ports", "s"),
    ("requests", "s"),
    ("servers", "s"),
    ("services", "s"),
    ("sessions", "s"),
    ("sources", "s"),
    ("targets", "s"),
    ("tickets", "s"),
    ("times", "s"),
    ("units", "s"),
    ("windows", "s"),
    ("writes", "s"),
];
/// A counted noun stands at most this many words after its number (`1 such new agent`).
const WORDS_BEFORE_NOUN: usize = 3;

/// After the number one: writes the words up to its noun with the noun in the singular, and returns
/// what follows; without a noun writes nothing.
fn singular<'a>(tail: &'a str, out: &mut String) -> &'a str {
    let mut at = 0;
    for word in tail.split_inclusive(' ').take(WORDS_BEFORE_NOUN + 1) {
        let end = word
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(word.len());
        let (noun, _) = word.split_at(end);
        if let Some((_, ending)) = COUNTED.iter().find(|(plural, _)| *plural == noun) {
            let (said, rest) = tail.split_at(at + end);
            out.push_str(said.strip_suffix(ending).unwrap_or(said));
            return rest;
        }
        if word.contains(['{', ',', '.', ';', ':']) {
            break;
        }
        at += word.len();
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_something_is_said_in_the_singular() {
        let say = |template: &'static str, n| {
            let fact = Fact::new("n", Value::Count(n), &[EventId::default()]);
            Statement::new(template, vec![fact]).text().unwrap()
        };
        assert_eq!(say("saw {n} hosts", 1), "saw 1 host");
        assert_eq!(say("saw {n} hosts", 2), "saw 2 hosts");
        assert_eq!(say("{n} such new agents, or", 1), "1 such new agent, or");
        assert_eq!(say("asked {n} addresses.", 1), "asked 1 address.");
        assert_eq!(say("{n}, times", 1), "1, times");
        assert_eq!(say("in {n} of these", 1), "in 1 of these");
    }

    #[test]
    fn values_read_as_people_write_them() {
        let text = |value: Value| value.to_string();
        assert_eq!(text(Value::Count(1_234_567)), "1,234,567");
        assert_eq!(text(Value::Bytes(3_200_000)), "3.2 MB");
        assert_eq!(text(Value::Bytes(12)), "12 bytes");
        assert_eq!(text(Value::Number(22.0)), "22");
        assert_eq!(text(Value::Number(1.5)), "1.50");
        assert_eq!(text(Value::Seconds(250.0)), "4 min 10 s");
        assert_eq!(text(Value::Seconds(3600.0)), "1 h");
        assert_eq!(text(Value::Share(0.004)), "0.40 %");
    }

    #[test]
    fn a_sentence_without_its_fact_is_not_said() {
        let fact = Fact::new("n", Value::Count(3), &[EventId::default()]);
        assert_eq!(
            Statement::new("saw {n} hosts", vec![fact]).text().unwrap(),
            "saw 3 hosts"
        );
        assert_eq!(Statement::new("saw {n} hosts", vec![]).text(), None);
    }
}
