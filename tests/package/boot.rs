//! The ways in which svscan is started at boot: a line in inittab, a unit of systemd, or instructions for the user.

use crate::tree::{Workshop, can_unshare, contents, identities, refuse, succeed, unshare, workspace, write_program};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::skip;

const LINE: &str = "SV:123456:respawn:/command/svscanboot\n";

#[test]
fn the_line_goes_to_the_end_of_inittab_and_away_again_to_the_byte() {
    for (before, after) in [
        ("id:2:initdefault:\n", "id:2:initdefault:\nSV:123456:respawn:/command/svscanboot\n"),
        ("no newline at the end", "no newline at the end\nSV:123456:respawn:/command/svscanboot\n"),
        ("", LINE),
        ("\n\n", "\n\nSV:123456:respawn:/command/svscanboot\n"),
        ("dos\r\n", "dos\r\nSV:123456:respawn:/command/svscanboot\n"),
        ("a NUL\0", "a NUL\0\nSV:123456:respawn:/command/svscanboot\n"),
        ("# svscanboot is not here\n", "# svscanboot is not here\nSV:123456:respawn:/command/svscanboot\n"),
    ] {
        let workshop = Workshop::new();
        let table = workshop.image().join("etc/inittab");
        fs::write(&table, before).unwrap();
        let told = table.metadata().unwrap();
        workshop.install();
        assert_eq!(fs::read_to_string(&table).unwrap(), after);
        workshop.remove();
        assert_eq!(fs::read_to_string(&table).unwrap(), before);
        let now = table.metadata().unwrap();
        assert_eq!((now.ino(), now.mode(), now.mtime()), (told.ino(), told.mode(), told.mtime()));
        assert_eq!(now.mtime_nsec(), told.mtime_nsec());
    }
}

#[test]
fn an_inittab_that_is_a_link_stays_one() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::write(image.join("etc/inittab.real"), "id:2:initdefault:\n").unwrap();
    symlink("inittab.real", image.join("etc/inittab")).unwrap();
    let before = contents(&image);
    workshop.install();
    assert!(fs::read_to_string(image.join("etc/inittab.real")).unwrap().ends_with(LINE));
    assert!(image.join("etc/inittab").is_symlink());
    workshop.remove();
    assert_eq!(contents(&image), before);
}

#[test]
fn an_inittab_that_has_svscanboot_already_is_left_alone() {
    for table in ["x:2345:respawn:/command/svscanboot\n", LINE] {
        let workshop = Workshop::new();
        let image = workshop.image();
        fs::write(image.join("etc/inittab"), table).unwrap();
        let before = identities(&image.join("etc"));
        workshop.install();
        workshop.install();
        workshop.remove();
        assert_eq!(identities(&image.join("etc")), before);
    }
}

#[test]
fn an_inittab_that_uses_the_name_for_something_else_is_left_alone() {
    let workshop = Workshop::new();
    let table = workshop.image().join("etc/inittab");
    fs::write(&table, "SV:2:once:/bin/other\n").unwrap();
    succeed(&mut workshop.script("upgrade"));
    let words = refuse(&mut workshop.script("run"), 111);
    assert!(words.contains("add this one with a free id: SV:123456:respawn:/command/svscanboot"), "{words}");
    assert_eq!(fs::read_to_string(&table).unwrap(), "SV:2:once:/bin/other\n");
    workshop.remove();
}

#[test]
fn what_others_wrote_into_inittab_since_stays() {
    let workshop = Workshop::new();
    let table = workshop.image().join("etc/inittab");
    fs::write(&table, "first\n").unwrap();
    workshop.install();
    let written = fs::read_to_string(&table).unwrap();
    fs::write(&table, format!("zeroth\n{written}last\n")).unwrap();
    workshop.remove();
    assert_eq!(fs::read_to_string(&table).unwrap(), "zeroth\nfirst\nlast\n");
}

#[test]
fn busybox_reads_the_first_field_as_a_terminal_so_it_is_empty() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::create_dir(image.join("sbin")).unwrap();
    symlink("/bin/busybox", image.join("sbin/init")).unwrap();
    fs::write(image.join("etc/inittab"), "::sysinit:/sbin/openrc\n").unwrap();
    let before = contents(&image);
    workshop.install();
    let table = fs::read_to_string(image.join("etc/inittab")).unwrap();
    assert_eq!(table, "::sysinit:/sbin/openrc\n::respawn:/command/svscanboot\n");
    workshop.remove();
    assert_eq!(contents(&image), before);
}

#[test]
fn systemd_accepts_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip("systemd is not installed");
    }
    let folder = tempfile::TempDir::new().unwrap();
    let unit = fs::read_to_string(workspace().join("package/boot.systemd")).unwrap();
    let here = folder.path().join("svscanboot.service");
    fs::write(&here, unit.replace("/command/svscanboot", "/bin/true")).unwrap();
    let words = succeed(Command::new("systemd-analyze").args(["--man=no", "verify"]).arg(&here));
    assert!(!words.contains("svscanboot.service"), "{words}");
}

/// A machine in a mount namespace: it has this machine's programs, but its own /etc, /run and /usr/local, and stand-ins
/// for the programs that talk to init.
struct Machine {
    workshop: Workshop,
    root: PathBuf,
}

impl Machine {
    fn new() -> Option<Machine> {
        let workshop = Workshop::new();
        let root = workshop.path("machine");
        for folder in ["dev", "etc", "fakes", "proc", "run", "sbin", "source", "tmp", "usr", "local"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for part in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{part}"), root.join(part)).unwrap();
        }
        for fake in ["telinit", "systemctl"] {
            write_program(
                &root.join("fakes").join(fake),
                &format!("#!/bin/sh\necho {fake} $* >>/tmp/told\ncase $1 in is-*) test -e /run/is-enabled; esac\n"),
            );
        }
        can_unshare(&["--mount"]).then_some(Machine { workshop, root })
    }

    /// A shell command on that machine, run as its root.
    fn command(&self, words: &str) -> Command {
        let enter = "mount --rbind /usr \"$1/usr\" && mount --bind \"$1/local\" \"$1/usr/local\" &&
            mount --rbind /dev \"$1/dev\" && mount --rbind /proc \"$1/proc\" && mount --bind \"$2\" \"$1/source\" &&
            exec chroot \"$1\" env -i PATH=/fakes:/usr/bin:/bin sh -c \"$3\"";
        let mut command = unshare(&["--mount"]);
        command.args(["sh", "-c", enter, "enter"]).arg(&self.root).arg(self.workshop.path("source")).arg(words);
        command
    }

    fn script(&self, name: &str) -> String {
        succeed(&mut self.command(&format!("/source/package/{name}")))
    }

    /// The commands that init has received since the last call.
    fn told(&self) -> String {
        let file = self.root.join("tmp/told");
        let told = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(&file);
        told
    }

    fn contents(&self) -> crate::tree::Snapshot {
        contents(&self.root)
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn a_running_sysv_init_reads_its_table_again_once() {
    let Some(machine) = Machine::new() else { return };
    fs::write(machine.root.join("etc/inittab"), "id:2:initdefault:\n").unwrap();
    let before = machine.contents();
    machine.script("upgrade");
    machine.script("run");
    assert_eq!(machine.told(), "telinit q\n");
    machine.script("upgrade");
    machine.script("run");
    assert_eq!(machine.told(), "");
    machine.script("remove");
    assert_eq!(machine.told(), "telinit q\n");
    assert_eq!(machine.contents(), before);
}

#[test]
fn an_inittab_that_cannot_be_written_is_left_alone() {
    let Some(machine) = Machine::new() else { return };
    let table = machine.root.join("etc/inittab");
    fs::write(&table, "id:2:initdefault:\n").unwrap();
    machine.script("upgrade");
    let read_only = "mount --bind /etc/inittab /etc/inittab; mount -o remount,bind,ro /etc/inittab;";
    let words = refuse(&mut machine.command(&format!("{read_only} /source/package/run")), 111);
    assert!(words.contains("unable to write /etc/inittab: left as it is; add this line: SV:123456:"), "{words}");
    machine.script("run");
    let installed = machine.contents();
    assert!(exists(&machine.root.join("package")));
    let words = refuse(&mut machine.command(&format!("{read_only} /source/package/remove")), 111);
    assert!(words.contains("unable to write /etc/inittab: nothing was undone; take this line out: SV:"), "{words}");
    assert_eq!(machine.contents(), installed);
    machine.script("remove");
    assert_eq!(fs::read_to_string(&table).unwrap(), "id:2:initdefault:\n");
    assert!(!exists(&machine.root.join("package")));
}

#[test]
fn a_running_systemd_enables_the_unit_once() {
    let Some(machine) = Machine::new() else { return };
    fs::create_dir_all(machine.root.join("run/systemd/system")).unwrap();
    fs::write(machine.root.join("etc/inittab"), "left over\n").unwrap();
    let before = machine.contents();
    machine.script("upgrade");
    machine.script("run");
    let unit = "/usr/local/lib/systemd/system/svscanboot.service";
    let told = machine.told();
    assert!(told.starts_with("systemctl daemon-reload\n"), "{told}");
    assert!(told.ends_with(&format!("systemctl enable --now {unit}\n")), "{told}");
    fs::write(machine.root.join("run/is-enabled"), "").unwrap();
    machine.script("run");
    assert!(!machine.told().contains("enable --now"));
    fs::remove_file(machine.root.join("run/is-enabled")).unwrap();
    machine.script("remove");
    assert_eq!(machine.told(), "systemctl disable --now svscanboot.service\nsystemctl daemon-reload\n");
    assert_eq!(machine.contents(), before);
}

#[test]
fn without_either_it_says_what_to_run() {
    let Some(machine) = Machine::new() else { return };
    let before = machine.contents();
    machine.script("upgrade");
    let words = machine.script("run");
    assert!(words.contains("In a container, run: /command/svscan /service"), "{words}");
    assert!(exists(&machine.root.join("command/svscanboot")));
    machine.script("remove");
    assert_eq!(machine.contents(), before);
}

#[test]
fn no_service_is_left_without_its_programs() {
    let Some(machine) = Machine::new() else { return };
    write_program(&machine.workshop.path("source/command/svok"), "#!/bin/sh\ntest -e \"$1/run\"\n");
    machine.script("upgrade");
    machine.script("run");
    fs::create_dir(machine.root.join("service/web")).unwrap();
    fs::write(machine.root.join("service/web/run"), "").unwrap();
    let installed = machine.contents();
    let words = refuse(&mut machine.command("/source/package/remove"), 111);
    assert!(words.contains("/service/web is supervised: cd /service/web; rm /service/web; svc -dx ."), "{words}");
    assert_eq!(machine.contents(), installed);
}

/// A shell command that starts a stand-in for one of our programs. The stand-in does nothing and is recognized by its
/// file. The command waits until it runs, and writes its number to /tmp/process.
fn stand_in(machine: &Machine, program: &str) -> String {
    let file = machine.workshop.path("source/command").join(program);
    fs::remove_file(&file).unwrap();
    succeed(Command::new("cp").arg("/usr/bin/sleep").arg(&file));
    format!(
        "cd /etc; /command/{program} 1000 >/dev/null 2>&1 & echo $! >/tmp/process
        until readlink /proc/$!/exe | grep -q admin; do sleep 0.01; done; cd /;"
    )
}

#[test]
fn a_process_that_waits_for_services_is_named_with_what_stops_it() {
    for (program, cure) in [("svscanboot", "kill PROCESS"), ("svscan", "kill PROCESS"), ("supervise", "svc -dx /etc")] {
        let Some(machine) = Machine::new() else { return };
        let start = stand_in(&machine, program);
        let before = machine.contents();
        machine.script("upgrade");
        machine.script("run");
        let installed = machine.contents();
        let story = format!(
            "{start} /source/package/remove && echo unexpected; ls -d /command/svc
            kill $!; wait $!; exec /source/package/remove"
        );
        let words = succeed(&mut machine.command(&story));
        let process = fs::read_to_string(machine.root.join("tmp/process")).unwrap();
        let expected = format!(
            "package/remove: {program} (process PROCESS) is running: no file was removed; stop it ({cure}), then do this again\n"
        );
        assert!(words.contains(&expected.replace("PROCESS", process.trim())), "{words}");
        assert!(words.contains("/command/svc\n") && !words.contains("unexpected"), "{words}");
        fs::remove_file(machine.root.join("tmp/process")).unwrap();
        assert_eq!(machine.contents(), before);
        assert_ne!(installed, before);
    }
}

#[test]
fn an_init_that_stops_svscanboot_itself_is_waited_for() {
    let Some(machine) = Machine::new() else { return };
    fs::write(machine.root.join("etc/inittab"), "id:2:initdefault:\n").unwrap();
    let start = stand_in(&machine, "svscanboot");
    let before = machine.contents();
    machine.script("upgrade");
    machine.script("run");
    machine.told();
    let slow = "#!/bin/sh\n(sleep 1; kill $(cat /tmp/process); rm /tmp/process) >/dev/null 2>&1 &\n";
    write_program(&machine.root.join("fakes/telinit"), slow);
    let words = succeed(&mut machine.command(&format!("{start} exec /source/package/remove")));
    assert_eq!(words, "");
    let changed: Vec<_> = machine.contents().into_iter().filter(|entry| !before.contains_key(&entry.0)).collect();
    assert_eq!(changed, []);
}
