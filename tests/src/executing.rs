//! A process that executes a program and never becomes it, as any account can make one. Until it does, the kernel keeps
//! everybody waiting who asks for most of what `/proc` shows of it.

use crate::fuse::fuse_device;
use crate::{Scratch, has};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown};
use std::ffi::OsStr;
use std::fs;

/// It mounts a FUSE file system in a user namespace of its own, whose server answers until a file there is open. When it
/// executes a program then, the kernel closes the file, and waits for the server. No signal ends that wait, only the end
/// of the server, whose number is in the file `FOLDER.server`.
const PROGRAM: &str = r"
import ctypes, os, struct, sys, time
device, folder = sys.argv[1:]
libc = ctypes.CDLL(None)
fuse = os.open(device, os.O_RDWR)
how = b'fd=%d,rootmode=40000,user_id=0,group_id=0' % fuse
if libc.mount(b'none', folder.encode(), b'fuse', 0, how):
    sys.exit('unable to mount')
def serve():
    # It ends soon in any case: programs such as ps wait for the process too.
    libc.alarm(100)
    with open(folder + '.server', 'w') as file:
        print(os.getpid(), file=file)
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
        elif operation in (2, 42, 36):
            continue
        elif operation not in (18, 25):
            error = 38
        os.write(fuse, struct.pack('<IiQ', 16 + len(body), -error, number) + body)
        if operation == 14:
            while True:
                time.sleep(1)
if os.fork() == 0:
    os.setsid()
    serve()
os.open(folder + '/file', os.O_RDONLY | os.O_CLOEXEC)
os.close(fuse)
os.execvp('sleep', ['sleep', '1000'])
";

/// The shell command by which a script becomes such a process of the user nobody; `None` where that is not possible, which
/// is said. Each such process needs a `folder` of its own.
pub fn executing_for_ever(scratch: &Scratch, folder: &str) -> Option<String> {
    if !["python3", "setpriv", "unshare", "timeout"].into_iter().all(has) {
        return None;
    }
    let device = fuse_device(scratch)?;
    scratch.file("executing.py", PROGRAM);
    scratch.dir(folder);
    scratch.file(format!("{folder}.server"), "");
    let server = scratch.path().join(format!("{folder}.server"));
    chown(&server, Some(65534.into()), None).expect("give the file to nobody");
    let [program, folder] = ["executing.py", folder].map(|name| scratch.path().join(name));
    let account = "setpriv --reuid=65534 --regid=65534 --clear-groups unshare -U -r -m";
    Some(format!("exec {account} python3 {} {} {}", program.display(), device.display(), folder.display()))
}

/// Lets all such processes of this scratch directory become their programs.
pub fn let_them_execute(scratch: &Scratch) {
    for entry in fs::read_dir(scratch.path()).expect("read the directory").flatten() {
        if entry.path().extension() == Some(OsStr::new("server")) {
            let server = fs::read_to_string(entry.path()).ok().and_then(|pid| pid.trim().parse().ok());
            let _ = kill(Pid::from_raw(server.expect("a number")), Signal::SIGKILL);
        }
    }
}

/// Whether such a process has come to where it stays.
pub fn is_executing_for_ever(scratch: &Scratch, pid: i32) -> bool {
    let stat = format!("/proc/{pid}/stat");
    scratch.outcome_of(scratch.command("timeout").args(["0.5", "cat", &stat])).code == 124
}
