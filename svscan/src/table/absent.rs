//! Services that have no entry any more and are still up, by the last name of each. Several services may have had the
//! same name: each took it from the service before, and lost its entry while that service was being stopped.

use super::parts::Id;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// For each name: the services without an entry that had it last.
#[derive(Debug, Clone, Default)]
pub struct Absent(BTreeMap<OsString, Vec<Id>>);

impl Absent {
    /// Takes in that a service has lost its entry. Returns whether that is new.
    pub fn insert(&mut self, name: &OsStr, id: Id) -> bool {
        let known = self.0.entry(name.to_os_string()).or_default();
        let is_new = !known.contains(&id);
        if is_new {
            known.push(id);
        }
        is_new
    }

    /// Takes in that a service has an entry again, or is gone. Returns whether it had no entry before.
    pub fn remove(&mut self, name: &OsStr, id: Id) -> bool {
        let Some(known) = self.0.get_mut(name) else { return false };
        let before = known.len();
        known.retain(|other| *other != id);
        let was_absent = known.len() < before;
        if known.is_empty() {
            self.0.remove(name);
        }
        was_absent
    }

    /// The services that had this name last, the latest one at the end.
    pub fn named(&self, name: &OsStr) -> &[Id] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// All of them, with their last names.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &OsStr)> {
        self.0.iter().flat_map(|(name, ids)| ids.iter().map(|id| (*id, name.as_os_str())))
    }
}
