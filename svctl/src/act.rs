//! Commands to services, and the wait for what comes of them.

use crate::action::Action;
use crate::advice::hint;
use crate::answer::Answer;
use crate::arguments::Then;
use crate::code::FAILED;
use crate::log::{last_words, since};
use crate::paint::Paint;
use crate::services::{Reach, Service};
use crate::text::shown;
use crate::unsupervised::{is_coming, why};
use crate::{Context, write};
use daemontools::service::goal::{Goal, Sent};
use daemontools::service::trial::{Outcome, Test};
use daemontools::service::waiting::{AwaitedOutcome, Quorum, Waiting};
use daemontools::service::{Commands, Delivery, Part, SendError, send_commands_in_time};
use daemontools::tai64::{Moment, Tai64N};
use daemontools::{Attempt, Fatal, report};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::chdir;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many of its last lines are shown of a service that did not start.
const LINES: u32 = 10;
/// How long the logger of a service that did not start may take to read what it has said. A service that has said nothing
/// costs its user this time, so it is short.
const LOGGER_READS: Duration = Duration::from_millis(500);
/// How long to wait between two looks at what the logger has written.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a supervise may take to come that svscan is about to start, and how long to wait between two looks. svscan starts one
/// that has ended again within five seconds.
const SUPERVISE_COMES: Duration = Duration::from_secs(6);
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Commands the services and waits, if that is wanted and there is something to wait for. Each service is looked at before
/// anything is sent, so that a change after the command is seen to be new.
///
/// # Errors
/// A word means no service; a service cannot be watched; the answer cannot be written.
pub fn act(context: &Context, names: &[OsString], action: Action, then: Then) -> Result<i32, Fatal> {
    let chosen = context.services.choose_existing(names)?;
    // A supervise that ends while it is told something is worth a message, not our end.
    SigSet::from_iter([Signal::SIGPIPE]).thread_block().unable_to("block signals", "")?;
    let commands = action.commands();
    let goal = action.goal().filter(|_| then == Then::Wait);
    let Some(goal) = goal else {
        let code = tell_all(context, &chosen, &commands)?;
        return show_documents(context, &chosen).map(|()| code);
    };
    let mut waiting = Waiting::new(Part::Service);
    for service in &chosen {
        waiting.add(service.path.clone().into_os_string())?;
    }
    // Commands that a killed supervise has not read are kept for the next one until the goal is reached.
    let mut unread = Vec::new();
    let told_at = Moment::now().label;
    let deadline = Instant::now().checked_add(context.shape.patience());
    for (number, told) in tell_in_time(context, &chosen, &commands, deadline).into_iter().enumerate() {
        match told {
            Ok(delivery) => unread.extend(Some(delivery).filter(|delivery| !delivery.is_read())),
            Err(words) => waiting.give_up(number, String::from_utf8_lossy(&words).into_owned()),
        }
    }
    let order = AwaitedOutcome { goal, test: action.test(), quorum: Quorum::Each, sent: Sent::by(&commands), deadline };
    let code = waiting.watch(&order)?;
    conclude(context, &chosen, (&waiting, &order, told_at))?;
    Ok(code)
}

/// What was waited for: the services, what they were to come to, and when they were told.
pub(crate) type Tried<'a> = (&'a Waiting, &'a AwaitedOutcome, Tai64N);

/// Says what has become of services that were waited for, and how they are now.
///
/// # Errors
/// The answer cannot be written.
pub(crate) fn conclude(context: &Context, chosen: &[Service], tried: Tried) -> Result<(), Fatal> {
    let (waiting, order, told_at) = tried;
    for (service, outcome) in chosen.iter().zip(waiting.outcomes()) {
        let why = match outcome {
            Outcome::Reached => continue,
            Outcome::Failed(why) => why.clone(),
            Outcome::NotYet(_) => "the time is over".into(),
        };
        report::warning(&[service.name.as_bytes(), b" is ", order.goal.missed().as_bytes(), b": ", why.as_bytes()]);
        if order.test != Test::Comes {
            say_last_words(service, told_at);
        }
        let answer = Answer::of(service);
        if let Some(cause) = cause(context, service, &answer) {
            report::notice(&[b"cause: ", cause.as_bytes()]);
        } else if let Some(hint) = hint(&context.services, service, &answer) {
            report::notice(&[b"try: ", hint.as_bytes()]);
        }
    }
    show(context, chosen)
}

/// Why a service cannot even be told.
fn cause(context: &Context, service: &Service, answer: &Answer) -> Option<String> {
    let is_unsupervised = matches!(answer, Answer::Unsupervised(_)) && service.reach == Reach::Answers;
    is_unsupervised.then(|| why(&context.services, service))
}

/// Shows how the services are now.
///
/// # Errors
/// The answer cannot be written.
pub(crate) fn show(context: &Context, chosen: &[Service]) -> Result<(), Fatal> {
    let answer = |service: &Service| {
        let answer = Answer::of(service);
        if context.shape.json { answer.document(service) } else { outcome(service, &answer, context.paint) }
    };
    write(chosen.iter().map(answer).collect::<String>().as_bytes())
}

/// Shows how the services are now, if documents are asked for: in words there is nothing to say of what did not fail.
fn show_documents(context: &Context, chosen: &[Service]) -> Result<(), Fatal> {
    if !context.shape.json {
        return Ok(());
    }
    write(chosen.iter().map(|service| Answer::of(service).document(service)).collect::<String>().as_bytes())
}

/// Commands the services, and returns the exit code when the commands are read. A service that cannot be commanded causes
/// a warning, and the others are still commanded.
fn tell_all(context: &Context, chosen: &[Service], commands: &Commands) -> Result<i32, Fatal> {
    let mut code = 0;
    for service in chosen {
        if let Err(unsent) = tell(service, commands).and_then(Delivery::wait) {
            report::warning(&[&unsent.words_here(&service.name)]);
            if let Some(cause) = cause(context, service, &Answer::of(service)) {
                report::notice(&[b"cause: ", cause.as_bytes()]);
            }
            code = FAILED;
        }
    }
    Ok(code)
}

/// Commands a service. The current directory is the service's afterwards.
fn tell(service: &Service, commands: &Commands) -> Result<Delivery, SendError> {
    chdir(&service.path).map_err(SendError::Closed)?;
    send_commands_in_time(commands)
}

/// Commands each service, or says why that is not possible. A service that has no supervise yet, because svscan is about to
/// start one, is commanded as soon as it has, as svwait waits for a supervise.
fn tell_in_time(
    context: &Context,
    chosen: &[Service],
    commands: &Commands,
    deadline: Option<Instant>,
) -> Vec<Result<Delivery, Vec<u8>>> {
    let until = [deadline, Instant::now().checked_add(SUPERVISE_COMES)].into_iter().flatten().min();
    let mut told: Vec<_> = chosen.iter().map(|service| tell(service, commands)).collect();
    loop {
        let mut waits = false;
        for (service, told) in chosen.iter().zip(&mut told) {
            let is_unsupervised = told.as_ref().is_err_and(|unsent| may_pass(*unsent));
            if is_unsupervised && is_coming(&context.services, service) {
                *told = tell(service, commands);
                waits |= told.is_err();
            }
        }
        if !waits || until.is_none_or(|until| until <= Instant::now()) {
            break;
        }
        sleep(ASK_AGAIN);
    }
    // The words may depend on the directory.
    let words = |(service, told): (&Service, Result<Delivery, SendError>)| {
        told.map_err(|unsent| {
            let _ = chdir(&service.path);
            unsent.words_here(&service.name)
        })
    };
    chosen.iter().zip(told).map(words).collect()
}

/// Whether commands were not sent because there was no supervise.
fn may_pass(unsent: SendError) -> bool {
    matches!(unsent, SendError::Closed(Errno::ENXIO | Errno::ENOENT) | SendError::Refused(Errno::EPIPE))
}

/// Waits until the services have come to a goal, without a command.
///
/// # Errors
/// As for [`act`].
pub fn wait(context: &Context, names: &[OsString], goal: Goal) -> Result<i32, Fatal> {
    let chosen = context.services.choose_existing(names)?;
    let deadline = context.shape.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut waiting = Waiting::new(Part::Service);
    for service in &chosen {
        waiting.add(service.path.clone().into_os_string())?;
    }
    let sent = Sent::default();
    let code = waiting.wait(&AwaitedOutcome { goal, test: Test::Comes, quorum: Quorum::All, sent, deadline })?;
    show_documents(context, &chosen).map(|()| code)
}

/// Says on standard error what a service that did not start has said. What it said since it was told to start may still be in
/// the pipe to its logger, so the logger is given a moment to read it.
fn say_last_words(service: &Service, told_at: Tai64N) {
    let until = Instant::now() + LOGGER_READS;
    while since(service, told_at, 1).is_empty() && Instant::now() < until {
        sleep(LOOK_AGAIN);
    }
    let words = last_words(service, LINES);
    if !words.is_empty() {
        report::notice(&[b"the last lines of ", service.name.as_bytes(), b":"]);
        let lines: String = words.iter().map(|line| format!("    {line}\n")).collect();
        report::pass_on(lines.as_bytes());
    }
}

/// `● web up (pid 4711)`
fn outcome(service: &Service, answer: &Answer, paint: Paint) -> String {
    let mark = answer.mark();
    let pid = answer.pid().map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    // Of a service that is up, how it ended before is past.
    let reason = answer.reason().filter(|_| !answer.is_up()).map(|reason| format!(": {}", shown(reason.as_bytes())));
    let more = pid + &reason.unwrap_or_default();
    let name = shown(service.name.as_bytes());
    format!("{} {name} {}{more}\n", paint.in_color_of(mark, paint.symbol(mark)), answer.word())
}
