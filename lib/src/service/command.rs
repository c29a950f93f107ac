//! Commands to a supervise: the bytes of `supervise/control`.

use super::Part;

/// A command, by its byte in `supervise/control`.
///
/// Source: daemontools 0.76; `q 1 2 w + = l L` are daemontools-encore's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// Start it, and restart it whenever it ends.
    Up = b'u',
    /// Stop it (TERM, then CONT) and do not restart it.
    Down = b'd',
    /// Start it if it is not running; do not restart it.
    Once = b'o',
    /// supervise exits as soon as the service is down.
    Exit = b'x',
    /// STOP.
    Pause = b'p',
    /// CONT.
    Continue = b'c',
    /// HUP.
    Hangup = b'h',
    /// ALRM.
    Alarm = b'a',
    /// INT.
    Interrupt = b'i',
    /// TERM.
    Terminate = b't',
    /// KILL.
    Kill = b'k',
    /// QUIT.
    Quit = b'q',
    /// USR1.
    User1 = b'1',
    /// USR2.
    User2 = b'2',
    /// WINCH.
    Window = b'w',
    /// Signals go to the service's process group from now on.
    ToGroup = b'+',
    /// Signals go to the service's process alone from now on, as they do in the beginning.
    ToProcess = b'=',
    /// What follows is meant for the service, as it is in the beginning.
    ForService = b'l',
    /// What follows is meant for the logger that the same supervise runs.
    ForLogger = b'L',
}

impl Command {
    /// Every command, in the order `svc` lists them.
    pub const ALL: [Command; 19] = [
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
        Command::ToGroup,
        Command::ToProcess,
        Command::ForService,
        Command::ForLogger,
    ];

    /// The byte in the FIFO, which is also the letter of `svc`'s option.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The command of a byte; bytes that mean nothing to us are none, and are to be ignored.
    pub fn from_byte(byte: u8) -> Option<Command> {
        Command::ALL.into_iter().find(|command| command.byte() == byte)
    }
}

/// Commands that are given together, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands(Vec<Command>);

impl Commands {
    /// Adds a command behind the others, unless it is among them.
    pub fn add(&mut self, command: Command) {
        if !self.0.contains(&command) {
            self.0.push(command);
        }
    }

    /// Whether at least one of these is among them.
    pub fn has_any(&self, commands: &[Command]) -> bool {
        self.0.iter().any(|command| commands.contains(command))
    }

    /// Which part of the service the last of them is meant for.
    pub fn part(&self) -> Part {
        let is_choice = |command: &&Command| [Command::ForService, Command::ForLogger].contains(command);
        match self.0.iter().rfind(is_choice) {
            Some(Command::ForLogger) => Part::Logger,
            Some(_) | None => Part::Service,
        }
    }

    /// The bytes of one write(2) that gives them. Commands that end with some for the logger are closed by
    /// [`Command::ForService`].
    ///
    /// What others write to the FIFO may follow at once, before supervise has read anything. Without the closing byte their
    /// commands would go to the logger too. The kernel keeps the bytes of a write of up to PIPE_BUF (4096) together, so the
    /// closing byte is in the same write; all commands together are far fewer.
    pub fn bytes(&self) -> Vec<u8> {
        let closing = (self.part() == Part::Logger).then_some(Command::ForService);
        self.0.iter().copied().chain(closing).map(Command::byte).collect()
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
