//! What svscan knows of its directory and its supervises, and what to do about it. No clock, no I/O.
//!
//! A *service* is a directory, known by device and inode: renamed, it is the same; under two names,
//! it is one. It is *present* as long as the scan directory has an entry for it. Each service has one
//! supervise, and one more if there was a `log` when it was first seen. Each of these is in one of
//! four states:
//!
//! - **Idle**: not running, and not to be started for now.
//! - **Due**: not running, to be started at a known time: at once, but no more than twice within a
//!   second; later where the system refused to start it, or it ended at once because it cannot serve, or
//!   was told to end, as it is before its entry is removed.
//! - **Starting**: handed out to be started; the answer is awaited.
//! - **Up**: running.
//!
//! An entry that goes away stops nothing: what is up stays up, and is only not started again, but for the supervise of a
//! logger while the service is up or has left lines: it *reads on*, and is told to end when the service is gone and
//! they are read. Once
//! neither supervise is up, the service is forgotten, its pipe with it. Unless the directory's owner
//! wants removed services stopped, or another directory has taken the name: see `stop`.
//!
//! A service may have to wait with its first start for others (*held*): for those it names in `after`
//! until they are ready, and for the one whose name it took until that is gone.

mod due;
mod order;
mod stop;
#[cfg(test)]
mod tests;

use due::Due;
use nix::unistd::Pid;
use order::Order;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};
use stop::Stage;

/// Two starts of a supervise within so long are enough.
pub const PAUSE: Duration = Duration::from_secs(1);
/// The next attempt after the system refused to start a supervise. It is also the time after which the original has looked
/// again, and so has started a supervise that was told to end: time to remove its entry.
pub const RETRY: Duration = Duration::from_secs(5);
/// Of a supervise that time and again cannot serve, so often doubled at most.
const DOUBLED: u32 = 4;

/// What a service is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub device: u64,
    pub inode: u64,
}

/// Which of a service's two supervises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Main,
    Log,
}

/// One supervise, running or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Post {
    pub id: Id,
    pub part: Part,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look into a new service, then say [`Table::inspected`].
    Inspect(Id),
    /// Tell this supervise to stop its service and end.
    End(Post),
    /// Let the logger read what is left, then end.
    Drain(Id),
    /// The service is gone for good: its logger, which nobody stops, is to see the end of its input.
    EndInput(Id),
    /// The service, which has a logger, has no entry any more, but a supervise: find out where it lies.
    Hold(Id),
    /// It has an entry again.
    LetGo(Id),
    /// Give up all that is kept for this service: it is gone.
    Forget(Id),
    /// Look whether the service is ready, until it is, or is not going to be for now.
    Heed(Id),
    /// Tell the user something about the service.
    Say(Id, Remark),
}

/// What the user may want to know of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// It has another name, by which it is not known.
    SameAs(OsString),
    /// Its `after` has names that no service has: ignored.
    UnknownAfter(Vec<OsString>),
    /// Its `after` has names of services that are themselves to start after this one: ignored.
    CyclicAfter(Vec<OsString>),
    /// Neither is so any more of this name.
    ProperAfter(OsString),
    /// It took the name of another service, which is stopped first.
    Replaces,
    /// It is told to stop.
    Stopping,
    /// It was told to, and is down, its logger too.
    Down(OsString),
}

/// What was found in a new service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    pub logger: bool,
    /// The services that are to be ready before it starts.
    pub after: Vec<OsString>,
    /// It runs already, whether or not a supervise is in charge of it.
    pub running: bool,
}

/// A supervise that is to be started later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delayed {
    pub post: Post,
    /// From now on.
    pub wait: Duration,
    /// So often in a row it has ended at once because it cannot serve.
    pub complaints: u32,
}

/// What a supervise that ended left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// Nothing: it was told to end, and has stopped its service.
    Told,
    /// The service's process, running.
    Process,
    /// Lines that the logger has not read, or a service that may still speak.
    Lines,
    /// The user knows why it cannot serve.
    Complaint,
}

/// What is done with services whose entry is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRemove {
    /// As the original: nothing.
    #[default]
    Leave,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Idle,
    Due(Instant),
    Starting,
    Up(Pid),
}

#[derive(Debug)]
struct Supervise {
    keeper: Keeper,
    /// Its last start, and the one before.
    last: Option<Instant>,
    before: Option<Instant>,
    /// So often in a row it has ended at once because it cannot serve.
    complaints: u32,
}

impl Supervise {
    fn idle() -> Supervise {
        Supervise { keeper: Keeper::Idle, last: None, before: None, complaints: 0 }
    }

    /// It has ended: when the next one is to be started.
    fn next(&mut self, left: Left, now: Instant) -> Instant {
        let at_once = self.last.is_some_and(|last| now < last + PAUSE);
        if left == Left::Complaint && at_once {
            let next = now + RETRY * 2_u32.pow(self.complaints.min(DOUBLED));
            self.complaints += 1;
            return next;
        }
        self.complaints = 0;
        if left == Left::Told {
            return now + RETRY;
        }
        self.before.map_or(now, |before| now.max(before + PAUSE))
    }
}

#[derive(Debug, Default)]
struct Service {
    /// The entries that lead to it; the first gives it its name. Empty: not present.
    names: Vec<OsString>,
    /// The name it had when it was last present.
    name: OsString,
    /// `None`: not inspected.
    main: Option<Supervise>,
    log: Option<Supervise>,
    /// It was inspected by an earlier svscan, and is to be again once it is present.
    inherited: bool,
    /// The supervise of its logger was started again when it was not present: nobody else will tell it to end.
    reads_on: bool,
    /// What its first start waits for.
    held_by: Vec<Id>,
    /// So many were inspected before it.
    number: usize,
    /// How far stopping it has come, if it is to be stopped, and whether anybody was told.
    stop: Option<Stage>,
    told: bool,
}

#[derive(Debug)]
struct Entry {
    id: Id,
    scan: u64,
    /// Where it is a link, the inode of that; 0 if it was not asked yet.
    link: u64,
}

/// All entries and services.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<OsString, Entry>,
    services: HashMap<Id, Service>,
    pids: HashMap<Pid, Post>,
    due: Due,
    /// Services whose entries have changed since the last [`Table::settle`].
    touched: Vec<Id>,
    scan: u64,
    /// Services that are not present but still up, by their last name.
    absent: HashMap<OsString, Id>,
    order: Order,
    /// When an earlier svscan in this process would have started supervises, of services that are yet to be inspected,
    /// and how often in a row these could not serve.
    delayed: HashMap<Post, (Instant, u32)>,
    /// How many services were inspected.
    inspected: usize,
    /// Who is held, by what holds it.
    holding: HashMap<Id, Vec<Id>>,
    on_remove: OnRemove,
    /// Everything is to be stopped.
    closing: bool,
    /// Services that are being stopped.
    stopping: usize,
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

    /// The entry is there; whether it is known to lead to `id`, so that there is no more to be told.
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

    /// The entry is there, but what it leads to cannot be told now: what was known stays.
    pub fn keep(&mut self, name: &OsStr) {
        self.keep_where(name, |_| true);
    }

    /// The entry is a link with this inode, and was asked where it leads.
    pub fn asked(&mut self, name: &OsStr, link: u64) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.link = link;
        }
    }

    /// The entry is the link that was asked, and need not be asked again; false if it must be.
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

    /// Draws the conclusions once all changes that came together are known, so that an entry renamed
    /// is not taken for one removed.
    pub fn settle(&mut self, on_remove: OnRemove, now: Instant, todo: &mut Vec<Action>) {
        self.on_remove = on_remove;
        let mut touched = std::mem::take(&mut self.touched);
        // Those that went first: others may have come in their place.
        touched.sort_by_key(|id| self.is_present(*id));
        for id in touched {
            if self.is_present(id) { self.arrive(id, now, todo) } else { self.leave(id, Left::Nothing, now, todo) }
        }
    }

    fn arrive(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        if self.absent.get(&service.name) == Some(&id) {
            self.absent.remove(&service.name);
            service.reads_on = false;
            todo.push(Action::LetGo(id));
        }
        if let [name, others @ ..] = service.names.as_slice() {
            service.name.clone_from(name);
            todo.extend(others.last().map(|other| Action::Say(id, Remark::SameAs(other.clone()))));
        }
        let is_new = std::mem::take(&mut service.inherited) || service.main.is_none();
        let names = service.names.clone();
        for name in &names {
            self.put_before(id, name, todo);
        }
        if !is_new {
            self.take_name(id, now, todo);
            self.resume(id, now);
        } else if !self.closing {
            todo.push(Action::Inspect(id));
        }
    }

    /// It is not present: nothing more is started but what reads its lines, and once nothing is up it is forgotten. `left`
    /// is what its own supervise has left, if that has ended just now.
    fn leave(&mut self, id: Id, left: Left, now: Instant, todo: &mut Vec<Action>) {
        let [main, log] = posts(id);
        // One that is to stop what its predecessor left is wanted all the same.
        let is_due = |table: &Table, post| matches!(table.keeper(post), Some(Keeper::Due(_))) && !table.is_stopping(id);
        if is_due(self, main) {
            self.set(main, Keeper::Idle);
        }
        let reads_on = is_due(self, log) && self.is_busy(main);
        if is_due(self, log) && !reads_on {
            self.set(log, Keeper::Idle);
        }
        let has_lines = left == Left::Lines && !self.is_busy(main);
        if !has_lines && ![main, log].into_iter().any(|post| self.is_busy(post)) {
            return self.forget(id, now, todo);
        }
        let Some(service) = self.services.get_mut(&id) else { return };
        service.reads_on |= reads_on;
        let (name, has_logger, reads_on) = (service.name.clone(), service.log.is_some(), service.reads_on);
        if self.absent.insert(name, id) != Some(id) && has_logger {
            todo.push(Action::Hold(id));
        }
        if self.on_remove == OnRemove::Stop {
            self.stop(id, now, todo);
        } else if has_lines || (reads_on && !self.is_busy(main)) {
            self.read_rest(id, now, todo);
        } else if !self.is_busy(main) {
            todo.push(Action::EndInput(id));
        }
    }

    fn forget(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.remove(&id) else { return };
        self.stopping -= usize::from(service.stop.is_some());
        if self.absent.get(&service.name) == Some(&id) {
            self.absent.remove(&service.name);
        }
        self.order.remove(id);
        self.due.leave(id);
        todo.push(Action::Forget(id));
        self.release(id, now);
    }

    /// Services that are not present, and whose loggers read on.
    pub fn reading_on(&self) -> impl Iterator<Item = Id> {
        self.services.iter().filter(|(_, service)| service.reads_on).map(|(id, _)| *id)
    }

    /// The logger of such a service reads on, as an earlier svscan in this process knew.
    pub fn inherit_reading_on(&mut self, id: Id) {
        if let Some(service) = self.services.get_mut(&id) {
            service.reads_on = true;
        }
    }

    /// A service is not present, but up: an earlier svscan has left it, with these supervises.
    pub fn inherit(&mut self, id: Id, name: &OsStr, [main, log]: [Option<Pid>; 2]) {
        let service = Service {
            name: name.to_os_string(),
            main: Some(Supervise::idle()),
            log: log.map(|_| Supervise::idle()),
            inherited: true,
            ..Service::default()
        };
        self.services.insert(id, service);
        self.absent.insert(name.to_os_string(), id);
        for (post, pid) in posts(id).into_iter().zip([main, log]) {
            if let Some(pid) = pid {
                self.pids.insert(pid, post);
                self.set(post, Keeper::Up(pid));
            }
        }
    }

    /// An earlier svscan in this process would have started a supervise so long after `now`.
    pub fn expect_delayed(&mut self, delayed: &Delayed, now: Instant) {
        self.delayed.insert(delayed.post, (now + delayed.wait, delayed.complaints));
    }

    /// Supervises that are to be started later than `now`.
    pub fn delayed(&self, now: Instant) -> impl Iterator<Item = Delayed> {
        let of_services = self.services.keys().flat_map(|id| posts(*id)).filter_map(move |post| {
            let supervise = self.supervise(post)?;
            match supervise.keeper {
                Keeper::Due(at) => Some((post, at, supervise.complaints)),
                Keeper::Idle | Keeper::Starting | Keeper::Up(_) => None,
            }
        });
        let of_earlier = self.delayed.iter().map(|(post, (at, complaints))| (*post, *at, *complaints));
        of_services.chain(of_earlier).filter(move |(_, at, _)| *at > now).map(move |(post, at, complaints)| Delayed {
            post,
            wait: at.duration_since(now),
            complaints,
        })
    }

    /// Services that are not present but up, and their last names.
    pub fn absent(&self) -> impl Iterator<Item = (Id, &OsStr)> {
        self.absent.iter().map(|(name, id)| (*id, name.as_os_str()))
    }

    /// A new service has this to supervise, from `now` on, or once nothing holds it any more.
    pub fn inspected(&mut self, id: Id, contents: &Contents, now: Instant, todo: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(&id) else { return };
        service.main.get_or_insert_with(Supervise::idle);
        service.log = service.log.take().or_else(|| contents.logger.then(Supervise::idle));
        service.number = self.inspected;
        self.inspected += 1;
        if let Some(replaced) = self.take_name(id, now, todo) {
            self.hold(id, replaced);
        }
        for other in self.put_after(id, &contents.after, todo) {
            if !contents.running && self.is_present(other) {
                self.hold(id, other);
                if self.pid(Post { id: other, part: Part::Main }).is_some() {
                    todo.push(Action::Heed(other));
                }
            }
        }
        self.resume(id, now);
    }

    /// The one that had the service's name before, and is up still, is stopped.
    fn take_name(&mut self, id: Id, now: Instant, todo: &mut Vec<Action>) -> Option<Id> {
        let replaced = *self.absent.get(&self.services.get(&id)?.name)?;
        todo.push(Action::Say(id, Remark::Replaces));
        self.stop(replaced, now, todo);
        Some(replaced)
    }

    /// A service could not be inspected: it will be when things are next settled.
    pub fn not_inspected(&mut self, id: Id) {
        self.touched.push(id);
    }

    fn hold(&mut self, id: Id, by: Id) {
        if let Some(service) = self.services.get_mut(&id) {
            service.held_by.push(by);
            self.holding.entry(by).or_default().push(id);
        }
    }

    /// The service is ready, or gone: it holds nobody any more.
    pub fn release(&mut self, by: Id, now: Instant) {
        for id in self.holding.remove(&by).unwrap_or_default() {
            if let Some(service) = self.services.get_mut(&id) {
                service.held_by.retain(|holder| *holder != by);
                self.resume(id, now);
            }
        }
    }

    /// Whether others wait for it.
    pub fn is_awaited(&self, id: Id) -> bool {
        self.holding.contains_key(&id)
    }

    /// Hands out up to `limit` supervises to be started now.
    pub fn starts(&mut self, now: Instant, limit: usize) -> Vec<Post> {
        let ripe: Vec<Post> = self.due.ripe(now, limit).into_iter().map(|(_, post)| post).collect();
        ripe.iter().for_each(|post| self.set(*post, Keeper::Starting));
        ripe
    }

    /// So many services may start at a time; `None`: all of them.
    pub fn limit_starts(&mut self, most: Option<usize>) {
        self.due.limit(most.filter(|_| !self.closing));
    }

    /// The service does not hold up others any more: it is ready, or will not be for now.
    pub fn settled(&mut self, id: Id) {
        self.due.leave(id);
    }

    /// Whether it does.
    pub fn is_unsettled(&self, id: Id) -> bool {
        self.due.has_place(id)
    }

    /// The user wants a look at everything: what is to be started later is started now.
    pub fn hasten(&mut self, now: Instant) {
        self.delayed.values_mut().for_each(|(at, _)| *at = now.min(*at));
        let services: Vec<Id> = self.services.keys().copied().collect();
        for post in services.into_iter().flat_map(posts) {
            let earliest = self.supervise(post).and_then(|supervise| supervise.before).map(|before| before + PAUSE);
            if let Some(Keeper::Due(at)) = self.keeper(post) {
                self.set(post, Keeper::Due(at.min(earliest.map_or(now, |earliest| now.max(earliest)))));
            }
        }
    }

    /// When the next supervise is to be started.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.deadline()
    }

    /// The supervise runs.
    pub fn started(&mut self, post: Post, pid: Pid, now: Instant, todo: &mut Vec<Action>) {
        if self.pids.contains_key(&pid) {
            // A supervise that was not our child has ended, and its number is used again already.
            self.died(pid, Left::Nothing, now, todo);
        }
        self.pids.insert(pid, post);
        self.set(post, Keeper::Up(pid));
        if let Some(supervise) = self.supervise_mut(post) {
            supervise.before = supervise.last.replace(now);
        }
        if post.part == Part::Main && (self.is_awaited(post.id) || self.is_unsettled(post.id)) {
            todo.push(Action::Heed(post.id));
        }
        self.back(post, todo);
    }

    /// The supervise could not be started.
    pub fn not_started(&mut self, post: Post, now: Instant) {
        if post.part == Part::Main {
            self.due.leave(post.id);
        }
        self.set(post, Keeper::Due(now + RETRY));
    }

    /// Whether a supervise is to be started for this post.
    pub fn is_due(&self, post: Post) -> bool {
        matches!(self.keeper(post), Some(Keeper::Due(_)))
    }

    /// Whether this supervise was started before, and has ended.
    pub fn has_ended(&self, post: Post) -> bool {
        self.supervise(post).is_some_and(|supervise| supervise.last.is_some() && supervise.keeper == Keeper::Starting)
    }

    /// The supervise that was handed out need not be started: there is nothing left to stop.
    pub fn not_needed(&mut self, post: Post, now: Instant, todo: &mut Vec<Action>) {
        self.set(post, Keeper::Idle);
        if self.is_stopping(post.id) || self.is_present(post.id) {
            self.ended(post, now, todo);
        } else {
            self.leave(post.id, Left::Nothing, now, todo);
        }
    }

    /// A process has ended; the post it held if it was a supervise.
    pub fn died(&mut self, pid: Pid, left: Left, now: Instant, todo: &mut Vec<Action>) -> Option<Post> {
        let post = self.pids.remove(&pid)?;
        if post.part == Part::Main {
            self.due.leave(post.id);
        }
        let next = self.supervise_mut(post).map_or(now, |supervise| supervise.next(left, now));
        let stopping = self.is_stopping(post.id);
        let has_lines = left == Left::Lines && post.part == Part::Log;
        let goes_on = match (stopping, self.is_present(post.id)) {
            (true, _) => has_lines || left == Left::Process,
            (false, true) => true,
            (false, false) => has_lines,
        };
        self.set(post, if goes_on { Keeper::Due(next) } else { Keeper::Idle });
        if goes_on && (stopping || self.is_present(post.id)) {
            return Some(post);
        }
        match (stopping, goes_on) {
            (true, _) => self.ended(post, now, todo),
            (false, true) if !self.is_busy(Post { part: Part::Main, ..post }) => self.read_rest(post.id, now, todo),
            (false, _) => self.leave(post.id, left, now, todo),
        }
        Some(post)
    }

    /// The name of a service's entry, the last it had if it is not present.
    pub fn name(&self, id: Id) -> Option<&OsStr> {
        self.services.get(&id).map(|service| service.name.as_os_str())
    }

    /// The post that this process holds.
    pub fn post(&self, pid: Pid) -> Option<Post> {
        self.pids.get(&pid).copied()
    }

    /// All supervises that run.
    pub fn running(&self) -> impl Iterator<Item = (Pid, Post)> {
        self.pids.iter().map(|(pid, post)| (*pid, *post))
    }

    /// The process that holds this post.
    pub fn pid(&self, post: Post) -> Option<Pid> {
        match self.keeper(post)? {
            Keeper::Up(pid) => Some(pid),
            Keeper::Idle | Keeper::Due(_) | Keeper::Starting => None,
        }
    }

    /// Whether the service has a logger.
    pub fn has_logger(&self, id: Id) -> bool {
        self.services.get(&id).is_some_and(|service| service.log.is_some())
    }

    /// Whether the scan directory has an entry for it.
    pub fn is_present(&self, id: Id) -> bool {
        self.services.get(&id).is_some_and(|service| !service.names.is_empty())
    }

    /// It is wanted: what is idle is to be started, unless it is held, or being stopped.
    fn resume(&mut self, id: Id, at: Instant) {
        let Some(service) = self.services.get(&id) else { return };
        let held = !service.held_by.is_empty();
        if self.closing || service.stop.is_some() || service.names.is_empty() {
            return;
        }
        for post in posts(id) {
            if self.keeper(post) == Some(Keeper::Idle) && !(held && post.part == Part::Main) {
                let (earliest, complaints) = self.delayed.remove(&post).unwrap_or((at, 0));
                self.set(post, Keeper::Due(at.max(earliest)));
                if let Some(supervise) = self.supervise_mut(post).filter(|_| complaints > 0) {
                    supervise.complaints = complaints;
                }
            }
        }
    }

    /// Running, or about to.
    pub fn is_busy(&self, post: Post) -> bool {
        self.keeper(post).is_some_and(|keeper| keeper != Keeper::Idle)
    }

    fn keeper(&self, post: Post) -> Option<Keeper> {
        self.supervise(post).map(|supervise| supervise.keeper)
    }

    fn supervise(&self, post: Post) -> Option<&Supervise> {
        let service = self.services.get(&post.id)?;
        match post.part {
            Part::Main => service.main.as_ref(),
            Part::Log => service.log.as_ref(),
        }
    }

    fn supervise_mut(&mut self, post: Post) -> Option<&mut Supervise> {
        let service = self.services.get_mut(&post.id)?;
        match post.part {
            Part::Main => service.main.as_mut(),
            Part::Log => service.log.as_mut(),
        }
    }

    /// The only place where a supervise changes its state, so that `due` always agrees.
    fn set(&mut self, post: Post, next: Keeper) {
        let Some(supervise) = self.supervise_mut(post) else { return };
        let before = std::mem::replace(&mut supervise.keeper, next);
        if let Keeper::Due(at) = before {
            self.due.remove(at, post);
        }
        if let Keeper::Due(at) = next {
            self.due.insert(at, post);
        }
    }
}

/// Both posts of a service, whether or not it has the second.
fn posts(id: Id) -> [Post; 2] {
    [Part::Main, Part::Log].map(|part| Post { id, part })
}
