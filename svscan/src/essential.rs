//! The essential services: when one of them ends for good, svscan stops everything and exits with its code. No I/O.

use crate::table::Id;
use std::collections::HashSet;

/// All essential services, and the code with which svscan exits.
#[derive(Debug, Default)]
pub struct EssentialServices {
    services: HashSet<Id>,
    exit_code: i32,
}

impl EssentialServices {
    /// Takes in that this service is essential.
    pub fn add(&mut self, id: Id) {
        self.services.insert(id);
    }

    /// Whether this service is essential.
    pub fn includes(&self, id: Id) -> bool {
        self.services.contains(&id)
    }

    /// Forgets what is kept for a service that is gone.
    pub fn forget(&mut self, id: Id) {
        self.services.remove(&id);
    }

    /// Takes in that an essential service has ended for good, and that svscan is to exit with this code.
    pub fn ended(&mut self, code: i32) {
        self.exit_code = code;
    }

    /// The code that svscan exits with: 0, unless an essential service has ended.
    pub fn exit_code(&self) -> i32 {
        self.exit_code
    }
}
