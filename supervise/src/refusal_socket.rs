//! The socket of a service without `notify-socket`, through which a chain program says why it could not become the program of the
//! service (see [`refusal`](daemontools::service::refusal)). Nothing else that comes through it counts.
//!
//! The socket must cost a service little that never has anything to say:
//!
//! - The socket is made once, before the first `run`, and is kept for all that follow. A restart makes no system call for it.
//!   What is left of an earlier `run` may know its name, but only the process of `run` is believed.
//! - supervise listens only for the first seconds of a `run`. Otherwise each account could make each supervise of the machine
//!   work, for services that never asked for a socket. A chain program that speaks later, like `setlock` after a long
//!   wait, is heard nevertheless: supervise looks at what waits in the socket when `run` has ended with the code 111.
//! - svscan keeps no such socket: that would be one more descriptor for each service. A supervise that comes after one that
//!   was killed takes the same name, and the chain program tries for a second. If another process has taken the name, or
//!   fills the socket, the end is told by its exit code.

use crate::inbox::{Address, Inbox, Incoming, new_name, open_named};
use crate::ready::Origin;
use daemontools::service::SOON;
use daemontools::tai64::Moment;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// The socket through which chain programs say why they could not become the program of the service.
pub struct RefusalSocket {
    inbox: Inbox,
    address: Address,
    /// supervise listens until then, in time since boot.
    until: Duration,
    /// poll(2) has told of something in the socket.
    is_readable: bool,
}

impl RefusalSocket {
    /// Opens the socket, or takes over the one that there was before. Without one, nothing is said of it: the service runs
    /// as well.
    pub fn open(origin: Origin, before: Option<RefusalSocket>) -> Option<RefusalSocket> {
        let named = |name: String| open_named(&name, None).ok().map(|socket| (socket, Address::Name(name)));
        let kept = before.map(|before| (before.inbox, before.address));
        let opened = |socket: Option<(_, Address)>| socket.map(|(socket, address)| (Inbox::of(socket), address));
        let (inbox, address) = match origin {
            Origin::New => kept.or_else(|| opened(named(new_name()))),
            Origin::Adopted(Some(Address::Name(name))) => opened(named(name)),
            Origin::Adopted(Some(Address::Path(_)) | None) => None,
        }?;
        Some(RefusalSocket { inbox, address, until: Moment::now().uptime + SOON, is_readable: false })
    }

    /// The address to which chain programs send.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The descriptor to poll for reading, as long as supervise listens.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inbox.descriptor().filter(|_| Moment::now().uptime < self.until)
    }

    /// When to look at the socket again, in time since boot.
    pub fn deadline(&self) -> Option<Duration> {
        self.inbox.deadline()
    }

    /// Takes in which descriptors are readable.
    pub fn note_readable(&mut self, readable: &[RawFd]) {
        self.is_readable = self.inbox.descriptor().is_some_and(|socket| readable.contains(&socket.as_raw_fd()));
    }

    /// Reads the next datagram, if poll(2) has told of one, and if strangers have not sent too many recently.
    pub fn receive(&mut self) -> Option<Incoming> {
        let now = Moment::now().uptime;
        // The limit is asked first, as a pause that is over ends by that.
        if self.inbox.may_read(now) && self.is_readable { self.inbox.receive(now) } else { None }
    }

    /// Reads the datagrams that wait, now that `run` has ended.
    pub fn waiting(&mut self) -> Vec<Incoming> {
        self.inbox.waiting(Moment::now().uptime)
    }

    /// Counts a datagram. supervise has spent the time since `began` on it.
    pub fn count_stranger(&mut self, began: Duration) {
        self.inbox.count_stranger(began, Moment::now().uptime);
    }
}
