//! Telling supervise that the program of the service cannot be executed, or cannot start its work: see [`refusal`].

use super::refusal::{self, Refusal};
use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::getpid;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for the supervise that comes after one that was killed, and for room where other processes have sent more
/// than supervise has read.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before the datagram is sent again where no supervise is there.
const PAUSE: Duration = Duration::from_millis(10);

/// Tells supervise, if this process is the `run` of a service, why it cannot become the program of the service, or
/// cannot begin to be it. If supervise
/// cannot be told, it takes the exit code for what it is.
pub fn tell_supervise(refusal: Option<Refusal>) {
    let Some((refusal, value)) = refusal.zip(std::env::var_os(refusal::VARIABLE)) else { return };
    if let Some(address) = refusal::address_for(getpid().as_raw(), &value) {
        let _ = send(&refusal.encode(), address);
    }
}

fn send(datagram: &[u8], address: &OsStr) -> nix::Result<()> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => UnixAddr::new_abstract(name)?,
        None => UnixAddr::new(address)?,
    };
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // Where the queue is full, the kernel lets the senders that wait take their turns.
    setsockopt(&socket, SendTimeout, &TimeVal::seconds(PATIENCE.as_secs().cast_signed()))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match sendto(socket.as_raw_fd(), datagram, &address, MsgFlags::MSG_NOSIGNAL) {
            Err(Errno::ECONNREFUSED | Errno::EINTR) if Instant::now() < until => sleep(PAUSE),
            sent => return sent.map(drop),
        }
    }
}
