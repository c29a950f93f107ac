//! The entries of the scan directory: where each leads, and which of them a scan has not seen any more.

use super::Table;
use super::parts::Id;
use std::ffi::{OsStr, OsString};

/// An entry that leads to a directory.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: Id,
    scan: u64,
    /// The inode of the entry itself, if that is a link whose target is known; otherwise 0.
    link: u64,
}

impl Table {
    /// The entry `name` leads to the directory `id`; it may have led to another before.
    pub fn seen(&mut self, name: &OsStr, id: Id) {
        let scan = self.scan;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.scan = scan;
            if entry.id == id {
                return;
            }
            self.gone(name);
        }
        self.entries.insert(name.to_os_string(), Entry { id, scan, link: 0 });
        self.services.entry(id).or_default().names.push(name.to_os_string());
        self.touched.push(id);
    }

    /// The entry `name` is there. Returns whether it is known to lead to `id`, so that there is no more to be told.
    pub fn confirm(&mut self, name: &OsStr, id: Id) -> bool {
        self.keep_where(name, |entry| entry.id == id)
    }

    /// There is no entry `name`, or it leads nowhere.
    pub fn gone(&mut self, name: &OsStr) {
        let Some(Entry { id, .. }) = self.entries.remove(name) else { return };
        if let Some(service) = self.services.get_mut(&id) {
            service.names.retain(|known| known != name);
        }
        self.touched.push(id);
    }

    /// The entry `name` is there, but the system does not tell where it leads: what was known stays.
    pub fn keep(&mut self, name: &OsStr) {
        self.keep_where(name, |_| true);
    }

    /// The entry `name` is a link with this inode, and svscan has just looked where it leads.
    pub fn asked(&mut self, name: &OsStr, link: u64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.link = link;
        }
    }

    /// The entry `name` is a link with this inode. Returns whether that is the link whose target is known; if not, svscan
    /// has to look where it leads.
    pub fn keep_link(&mut self, name: &OsStr, link: u64) -> bool {
        self.keep_where(name, |entry| entry.link == link)
    }

    fn keep_where(&mut self, name: &OsStr, is_it: impl FnOnce(&Entry) -> bool) -> bool {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| is_it(entry)) else { return false };
        entry.scan = self.scan;
        true
    }

    /// A full scan begins: every entry that there is will be [`seen`](Table::seen), or kept.
    pub fn begin_scan(&mut self) {
        self.scan += 1;
    }

    /// The full scan has ended: what it did not see is gone.
    pub fn end_scan(&mut self) {
        let unseen = self.entries.iter().filter(|(_, entry)| entry.scan != self.scan);
        let names: Vec<OsString> = unseen.map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.gone(name));
    }
}
