//! The table of services.

use crate::access::{self, closed_to};
use crate::answer::Answer;
use crate::arguments::Which;
use crate::code::UNKNOWN;
use crate::row::Row;
use crate::services::{Reach, Service, Services};
use crate::table::{summary, table};
use crate::text::shown;
use crate::unsupervised::{explained, no_svscan, no_svscan_though_meant};
use crate::{Context, write};
use daemontools::service::{LOG, Phase, Place, RunitState, SOON, Status, is_supervised_at, read_status_at};
use daemontools::tai64::{self, between};
use daemontools::{Fatal, report, sys};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Shows the services that are meant; of the others, a message says so.
///
/// # Errors
/// The directory cannot be read, or the answer cannot be written.
pub fn list(context: &Context, names: &[OsString], which: Which) -> Result<i32, Fatal> {
    let (chosen, missing) = context.services.choose(names)?;
    missing.iter().for_each(|words| report::warning(&[words]));
    if chosen.is_empty() && !missing.is_empty() {
        return Ok(UNKNOWN);
    }
    let code = if missing.is_empty() { 0 } else { UNKNOWN };
    let is_listed = |answer: &Answer| which == Which::All || !answer.is_as_wanted();
    if context.shape.json {
        let answer = chosen.iter().map(|service| (service, Answer::of_answering(service)));
        let listed = answer.filter(|(_, answer)| is_listed(answer));
        let documents: String = listed.map(|(service, answer)| answer.document(service)).collect();
        write(documents.as_bytes())?;
        return Ok(code);
    }
    let (mut rows, mut closed, mut is_unsupervised) = (Vec::new(), Vec::new(), false);
    for service in &chosen {
        let answer = Answer::of_answering(service);
        if is_listed(&answer) {
            rows.push(Row::of(service, &explained(&context.services, service, answer.clone())));
        }
        is_unsupervised |= matches!(answer, Answer::Unsupervised(_));
        match closed_to(service, &answer) {
            Some(whose) => closed.push(whose),
            None => rows.extend(row_of_failing_logger(service)),
        }
    }
    // What runs on without an svscan is not started again when its supervise ends.
    let no_svscan = match (is_unsupervised, names.is_empty()) {
        (true, _) => no_svscan(&context.services),
        (false, true) => no_svscan_though_meant(&context.services),
        (false, false) => None,
    };
    if rows.is_empty() && which == Which::Failed {
        let cause = no_svscan.map(|line| line + "\n").unwrap_or_default();
        write(format!("every service is as it is wanted\n{cause}").as_bytes())?;
    } else {
        let causes: String = no_svscan.into_iter().chain(access::summary(&closed)).map(|line| line + "\n").collect();
        let summary = summary(&rows, &context.services.command("status"));
        write([table(&rows, context.paint, sys::columns(sys::stdout())), summary, causes].concat().as_bytes())?;
    }
    Ok(code)
}

/// Prints the names of all services, a line each, for the completion of shells.
///
/// # Errors
/// The directory cannot be read, or the answer cannot be written.
pub fn names(services: &Services) -> Result<i32, Fatal> {
    let names: String = services.all()?.iter().map(|service| shown(service.name.as_bytes()) + "\n").collect();
    write(names.as_bytes())?;
    Ok(0)
}

/// A logger has a row only if something is wrong with it.
fn row_of_failing_logger(service: &Service) -> Option<Row> {
    let logger = logger_of(service);
    // Nearly all loggers are up, so this is asked first.
    if logger.reach == Reach::Hangs || is_surely_up(&logger.path) || !logger.path.is_dir() || !was_supervised(&logger) {
        return None;
    }
    let answer = Answer::of(&logger);
    (!answer.is_as_wanted() && !answer.is_up()).then(|| Row { is_logger: true, ..Row::of(&logger, &answer) })
}

/// Whether a supervise has ever been in charge of a service.
pub fn was_supervised(service: &Service) -> bool {
    Place::of(&service.path).is_ok_and(|place| place.directory().is_dir())
}

/// Whether the status alone says that a service is up. Nearly all loggers are, and to ask for more of thousands of them
/// takes as long as the services themselves. One that was started just now may be ending again and again.
fn is_surely_up(service: &Path) -> bool {
    let runs = |status: Status| {
        let is_run = status.phase == Phase::Running && status.running == RunitState::Run && !status.paused;
        is_run && between(status.since, tai64::now()) >= SOON
    };
    is_supervised_at(service) == Ok(true) && read_status_at(service).is_ok_and(|(status, _)| runs(status))
}

/// The logger of a service, as a service.
pub fn logger_of(service: &Service) -> Service {
    let name = [service.name.as_bytes(), b"/", LOG.as_bytes()].concat();
    Service { name: OsStr::from_bytes(&name).into(), path: service.path.join(LOG), reach: service.reach }
}
