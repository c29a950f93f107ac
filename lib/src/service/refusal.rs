//! What a chain program tells supervise when it cannot do its work, so that the program of the service is never executed;
//! and what multilog tells it when it cannot open what its script names.
//! No I/O.
//!
//! The `run` of most services is a chain: a script executes `setuidgid`, which executes `softlimit`, which executes the
//! program of the service. supervise sees that the script was executed, and no more. Where an account does not exist, or the
//! last program, its exit code 111 is all that tells it, and the program of the service may exit with that code too. So the
//! chain program says it:
//!
//! 1. **The variable.** supervise gives `run`, and the `run` of a logger, the environment variable `SUPERVISE_REPORT`:
//!    `PID:ADDRESS`. ADDRESS is that of a datagram socket of supervise, in the form of NOTIFY_SOCKET: `@` and a name in the
//!    kernel's own space, or a path. PID is the process of `run`. Only that process reports, as only its end is the end
//!    of the service: a chain program that the service starts later has another number, and says nothing.
//! 2. **The datagram.** `NOT_STARTED=WORDS`, a newline, `ERRNO=NUMBER`: lines as in sd_notify(3). WORDS are those of the
//!    message on standard error, behind the program's name, with control characters escaped. NUMBER is the system's error, or
//!    that of "invalid argument" where the system refused nothing.
//! 3. **The end.** The program exits with code 111, as ever. An end with that code, of the process that has sent the
//!    datagram, is [`Exit::Unstarted`](super::Exit::Unstarted), as if `run` itself could not be executed.
//!
//! supervise believes the datagram only if the kernel names the process of `run` as its sender. What is longer than a
//! datagram of NOTIFY_SOCKET may be, comes from another process, or comes after that process was waited for, is ignored.
//! Neither an older chain program with a newer supervise nor the reverse says anything: the end is then `exited 111`.

use crate::terminal::visible;
use nix::errno::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The environment variable that tells a chain program who it is to supervise, and where supervise hears it.
pub const VARIABLE: &str = "SUPERVISE_REPORT";

/// The longest words that are kept, in characters.
const LONGEST: usize = 300;

const WORDS: &[u8] = b"NOT_STARTED=";
const NUMBER: &[u8] = b"ERRNO=";

/// Why a chain program could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason for people, on one line and without control characters.
    pub words: String,
    /// The system's error number.
    pub errno: i32,
}

impl Refusal {
    /// The refusal with these words, from which control characters are taken. `errno` is the system's error, if it was the
    /// system that refused.
    pub fn new(words: &[u8], errno: Option<i32>) -> Refusal {
        let words = String::from_utf8_lossy(&visible(words)).chars().take(LONGEST).collect();
        // The numbers of system calls' errors.
        let errno = errno.filter(|errno| (1..=4095).contains(errno)).unwrap_or(Errno::EINVAL as i32);
        Refusal { words, errno }
    }

    /// The bytes of the datagram.
    pub fn encode(&self) -> Vec<u8> {
        [WORDS, self.words.as_bytes(), b"\n", NUMBER, self.errno.to_string().as_bytes(), b"\n"].concat()
    }

    /// Reads a datagram; `None` if it says something else.
    pub fn parse(datagram: &[u8]) -> Option<Refusal> {
        let mut lines = datagram.split(|byte| *byte == b'\n');
        let words = lines.next()?.strip_prefix(WORDS).filter(|words| !words.is_empty())?;
        let number = lines.find_map(|line| std::str::from_utf8(line.strip_prefix(NUMBER)?).ok()?.parse().ok());
        Some(Refusal::new(words, number))
    }
}

/// The value of the variable for the process `pid`, which is heard at this address of the form of NOTIFY_SOCKET.
pub fn variable(pid: i32, address: &OsStr) -> OsString {
    let mut value = OsString::from(format!("{pid}:"));
    value.push(address);
    value
}

/// The address at which supervise hears the process `pid`; `None` if the value is for another process.
pub fn address_for(pid: i32, value: &OsStr) -> Option<&OsStr> {
    let colon = value.as_bytes().iter().position(|byte| *byte == b':')?;
    let (number, address) = value.as_bytes().split_at_checked(colon)?;
    let address = address.strip_prefix(b":").filter(|address| !address.is_empty())?;
    (number == pid.to_string().as_bytes()).then(|| OsStr::from_bytes(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(words: &str, errno: i32) -> Option<Refusal> {
        Some(Refusal { words: words.into(), errno })
    }

    #[test]
    fn a_datagram_has_words_and_a_number() {
        let table: [(&[u8], Option<Refusal>); 16] = [
            (b"NOT_STARTED=setuidgid: unknown account x\nERRNO=2\n", refusal("setuidgid: unknown account x", 2)),
            (b"NOT_STARTED=a\nERRNO=2", refusal("a", 2)),
            (b"NOT_STARTED=a\nX=1\nERRNO=two\nERRNO=2\nERRNO=3", refusal("a", 2)),
            (b"NOT_STARTED=a", refusal("a", 22)),
            (b"NOT_STARTED=a\nERRNO=0", refusal("a", 22)),
            (b"NOT_STARTED=a\nERRNO=-1", refusal("a", 22)),
            (b"NOT_STARTED=a\nERRNO=4096", refusal("a", 22)),
            (b"NOT_STARTED=a\nERRNO=99999999999999999999", refusal("a", 22)),
            (b"NOT_STARTED=\x1b[2J\0\r\xff\nERRNO=13", refusal("\\x1b[2J\\x00\\x0d\\xff", 13)),
            (b"NOT_STARTED=\nERRNO=2", None),
            (b"NOT_STARTED", None),
            (b"ERRNO=2\nNOT_STARTED=a", None),
            (b"READY=1\nNOT_STARTED=a", None),
            (b"not_started=a", None),
            (b" NOT_STARTED=a", None),
            (b"", None),
        ];
        for (datagram, expected) in table {
            assert_eq!(Refusal::parse(datagram), expected, "{}", datagram.escape_ascii());
        }
    }

    #[test]
    fn a_long_reason_is_cut() {
        let found = Refusal::parse(&[WORDS, "é".repeat(1000).as_bytes()].concat()).unwrap();
        assert_eq!(found.words, "é".repeat(LONGEST));
    }

    #[test]
    fn a_value_is_for_one_process() {
        let table = [
            ("7:@supervise/notify/05", Some("@supervise/notify/05")),
            ("7:/service/a b:c/supervise/notify-socket", Some("/service/a b:c/supervise/notify-socket")),
            ("77:@name", None),
            ("07:@name", None),
            (":@name", None),
            ("7:", None),
            ("7", None),
            ("@name", None),
            ("", None),
        ];
        for (value, address) in table {
            assert_eq!(address_for(7, OsStr::new(value)), address.map(OsStr::new), "{value}");
        }
        assert_eq!(address_for(7, &variable(7, OsStr::new("@name"))), Some(OsStr::new("@name")));
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read(words in proptest::collection::vec(any::<u8>(), 1..400), errno in any::<i32>()) {
            let sent = Refusal::new(&words, Some(errno));
            prop_assert!(sent.encode().len() < 4096 && !sent.words.contains(char::is_control) || sent.words.contains('\t'));
            prop_assert_eq!(Refusal::parse(&sent.encode()), Some(sent));
        }

        #[test]
        fn any_bytes_are_taken_apart(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(found) = Refusal::parse(&[WORDS, &datagram].concat()) {
                prop_assert!(found.words.chars().count() <= LONGEST);
                prop_assert!(!found.words.contains('\n') && (1..=4095).contains(&found.errno));
            }
        }
    }
}
