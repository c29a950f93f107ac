//! Finds the logs that the user asks for, and which of their lines.

use crate::arguments::Request;
use crate::folder::Folder;
use crate::runs::{Rules, Runs, Wanted};
use crate::selection::Selection;
use daemontools::logdir::locate;
use daemontools::service::{Place, Record, STATE};
use daemontools::{Attempt, Fatal, report, suggest};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The logs to show, each once.
pub struct Logs {
    /// The argument by which each log was asked for.
    pub arguments: Vec<OsString>,
    pub folders: Vec<Folder>,
    /// If the user asks for runs: those of each service, and the lines of each that lie in them.
    runs: Vec<(Runs, Selection)>,
    /// Whether all logs that were asked for have been found.
    pub are_complete: bool,
}

impl Logs {
    /// Finds the logs. If svlog cannot find one of several, it warns, as `/service/*` may contain anything. Two
    /// arguments may be one log, if one entry is a link to the other: svlog shows its lines once, and says so.
    ///
    /// # Errors
    /// No log was found.
    pub fn find(request: &Request) -> Result<Logs, Fatal> {
        let mut logs = Logs { arguments: Vec::new(), folders: Vec::new(), runs: Vec::new(), are_complete: true };
        for argument in &request.logs {
            let words = match logs.add(argument, request) {
                Ok(()) => continue,
                Err(words) => words,
            };
            if request.logs.len() == 1 {
                return Err(Fatal::new(report::TEMPORARY, &[&words]));
            }
            report::warning(&[&words]);
            logs.are_complete = false;
        }
        if logs.arguments.is_empty() { Err(Fatal::silent(report::TEMPORARY)) } else { Ok(logs) }
    }

    /// Adds the log of one argument. The error is the reason in words.
    fn add(&mut self, argument: &OsString, request: &Request) -> Result<(), Vec<u8>> {
        let folder = match locate::open_itself(Path::new(argument)) {
            Some(directory) => Folder::new(argument, directory),
            None => locate::log_directory(argument)
                .inspect(|found| found.doubt.iter().for_each(|doubt| report::warning(&[doubt])))
                .and_then(|found| Folder::open(found.path.as_os_str()).map_err(|unable| unable.to_bytes()))
                .inspect_err(|_| suggest::where_missing(argument))?,
        };
        if let Some(known) = self.folders.iter().position(|known| known.is_same_as(&folder)) {
            let words = b" has the same log as ";
            report::notice(&[argument.as_bytes(), words, self.arguments[known].as_bytes(), b": shown once"]);
            return Ok(());
        }
        if let Some(wanted) = request.run {
            let runs = runs(argument)?;
            let narrowed = runs.narrow(&request.selection, wanted);
            let narrowed = narrowed.map_err(|why| [argument.as_bytes(), b" ", why.as_bytes()].concat())?;
            self.runs.push((runs, narrowed));
        }
        self.arguments.push(argument.clone());
        self.folders.push(folder);
        Ok(())
    }

    /// Each log, with the lines that are asked for.
    pub fn with_selections<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = (&'a Folder, &'a Selection)> {
        let of_runs = |number: usize| self.runs.get(number).map(|(_, selection)| selection);
        let selection = move |number| of_runs(number).unwrap_or(&request.selection);
        self.folders.iter().enumerate().map(move |(number, folder)| (folder, selection(number)))
    }

    /// What stands between the lines of two runs.
    pub fn rules(&self, request: &Request) -> Rules {
        match request.run {
            Some(Wanted::All) => Rules::new(self.runs.iter().map(|(runs, _)| runs)),
            Some(Wanted::Now | Wanted::Ended(_)) | None => Rules::default(),
        }
    }
}

/// The runs of a service. The error is the reason in words.
fn runs(service: &OsStr) -> Result<Runs, Vec<u8>> {
    let place = Place::of(Path::new(service)).unable_to("open", service).map_err(|unable| unable.to_bytes())?;
    Record::read(&place).map(|record| Runs::of(&record)).map_err(|unread| {
        let state = place.path(STATE);
        let words = ["unable to tell the runs of ", ": unable to read ", ": ", unread.reason()].map(str::as_bytes);
        [words[0], service.as_bytes(), words[1], state.as_os_str().as_bytes(), words[2], words[3]].concat()
    })
}
