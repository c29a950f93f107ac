//! Commands to a supervise: the bytes of `supervise/control`.

use super::Part;
use crate::encoding::Encode;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A command, by its byte in `supervise/control`.
///
/// Source: daemontools 0.76; `q 1 2 w + = l L` are daemontools-encore's, `R` and `g` are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Starts the service, and restarts it whenever it ends.
    Up = b'u',
    /// Stops the service (TERM, then CONT) and does not restart it.
    Down = b'd',
    /// Starts the service if it is not running, and does not restart it.
    Once = b'o',
    /// Makes supervise exit as soon as the service is down.
    Exit = b'x',
    /// Sends STOP.
    Pause = b'p',
    /// Sends CONT.
    Continue = b'c',
    /// Sends HUP.
    Hangup = b'h',
    /// Sends ALRM.
    Alarm = b'a',
    /// Sends INT.
    Interrupt = b'i',
    /// Sends TERM.
    Terminate = b't',
    /// Sends KILL.
    Kill = b'k',
    /// Sends QUIT.
    Quit = b'q',
    /// Sends USR1.
    User1 = b'1',
    /// Sends USR2.
    User2 = b'2',
    /// Sends WINCH.
    Window = b'w',
    /// Has the service load its configuration again: runs its `reload`, or sends HUP where there is none.
    Reload = b'R',
    /// Lets a start or an end go on that another program holds back.
    LetGo = b'g',
    /// From now on signals go to the service's process group.
    ToGroup = b'+',
    /// From now on signals go to the service's process alone, which is the default.
    ToProcess = b'=',
    /// The commands that follow are for the service, which is the default.
    ForService = b'l',
    /// The commands that follow are for the logger that the same supervise runs.
    ForLogger = b'L',
}

impl Command {
    /// Every command, in the order `svc` lists them.
    pub const ALL: [Command; 21] = [
        Command::Up,
        Command::Down,
        Command::Once,
        Command::Exit,
        Command::Pause,
        Command::Continue,
        Command::Hangup,
        Command::Alarm,
        Command::Interrupt,
        Command::Terminate,
        Command::Kill,
        Command::Quit,
        Command::User1,
        Command::User2,
        Command::Window,
        Command::Reload,
        Command::LetGo,
        Command::ToGroup,
        Command::ToProcess,
        Command::ForService,
        Command::ForLogger,
    ];

    /// The byte that is written to the FIFO. It is also the letter of `svc`'s option.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The command that a byte stands for, or `None` for an unknown byte, which supervise ignores.
    pub fn from_byte(byte: u8) -> Option<Command> {
        Command::ALL.into_iter().find(|command| command.byte() == byte)
    }
}

/// Several commands that are given together, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands(Vec<Command>);

impl Commands {
    /// Adds a command at the end, unless the list contains it already.
    pub fn add(&mut self, command: Command) {
        if !self.0.contains(&command) {
            self.0.push(command);
        }
    }

    /// Whether the list contains at least one of these commands.
    pub fn has_any(&self, commands: &[Command]) -> bool {
        self.0.iter().any(|command| commands.contains(command))
    }

    /// The part of the service for which the last command is meant.
    pub fn part(&self) -> Part {
        let is_choice = |command: &&Command| [Command::ForService, Command::ForLogger].contains(command);
        match self.0.iter().rfind(is_choice) {
            Some(Command::ForLogger) => Part::Logger,
            Some(_) | None => Part::Service,
        }
    }

    /// The bytes for one write(2) that gives these commands. If the last commands are for the logger,
    /// [`Command::ForService`] is added at the end.
    ///
    /// Bytes of another process may follow in the FIFO before supervise has read anything. Without the added byte,
    /// those commands would go to the logger too. The kernel does not mix a write of up to PIPE_BUF (4096) bytes with
    /// others, and all commands together are far fewer, so the added byte is part of the same write.
    pub fn bytes(&self) -> Vec<u8> {
        let closing = (self.part() == Part::Logger).then_some(Command::ForService);
        self.0.iter().copied().chain(closing).map(Command::byte).collect()
    }
}

impl Encode for Commands {
    fn encode(&self, bytes: &mut Vec<u8>) {
        OsString::from_vec(self.0.iter().map(|command| command.byte()).collect()).encode(bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Commands> {
        let letters = OsString::decode(bytes)?;
        letters.as_bytes().iter().map(|letter| Command::from_byte(*letter)).collect::<Option<_>>().map(Commands)
    }
}

impl From<&[Command]> for Commands {
    fn from(commands: &[Command]) -> Commands {
        let mut all = Commands::default();
        commands.iter().for_each(|command| all.add(*command));
        all
    }
}

impl From<Command> for Commands {
    fn from(command: Command) -> Commands {
        Commands(vec![command])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::PIPE_BUF;

    fn commands(letters: &[u8]) -> Commands {
        Commands(letters.iter().filter_map(|letter| Command::from_byte(*letter)).collect())
    }

    #[test]
    fn every_command_has_its_own_byte() {
        for command in Command::ALL {
            assert_eq!(Command::from_byte(command.byte()), Some(command));
        }
        assert_eq!(Command::from_byte(b'z'), None);
    }

    #[test]
    fn each_command_counts_once_and_keeps_its_place() {
        assert_eq!(Commands::from(&[Command::Up, Command::Down, Command::Up][..]), commands(b"ud"));
    }

    #[test]
    fn what_is_meant_for_the_logger_ends_with_it() {
        for (given, bytes, part) in [
            (&b""[..], &b""[..], Part::Service),
            (b"ud", b"ud", Part::Service),
            (b"Lt", b"Ltl", Part::Logger),
            (b"L", b"Ll", Part::Logger),
            (b"tLd", b"tLdl", Part::Logger),
            (b"Ltld", b"Ltld", Part::Service),
            (b"lLt", b"lLtl", Part::Logger),
        ] {
            assert_eq!(commands(given).bytes(), bytes, "{}", given.escape_ascii());
            assert_eq!(commands(given).part(), part, "{}", given.escape_ascii());
        }
        assert!(Commands::from(&Command::ALL[..]).bytes().len() < PIPE_BUF, "one write keeps them together");
    }
}
