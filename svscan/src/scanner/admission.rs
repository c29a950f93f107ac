//! Taking in new services.

use super::Scanner;
use crate::probe::{ExaminedService, Logger};
use crate::table::{Contents, Id, Part, SuperviseId};
use crate::{messages, settings};
use daemontools::sys::is_passing;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::time::Instant;

impl Scanner {
    /// Handles a new service: admits it, unless its directory is still being made.
    pub(super) fn inspect(&mut self, id: Id, now: Instant) {
        let Some(name) = self.table.name(id) else { return };
        if !self.changes.is_being_made(id, name, &mut self.probe, now) {
            self.admit(id, now);
        }
    }

    /// Looks for what there is to supervise, and tells the table.
    pub(super) fn admit(&mut self, id: Id, now: Instant) {
        let Some(name) = self.table.name(id).map(OsStr::to_os_string) else { return };
        let which = SuperviseId { id, part: Part::Service };
        let examined = self.probe.examine_service(&name, self.supervises.launcher.record(which));
        let Some(ExaminedService { logger, essential, after, running }) =
            messages::examined(id, &name, examined, &mut self.diagnostics)
        else {
            return self.table.not_inspected(id);
        };
        // The entry may have been renamed, or made to lead elsewhere, before its directory was looked at.
        if self.probe.leads_to(&name, id) == Err(Errno::ENOENT) {
            self.look_up_again(&name, now);
            return self.table.not_inspected(id);
        }
        let Ok(forwards) = self.forwards(logger) else { return self.table.not_inspected(id) };
        if logger != Logger::Directory {
            self.scan.late_loggers.add(id);
        }
        if forwards {
            self.forward.want(id);
        }
        if essential {
            self.essential.add(id);
        }
        let contents = Contents {
            logger: logger == Logger::Directory,
            after: messages::names_after(id, &name, after, &mut self.diagnostics),
            running: running || self.supervises.expects(which),
        };
        let mut todo = Vec::new();
        self.table.inspected(id, &contents, now, &mut todo);
        self.perform(todo, now);
    }

    /// Whether the lines of a service that has this logger are to be forwarded. If the file system does not answer
    /// when svscan reads the setting, the last known value counts, so that no service has to wait for an answer.
    ///
    /// # Errors
    /// EMFILE, EIO …: that cannot be told now.
    fn forwards(&mut self, logger: Logger) -> nix::Result<bool> {
        if logger != Logger::None {
            return Ok(false);
        }
        match settings::forwards(&mut self.probe, &mut self.diagnostics) {
            Ok(set) => self.forwards = set,
            Err(errno) if is_passing(errno) => return Err(errno),
            Err(_) => {}
        }
        Ok(self.forwards)
    }
}
