//! Services without a logger. svscan looks now and then whether a logger was added to one of them. It cannot serve a logger
//! that was added so late, because the service has its standard output already; it says so.

use crate::diagnostics::{Diagnostics, Subject};
use crate::probe::{Logger, Probe};
use crate::table::{Id, Table};
use daemontools::service::LOG;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How many services svscan looks at in each scan: ten thousand would take too long.
const LOOKED_AT: usize = 100;

/// The services without a logger; first those at which svscan has not looked for the longest time.
#[derive(Debug, Default)]
pub struct LateLoggers(VecDeque<Id>);

impl LateLoggers {
    /// Takes in that this service has no logger.
    pub fn add(&mut self, id: Id) {
        self.0.push_back(id);
    }

    /// Looks at some services.
    pub fn look(&mut self, table: &Table, probe: &mut Probe, diagnostics: &mut Diagnostics) {
        for _ in 0..LOOKED_AT.min(self.0.len()) {
            let Some(id) = self.0.pop_front() else { return };
            let Some(name) = table.name(id).map(OsStr::to_os_string) else { continue };
            let logger = probe.logger(Path::new(&name));
            if logger == Ok(Logger::Directory) && probe.leads_to(&name, id).is_ok() {
                let words = b" came too late: to have it served, remove the entry, end the service, put it back";
                diagnostics.warn_once(Subject::Service(id), [name.as_bytes(), b"/", LOG.as_bytes(), words].concat());
            } else {
                self.0.push_back(id);
            }
        }
    }
}
