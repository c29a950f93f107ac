//! Commands to services, and the wait for what comes of them.

use super::Output;
use super::check_script::finds_that_it_works;
use super::line::{Refusal, gone};
use super::outcome::{Attempt, Outcome};
use super::subject::{Subject, line_here};
use super::verb::{Condition, Deed};
use daemontools::service::goal::Sent;
use daemontools::service::observe::Observer;
use daemontools::service::{
    Command, Commands, Delivery, Observation, Part, SendError, Snapshot, Stage, Want, send_commands_in_time,
};
use daemontools::{Fatal, Unable};
use nix::errno::Errno;
use std::time::{Duration, Instant};

/// How long to wait before the script `check` is asked again. Source: runit.
const ASK_AGAIN: Duration = Duration::from_millis(420);

/// Does it to the services. With `patience`, waits that long until they have come where they are wanted.
///
/// # Errors
/// The output cannot be written, or the services cannot be waited for.
pub fn act(subjects: &[Subject], deed: &Deed, patience: Option<Duration>, output: &mut Output) -> Result<(), Fatal> {
    match patience {
        Some(patience) => command_and_wait(subjects, deed, patience, output),
        None => command(subjects, deed, output),
    }
}

fn command(subjects: &[Subject], deed: &Deed, output: &mut Output) -> Result<(), Fatal> {
    for subject in subjects {
        let told = subject.look().and_then(|seen| tell(deed, &seen));
        if let Err(refusal) = told.and_then(|delivery| delivery.map_or(Ok(()), wait_until_read)) {
            refuse(subject, deed, &refusal, output)?;
        }
    }
    Ok(())
}

fn wait_until_read(delivery: Delivery) -> Result<(), Refusal> {
    delivery.wait().map_err(Refusal::SendError)
}

/// Commands the service in the current directory, unless it does already what it is told.
fn tell(deed: &Deed, seen: &Snapshot) -> Result<Option<Delivery>, Refusal> {
    if deed.commands == Commands::default() || is_ending_already(deed, seen) {
        return Ok(None);
    }
    send_commands_in_time(&deed.commands).map(Some).map_err(Refusal::SendError)
}

/// A service that was told to end, and is ending, is not told again: a second TERM makes some programs end at once.
fn is_ending_already(deed: &Deed, seen: &Snapshot) -> bool {
    let is_ending = matches!(Stage::of(seen), Stage::Ending | Stage::Finishing(_));
    deed.commands == Commands::from(Command::Down) && seen.status.want == Want::Down && is_ending
}

/// Says what a service refuses. One that was to be left by its supervise has been, if there is none.
fn refuse(subject: &Subject, deed: &Deed, refusal: &Refusal, output: &mut Output) -> Result<(), Fatal> {
    let is_gone = matches!(refusal, Refusal::NotRunning | Refusal::SendError(SendError::Closed(Errno::ENXIO)));
    if is_gone && deed.conditions == [Condition::Gone] {
        return output.say(&gone(&subject.name));
    }
    output.refuse(&subject.name, refusal)
}

/// A service that is waited for.
struct Trial<'a> {
    subject: &'a Subject,
    /// Its number with the observer.
    number: usize,
    attempt: Attempt<'a>,
    is_open: bool,
}

/// The services that are waited for.
struct Wait<'a> {
    deed: &'a Deed,
    observer: Observer,
    trials: Vec<Trial<'a>>,
    /// Commands that a killed supervise has not read are kept for the next one.
    unread: Vec<Delivery>,
    deadline: Instant,
}

fn command_and_wait(subjects: &[Subject], deed: &Deed, patience: Duration, output: &mut Output) -> Result<(), Fatal> {
    let (observer, deadline) = (Observer::new(Part::Service), Instant::now() + patience);
    let mut wait = Wait { deed, observer, trials: Vec::new(), unread: Vec::new(), deadline };
    for subject in subjects {
        if let Err(refusal) = wait.begin(subject) {
            refuse(subject, deed, &refusal, output)?;
        }
    }
    let mut due: Vec<usize> = (0..wait.trials.len()).collect();
    loop {
        for index in due {
            wait.look(index, output)?;
        }
        if !wait.trials.iter().any(|trial| trial.is_open) {
            return Ok(());
        }
        if wait.deadline <= Instant::now() {
            return wait.give_up(output);
        }
        wait.observer.wait(Some(wait.deadline))?;
        due = wait.changed();
    }
}

impl<'a> Wait<'a> {
    /// Looks at a service before it is told anything, so that a change after the command is seen to be new, and tells it.
    fn begin(&mut self, subject: &'a Subject) -> Result<(), Refusal> {
        let seen = subject.look()?;
        let number = self.observer.add(subject.path()?.into()).map_err(unwatched)?;
        let told =
            self.observer.look(number).map_err(unwatched).and_then(|before| Ok((before, tell(self.deed, &seen)?)));
        let (before, delivery) = told.inspect_err(|_| self.observer.dismiss(number))?;
        let attempt = Attempt { conditions: self.deed.conditions, sent: Sent::by(&self.deed.commands), before };
        self.trials.push(Trial { subject, number, attempt, is_open: true });
        match delivery {
            // Nothing shows what becomes of a signal.
            Some(delivery) if self.deed.conditions.is_empty() => wait_until_read(delivery),
            delivery => {
                self.unread.extend(delivery);
                Ok(())
            }
        }
    }

    /// The services that may have changed.
    fn changed(&self) -> Vec<usize> {
        let changed = self.observer.changed();
        let is_due = |trial: &Trial| trial.is_open && changed.contains(&trial.number);
        self.trials.iter().enumerate().filter_map(|(index, trial)| is_due(trial).then_some(index)).collect()
    }

    /// Looks at a service, and says what has become of it, if it has come to an end.
    fn look(&mut self, index: usize, output: &mut Output) -> Result<(), Fatal> {
        let Some(trial) = self.trials.get_mut(index).filter(|trial| trial.is_open) else { return Ok(()) };
        let seen = self.observer.look(trial.number);
        let judged = seen.map(|seen| (trial.attempt.judge(&seen), seen)).map_err(unwatched);
        match judged {
            Ok((Outcome::NotYet, _)) => return Ok(()),
            Ok((Outcome::Reached, seen)) if !works(self.deed, trial.subject, &seen, self.deadline) => {
                self.observer.look_again_within(trial.number, ASK_AGAIN);
                return Ok(());
            }
            Ok((Outcome::Reached, seen)) => output.say(&reached(self.deed, trial.subject, &seen))?,
            Ok((Outcome::NotRunning, _)) => refuse(trial.subject, self.deed, &Refusal::NotRunning, output)?,
            Ok((Outcome::Never(why), _)) => refuse(trial.subject, self.deed, &Refusal::Other(why), output)?,
            Err(refusal) => refuse(trial.subject, self.deed, &refusal, output)?,
        }
        trial.is_open = false;
        self.observer.dismiss(trial.number);
        Ok(())
    }

    /// The time is over: says how the services are that have not come where they are wanted, and kills them if that is asked.
    fn give_up(&self, output: &mut Output) -> Result<(), Fatal> {
        for trial in self.trials.iter().filter(|trial| trial.is_open) {
            let looked = trial.subject.look().and_then(|seen| {
                let line = line_here(&trial.subject.name, &seen.status).unwrap_or_default();
                let killed = self.deed.kills.then(|| send_commands_in_time(&Command::Kill.into()));
                killed.transpose().map_err(Refusal::SendError).map(|_| line)
            });
            match looked {
                Ok(line) => {
                    output.fail();
                    let word: &[u8] = if self.deed.kills { b"kill: " } else { b"timeout: " };
                    output.say(&[word, &line, b"\n"].concat())?;
                }
                Err(refusal) => refuse(trial.subject, self.deed, &refusal, output)?,
            }
        }
        Ok(())
    }
}

fn unwatched(unable: Unable) -> Refusal {
    Refusal::Other(String::from_utf8_lossy(&unable.to_bytes()).into_owned())
}

/// Whether the script of the service finds that it works, where that is asked. The current directory is the service's.
fn works(deed: &Deed, subject: &Subject, seen: &Observation, deadline: Instant) -> bool {
    let has_process = seen.seen.as_ref().is_some_and(|seen| seen.status.pid.is_some());
    let is_asked = deed.conditions.iter().any(|condition| condition.asks_check());
    !has_process || !is_asked || finds_that_it_works(&subject.name, deadline)
}

/// `ok: run: web: (pid 4711) 1s`. The current directory is the service's.
fn reached(deed: &Deed, subject: &Subject, seen: &Observation) -> Vec<u8> {
    match &seen.seen {
        Some(seen) if deed.conditions != [Condition::Gone] => {
            let line = line_here(&subject.name, &seen.status).unwrap_or_default();
            [b"ok: ", &*line, b"\n"].concat()
        }
        Some(_) | None => gone(&subject.name),
    }
}
