//! Log directories, and the multilogs that write to them.

use crate::processes::{parent_of, processes_in};
use crate::scratch::{Running, Scratch, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;

/// A log directory, examined through its files.
pub struct Log(PathBuf);

impl Log {
    pub fn of(scratch: &Scratch, name: &str) -> Log {
        Log(scratch.path().join(name))
    }

    /// All names, sorted: `@` comes before `current`.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect();
        names.sort();
        names
    }

    /// The names of old files.
    pub fn old(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| name.starts_with('@')).collect()
    }

    /// The lines in a file, decompressed according to its name; empty if the file is gone.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let bytes = fs::read(self.0.join(name)).unwrap_or_default();
        if bytes.is_empty() {
            bytes
        } else if name.ends_with(".zst") {
            zstd::decode_all(&bytes[..]).expect("a whole zstd file")
        } else if name.ends_with(".gz") {
            let mut content = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut content).expect("a whole gzip file");
            content
        } else {
            bytes
        }
    }

    /// All lines of the log in their order. A file with two names counts once.
    pub fn all(&self) -> Vec<u8> {
        let mut names = self.old();
        names.dedup_by(|later, earlier| later.starts_with(&*earlier));
        let all = names.into_iter().chain(["current".to_string()]);
        all.flat_map(|name| self.content(&name)).collect()
    }

    /// The bytes of all log files on the disk.
    pub fn size(&self) -> u64 {
        let names = self.names().into_iter().filter(|name| name.starts_with('@') || name == "current");
        names.map(|name| fs::metadata(self.0.join(name)).map_or(0, |metadata| metadata.len())).sum()
    }
}

/// A multilog that reads the lines that a test feeds it.
pub struct Multilog<'a> {
    running: Running,
    scratch: &'a Scratch,
    errors: String,
}

impl<'a> Multilog<'a> {
    /// Starts a multilog with a script of words separated by blanks.
    pub fn start(scratch: &'a Scratch, script: &str) -> Multilog<'a> {
        let program = crate::programs().join("multilog");
        Multilog::by(scratch, &[program.to_str().expect("a plain path")], script)
    }

    /// Starts a multilog through another program, whose words these are.
    pub fn by(scratch: &'a Scratch, words: &[&str], script: &str) -> Multilog<'a> {
        let errors = format!("errors{}", scratch.next());
        let file = File::create(scratch.path().join(&errors)).expect("a file for complaints");
        let mut command = scratch.command(words[0]);
        command.args(&words[1..]).args(script.split(' ')).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
        let running = Running(command.spawn().expect("start multilog"));
        Multilog { running, scratch, errors }
    }

    /// The pid of the multilog, also if another program that stays has started it.
    pub fn pid(&self) -> i32 {
        let started = self.running.0.id() as i32;
        let is_it = |pid: &i32| fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"multilog\n");
        let mut children = processes_in(self.scratch.path()).into_iter().filter(|pid| parent_of(*pid) == Some(started));
        if is_it(&started) { started } else { children.find(is_it).unwrap_or(started) }
    }

    pub fn feed(&mut self, lines: impl AsRef<[u8]>) {
        self.running.0.stdin.as_mut().expect("a pipe").write_all(lines.as_ref()).expect("write to multilog");
    }

    /// The messages that the multilog has written.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.scratch.path().join(&self.errors)).expect("complaints")
    }

    pub fn complains(&self, words: &str) {
        wait_until(&format!("it says {words:?}, not {:?}", self.errors()), || self.errors().contains(words));
    }

    /// Ends the input of the multilog, waits for its end, and returns all its messages.
    pub fn end(mut self) -> String {
        drop(self.running.0.stdin.take());
        self.wait()
    }

    /// Tells the multilog to end by TERM, waits for its end, and returns all its messages.
    pub fn terminate(self) -> String {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).expect("tell it to end");
        self.wait()
    }

    fn wait(self) -> String {
        let Multilog { mut running, scratch, errors } = self;
        // The test's end of the pipe stays open until the multilog has ended.
        let _input = running.0.stdin.take();
        assert_eq!(running.wait().code(), Some(0));
        fs::read_to_string(scratch.path().join(errors)).expect("complaints")
    }
}

/// Lines of `length` bytes, including the newline, no two of them equal.
pub fn lines(count: usize, length: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{number:0width$}\n", width = length - 1).into_bytes()).collect()
}

/// A small disk in the scratch directory.
pub struct Disk<'a>(&'a Scratch);

impl<'a> Disk<'a> {
    /// Mounts a disk of this number of kilobytes as `disk`. Only root can do this.
    pub fn new(scratch: &'a Scratch, kilobytes: usize) -> Disk<'a> {
        scratch.dir("disk");
        let mount = format!("mount -t tmpfs -o size={kilobytes}k none {0}/disk", scratch.path().display());
        assert_eq!(scratch.shell(&mount), crate::prints(""));
        Disk(scratch)
    }

    /// Fills the disk with another file, except for this number of bytes.
    pub fn fill(&self, bytes_left: u64) {
        let disk = self.0.path().join("disk");
        let free = nix::sys::statvfs::statvfs(&disk).expect("look at the disk");
        let free = free.blocks_available() * free.fragment_size();
        fs::write(disk.join("hog"), vec![0; free.saturating_sub(bytes_left) as usize]).expect("fill the disk");
    }

    /// Removes the file that fills the disk.
    pub fn free(&self) {
        fs::remove_file(self.0.path().join("disk/hog")).expect("free the disk");
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        self.0.shell("umount -l disk");
    }
}
