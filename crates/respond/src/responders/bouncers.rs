//! Leaves the doing to others, which ask for the decisions that hold: for a sensor whose own packet filter sees nothing
//! of what is to be cut.

use thymus_schema::Timestamp;

use crate::decision::Realm;
use crate::responder::{Receipt, Responder, ResponderError, ResponderSpec};
use crate::table::Table;

pub(crate) const SPEC: ResponderSpec = ResponderSpec {
    id: "bouncers",
    title: "nothing on this machine: bouncers ask for the decisions and carry them out",
    realm: Realm::Traffic,
    build: |_, _| Ok(Box::new(Bouncers)),
};

struct Bouncers;

impl Responder for Bouncers {
    fn apply(&mut self, _: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        Ok(Receipt::default())
    }

    fn reconcile(&mut self, _: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        Ok(Receipt::default())
    }

    fn remove(&mut self) -> Result<(), ResponderError> {
        Ok(())
    }
}
