//! The entries of the scan directory: where each of them leads, and which of them a scan has not found any more. No clock,
//! no I/O.

use super::Table;
use super::parts::Id;
use super::records::Entry;
use std::ffi::{OsStr, OsString};

impl Table {
    /// Takes in that the entry `name` leads to the directory `id`. It may have led to another directory before.
    pub fn entry_seen(&mut self, name: &OsStr, id: Id) {
        let scan = self.scan;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.scan = scan;
            if entry.id == id {
                return;
            }
            self.entry_gone(name);
        }
        self.entries.insert(name.to_os_string(), Entry { id, scan, link: 0 });
        self.services.entry(id).or_default().names.push(name.to_os_string());
        self.touched.push(id);
    }

    /// Takes in that the entry `name` exists. Returns whether the table knows that it leads to `id`; if not, svscan has
    /// to look where it leads.
    pub fn confirm_entry(&mut self, name: &OsStr, id: Id) -> bool {
        self.keep_where(name, |entry| entry.id == id)
    }

    /// Takes in that there is no entry `name`, or that it leads nowhere.
    pub fn entry_gone(&mut self, name: &OsStr) {
        let Some(Entry { id, .. }) = self.entries.remove(name) else { return };
        if let Some(service) = self.services.get_mut(&id) {
            service.names.retain(|known| known != name);
        }
        self.touched.push(id);
    }

    /// Takes in that the entry `name` exists, but that the system does not tell where it leads. The table believes that
    /// it leads where it did before.
    pub fn keep_entry(&mut self, name: &OsStr) {
        self.keep_where(name, |_| true);
    }

    /// Takes in that the entry `name` is a link with this inode, and that svscan has just looked where it leads.
    pub fn link_resolved(&mut self, name: &OsStr, link: u64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.link = link;
        }
    }

    /// Takes in that the entry `name` is a link with this inode. Returns whether that is the link whose target is
    /// known; if not, svscan has to look where it leads.
    pub fn keep_link(&mut self, name: &OsStr, link: u64) -> bool {
        self.keep_where(name, |entry| entry.link == link)
    }

    /// Whether the table knows this entry, and `is_it` accepts it. If so, the scan has seen the entry.
    fn keep_where(&mut self, name: &OsStr, is_it: impl FnOnce(&Entry) -> bool) -> bool {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| is_it(entry)) else { return false };
        entry.scan = self.scan;
        true
    }

    /// Takes in that a full scan begins: until [`Table::end_scan`], svscan reports every entry of the directory.
    pub fn begin_scan(&mut self) {
        self.scan += 1;
    }

    /// Takes in that a full scan has ended: the entries that it has not reported are gone.
    pub fn end_scan(&mut self) {
        let unseen = self.entries.iter().filter(|(_, entry)| entry.scan != self.scan);
        let names: Vec<OsString> = unseen.map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.entry_gone(name));
    }
}
