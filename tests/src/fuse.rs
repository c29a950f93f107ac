//! A FUSE file system whose server is a thread of the test. The test can make it stop answering for a while.

use crate::{Scratch, is_root, skip};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The content of the file system: each entry, with the index in this list of the directory that contains it. An entry
/// at the top has no index.
pub type Tree = Vec<(Option<usize>, &'static str, Node)>;

/// An entry: a file, a directory, or a link.
pub enum Node {
    Directory,
    Program(String),
    Link(PathBuf),
}

/// The device of FUSE, which any account may open; `None` where there can be none, which is said.
pub fn fuse_device(scratch: &Scratch) -> Option<PathBuf> {
    if !is_root() {
        skip("only root lets another account use FUSE here");
        return None;
    }
    let device = scratch.path().join("fuse-device");
    if !device.exists() {
        // Without this, the account could not open the device.
        let before = umask(Mode::empty());
        let made = mknod(&device, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(10, 229));
        umask(before);
        if made.is_err() {
            skip("the device of FUSE cannot be made here");
            return None;
        }
    }
    Some(device)
}

/// A request: its number in linux/fuse.h, and the name of the entry that it is about. At the top the name is empty.
pub type Request = (u32, &'static str);

/// The requests that programs make which look at files, by their names.
pub const REQUESTS: [(&str, u32); 6] =
    [("lookup", 1), ("getattr", 3), ("open", 14), ("read", 15), ("statfs", 17), ("access", 34)];

/// The server of the file system, until it is dropped. A process that waits for it gets an error then.
pub struct Fuse {
    answers: Arc<AtomicBool>,
    swallows: Arc<AtomicBool>,
    has_swallowed: Arc<AtomicBool>,
    never_answered: Arc<Mutex<Option<Request>>>,
    ignored: Arc<AtomicI32>,
    ends: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
    device: File,
}

impl Fuse {
    /// Serves the file system that [`Fuse::MOUNT`] mounts.
    pub fn serve(tree: Tree) -> Fuse {
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("open /dev/fuse");
        let (answers, ends) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let [swallows, has_swallowed] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let shared = [&answers, &swallows, &has_swallowed, &ends].map(Arc::clone);
        let (never_answered, ignored) = (Arc::new(Mutex::new(None)), Arc::new(AtomicI32::new(0)));
        let silence = Silence { request: never_answered.clone(), process: ignored.clone() };
        let mut fuse = Fuse { answers, swallows, has_swallowed, never_answered, ignored, ends, server: None, device };
        let [answers, swallows, has_swallowed, ends] = shared;
        let device = fuse.device.try_clone().expect("another descriptor");
        fuse.server = Some(std::thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                let mut fds = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
                let asked = poll(&mut fds, PollTimeout::from(10u8)) == Ok(1);
                // Reading fails before the file system is mounted, and after it is unmounted.
                if asked && swallows.load(Ordering::SeqCst) {
                    let read = (&device).read(&mut vec![0; 1 << 18]);
                    has_swallowed.fetch_or(read.is_ok(), Ordering::SeqCst);
                } else if answers.load(Ordering::SeqCst) && (!asked || answer(&device, &tree, &silence).is_none()) {
                    std::thread::yield_now();
                }
            }
        }));
        fuse
    }

    /// The shell command that mounts the file system on a directory, whose name must follow.
    pub const MOUNT: &str = "mount -i -t fuse -o fd=0,rootmode=40000,user_id=0,group_id=0,allow_other none";

    /// The standard input of the process that mounts the file system.
    pub fn device(&self) -> Stdio {
        self.device.try_clone().expect("another descriptor").into()
    }

    /// From now on the server does not answer.
    pub fn fall_silent(&self) {
        self.answers.store(false, Ordering::SeqCst);
    }

    /// From now on the server reads each request and answers none. A process that waits for such an answer is ended by no
    /// signal.
    pub fn swallow(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }

    /// Whether the server has read a request since, which it does not answer.
    pub fn has_swallowed(&self) -> bool {
        self.has_swallowed.load(Ordering::SeqCst)
    }

    /// From now on the server answers everything but this request.
    pub fn never_answer(&self, request: Request) {
        *self.never_answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    }

    /// From now on the server answers everybody but this process.
    pub fn never_answer_to(&self, process: i32) {
        self.ignored.store(process, Ordering::SeqCst);
    }

    /// The server answers again, including requests of processes that have waited.
    pub fn answer_again(&self) {
        self.answers.store(true, Ordering::SeqCst);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = self.server.take().map(JoinHandle::join);
    }
}

/// What is not answered.
struct Silence {
    request: Arc<Mutex<Option<Request>>>,
    /// This process gets no answers.
    process: Arc<AtomicI32>,
}

/// Answers one request, if there is one. The formats are those of linux/fuse.h, version 7.31.
fn answer(mut device: &File, tree: &Tree, silence: &Silence) -> Option<()> {
    const FORGET: [u32; 3] = [2, 36, 42];
    const UNKNOWN: i32 = 38;
    const INIT: u32 = 26;
    let mut bytes = vec![0; 1 << 18];
    let length = device.read(&mut bytes).ok()?;
    let question = bytes.get(..length)?;
    let number = |at: usize| Some(u64::from_ne_bytes(question.get(at..at + 8)?.try_into().ok()?));
    let operation = u32::from_ne_bytes(question.get(4..8)?.try_into().ok()?);
    if FORGET.contains(&operation) {
        return Some(());
    }
    let (id, node) = (number(8)?, usize::try_from(number(16)?).ok()?);
    let body = question.get(40..)?;
    if u32::try_from(silence.process.load(Ordering::SeqCst)) == Ok(number_of_process(question)?) && operation != INIT {
        return Some(());
    }
    if let Some((silent, name)) = *silence.request.lock().unwrap_or_else(PoisonError::into_inner)
        && silent == operation
        && name_in(tree, operation, node, body) == Some(name.as_bytes())
    {
        return Some(());
    }
    let reply: Result<Vec<u8>, i32> = match operation {
        1 => look_up(tree, node, body.split(|byte| *byte == 0).next()?),
        3 => Ok([longs(&[0]), words(&[0, 0]), attributes(tree, node)].concat()),
        5 => Ok(content(tree, node).to_vec()),
        14 | 27 => Ok([longs(&[0]), words(&[0, 0])].concat()),
        15 => Ok(content(tree, node).get(usize::try_from(number(48)?).ok()?..).unwrap_or_default().to_vec()),
        17 => Ok([longs(&[1000; 5]), words(&[4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0])].concat()),
        18 | 20 | 25 | 28 | 29 | 34 => Ok(Vec::new()),
        26 => Ok([words(&[7, 31, 65536, 0, 0x0009_000c, 65536, 1, 0]), words(&[0; 8])].concat()),
        _ => Err(UNKNOWN),
    };
    let (error, reply) = reply.map_or_else(|error| (-error, Vec::new()), |reply| (0, reply));
    let length = u32::try_from(16 + reply.len()).ok()?;
    let head = [words(&[length]), error.to_ne_bytes().to_vec(), longs(&[id])].concat();
    device.write_all(&[head, reply].concat()).ok()
}

/// The process that asks.
fn number_of_process(question: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(question.get(32..36)?.try_into().ok()?))
}

/// The numbers of the nodes: 1 is the top, and the others follow in the order of the tree.
fn look_up(tree: &Tree, folder: usize, name: &[u8]) -> Result<Vec<u8>, i32> {
    const MISSING: i32 = 2;
    let is_it = |(parent, known, _): &(Option<usize>, &str, Node)| {
        parent.map_or(1, |parent| parent + 2) == folder && known.as_bytes() == name
    };
    let node = tree.iter().position(is_it).ok_or(MISSING)? + 2;
    // The kernel caches nothing, and asks anew each time.
    Ok([longs(&[node as u64, 0, 0, 0]), words(&[0, 0]), attributes(tree, node)].concat())
}

/// The name of the entry that a request is about.
fn name_in<'a>(tree: &'a Tree, operation: u32, node: usize, body: &'a [u8]) -> Option<&'a [u8]> {
    const LOOKUP: u32 = 1;
    match node.checked_sub(2) {
        _ if operation == LOOKUP => body.split(|byte| *byte == 0).next(),
        None => Some(b""),
        Some(index) => tree.get(index).map(|(_, name, _)| name.as_bytes()),
    }
}

fn attributes(tree: &Tree, node: usize) -> Vec<u8> {
    let mode = match node.checked_sub(2).and_then(|index| tree.get(index)) {
        None | Some((_, _, Node::Directory)) => 0o040_755,
        Some((_, _, Node::Program(_))) => 0o100_755,
        Some((_, _, Node::Link(_))) => 0o120_777,
    };
    let length = content(tree, node).len() as u64;
    [longs(&[node as u64, length, 1, 1, 1, 1]), words(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])].concat()
}

fn content(tree: &Tree, node: usize) -> &[u8] {
    match node.checked_sub(2).and_then(|index| tree.get(index)) {
        None | Some((_, _, Node::Directory)) => b"",
        Some((_, _, Node::Program(text))) => text.as_bytes(),
        Some((_, _, Node::Link(to))) => to.as_os_str().as_bytes(),
    }
}

fn longs(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}
