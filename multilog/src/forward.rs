//! Writes lines to standard output, to syslog, and to status files.
//!
//! multilog waits for standard output, as it would for any pipe: nothing is lost there while a process reads it. It
//! does not wait for syslog: messages that syslog does not take within a moment are counted and dropped. Trouble with
//! either stops no log directory.

use crate::loss_report::LossReport;
use crate::retry::{Retry, Stop};
use crate::script::{Action, Script};
use crate::status_file::show;
use crate::syslog::{Address, Identity, Target};
use daemontools::report::{errno_of, notice, reason, warning};
use daemontools::service::LOG;
use daemontools::tai64::Moment;
use daemontools::{Unable, duration, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::write;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// A pipe takes this many bytes in one piece, so that lines of several writers do not mix (PIPE_BUF).
const PIECE: usize = 4096;
/// A target that refuses a message is tried again after this time.
const REST: Duration = Duration::from_secs(1);
/// The time, in each second, that multilog waits for a target to make room.
const PATIENCE: Duration = Duration::from_millis(100);

/// The places to which lines are forwarded.
pub struct Forwarder {
    senders: Vec<Sender>,
    losses: LossReport,
    /// When multilog says that standard output is not read.
    stalls: LossReport,
    /// Status files that could not be written.
    unshown: Vec<(OsString, LossReport)>,
}

impl Forwarder {
    pub fn new(script: &Script) -> Forwarder {
        let target = |action: &Action| if let Action::Syslog(target) = action { Some(target.clone()) } else { None };
        let senders = script.actions.iter().filter_map(target).map(Sender::new).collect();
        Forwarder { senders, losses: LossReport::default(), stalls: LossReport::default(), unshown: Vec::new() }
    }

    /// How many syslog targets there are.
    pub fn targets(&self) -> usize {
        self.senders.len()
    }

    /// Writes lines to standard output, short ones in whole pieces. Without a reader, or without room on a
    /// disk, they are counted and dropped.
    ///
    /// # Errors
    /// [`Stop`]: TERM has come while standard output is not read. Part of the lines may have been written.
    pub fn print(&mut self, mut lines: &[u8], retry: &mut Retry) -> Result<(), Stop> {
        let is_pending = !lines.is_empty();
        while !lines.is_empty() {
            match self.print_piece(&lines[..piece(lines)], retry)? {
                Ok(printed) => lines = &lines[printed..],
                Err(errno) => {
                    let count = memchr::memchr_iter(b'\n', lines).count() as u64;
                    say_lost(self.losses.record(count, Moment::now().uptime), b"standard output", Some(errno));
                    return Ok(());
                }
            }
        }
        if is_pending && self.losses.has_some() {
            say_over(self.losses.recovered(Moment::now().uptime), b"standard output");
        }
        Ok(())
    }

    fn print_piece(&mut self, piece: &[u8], retry: &mut Retry) -> Result<nix::Result<usize>, Stop> {
        let mut said = None;
        loop {
            let now = || Moment::now().uptime;
            if !retry.wait_to_write(sys::stdout(), PollTimeout::from(1000u16))? {
                if !retry.signals.leaving && self.stalls.record(0, now()).is_some() {
                    warning(&[b"nobody reads from standard output, pausing"]);
                    said.get_or_insert(now());
                }
                continue;
            }
            match (write(sys::stdout(), piece), said) {
                (Err(Errno::EINTR | Errno::EAGAIN), _) => {}
                (Ok(written), Some(since)) => {
                    let length = duration::in_seconds(now().saturating_sub(since));
                    notice(&[b"standard output is read again after ", length.as_bytes(), b": going on"]);
                    return Ok(Ok(written));
                }
                (result, _) => return Ok(result),
            }
        }
    }

    /// Sends the messages for each target; each message is a line.
    pub fn send(&mut self, messages: &mut [Vec<u8>]) {
        for (sender, messages) in self.senders.iter_mut().zip(messages) {
            for message in messages.split(|byte| *byte == b'\n').filter(|message| !message.is_empty()) {
                sender.deliver(message);
            }
            messages.clear();
        }
    }

    /// Shows the last line in a status file. If a file cannot be written, multilog says so once in a while, and tries
    /// again with the next line.
    pub fn show(&mut self, file: OsString, content: &[u8]) {
        let Err(errno) = show(&file, content) else { return };
        let unable = Unable::new("write to", &file, errno);
        let known = self.unshown.iter().position(|(known, _)| *known == file);
        let index = known.unwrap_or_else(|| {
            self.unshown.push((file, LossReport::default()));
            self.unshown.len() - 1
        });
        if self.unshown[index].1.record(1, Moment::now().uptime).is_some() {
            unable.warn();
        }
    }

    /// Reports the losses that were not reported yet.
    pub fn end(&mut self) {
        say_lost(self.losses.unreported(), b"standard output", None);
        for sender in &mut self.senders {
            say_lost(sender.losses.unreported(), &sender.name, None);
        }
    }
}

/// The lines that a pipe takes in one piece. If the first line is longer than that, it is returned alone.
fn piece(lines: &[u8]) -> usize {
    if lines.len() <= PIECE {
        return lines.len();
    }
    let whole = memchr::memrchr(b'\n', &lines[..PIECE]).or_else(|| memchr::memchr(b'\n', lines));
    whole.map_or(lines.len(), |at| at + 1)
}

fn say_lost(count: Option<u64>, target: &[u8], errno: Option<Errno>) {
    if let Some(count) = count {
        let why = errno.map_or(String::new(), |errno| format!(": {}", reason(errno)));
        let lines = if count == 1 { "line" } else { "lines" };
        warning(&[format!("dropped {count} {lines} for ").as_bytes(), target, why.as_bytes()]);
    }
}

fn say_over(count: Option<u64>, target: &[u8]) {
    if let Some(count) = count {
        warning(&[target, b" takes lines again", format!("; dropped {count} more meanwhile").as_bytes()]);
    }
}

/// Sends messages to one syslog target.
struct Sender {
    target: Target,
    name: Vec<u8>,
    socket: Option<OwnedFd>,
    losses: LossReport,
    /// When to try again after a refusal, as time since boot.
    not_before: Duration,
    /// Since when multilog has counted its waits for room, and how long they were together.
    waited: (Duration, Duration),
}

impl Sender {
    fn new(target: Target) -> Sender {
        let (name, _) = target.to_words();
        let (not_before, waited) = (Duration::ZERO, (Duration::ZERO, Duration::ZERO));
        Sender { target, name, socket: None, losses: LossReport::default(), not_before, waited }
    }

    fn deliver(&mut self, message: &[u8]) {
        let sent = if self.rests() { Err(Errno::EAGAIN) } else { self.send(message) };
        match sent {
            Ok(()) if self.losses.has_some() => say_over(self.losses.recovered(Moment::now().uptime), &self.name),
            Ok(()) => {}
            Err(errno) => self.lost(errno),
        }
    }

    /// Whether the target refused a message a moment ago.
    fn rests(&self) -> bool {
        !self.not_before.is_zero() && Moment::now().uptime < self.not_before
    }

    fn lost(&mut self, errno: Errno) {
        say_lost(self.losses.record(1, Moment::now().uptime), &self.name, Some(errno));
    }

    fn send(&mut self, message: &[u8]) -> nix::Result<()> {
        // It is tried twice, as a syslog daemon that was restarted has a new socket.
        for is_second in [false, true] {
            let sent = self.connect().and_then(|()| self.send_connected(message));
            match (sent, &self.target.address) {
                (Ok(()), _) => {
                    self.not_before = Duration::ZERO;
                    return Ok(());
                }
                // The target has no room. It can be asked again at once, as the kernel answers without waiting.
                (Err(Errno::EAGAIN), _) => return Err(Errno::EAGAIN),
                // The error is about an earlier message, which the target did not take.
                (Err(Errno::ECONNREFUSED), Address::Udp(_)) => self.lost(Errno::ECONNREFUSED),
                (Err(errno), _) => {
                    self.socket = None;
                    if is_second {
                        self.not_before = Moment::now().uptime.saturating_add(REST);
                        return Err(errno);
                    }
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> nix::Result<()> {
        if self.socket.is_none() {
            let socket = match &self.target.address {
                Address::Unix(path) => connect_unix(path),
                Address::Udp(address) => connect_udp(*address),
            };
            self.socket = Some(socket.map_err(|error| errno_of(&error))?);
        }
        Ok(())
    }

    fn send_connected(&mut self, message: &[u8]) -> nix::Result<()> {
        let Some(socket) = &self.socket else { return Err(Errno::ENOTCONN) };
        loop {
            match send(socket.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let before = Moment::now().uptime;
                    if before >= self.waited.0.saturating_add(REST) {
                        self.waited = (before, Duration::ZERO);
                    }
                    let left = PATIENCE.saturating_sub(self.waited.1);
                    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                    let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::ZERO);
                    if timeout == PollTimeout::ZERO || poll(&mut fds, timeout) == Ok(0) {
                        self.waited.1 = PATIENCE;
                        return Err(Errno::EAGAIN);
                    }
                    self.waited.1 += Moment::now().uptime.saturating_sub(before);
                }
                sent => return sent.map(drop),
            }
        }
    }
}

fn connect_unix(path: &OsStr) -> std::io::Result<OwnedFd> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket.into())
}

fn connect_udp(address: SocketAddr) -> std::io::Result<OwnedFd> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket.into())
}

/// The names in messages: that of this host, and that of the service in whose directory, or its `log`, multilog runs.
pub fn identity() -> Identity {
    let host = nix::sys::utsname::uname().map(|names| names.nodename().as_bytes().to_vec()).unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    let directory = if here.ends_with(LOG) { here.parent().unwrap_or(Path::new("")) } else { &here };
    Identity { host, service: directory.file_name().unwrap_or_default().as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_unless_one_is_long() {
        let lines = |length: usize| [&vec![b'x'; length - 1][..], b"\n"].concat();
        let table = [
            (lines(10), 10),
            ([lines(4000), lines(96)].concat(), 4096),
            ([lines(4000), lines(97)].concat(), 4000),
            ([lines(5000), lines(10)].concat(), 5000),
            (vec![b'x'; 5000], 5000),
        ];
        for (lines, expected) in table {
            assert_eq!(piece(&lines), expected);
        }
    }
}
