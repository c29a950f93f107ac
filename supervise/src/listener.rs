//! Listening to a service that runs: whether it is ready, alive or about to end, and which process it is.
//!
//! A service tells that through its channels (see [`ready`](crate::ready)); where it does not, `check` finds out
//! whether it is ready. A service is not ended for a message that its socket missed: the machine is told when the
//! socket fails, and when it works again.

use crate::hooks::Check;
use crate::inbox::{Address, Incoming};
use crate::machine::Event;
use crate::network::NamespaceWatch;
use crate::notify::Message;
use crate::ready::{Complaint, Origin, ReadinessChannels};
use crate::refusal_socket::RefusalSocket;
use crate::sender_check::{is_the_process, speaks_for};
use crate::service_process::ServiceProcess;
use crate::shared::Shared;
use daemontools::service::policy::Policy;
use daemontools::service::refusal::Refusal;
use daemontools::service::{Exit, Record};
use daemontools::sys::datagram::Sender;
use daemontools::tai64::Moment;
use nix::unistd::Pid;
use std::ffi::OsString;
use std::mem::replace;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// What listens to the service, and what the service said last.
pub struct Listener {
    channels: ReadinessChannels,
    /// The socket through which supervise hears chain programs, if the service itself has no socket.
    refusal_socket: Option<RefusalSocket>,
    status_text: String,
    /// The machine knows that what the service says to its socket does not reach supervise.
    socket_failed: bool,
    /// Looks whether the service can reach its socket, until a message of the service has come.
    namespace_watch: Option<NamespaceWatch>,
    /// Finds out whether the service is ready, where it does not tell.
    check: Option<Check>,
    /// Why `run` cannot become the program of the service, as a chain program has said.
    refusal: Option<Refusal>,
}

/// A datagram that was taken from the socket.
pub enum Datagram {
    /// The service said this.
    Said(Message, Sender),
    /// The service has not sent the datagram, or it makes no sense.
    Ignored,
}

/// What has become of the service's socket.
pub struct SocketNews {
    /// The events that the machine is to be told, in this order.
    pub events: Vec<Event>,
    /// Why the socket could not be opened again.
    pub complaint: Option<Complaint>,
}

impl Listener {
    /// A listener that listens to nothing.
    pub const NONE: Listener = Listener {
        channels: ReadinessChannels::NONE,
        refusal_socket: None,
        status_text: String::new(),
        socket_failed: false,
        namespace_watch: None,
        check: None,
        refusal: None,
    };

    /// Makes a listener for an adopted process. It knows what the process said last, and to which address the process
    /// sends, but does not listen yet.
    pub fn remember(record: &Record) -> Listener {
        let address = record.notify_socket.as_deref().map(Address::parse);
        let status_text = record.status_text.clone();
        Listener { channels: ReadinessChannels::remember(address), status_text, ..Listener::NONE }
    }

    /// Opens the channels through which, by the policy, the service speaks. Returns those that could not be opened.
    pub fn listen(&mut self, policy: &Policy, origin: Origin, shared: &Shared) -> Vec<Complaint> {
        let (place, pocket) = (&shared.control_files.place, shared.pocket.as_ref());
        let before = self.refusal_socket.take();
        if !policy.listens() {
            self.refusal_socket = RefusalSocket::open(origin.clone(), before);
        }
        let (channels, complaints) = ReadinessChannels::open(policy, origin, place, pocket);
        self.channels = channels;
        let has_name = matches!(self.channels.address(), Some(Address::Name(_)));
        self.namespace_watch = has_name.then(|| NamespaceWatch::from(Moment::now().uptime));
        complaints
    }

    /// Forgets the process that was listened to, which has ended. The socket that is only for chain programs stays open.
    pub fn forget(&mut self) {
        *self = Listener { refusal_socket: self.refusal_socket.take(), ..Listener::NONE };
    }

    /// Starts to ask `check` whether the service is ready.
    pub fn start_check(&mut self) {
        self.check = Some(Check::from(Moment::now().uptime));
    }

    /// What to poll for reading.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.channels.descriptors().chain(self.refusal_socket.iter().filter_map(RefusalSocket::descriptor))
    }

    /// Takes in which descriptors are readable.
    pub fn note_readable(&mut self, readable: &[RawFd]) {
        self.refusal_socket.iter_mut().for_each(|socket| socket.note_readable(readable));
    }

    /// When to look again at the latest, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let check = self.check.as_ref().map(Check::deadline);
        let namespace_watch = self.namespace_watch.as_ref().and_then(NamespaceWatch::deadline);
        let refusals = self.refusal_socket.as_ref().and_then(RefusalSocket::deadline);
        [self.channels.deadline(), refusals, check, namespace_watch].into_iter().flatten().min()
    }

    /// The address to which the service sends; or, if the service itself has no socket, the one to which only its chain
    /// programs send.
    pub fn address(&self) -> Option<&Address> {
        self.channels.address().or(self.refusal_socket.as_ref().map(RefusalSocket::address))
    }

    /// The address to which the service sends, in the form of NOTIFY_SOCKET.
    pub fn variable(&self) -> Option<OsString> {
        self.address().map(Address::variable)
    }

    /// What the service said last of itself.
    pub fn status_text(&self) -> &str {
        &self.status_text
    }

    /// Takes in what the service says of itself.
    pub fn set_status_text(&mut self, text: String) {
        self.status_text = text;
    }

    /// Sees to it that the service reaches its socket, which may have been removed, or taken by another process.
    pub fn see_socket(&mut self, shared: &mut Shared) -> SocketNews {
        let works = |socket_failed: &mut bool| replace(socket_failed, false).then_some(Event::NotifySocketWorks);
        if !self.channels.misses_messages() {
            return SocketNews { events: works(&mut self.socket_failed).into_iter().collect(), complaint: None };
        }
        self.socket_failed = true;
        let mut news = SocketNews { events: vec![Event::NotifySocketFailed], complaint: None };
        if !self.channels.is_to_retry(Moment::now().uptime) {
            return news;
        }
        shared.mend();
        match self.channels.open_socket(&shared.control_files.place, shared.pocket.as_ref()) {
            Ok(()) => news.events.extend(works(&mut self.socket_failed)),
            Err(complaint) => news.complaint = Some(complaint),
        }
        news
    }

    /// Looks, if it is time, whether the service is in a network namespace from which it cannot reach its socket; true
    /// if it was found to be. A service that has said all that it must needs no socket: then this is not looked at any
    /// more.
    pub fn is_far(&mut self, process: &ServiceProcess, needs_socket: bool) -> bool {
        let Some(watch) = &mut self.namespace_watch else { return false };
        if !needs_socket {
            self.namespace_watch = None;
            return false;
        }
        watch.is_far(process.id.pid, Moment::now().uptime)
    }

    /// Whether the service has written a newline to its descriptor.
    pub fn receive_newline(&mut self) -> bool {
        self.channels.receive_newline()
    }

    /// The next datagram, if there is one, and strangers have not sent too much of late. Children that are made to
    /// receive it are added to `helpers`.
    pub fn receive_message(&mut self, process: Option<&ServiceProcess>, helpers: &mut Vec<Pid>) -> Option<Datagram> {
        let began = Moment::now().uptime;
        if let Some(incoming) = self.refusal_socket.as_mut().and_then(RefusalSocket::receive) {
            helpers.extend(incoming.child);
            return Some(self.hear_chain_program(process, incoming, began));
        }
        let Incoming { said, child } = self.channels.receive_message()?;
        helpers.extend(child);
        let believed = said.filter(|(_, sender)| process.is_some_and(|process| speaks_for(process, sender)));
        if believed.is_none() || child.is_some() {
            self.channels.count_stranger(began);
        }
        let Some((message, sender)) = believed else { return Some(Datagram::Ignored) };
        self.namespace_watch = None;
        if message.refusal.is_some() && process.is_some_and(|process| is_the_process(process.id.pid, &sender)) {
            self.refusal = message.refusal;
            return Some(Datagram::Ignored);
        }
        Some(Datagram::Said(message, sender))
    }

    /// Takes in a datagram of the socket where nothing but the word of the process itself counts.
    fn hear_chain_program(
        &mut self,
        process: Option<&ServiceProcess>,
        incoming: Incoming,
        began: Duration,
    ) -> Datagram {
        let Incoming { said, child } = incoming;
        let is_its = |sender: &Sender| process.is_some_and(|process| is_the_process(process.id.pid, sender));
        let believed = said.filter(|(_, sender)| is_its(sender));
        if believed.is_none() || child.is_some() {
            self.refusal_socket.iter_mut().for_each(|socket| socket.count_stranger(began));
        }
        self.refusal = believed.and_then(|(message, _)| message.refusal).or(self.refusal.take());
        Datagram::Ignored
    }

    /// What a chain program has said in the process `pid`, which has ended: why it could not become the program of the
    /// service. Children that are made to receive it are added to `helpers`.
    pub fn last_refusal(&mut self, pid: Pid, helpers: &mut Vec<Pid>) -> Option<Refusal> {
        let refusals = self.refusal_socket.as_mut().map(RefusalSocket::waiting).unwrap_or_default();
        for Incoming { said, child } in self.channels.waiting_messages().into_iter().chain(refusals) {
            helpers.extend(child);
            let refusal =
                said.filter(|(_, sender)| is_the_process(pid, sender)).and_then(|(message, _)| message.refusal);
            self.refusal = refusal.or(self.refusal.take());
        }
        self.refusal.take()
    }

    /// The `check` that runs.
    pub fn running_check(&self) -> Option<Pid> {
        self.check.as_ref().and_then(Check::running)
    }

    /// Starts the next `check`, or ends one that takes too long, if it is time.
    pub fn poll_check(&mut self) {
        if let Some(check) = &mut self.check {
            check.poll(Moment::now().uptime);
        }
    }

    /// Takes in that a child has ended: whether it was a `check` that says that the service is ready.
    pub fn check_ended(&mut self, pid: Pid, exit: Exit) -> bool {
        let is_ready = self.check.as_mut().is_some_and(|check| check.ended(pid, exit, Moment::now().uptime));
        if is_ready {
            self.check = None;
        }
        is_ready
    }
}
