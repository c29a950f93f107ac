//! What a service says to `$NOTIFY_SOCKET`: no I/O.
//!
//! Source: sd_notify(3). Of its assignments those that concern supervision count; others are ignored.

/// One datagram, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// `READY=1`
    pub ready: bool,
    /// `STOPPING=1`
    pub stopping: bool,
    /// `WATCHDOG=1`
    pub alive: bool,
    /// `MAINPID=N`: the service is that process now.
    pub main_pid: Option<i32>,
    /// `STATUS=…`: a line for people; control characters are blanks in it.
    pub status: Option<String>,
}

/// Longest datagram taken; longer ones are none of ours.
pub const LONGEST: usize = 4096;

/// Longest status kept, in characters.
const LONGEST_STATUS: usize = 200;

impl Message {
    /// Takes a datagram apart; what makes no sense in it is as if it were not there.
    pub fn parse(datagram: &[u8]) -> Message {
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
        };
        assert_eq!(message, expected);
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
