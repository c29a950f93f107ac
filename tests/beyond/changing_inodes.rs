//! A file system that does not keep the numbers of its files. Some real ones number files in the order of lookups: each
//! time the kernel looks up a name, the file has another number.
//!
//! The file system has a directory `web` with a script `run` and a link `supervise`. It speaks the FUSE protocol over a
//! descriptor of /dev/fuse, which another process mounts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::thread::spawn;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Root,
    Web,
    Run,
    Supervise,
}

pub struct ChangingInodes {
    device: File,
    nodes: HashMap<u64, Node>,
    run: Vec<u8>,
    supervise: Vec<u8>,
}

impl ChangingInodes {
    /// Serves the file system until it is unmounted.
    pub fn serve(device: File, run: &str, supervise: &str) {
        let nodes = HashMap::from([(1, Node::Root)]);
        let mut server = ChangingInodes { device, nodes, run: run.into(), supervise: supervise.into() };
        spawn(move || {
            let mut request = vec![0; 1 << 18];
            loop {
                match server.device.read(&mut request) {
                    Ok(length) => server.answer(&request[..length]),
                    // The file system is not mounted yet, or not mounted any more.
                    Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => std::thread::yield_now(),
                    Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => {}
                    Err(_) => return,
                }
            }
        });
    }

    fn answer(&mut self, request: &[u8]) {
        let number = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("eight bytes"));
        let small = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
        let (operation, unique, node, body) = (small(4), number(8), number(16), &request[40..]);
        let kind = self.nodes.get(&node).copied().unwrap_or(Node::Root);
        let answer = match operation {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return,
            // LOOKUP
            1 => {
                let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
                match (kind, name) {
                    (Node::Root, b"web") => self.found(Node::Web),
                    (Node::Web, b"run") => self.found(Node::Run),
                    (Node::Web, b"supervise") => self.found(Node::Supervise),
                    _ => Err(nix::libc::ENOENT),
                }
            }
            // GETATTR
            3 => Ok([words(&[0, 0]), self.attributes(node)].concat()),
            // READLINK
            5 => Ok(self.supervise.clone()),
            // OPEN, OPENDIR
            14 | 27 => Ok(words(&[0, 0])),
            // READ
            15 => {
                let from = usize::try_from(number(48)).unwrap_or(0).min(self.run.len());
                Ok(self.run[from..].to_vec())
            }
            // STATFS
            17 => Ok([words(&[1000; 5]), halves(&[4096, 255, 4096, 0]), words(&[0; 3])].concat()),
            // RELEASE, FSYNC, FLUSH, READDIR (with no entries), RELEASEDIR
            18 | 20 | 25 | 28 | 29 => Ok(Vec::new()),
            // INIT
            26 => Ok([halves(&[7, 31, 65536, 0]), vec![12, 0, 9, 0], halves(&[65536, 1]), vec![0; 32]].concat()),
            _ => Err(nix::libc::ENOSYS),
        };
        let (error, bytes) = answer.map_or_else(|errno| (-errno, Vec::new()), |bytes| (0, bytes));
        let length = u32::try_from(16 + bytes.len()).expect("short");
        let head = [length.to_ne_bytes().to_vec(), error.to_ne_bytes().to_vec(), unique.to_ne_bytes().to_vec()];
        // If the process that asked was interrupted, the kernel refuses the answer.
        let _ = self.device.write(&[head.concat(), bytes].concat());
    }

    /// Gives the file a new number. The kernel may not cache it.
    fn found(&mut self, kind: Node) -> Result<Vec<u8>, i32> {
        let node = 100 + self.nodes.len() as u64;
        self.nodes.insert(node, kind);
        Ok([words(&[node, 0, 0, 0, 0]), self.attributes(node)].concat())
    }

    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = match self.nodes.get(&node) {
            Some(Node::Run) => (0o100_755, self.run.len() as u64),
            Some(Node::Supervise) => (0o120_777, self.supervise.len() as u64),
            _ => (0o40_755, 0),
        };
        [words(&[node, size, 1, 0, 0, 0]), halves(&[0, 0, 0, mode, 2, 0, 0, 0, 4096, 0])].concat()
    }
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn halves(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}
