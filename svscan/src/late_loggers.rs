//! Services without a logger are asked now and then whether they have one by now. A logger that came too late is not served,
//! because the service has its standard output already; svscan says so.

use crate::diagnostics::{Diagnostics, Subject};
use crate::probe::{Logger, Probe};
use crate::table::{Id, Table};
use daemontools::service::LOG;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How many services are asked at each scan: all ten thousand would take too long.
const ASKED: usize = 100;

/// The services without a logger, those first that were asked longest ago.
#[derive(Debug, Default)]
pub struct LateLoggers(VecDeque<Id>);

impl LateLoggers {
    /// This service has no logger.
    pub fn add(&mut self, id: Id) {
        self.0.push_back(id);
    }

    /// Asks some services.
    pub fn look(&mut self, table: &Table, probe: &mut Probe, diagnostics: &mut Diagnostics) {
        for _ in 0..ASKED.min(self.0.len()) {
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
