//! Which part of a service each command byte is for, what commands mean that came in one write, and which commands are not
//! obeyed any more. No I/O.

use crate::machine::Event;
use daemontools::service::{Command, Part, Want};

/// The part of a service that the next command is for. `L` makes it the logger and `l` the service again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target(Part);

impl Target {
    /// The next command is for the service.
    pub const SERVICE: Target = Target(Part::Service);

    /// The command that a byte stands for, and the part of the service that is to obey it; `None` for a byte that only
    /// chooses that part, and for one that stands for no command. A supervise that was told to exit and can, so that it
    /// `is_done`, obeys no command that comes after that: such a command would start a service that no command ends any
    /// more.
    pub fn take(&mut self, byte: u8, is_done: bool) -> Option<(Part, Command)> {
        match Command::from_byte(byte).filter(|_| !is_done)? {
            Command::ForService => self.0 = Part::Service,
            Command::ForLogger => self.0 = Part::Logger,
            command => return Some((self.0, command)),
        }
        None
    }
}

/// What a command for the service means, by the commands that came in one write with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// supervise obeys the command.
    Obey,
    /// supervise obeys the command, which is the `d` of a restart. What it writes down meanwhile says what is wanted after the
    /// restart: a supervise that comes after this one starts the service again.
    ObeyBefore(Want),
    /// supervise obeys the command, which is the `u` or `o` of a restart: `svc -du` and `svctl restart` write `du`.
    ObeyAsRestart,
    /// supervise ignores the command. A second `d` ends a program that takes too long, but a `d` that comes together
    /// with `x` does not count as a second one: svscan writes both to all services when it stops, also to those that
    /// were told `d` before.
    Nothing,
}

impl Meaning {
    /// What the machine is told of a command that means this.
    pub fn events(self, command: Command) -> impl Iterator<Item = Event> {
        let before = match self {
            Meaning::ObeyBefore(want) => Some(Event::RestartFollows(want)),
            Meaning::ObeyAsRestart => Some(Event::Restart),
            Meaning::Obey | Meaning::Nothing => None,
        };
        before.into_iter().chain((self != Meaning::Nothing).then_some(Event::Told(command)))
    }
}

/// The commands that came in one write.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    has_exit: bool,
    was_down: bool,
}

impl Batch {
    /// Makes a batch of these commands, of which none was taken yet.
    pub fn of(commands: &[u8]) -> Batch {
        Batch { has_exit: commands.contains(&Command::Exit.byte()), was_down: false }
    }

    /// Takes the next command for the service, and the byte that comes after it. `would_end_a_program` tells whether `d` has
    /// come before, and another one would end a program that takes too long.
    pub fn take(&mut self, command: Command, next: Option<u8>, would_end_a_program: bool) -> Meaning {
        if self.has_exit && command == Command::Down && would_end_a_program {
            return Meaning::Nothing;
        }
        let is_restart = self.was_down && matches!(command, Command::Up | Command::Once);
        self.was_down = command == Command::Down;
        match next.and_then(Command::from_byte) {
            _ if is_restart => Meaning::ObeyAsRestart,
            Some(Command::Up) if self.was_down => Meaning::ObeyBefore(Want::Up),
            Some(Command::Once) if self.was_down => Meaning::ObeyBefore(Want::Once),
            Some(_) | None => Meaning::Obey,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Part::{Logger, Service};

    #[test]
    fn commands_are_for_the_part_that_was_chosen_last_until_supervise_is_done() {
        let (up, down, exit) = (Command::Up, Command::Down, Command::Exit);
        type Row<'a> = (&'a [u8], &'a [(Part, Command)]);
        let table: [Row; 6] = [
            (b"", &[]),
            (b"ud", &[(Service, up), (Service, down)]),
            (b"Ludlu", &[(Logger, up), (Logger, down), (Service, up)]),
            (b"!L\0u", &[(Logger, up)]),
            // Here supervise can exit at once.
            (b"dxu", &[(Service, down), (Service, exit)]),
            (b"xLu", &[(Service, exit)]),
        ];
        for (bytes, expected) in table {
            let (mut target, mut is_done, mut found) = (Target::SERVICE, false, Vec::new());
            for byte in bytes {
                let taken = target.take(*byte, is_done);
                is_done |= taken == Some((Service, exit));
                found.extend(taken);
            }
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_a_command_means_depends_on_those_that_came_with_it() {
        use Meaning::{Nothing, Obey, ObeyAsRestart, ObeyBefore};
        type Row<'a> = (&'a [u8], bool, &'a [Meaning]);
        let table: [Row; 9] = [
            (b"u", false, &[Obey]),
            (b"du", false, &[ObeyBefore(Want::Up), ObeyAsRestart]),
            (b"do", true, &[ObeyBefore(Want::Once), ObeyAsRestart]),
            (b"duo", false, &[ObeyBefore(Want::Up), ObeyAsRestart, Obey]),
            (b"dtu", false, &[Obey, Obey, Obey]),
            (b"dd", true, &[Obey, Obey]),
            (b"dx", false, &[Obey, Obey]),
            (b"dx", true, &[Nothing, Obey]),
            (b"xdk", true, &[Obey, Nothing, Obey]),
        ];
        for (bytes, would_end_a_program, expected) in table {
            let mut batch = Batch::of(bytes);
            let commands = bytes.iter().filter_map(|byte| Command::from_byte(*byte));
            let following = bytes.iter().skip(1).copied().map(Some).chain([None]);
            let found: Vec<Meaning> =
                commands.zip(following).map(|(command, next)| batch.take(command, next, would_end_a_program)).collect();
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_choice_behind_the_end_changes_nothing() {
        let mut target = Target::SERVICE;
        assert_eq!(target.take(Command::ForLogger.byte(), true), None);
        assert_eq!(target, Target::SERVICE);
    }
}
