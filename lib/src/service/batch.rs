//! Commands that are written to `supervise/control` together.

use super::Command;

/// The bytes of one write(2) that gives these commands: a batch that ends with commands for the logger is closed by
/// [`Command::ForService`].
///
/// What others write to the FIFO may follow at once, before supervise has read anything. Without the closing byte their
/// commands would go to the logger too. The kernel keeps the bytes of a write of up to PIPE_BUF (4096) together, so the
/// closing byte is in the same write; all commands together are far fewer.
pub fn batch(commands: &[u8]) -> Vec<u8> {
    let selects = |byte: &&u8| [Command::ForService.byte(), Command::ForLogger.byte()].contains(byte);
    let for_logger = commands.iter().rfind(selects) == Some(&Command::ForLogger.byte());
    let closing = for_logger.then_some(Command::ForService.byte());
    commands.iter().copied().chain(closing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::PIPE_BUF;

    #[test]
    fn what_is_meant_for_the_logger_ends_with_it() {
        for (commands, bytes) in [
            (&b""[..], &b""[..]),
            (b"ud", b"ud"),
            (b"Lt", b"Ltl"),
            (b"L", b"Ll"),
            (b"tLd", b"tLdl"),
            (b"Ltld", b"Ltld"),
            (b"lLt", b"lLtl"),
        ] {
            assert_eq!(batch(commands), bytes, "{}", commands.escape_ascii());
        }
        let all: Vec<u8> = Command::ALL.iter().map(|command| command.byte()).collect();
        assert!(batch(&all).len() < PIPE_BUF, "one write keeps them together");
    }
}
