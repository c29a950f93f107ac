//! The same command on other machines, over ssh(1).
//!
//! 1. For each host, an ssh is started that runs svctl there with the same words, without `-H` and `--color`.
//! 2. Every line that comes back is written with the host's name in front; to a JSON document the name is added as the
//!    member `host`. Lines are escaped, as a machine elsewhere is not trusted with this terminal.
//! 3. The hosts' lines come in the order of the hosts, except for commands that go on, whose lines come as they are said.
//!    The lines of a host whose turn has not come wait here and, beyond a mebibyte, in its pipe.
//! 4. The exit code is the greatest of all. A host that ssh does not reach counts as 111.
//!
//! ssh asks nothing, as several of them would ask at once.

use crate::action::Action;
use crate::arguments::meant;
use crate::flags::{FLAGS, FlagForm};
use crate::text::shown;
use crate::verbs::{Verb, signal_option};
use daemontools::report::TEMPORARY;
use daemontools::terminal::visible_json;
use daemontools::{Attempt, Fatal, Unable, report, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;
use serde_json::{Map, Value};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Child, Command, Stdio};
use unicode_width::UnicodeWidthStr;

/// What ssh must not do: ask, or wait for ever for a machine that is off.
const OPTIONS: [&str; 5] = ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"];
/// Where programs lie that the path of a command over ssh often lacks.
const PATHS: &str = "env PATH=\"$PATH:/command:/usr/local/bin:/usr/local/sbin\" svctl --color=never";
/// The exit code of ssh for its own failures.
const UNREACHED: i32 = 255;
/// How many bytes a host may have said whose turn has not come.
const MOST: usize = 1 << 20;
/// A longer line is written in pieces.
const LONGEST_LINE: usize = 1 << 16;
/// The member of a JSON document that names the host.
const HOST: &str = "host";

/// When the lines of a host are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// When all that the hosts before have said is written.
    OfHosts,
    /// As soon as they are there.
    OfTime,
}

/// The words for the other machine: all but `-H` and `--color`, with their values. Behind the command `log`, and behind
/// `--`, words are left as they are. A signal as kill(1) has it becomes `-s HUP`: an older svctl takes `-HUP` for a host.
pub fn words_for_there(words: &[OsString]) -> Vec<OsString> {
    let (mut kept, mut rest) = (Vec::new(), words.iter());
    let here: Vec<String> = FLAGS.iter().filter(|form| form.stays_here).flat_map(FlagForm::words).collect();
    let mut is_kill = false;
    while let Some(word) = rest.next() {
        let bytes = word.as_bytes();
        let behind = |option: &String| bytes.strip_prefix(option.as_bytes());
        match here.iter().find_map(behind) {
            Some(b"") => {
                rest.next();
                continue;
            }
            Some([b'=', ..]) => continue,
            Some(_) | None => {}
        }
        if let Some((name, _)) = signal_option(word).filter(|_| is_kill) {
            kept.extend(["-s", name].map(OsString::from));
            continue;
        }
        kept.push(word.clone());
        let verb = meant(word).unwrap_or_default();
        is_kill |= matches!(verb, Some(Verb::Act(Action::Signal(_))));
        if bytes == b"--" || verb == Some(Verb::Log) {
            kept.extend(rest.by_ref().cloned());
        }
    }
    kept
}

/// One host.
struct Host {
    name: OsString,
    child: Child,
    /// What it has said on standard output and standard error.
    streams: [Stream; 2],
}

/// What comes from one descriptor of an ssh.
#[derive(Default)]
struct Stream {
    said: Vec<u8>,
    has_ended: bool,
}

/// Runs the command on all hosts. Returns the exit code.
///
/// # Errors
/// ssh cannot be started, or the answer cannot be written.
pub fn run(hosts: &[OsString], words: &[OsString], order: Order) -> Result<i32, Fatal> {
    let mut command = OsString::from(PATHS);
    for word in words {
        command.push(" ");
        command.push(quoted(word));
    }
    let width = hosts.iter().map(|host| shown(host.as_bytes()).width()).max().unwrap_or(0);
    let mut all = Vec::new();
    for name in hosts {
        let mut ssh = Command::new("ssh");
        ssh.args(OPTIONS).arg(name).arg(&command);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = ssh.spawn().map_err(|error| report::errno_of(&error)).unable_to("run", "ssh")?;
        all.push(Host { name: name.clone(), child, streams: Default::default() });
    }
    let mut worst = 0;
    // The hosts before this one have said everything.
    let mut turn = 0;
    while turn < all.len() {
        wait_and_read(&mut all)?;
        for (number, host) in all.iter_mut().enumerate().skip(turn) {
            if order == Order::OfTime || number == turn {
                host.write(width)?;
            }
        }
        while let Some(host) = all.get_mut(turn).filter(|host| host.streams.iter().all(|stream| stream.has_ended)) {
            host.write(width)?;
            worst = worst.max(host.end()?);
            turn += 1;
        }
    }
    Ok(worst)
}

/// Waits until one of the hosts says something, and reads it.
fn wait_and_read(all: &mut [Host]) -> Result<(), Fatal> {
    let mut open = Vec::new();
    for (number, host) in all.iter().enumerate() {
        for (which, stream) in host.streams.iter().enumerate() {
            let fd = host.fd(which).filter(|_| !stream.has_ended && stream.said.len() < MOST);
            open.extend(fd.map(|fd| (number, which, fd)));
        }
    }
    let mut polled: Vec<PollFd> = open.iter().map(|(_, _, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    if polled.is_empty() {
        return Ok(());
    }
    match poll(&mut polled, PollTimeout::NONE) {
        Err(Errno::EINTR) => return Ok(()),
        ready => ready.unable_to("wait for", "ssh")?,
    };
    let is_ready = |polled: &PollFd| polled.revents().is_some_and(|events| !events.is_empty());
    let mut heard = Vec::new();
    for ((number, which, fd), _) in open.iter().zip(&polled).filter(|(_, polled)| is_ready(polled)) {
        let mut buffer = [0; 16384];
        match read(fd, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(length @ 1..) => heard.push((*number, *which, buffer.get(..length).unwrap_or_default().to_vec())),
            Ok(0) | Err(_) => heard.push((*number, *which, Vec::new())),
        }
    }
    for (number, which, bytes) in heard {
        if let Some(stream) = all.get_mut(number).and_then(|host| host.streams.get_mut(which)) {
            stream.has_ended = bytes.is_empty();
            stream.said.extend(bytes);
        }
    }
    Ok(())
}

impl Host {
    /// The descriptor of a stream.
    fn fd(&self, which: usize) -> Option<BorrowedFd<'_>> {
        match which {
            0 => self.child.stdout.as_ref().map(AsFd::as_fd),
            _ => self.child.stderr.as_ref().map(AsFd::as_fd),
        }
    }

    /// Writes the lines that are complete, and at the end of a stream what is left of it.
    fn write(&mut self, width: usize) -> Result<(), Unable> {
        let name = shown(self.name.as_bytes());
        let room = " ".repeat(width - name.width().min(width));
        for (stream, out) in self.streams.iter_mut().zip([sys::stdout(), sys::stderr()]) {
            let lines: String = stream.lines().iter().map(|line| told(&name, &room, line)).collect();
            sys::write_all(out, lines.as_bytes()).unable_to("write output", "")?;
        }
        Ok(())
    }

    /// The exit code, with a message if ssh did not come to the host.
    fn end(&mut self) -> Result<i32, Unable> {
        let ended = self.child.wait().map_err(|error| report::errno_of(&error)).unable_to("wait for", "ssh")?;
        let code = ended.code().unwrap_or(UNREACHED);
        if code == UNREACHED {
            report::warning(&[self.name.as_bytes(), b": ssh could not run svctl there"]);
            return Ok(TEMPORARY);
        }
        Ok(code)
    }
}

/// If svctl ends first, because its output has no reader, the ssh of each host has to end too.
impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stream {
    /// Takes out the lines that are complete.
    fn lines(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        loop {
            let end = self.said.iter().position(|byte| *byte == b'\n');
            let (length, taken) = match end {
                Some(end) if end <= LONGEST_LINE => (end, end + 1),
                _ if self.said.len() > LONGEST_LINE => (LONGEST_LINE, LONGEST_LINE),
                None if self.has_ended && !self.said.is_empty() => (self.said.len(), self.said.len()),
                Some(_) | None => return lines,
            };
            let mut line: Vec<u8> = self.said.drain(..taken).collect();
            line.truncate(length);
            lines.push(line);
        }
    }
}

/// A line with the host's name: `web1  ● nginx  up …`, `{"host":"web1","service":…`. Only a whole object of JSON has it as a
/// member, and only this one is its host, whatever the machine says.
fn told(name: &str, room: &str, line: &[u8]) -> String {
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(line) else {
        return format!("{name}{room}  {}\n", shown(line));
    };
    object.shift_remove(HOST);
    let document = Map::from_iter([(HOST.into(), name.into())].into_iter().chain(object));
    format!("{}\n", visible_json(&Value::from(document).to_string()))
}

/// A word as any shell reads it. Only plain words are left as they are.
fn quoted(word: &OsStr) -> OsString {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+:,./-=".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return word.into();
    }
    let mut text = b"'".to_vec();
    for byte in bytes {
        match byte {
            b'\'' => text.extend(br"'\''"),
            byte => text.push(*byte),
        }
    }
    text.push(b'\'');
    OsString::from_vec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_words_for_there_are_without_the_hosts() {
        for (line, there) in [
            ("-H a,b", ""),
            ("-H=a -j list web", "-j list web"),
            ("restart --host a web --host=b -T 5s", "restart web -T 5s"),
            ("--color always -H a --color=never status", "status"),
            ("-H a log -H b --color x", "log -H b --color x"),
            ("-H a status -- -H", "status -- -H"),
            ("-H a kill -Hup web", "kill -s HUP web"),
            ("kill web -9 -H a", "kill web -s KILL"),
            ("-H a kill -- -9", "kill -- -9"),
            ("-H a tail web", "tail web"),
        ] {
            assert_eq!(words_for_there(&words(line)), words(there), "{line}");
        }
    }

    #[test]
    fn every_line_names_its_host_and_no_other() {
        assert_eq!(told("a", " ", b"* web  up"), "a   * web  up\n");
        assert_eq!(told("a", " ", b"\x1b[2J{"), "a   \\x1b[2J{\n");
        for (line, document) in [
            ("{\"service\":\"web\"}", "{\"host\":\"a\",\"service\":\"web\"}"),
            ("{\"host\":\"b\",\"service\":\"web\"}", "{\"host\":\"a\",\"service\":\"web\"}"),
            ("{\"x\":1.50,\"\\u0068ost\":\"b\",\"host\":\"b\"}", "{\"host\":\"a\",\"x\":1.50}"),
            ("{\"x\":{\"host\":\"b\"}}", "{\"host\":\"a\",\"x\":{\"host\":\"b\"}}"),
            ("{}", "{\"host\":\"a\"}"),
            ("{ }", "{\"host\":\"a\"}"),
            ("{\"x\":\"\u{7f}\u{202e}\"}", "{\"host\":\"a\",\"x\":\"\\u007f\\u202e\"}"),
        ] {
            assert_eq!(told("a", "", line.as_bytes()), format!("{document}\n"), "{line}");
        }
        for line in ["{x}", "{\"host\":\"b\"", "{}{\"host\":\"b\"}", "[{\"host\":\"b\"}]", "\"host\"", "{\"x\":1,}"] {
            assert_eq!(told("a", "", line.as_bytes()), format!("a  {line}\n"));
        }
        assert_eq!(told("a\"b", "", b"{}"), "{\"host\":\"a\\\"b\"}\n");
    }

    #[test]
    fn lines_are_whole_and_none_is_lost() {
        let mut stream = Stream { said: b"one\ntwo\nthr".to_vec(), has_ended: false };
        assert_eq!(stream.lines(), [b"one".to_vec(), b"two".to_vec()]);
        stream.has_ended = true;
        assert_eq!(stream.lines(), [b"thr".to_vec()]);
        assert!(stream.lines().is_empty());
        let mut long = Stream { said: vec![b'x'; LONGEST_LINE + 1], has_ended: false };
        assert_eq!(long.lines().iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST_LINE]);
        assert_eq!(long.said, b"x");
    }

    #[test]
    fn a_word_is_one_word_there() {
        for (word, there) in
            [("web", "web"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("*", "'*'"), ("$(x)", "'$(x)'")]
        {
            assert_eq!(quoted(OsStr::new(word)), there);
        }
    }
}
