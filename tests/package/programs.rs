//! The programs that package/compile puts into ./command. Building takes a minute or two: `cargo test -- --ignored`.

use crate::tree::{Workshop, can_unshare, commands, identities, succeed, unshare, workspace, write_program};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tests::{Running, copy_program, is_root, wait_until};

/// The limit in bytes for most programs. A program that exceeds it has probably gained a dependency that it should not
/// have.
const LARGEST: u64 = 2 << 20;
/// The limit for programs with regular expressions, calendars or decompression, and for svctl, which does the work of several.
const LARGEST_READERS: u64 = 4 << 20;

fn compile() {
    succeed(Command::new(workspace().join("package/compile")).env_remove("RUSTFLAGS"));
}

/// Builds the programs and returns their folder.
fn compiled() -> PathBuf {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(compile);
    workspace().join("command")
}

/// What an ELF file says about itself.
struct Elf {
    bytes: Vec<u8>,
}

impl Elf {
    /// The type of an executable at a fixed address (ET_EXEC). It has no relocations except those of its own start-up.
    const FIXED: u64 = 2;
    const DYNAMIC: u64 = 2;
    const INTERPRETER: u64 = 3;
    const SYMBOLS: u64 = 2;

    fn read(path: &Path) -> Elf {
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes[..6], *b"\x7fELF\x02\x01", "{} is not 64-bit little-endian ELF", path.display());
        Elf { bytes }
    }

    fn number(&self, at: u64, length: usize) -> u64 {
        let at = usize::try_from(at).unwrap();
        self.bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn kind(&self) -> u64 {
        self.number(16, 2)
    }

    fn segments(&self) -> Vec<u64> {
        let (table, size, count) = (self.number(32, 8), self.number(54, 2), self.number(56, 2));
        (0..count).map(|index| self.number(table + index * size, 4)).collect()
    }

    fn sections(&self) -> Vec<u64> {
        let (table, size, count) = (self.number(40, 8), self.number(58, 2), self.number(60, 2));
        (0..count).map(|index| self.number(table + index * size + 4, 4)).collect()
    }
}

#[test]
#[ignore = "builds the release"]
fn every_program_is_static_without_relocations_stripped_and_small() {
    let folder = compiled();
    for command in commands() {
        let path = folder.join(&command);
        let elf = Elf::read(&path);
        assert_eq!(elf.kind(), Elf::FIXED, "{command} can be relocated");
        assert!(!elf.segments().contains(&Elf::INTERPRETER), "{command} needs a dynamic linker");
        assert!(!elf.segments().contains(&Elf::DYNAMIC), "{command} needs dynamic linking");
        assert!(!elf.sections().contains(&Elf::SYMBOLS), "{command} is not stripped");
        let largest = if ["logcompress", "multilog", "svctl", "svlog"].contains(&command.as_str()) {
            LARGEST_READERS
        } else {
            LARGEST
        };
        assert!(path.metadata().unwrap().len() <= largest, "{command} is too large");
    }
}

#[test]
#[ignore = "builds the release"]
fn a_second_time_changes_nothing() {
    let before = identities(&compiled());
    compile();
    assert_eq!(identities(&compiled()), before);
}

#[test]
#[ignore = "builds the release"]
fn the_completions_are_what_svctl_prints() {
    let svctl = compiled().join("svctl");
    for (file, shell) in [("svctl", "bash"), ("_svctl", "zsh"), ("svctl.fish", "fish")] {
        let printed = Command::new(&svctl).args(["completion", shell]).output().unwrap();
        assert_eq!(fs::read(workspace().join("completions").join(file)).unwrap(), printed.stdout, "{shell}");
    }
}

/// An image with only our programs in /command, run in a pid namespace of its own.
struct Image(Workshop);

impl Image {
    const NAMESPACES: [&str; 3] = ["--pid", "--fork", "--kill-child"];

    fn new() -> Option<Image> {
        let image = Image(Workshop::new());
        fs::create_dir_all(image.root().join("command")).unwrap();
        for command in commands() {
            copy_program(compiled().join(&command), image.root().join("command").join(&command));
        }
        can_unshare(&Image::NAMESPACES).then_some(image)
    }

    fn root(&self) -> PathBuf {
        self.0.path("an image")
    }

    /// Runs words separated by blanks in the image. All processes that they start end with them.
    fn run(&self, words: &str) -> Command {
        let mut command = unshare(&Image::NAMESPACES);
        command.arg("chroot").arg(self.root()).args(words.split(' '));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

#[test]
#[ignore = "builds the release"]
fn in_an_empty_image_services_are_supervised() {
    let Some(image) = Image::new() else { return };
    fs::create_dir_all(image.root().join("service/web")).unwrap();
    fs::create_dir_all(image.root().join("dev")).unwrap();
    fs::write(image.root().join("dev/null"), "").unwrap();
    write_program(&image.root().join("service/web/run"), "#!/command/setlock\n");
    let mut boot = image.run("/command/svscanboot").spawn().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    let supervised = || image.run("/command/svok /service/web").status().unwrap().success();
    while !supervised() {
        assert!(Instant::now() < limit, "not supervised");
        std::thread::sleep(Duration::from_millis(50));
    }
    boot.kill().unwrap();
    boot.wait().unwrap();
    while supervised() {
        assert!(Instant::now() < limit, "something is left");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "builds the release"]
fn accounts_are_found_in_the_images_passwd() {
    let Some(image) = Image::new() else { return };
    fs::create_dir_all(image.root().join("service")).unwrap();
    // Without such a file, numbers are accepted.
    let numbers = image.run("/command/setuidgid :1000:1000 /command/svok /service").status().unwrap();
    assert_eq!(numbers.code(), Some(100));
    fs::create_dir_all(image.root().join("etc")).unwrap();
    fs::write(image.root().join("etc/passwd"), "tester:x:0:0::/:/bin/sh\n").unwrap();
    let known = image.run("/command/setuidgid tester /command/svok /service").status().unwrap();
    assert_eq!(known.code(), Some(100));
    let unknown = image.run("/command/setuidgid stranger /command/svok /service").output().unwrap();
    assert_eq!(unknown.status.code(), Some(111));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("unknown account stranger"), "{unknown:?}");
}

/// The answer of the example's service.
fn ask(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// The example of a container: its programs and services, and nothing else. Its service is a static program and needs
/// no shell. It is essential, and ends with code 0.
#[test]
#[ignore = "builds the release"]
fn the_example_of_a_container_serves_and_ends_when_its_service_is_done() {
    let Some(image) = Image::new() else { return };
    let example = workspace().join("examples/container");
    let file = fs::read_to_string(example.join("Containerfile")).unwrap();
    let copied = file.lines().find_map(|line| line.strip_prefix("COPY command/")).unwrap();
    let copied: Vec<_> = copied.split(' ').map(|program| program.trim_start_matches("command/")).collect();
    for command in commands().iter().filter(|command| !copied.contains(&command.as_str())) {
        fs::remove_file(image.root().join("command").join(command)).unwrap();
    }
    succeed(Command::new("cp").arg("-r").arg(example.join("service")).arg(image.root()));
    let compile = file.lines().find_map(|line| line.strip_prefix("#   rustc ")).unwrap();
    let words = compile.split(' ').map(|word| word.replace("target/container", image.root().to_str().unwrap()));
    succeed(Command::new("rustc").current_dir(workspace()).args(words));

    let output = fs::File::create(image.0.path("output")).unwrap();
    let mut svscan = unshare(&Image::NAMESPACES);
    svscan.arg("chroot");
    if is_root() {
        succeed(Command::new("chown").args(["-R", "1000:1000"]).arg(image.root().join("service")));
        svscan.arg("--userspec=1000:1000");
    }
    svscan.arg(image.root()).args(["/command/svscan", "/service"]).env_clear();
    svscan.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("ADDRESS", "127.0.0.1:0");
    let svscan = Running(svscan.stderr(output.try_clone().unwrap()).stdout(output).spawn().unwrap());
    let said = || fs::read_to_string(image.0.path("output")).unwrap();
    let address = || said().lines().find_map(|line| line.strip_prefix("hello: listening on ").map(String::from));
    wait_until("the service listens", || address().is_some());
    assert!(ask(&address().unwrap(), "/").ends_with("\r\n\r\nhello\n"));
    ask(&address().unwrap(), "/stop");
    assert_eq!(svscan.wait().code(), Some(0), "{}", said());
    assert!(said().contains("hello: done\n"), "{}", said());
}
