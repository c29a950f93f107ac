//! What a service says to `$NOTIFY_SOCKET`, and a chain program to the same socket: no I/O.
//!
//! Source: sd_notify(3). Of its assignments those that concern supervision count; others are ignored.

use daemontools::service::refusal::Refusal;

/// What one datagram says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`: the service is ready.
    pub ready: bool,
    /// `STOPPING=1`: the service is about to end.
    pub stopping: bool,
    /// `WATCHDOG=1`: the service is alive.
    pub alive: bool,
    /// `MAINPID=N`: the service is the process N now.
    pub main_pid: Option<i32>,
    /// `STATUS=…`: what the service says of itself, a line for people in which control characters became blanks.
    pub status: Option<String>,
    /// A chain program says why it could not do its work. Then the message says nothing else.
    pub refusal: Option<Refusal>,
}

/// The longest datagram that is read. A longer one is ignored.
pub const LONGEST: usize = 4096;

/// The longest status that is kept, in characters.
const LONGEST_STATUS: usize = 200;

impl Message {
    /// Reads a datagram. Lines that make no sense are ignored.
    pub fn parse(datagram: &[u8]) -> Message {
        if let Some(refusal) = Refusal::parse(datagram) {
            return Message { refusal: Some(refusal), ..Message::default() };
        }
        let mut message = Message::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            match line.split_at_checked(line.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1)) {
                Some((b"READY=", b"1")) => message.ready = true,
                Some((b"STOPPING=", b"1")) => message.stopping = true,
                Some((b"WATCHDOG=", b"1")) => message.alive = true,
                Some((b"MAINPID=", pid)) => {
                    let pid = std::str::from_utf8(pid).ok().and_then(|pid| pid.parse().ok());
                    message.main_pid = pid.filter(|pid| *pid > 1).or(message.main_pid);
                }
                Some((b"STATUS=", text)) => message.status = Some(one_line(text)),
                Some(_) | None => {}
            }
        }
        message
    }
}

fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(LONGEST_STATUS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn assignments_are_taken_line_by_line() {
        let message = Message::parse(b"READY=1\nSTATUS=serving\t\xff\nMAINPID=77\nFDSTORE=1\nWATCHDOG=1\nSTOPPING=1");
        let expected = Message {
            ready: true,
            stopping: true,
            alive: true,
            main_pid: Some(77),
            status: Some("serving \u{fffd}".into()),
            refusal: None,
        };
        assert_eq!(message, expected);
    }

    #[test]
    fn a_refusal_says_nothing_else() {
        let refusal = Some(Refusal { words: "envdir: no".into(), errno: 13 });
        let expected = Message { refusal, ..Message::default() };
        assert_eq!(Message::parse(b"NOT_STARTED=envdir: no\nERRNO=13\nREADY=1\nMAINPID=77"), expected);
    }

    #[test]
    fn what_makes_no_sense_says_nothing() {
        for datagram in [&b""[..], b"READY", b"READY=0", b"=1", b"MAINPID=", b"MAINPID=-1", b"MAINPID=1", b"ready=1"] {
            assert_eq!(Message::parse(datagram), Message::default(), "{datagram:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_takes_nothing_back() {
        assert_eq!(Message::parse(b"MAINPID=5\nMAINPID=x\nMAINPID=0").main_pid, Some(5));
        assert_eq!(Message::parse(b"MAINPID=5\nMAINPID=6").main_pid, Some(6));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
            let status = Message::parse(&datagram).status.unwrap_or_default();
            prop_assert!(status.chars().count() <= LONGEST_STATUS && !status.contains('\n'));
        }
    }
}
