//! readproctitle: keeps the last bytes that it reads where `ps` shows them.
//!
//! `readproctitle [ WORD ... ] DOTS`
//!
//! 1. Fills its last argument, in the memory that `ps` shows, with dots.
//! 2. Shifts all bytes that it reads from standard input through that memory, in at the end and out after
//!    the third byte: three dots stay, which show that there was more. NUL bytes are left out, as
//!    they would end the argument.
//! 3. Ends when its input does.
//!
//! Exit codes, always without a message: 0 at the end of input; 100 if DOTS is missing or shorter
//! than 5 bytes; 111 if the input cannot be read.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

use daemontools::sys::{self, proctitle};
use daemontools::{Args, Fatal, Help, report};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;

daemontools::main!(readproctitle, HELP);

const HELP: Help = Help {
    usage: "readproctitle: usage: readproctitle [ word ... ] dots",
    text: "\
Shows the last of what it reads from standard input in place of dots, its last argument,
where ps lists processes. As many bytes are shown as there are dots.

Exit codes, without a message: 0, the input has ended; 100, fewer than 5 dots; 111, the
input cannot be read.
",
};

/// The number of dots in front that never move.
const FIXED: usize = 3;
/// The shortest argument: fewer bytes would show nothing.
const SHORTEST: usize = FIXED + 2;

fn readproctitle(_: Args) -> Result<i32, Fatal> {
    let title = proctitle::last_argument().filter(|title| title.len() >= SHORTEST);
    let Some(title) = title else { return Err(Fatal::silent(report::PERMANENT)) };
    title.fill(b'.');
    let shown = &mut title[FIXED..];
    let mut input = [0; 4096];
    loop {
        match read(sys::stdin(), &mut input) {
            Ok(0) => return Ok(0),
            Ok(length) => shift_in(shown, &mut input[..length]),
            Err(Errno::EINTR) => {}
            // Another process that shares the pipe may have set O_NONBLOCK.
            Err(Errno::EAGAIN) => {
                let _ = poll(&mut [PollFd::new(sys::stdin(), PollFlags::POLLIN)], PollTimeout::NONE);
            }
            Err(_) => return Err(Fatal::silent(report::TEMPORARY)),
        }
    }
}

/// Appends `new` without its NUL bytes to `shown`, and keeps the last bytes of the result.
fn shift_in(shown: &mut [u8], new: &mut [u8]) {
    let new = without_nul(new);
    let new = &new[new.len().saturating_sub(shown.len())..];
    shown.copy_within(new.len().., 0);
    let kept = shown.len() - new.len();
    shown[kept..].copy_from_slice(new);
}

fn without_nul(bytes: &mut [u8]) -> &[u8] {
    let mut kept = 0;
    for next in 0..bytes.len() {
        if bytes[next] != 0 {
            bytes[kept] = bytes[next];
            kept += 1;
        }
    }
    &bytes[..kept]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_bytes_stay() {
        for (new, expected) in [
            ("", "....."),
            ("a", "....a"),
            ("abcd", ".abcd"),
            ("abcde", "abcde"),
            ("abcdefgh", "defgh"),
            ("a\0\0b", "...ab"),
            ("\0", "....."),
            ("a\nb\t", ".a\nb\t"),
            ("abcde\0\0\0\0\0\0", "abcde"),
        ] {
            let mut shown = *b".....";
            shift_in(&mut shown, &mut new.as_bytes().to_vec());
            assert_eq!(shown, expected.as_bytes(), "{new:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_show_the_same_as_one_byte_at_a_time(
            pieces in proptest::collection::vec(proptest::collection::vec(0..4u8, 0..12), 0..12),
            width in 2..9usize,
        ) {
            let mut shown = vec![b'.'; width];
            pieces.iter().for_each(|piece| shift_in(&mut shown, &mut piece.clone()));
            let read: Vec<u8> = pieces.concat().into_iter().filter(|byte| *byte != 0).collect();
            let all = [vec![b'.'; width], read].concat();
            prop_assert_eq!(&shown[..], &all[all.len() - width..]);
        }
    }
}
