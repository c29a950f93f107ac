//! The terminal of the live screen: taken over, drawn on, and given back.
//!
//! The terminal is given back when [`Terminal`] is dropped, before INT, TERM, HUP or QUIT end svctl, before ^Z stops it, and
//! after a panic. It is taken over again when svctl goes on. These signals are blocked, and read where the keys are, so that
//! none of them comes while the terminal is half changed. Only a terminal in whose foreground svctl is gets anything.
//!
//! What does not fit into the terminal's buffer waits for room together with the signals: a terminal from which no
//! program reads keeps no signal from ending svctl.

use daemontools::report::on_panic;
use daemontools::sys::process::{default_action, is_ignored, unblock_signals};
use daemontools::sys::write_now::write_now;
use daemontools::{Attempt, Unable, sys};
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp};
use std::env;
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use super::screen::Size;

/// The other screen.
const ENTER: &[u8] = b"\x1b[?1049h";
/// No cursor, and no lines that go on in the next one.
const SET_UP: &[u8] = b"\x1b[?25l\x1b[?7l";
/// Everything as it was.
const LEAVE: &[u8] = b"\x1b[0m\x1b[2J\x1b[?7h\x1b[?25h\x1b[?1049l";
/// What a terminal has that does not tell its size.
const USUAL: Size = Size { rows: 24, columns: 80 };

/// The signals that are read where the keys are.
const SIGNALS: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// How the terminal was before, for the time after a panic.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

/// What has come from the terminal.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// The bytes of keys.
    Bytes(Vec<u8>),
    /// Its size may be another one.
    Resized,
    /// There is no terminal any more.
    Gone,
}

/// A terminal that is taken over.
pub struct Terminal {
    before: Termios,
    signals: SignalFd,
    is_entered: bool,
    /// The lines that are on the screen; `None`: it is not known what is there.
    lines: Option<Vec<String>>,
}

impl Terminal {
    /// Whether standard input and output are a terminal.
    pub fn is_there() -> bool {
        sys::stdin().is_terminal() && sys::stdout().is_terminal()
    }

    /// Whether `$TERM` says that the terminal cannot do what is needed, or nothing.
    pub fn is_dumb() -> bool {
        env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
    }

    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be set up.
    pub fn enter() -> Result<Terminal, Unable> {
        let before = tcgetattr(sys::stdin()).unable_to("examine", "terminal")?;
        BEFORE.get_or_init(|| before.clone().into());
        // What whoever has started svctl ignores, as nohup does, is ignored here too.
        let signals = SigSet::from_iter(SIGNALS.into_iter().filter(|signal| !is_ignored(*signal as i32)));
        signals.thread_block().unable_to("block signals", "")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&signals, flags).unable_to("watch signals", "")?;
        on_panic(leave_after_panic);
        let mut terminal = Terminal { before, signals, is_entered: false, lines: None };
        terminal.enter_again().unable_to("set up", "terminal")?;
        Ok(terminal)
    }

    /// The size of the terminal.
    pub fn size(&self) -> Size {
        let size = sys::window_size(sys::stdout());
        size.map_or(USUAL, |(rows, columns)| Size { rows, columns })
    }

    /// What [`news`](Terminal::news) is about: keys and signals.
    pub fn fds(&self) -> [(BorrowedFd<'_>, PollFlags); 2] {
        [(sys::stdin(), PollFlags::POLLIN), (self.signals.as_fd(), PollFlags::POLLIN)]
    }

    /// What has come. Signals are obeyed here: the call does not return from one that ends svctl, and returns from ^Z when
    /// svctl goes on.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn news(&mut self) -> Result<News, Unable> {
        let mut is_resized = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            is_resized = true;
            self.obey(i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok()))?;
        }
        if is_resized {
            self.lines = None;
            return Ok(News::Resized);
        }
        let mut input = [PollFd::new(sys::stdin(), PollFlags::POLLIN)];
        let is_ready = poll(&mut input, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if !is_ready {
            return Ok(News::Nothing);
        }
        let mut bytes = [0; 1024];
        match read(sys::stdin(), &mut bytes) {
            Ok(0) | Err(Errno::EIO) => Ok(News::Gone),
            Ok(length) => Ok(News::Bytes(bytes.get(..length).unwrap_or_default().to_vec())),
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(News::Nothing),
            Err(errno) => Err(Unable::new("read", "terminal", errno)),
        }
    }

    /// Draws what is not on the screen yet.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn show(&mut self, lines: &[String]) -> Result<(), Unable> {
        let before = self.lines.take();
        let mut text = String::new();
        if before.is_none() {
            text.push_str("\x1b[0m\x1b[2J");
        }
        let before = before.unwrap_or_default();
        let empty = String::new();
        for row in 0..lines.len().max(before.len()) {
            let line = lines.get(row).unwrap_or(&empty);
            if before.get(row).unwrap_or(&empty) != line {
                // The line is erased first: behind its last column, some terminals would erase that one.
                text.push_str(&format!("\x1b[{};1H\x1b[2K{line}", row + 1));
            }
        }
        match self.write(text.as_bytes()) {
            Ok(true) => self.lines = Some(lines.to_vec()),
            // A signal waits, and what is on the screen is not known.
            Ok(false) => {}
            // That it is gone is found when its keys are read.
            Err(Errno::EIO) => {}
            Err(errno) => return Err(Unable::new("write output", "", errno)),
        }
        Ok(())
    }

    /// Has everything drawn anew.
    pub fn forget(&mut self) {
        self.lines = None;
    }

    /// Writes all of it, unless a signal comes first. Returns whether all was written.
    fn write(&self, mut bytes: &[u8]) -> nix::Result<bool> {
        while !bytes.is_empty() {
            match write_now(sys::stdout(), bytes) {
                Ok(written @ 1..) => bytes = bytes.get(written..).unwrap_or_default(),
                Ok(0) | Err(Errno::EAGAIN) => {
                    let mut fds = [
                        PollFd::new(sys::stdout(), PollFlags::POLLOUT),
                        PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                    ];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => return Err(errno),
                    }
                    if fds.last().and_then(PollFd::any).unwrap_or(false) {
                        return Ok(false);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }

    fn obey(&mut self, signal: Option<Signal>) -> Result<(), Unable> {
        match signal {
            Some(signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)) => {
                self.leave();
                // It ends svctl now, and the shell sees by which signal.
                let _ = default_action(signal);
                let _ = raise(signal);
                unblock_signals();
                Ok(())
            }
            Some(Signal::SIGTSTP) => {
                self.leave();
                let stop = SigSet::from_iter([Signal::SIGTSTP]);
                let _ = default_action(Signal::SIGTSTP);
                let _ = raise(Signal::SIGTSTP);
                // svctl stops here, unless its process group has no parent that could let it go on.
                let _ = stop.thread_unblock();
                let _ = stop.thread_block();
                self.enter_again().unable_to("set up", "terminal")
            }
            // Another program may have changed the terminal while svctl was stopped.
            Some(Signal::SIGCONT) => self.enter_again().unable_to("set up", "terminal"),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the terminal over, again if need be. In the background, the kernel stops svctl here.
    fn enter_again(&mut self) -> nix::Result<()> {
        let mut own = self.before.clone();
        own.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::IEXTEN);
        // ^S and ^Q would stop the screen.
        own.input_flags.remove(InputFlags::IXON | InputFlags::ICRNL | InputFlags::INLCR | InputFlags::IGNCR);
        for (place, value) in [(SpecialCharacterIndices::VMIN, 1), (SpecialCharacterIndices::VTIME, 0)] {
            if let Some(setting) = own.control_chars.get_mut(place as usize) {
                *setting = value;
            }
        }
        set(&own)?;
        // Where another program has written meanwhile, the other screen is still the one that is shown.
        let is_entered = std::mem::replace(&mut self.is_entered, true);
        self.lines = None;
        let _ = self.write(&[if is_entered { b"" } else { ENTER }, SET_UP].concat());
        Ok(())
    }

    /// Gives the terminal back.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.is_entered, false) {
            give_back(&self.before);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

fn set(settings: &Termios) -> nix::Result<()> {
    loop {
        match tcsetattr(sys::stdin(), SetArg::TCSANOW, settings) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

fn give_back(before: &Termios) {
    // In the background, the terminal is another program's.
    if tcgetpgrp(sys::stdin()).is_ok_and(|group| group == getpgrp()) {
        let _ = write_now(sys::stdout(), LEAVE);
        let _ = set(before);
    }
}

fn leave_after_panic() {
    if let Some(before) = BEFORE.get() {
        give_back(&Termios::from(*before));
    }
}
