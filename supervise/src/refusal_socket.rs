//! The socket of a service without `notify-socket`, through which a chain program says why it could not become the program of the
//! service (see [`refusal`](daemontools::service::refusal)). Nothing else that comes through it counts.
//!
//! The socket must cost a service little that never has anything to say:
//!
//! - The socket is made once, before the first `run`, and is kept for all that follow. A restart makes one system call for it,
//!   which empties it. What is left of an earlier `run` may know its name, but only the process of `run` is believed. That is
//!   known by its number alone, which another process may have had before. So nothing counts that was sent before `run` was
//!   started: its sender may have ended, and `run` may have got its number. A number that was used just now is not given
//!   again before all others were.
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
    /// Until when supervise listens, in time since boot.
    until: Duration,
    /// poll(2) has reported that the socket has something to read.
    is_readable: bool,
    /// Datagrams that were sent to an earlier `run` could not be removed from the socket, so supervise believes none of
    /// what it reads there.
    is_deaf: bool,
}

impl RefusalSocket {
    /// Opens the socket, or takes over the one that there was before. If there can be no socket, supervise says nothing
    /// about that, because the service runs as well without.
    pub fn open(origin: Origin, before: Option<RefusalSocket>) -> Option<RefusalSocket> {
        let name = match origin {
            Origin::New => match before {
                Some(mut before) => {
                    before.empty();
                    (before.until, before.is_readable) = (Moment::now().uptime + SOON, false);
                    return Some(before);
                }
                None => new_name(),
            },
            Origin::Adopted(Some(Address::Name(name))) => name,
            Origin::Adopted(Some(Address::Path(_)) | None) => return None,
        };
        let inbox = Inbox::of(open_named(&name, None).ok()?);
        let until = Moment::now().uptime + SOON;
        Some(RefusalSocket { inbox, address: Address::Name(name), until, is_readable: false, is_deaf: false })
    }

    /// Takes off all that is in the socket, before a new `run` is started. Where that is not possible, no chain program of
    /// this `run` is believed.
    fn empty(&mut self) {
        self.is_deaf = !self.inbox.empty();
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
        let incoming = if self.inbox.may_read(now) && self.is_readable { self.inbox.receive(now) } else { None };
        incoming.map(|incoming| self.heard(incoming))
    }

    /// Reads the datagrams that wait, now that `run` has ended.
    pub fn waiting(&mut self) -> Vec<Incoming> {
        let waiting = self.inbox.waiting(Moment::now().uptime);
        waiting.into_iter().map(|incoming| self.heard(incoming)).collect()
    }

    fn heard(&self, incoming: Incoming) -> Incoming {
        let said = incoming.said.filter(|_| !self.is_deaf);
        Incoming { said, ..incoming }
    }

    /// Counts a datagram. supervise has spent the time since `began` on it.
    pub fn count_stranger(&mut self, began: Duration) {
        self.inbox.count_stranger(began, Moment::now().uptime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket as new_socket,
    };
    use std::io::IoSlice;

    /// Sends a refusal to the socket, and attaches standard input to it if `is_attached`.
    fn say(to: &RefusalSocket, is_attached: bool) {
        let Address::Name(name) = to.address() else { panic!("it has a name") };
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let from = new_socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let rights = [ControlMessage::ScmRights(&[0])];
        let control = if is_attached { &rights[..] } else { &[] };
        let words = [IoSlice::new(b"NOT_STARTED=setuidgid: unknown account web\nERRNO=2\n")];
        sendmsg(from.as_raw_fd(), &words, control, MsgFlags::empty(), Some(&address)).unwrap();
    }

    fn heard(socket: &mut RefusalSocket) -> usize {
        socket.waiting().into_iter().filter(|incoming| incoming.said.is_some()).count()
    }

    /// The sender may have ended, and the next `run` may have got its number.
    #[test]
    fn what_was_said_before_a_run_was_started_is_not_of_that_run() {
        let mut socket = RefusalSocket::open(Origin::New, None).unwrap();
        say(&socket, false);
        assert_eq!(heard(&mut socket), 1);
        (0..3).for_each(|_| say(&socket, false));
        socket = RefusalSocket::open(Origin::New, Some(socket)).unwrap();
        assert_eq!(heard(&mut socket), 0);
        say(&socket, false);
        assert_eq!(heard(&mut socket), 1);
    }

    /// A descriptor may take long to be closed, and stays until the socket is read beside the `run`.
    #[test]
    fn where_something_is_left_nothing_is_believed() {
        let mut socket = RefusalSocket::open(Origin::New, None).unwrap();
        say(&socket, true);
        say(&socket, false);
        socket = RefusalSocket::open(Origin::New, Some(socket)).unwrap();
        say(&socket, false);
        assert_eq!(heard(&mut socket), 0);
        socket = RefusalSocket::open(Origin::New, Some(socket)).unwrap();
        say(&socket, false);
        assert_eq!(heard(&mut socket), 1);
    }
}
