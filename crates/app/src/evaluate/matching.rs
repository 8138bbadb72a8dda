//! Whether an incident is the one a case is about.

use thymus_schema::{Affected, Incident, Timestamp};

use crate::evaluate::manifest::Case;

/// Most affected entities of an incident that still counts as naming one.
const AFFECTED_MAX: usize = 10;

impl Case {
    /// Whether `incident` overlaps the window and names one of the entities.
    pub(crate) fn is_about(&self, incident: &Incident) -> bool {
        self.overlaps(incident.first_seen, incident.last_seen) && self.names_entity(incident)
    }

    /// Whether `incident` names one of the entities, at whatever time.
    pub(crate) fn names_entity(&self, incident: &Incident) -> bool {
        let affected = incident.affected.iter().take(AFFECTED_MAX);
        self.entities.is_empty() || affected.into_iter().any(|part| self.is_affected(part))
    }

    fn is_affected(&self, part: &Affected) -> bool {
        let aliases = part.aliases.iter().map(AsRef::as_ref);
        aliases
            .chain([&*part.entity.key])
            .any(|name| self.lists(name))
    }

    /// Whether `name` is one of the entities.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.entities.iter().any(|entity| same_name(entity, name))
    }

    /// Whether the interval overlaps the window.
    pub(crate) fn overlaps(&self, first: Timestamp, last: Timestamp) -> bool {
        self.window
            .is_none_or(|(from, to)| first <= to && last >= from)
    }
}

/// Names are the same regardless of case, of a network tag, of the domain of a host name, and of
/// the domain of an account.
fn same_name(wanted: &str, name: &str) -> bool {
    let name = name.split_once('%').map_or(name, |(head, _)| head);
    if wanted.eq_ignore_ascii_case(name) {
        return true;
    }
    if name.parse::<std::net::IpAddr>().is_ok() || wanted.parse::<std::net::IpAddr>().is_ok() {
        return false;
    }
    let account = name.rsplit_once('\\').map_or(name, |(_, account)| account);
    let host = name.split_once('.').map_or(name, |(host, _)| host);
    !wanted.contains(['.', '\\'])
        && (wanted.eq_ignore_ascii_case(account) || wanted.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_people_mean_them() {
        assert!(same_name("10.0.0.7", "10.0.0.7%20"));
        assert!(same_name("WS7", "ws7.corp.example"));
        assert!(same_name("ann", "CORP\\ann"));
        assert!(!same_name("10", "10.0.0.7"));
        assert!(!same_name("ws7.other.example", "ws7.corp.example"));
    }
}
