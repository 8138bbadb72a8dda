//! Facts to text. Nothing here adds a number or a name: sentences are templates over facts, and a
//! template whose fact is missing yields no sentence.

use std::collections::BTreeMap;

use thymus_schema::{Alert, EntityId, Fact, Incident, Statement, Step, Value};

use crate::report::Report;
use crate::told::{Told, told};

/// How entities are called in text: the key, with the best-known name in brackets.
#[derive(Clone, Debug, Default)]
pub struct Names {
    called: BTreeMap<EntityId, String>,
}

impl Names {
    pub(crate) fn of_alerts(alerts: &[Alert]) -> Self {
        let mut called: BTreeMap<EntityId, String> = BTreeMap::new();
        for alert in alerts {
            let mut text = legible(&alert.entity.key);
            if let Some(name) = host_name(&alert.entity, &alert.aliases) {
                text.push_str(" (");
                text.push_str(&legible(name));
                text.push(')');
            }
            let known = called.entry(alert.entity.clone()).or_default();
            if text.len() > known.len() {
                *known = text;
            }
        }
        Self { called }
    }

    /// The entity as people read it: `10.0.0.7 (anna-pc)`.
    pub fn of(&self, entity: &EntityId) -> String {
        self.called
            .get(entity)
            .cloned()
            .unwrap_or_else(|| legible(&entity.key))
    }
}

/// The first alias that is neither the key nor an address.
fn host_name<'a>(entity: &EntityId, aliases: &'a [Box<str>]) -> Option<&'a str> {
    let is_name = |text: &str| {
        text != &*entity.key
            && text.parse::<std::net::IpAddr>().is_err()
            && !text.contains('%')
            && !is_mac(text)
    };
    aliases.iter().map(AsRef::as_ref).find(|text| is_name(text))
}

fn is_mac(text: &str) -> bool {
    text.len() == 17 && text.bytes().filter(|&byte| byte == b':').count() == 5
}

/// The statement as text with entities called by name; `None` when a slot has no fact.
pub fn sentence(statement: &Statement, names: &Names) -> Option<String> {
    let text = statement.render(|fact, out| out.push_str(&value_text(fact, names)));
    text.filter(|text| !text.is_empty())
}

fn value_text(fact: &Fact, names: &Names) -> String {
    match &fact.value {
        Value::Entity(entity) => names.of(entity),
        other => legible(&other.to_string()),
    }
}

/// The whole story in plain words, one sentence a told step in order of time, each followed by what
/// would have been normal.
pub fn narrative(incident: &Incident, report: &Report) -> String {
    let names = report.names();
    let mut out = incident.hypothesis.clone();
    for Told { step, more } in told(incident, |alert| report.strength(alert)) {
        let Some(seen) = step_sentence(step, names) else {
            continue;
        };
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&seen);
        if let Some(normal) = sentence(&step.counterfactual, names) {
            out.push(' ');
            out.push_str(&full(&normal));
        }
        if let Some(rest) = more_of_the_same(more) {
            out.push(' ');
            out.push_str(&full(&rest));
        }
    }
    out
}

/// Says how many steps of a kind are only counted; `None` when there are none.
pub fn more_of_the_same(more: u64) -> Option<String> {
    match more {
        0 => None,
        1 => Some("and once more of the same kind".to_owned()),
        n => Some(format!("and {} more of the same kind", Value::Count(n))),
    }
}

/// One step as a full sentence with its time and its subject.
pub(crate) fn step_sentence(step: &Step, names: &Names) -> Option<String> {
    let seen = sentence(&step.statement, names)?;
    let at = Value::Time(step.at);
    Some(full(&format!("At {at} {} {seen}", names.of(&step.entity))))
}

/// With a capital and a full stop.
pub(crate) fn full(text: &str) -> String {
    let mut chars = text.trim().chars();
    let mut out: String = chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    out.push_str(chars.as_str());
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

/// Text from the wire made safe to show: no control characters, no bidirectional overrides, no
/// invisible characters, so that a hostile name can neither steer a terminal nor reorder a line.
pub fn legible(text: &str) -> String {
    text.chars()
        .map(|c| if is_unsafe(c) { '\u{fffd}' } else { c })
        .collect()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use thymus_schema::EventId;

    #[test]
    fn hostile_names_lose_their_teeth() {
        assert_eq!(
            legible("a\u{1b}[2Jb\u{202e}c\nd"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
        assert_eq!(legible("größe 企業"), "größe 企業");
    }

    #[test]
    fn entities_are_called_by_name() {
        let device = EntityId::device("10.0.0.7");
        let mut names = Names::default();
        names
            .called
            .insert(device.clone(), "10.0.0.7 (anna-pc)".into());
        let fact = Fact::new("who", Value::Entity(device), &[EventId::default()]);
        let said = Statement::new("met {who}", vec![fact]);
        assert_eq!(sentence(&said, &names).unwrap(), "met 10.0.0.7 (anna-pc)");
        assert_eq!(full("met x"), "Met x.");
    }
}
