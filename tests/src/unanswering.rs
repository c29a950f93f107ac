//! A process that keeps every reader of its arguments and of its environment waiting, as any account can make one.

use crate::fuse::fuse_device;
use crate::{Daemon, Scratch, has, is_alive, skip, wait_until};
use std::path::Path;
use std::process::Stdio;

/// The process needs no right: it mounts a FUSE file system of its own in a user namespace of its own. One of its threads
/// waits for a page of a file there, which the server never delivers, and holds the memory map of the process for reading.
/// Another one waits to change the map. From then on no other process gets at it.
///
/// Only a page that could not be read ahead is waited for in this way, so the server refuses the first requests to read.
const PROGRAM: &str = r"
import ctypes, os, struct, sys, threading, time
device, folder, name, refused = sys.argv[1:]
libc = ctypes.CDLL(None)
# It ends with the test, and in any case soon: programs such as ps wait for it too.
libc.prctl(1, 9)
libc.alarm(60)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
fuse = os.open(device, os.O_RDWR)
how = b'fd=%d,rootmode=40000,user_id=0,group_id=0' % fuse
if libc.mount(b'none', folder.encode(), b'fuse', 0, how):
    sys.exit('unable to mount')
silent, server = os.pipe(), None
def serve():
    libc.prctl(1, 9)
    reads = 0
    while True:
        question = os.read(fuse, 1 << 18)
        operation, number, node = struct.unpack_from('<4xIQQ', question)
        mode, length = (0o40755, 0) if node == 1 and operation != 1 else (0o100644, 1 << 20)
        attributes = struct.pack('<6Q10I', node, length, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
        error, body = 0, b''
        if operation == 26:
            body = struct.pack('<4IHHIIHHI7I', 7, 31, 65536, 0, 12, 9, 65536, 1, 0, 0, 0, *7 * [0])
        elif operation == 1:
            body = struct.pack('<4Q2I', 2, 0, 0, 0, 0, 0) + attributes
        elif operation == 3:
            body = struct.pack('<Q2I', 0, 0, 0) + attributes
        elif operation == 14:
            body = struct.pack('<QII', 0, 0, 0)
        elif operation == 15:
            reads += 1
            if reads > int(refused):
                os.write(silent[1], b'.')
                continue
            error = 5
        elif operation in (2, 42, 36):
            continue
        elif operation not in (18, 25):
            error = 38
        os.write(fuse, struct.pack('<IiQ', 16 + len(body), -error, number) + body)
if os.fork() == 0:
    serve()
file = os.open(folder + '/file', os.O_RDONLY)
page, buffer = libc.mmap(None, 4096, 1, 2, file, 0), ctypes.create_string_buffer(1)
os.close(fuse)
libc.prctl(15, name.encode())
threading.Thread(target=libc.memcpy, args=(buffer, page, 1), daemon=True).start()
os.read(silent[0], 1)
time.sleep(0.1)
libc.mmap(None, 4096, 3, 0x22, -1, 0)
";

/// Such a process. It ends with this value.
pub struct Unanswering(Daemon);

impl Unanswering {
    /// Starts such a process of the user nobody that has this name; `None` where that is not possible, which is said.
    pub fn start(scratch: &Scratch, name: &str) -> Option<Unanswering> {
        if !["python3", "setpriv", "unshare", "timeout"].into_iter().all(has) {
            return None;
        }
        let device = fuse_device(scratch)?;
        // How many requests the kernel makes to read ahead depends on the kernel.
        let with = |refused| Unanswering::with(scratch, &device, name, refused);
        let found = ["2", "1", "3", "0"].into_iter().find_map(with);
        if found.is_none() {
            skip("no process of this account can keep the readers of its environment waiting here");
        }
        found
    }

    fn with(scratch: &Scratch, device: &Path, name: &str, refused: &str) -> Option<Unanswering> {
        let folder = format!("unanswering.{}", scratch.next());
        scratch.dir(&folder);
        let folder = scratch.path().join(folder);
        let mut command = scratch.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-U", "-r", "-m"]);
        command.args(["python3", "-c", PROGRAM]).arg(device).arg(&folder);
        let process = Unanswering(Daemon::start(command.args([name, refused]).stdout(Stdio::null()), scratch));
        let pid = process.pid();
        let mut waits = false;
        wait_until("it waits, or has ended", || {
            let environment = format!("/proc/{pid}/environ");
            let read = scratch.outcome_of(scratch.command("timeout").args(["0.5", "cat", &environment]));
            waits = read.code == 124;
            waits || !is_alive(pid)
        });
        waits.then_some(process)
    }

    pub fn pid(&self) -> i32 {
        self.0.pid()
    }
}
