//! privatedir: a directory for an account, in places where other accounts may put what they want.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use tests::{Daemon, Outcome, Scratch, fails, fifo, has, is_root, prints, skip, wait_until};

const WEB: u32 = 54_321;
const STRANGER: u32 = 54_322;

/// The owner, group and mode of what lies there itself.
fn state(path: &Path) -> (u32, u32, u32) {
    let file = fs::symlink_metadata(path).unwrap();
    (file.uid(), file.gid(), file.mode() & 0o7777)
}

/// A scratch directory in which this account and others have directories.
struct Place(Scratch);

impl Place {
    fn new() -> Option<Place> {
        if !is_root() {
            skip("needs root");
            return None;
        }
        let place = Place(Scratch::new());
        for (name, owner, group, mode) in [
            ("roots", 0, 0, 0o755),
            ("webs", WEB, WEB, 0o755),
            ("strangers", STRANGER, STRANGER, 0o755),
            // As /var/log of some systems, and as /tmp.
            ("shared", 0, STRANGER, 0o775),
            ("sticky", 0, 0, 0o1777),
        ] {
            place.directory(name, owner, group, mode);
        }
        Some(place)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn directory(&self, name: &str, owner: u32, group: u32, mode: u32) {
        fs::create_dir(self.at(name)).unwrap();
        chown(self.at(name), Some(owner), Some(group)).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs privatedir for the account of the web.
    fn give(&self, options: &str, dir: &str) -> Outcome {
        let mut command = self.0.command("privatedir");
        command.args(options.split_whitespace()).args([&format!(":{WEB}:{WEB}"), dir, "echo", "ran"]);
        self.0.outcome_of(&mut command)
    }
}

fn refused(words: &str) -> Outcome {
    fails(111, &format!("privatedir: fatal: unable to {words}\n"))
}

const DIRECTORIES: [&str; 5] = ["roots", "webs", "strangers", "shared", "sticky"];

#[test]
fn a_directory_is_made_for_the_account_and_found_again() {
    let Some(place) = Place::new() else { return };
    for directory in DIRECTORIES {
        let dir = format!("{directory}/run");
        for (options, mode) in [("", 0o700), ("-m 750", 0o750), ("-m 02711", 0o2711), ("-m1777", 0o1777), ("", 0o700)] {
            assert_eq!(place.give(options, &dir), prints("ran\n"), "{dir} {options}");
            assert_eq!(state(&place.at(&dir)), (WEB, WEB, mode), "{dir} {options}");
        }
        fs::write(place.at(&dir).join("kept"), "").unwrap();
        assert_eq!(place.give("", &format!("./{dir}/")), prints("ran\n"));
        assert!(place.at(&dir).join("kept").exists());
    }
    // The group may be another one, and the mask of the caller has no meaning.
    let line = format!("umask 777; privatedir -m 0770 :{WEB}:12 \"$PWD/roots/other\" echo ran");
    assert_eq!(place.0.shell(&line), prints("ran\n"));
    assert_eq!(state(&place.at("roots/other")), (WEB, 12, 0o770));
    assert_eq!(place.0.shell("umask 027; privatedir root roots/mask sh -c umask"), prints("0027\n"));
    assert_eq!(state(&place.at("roots/mask")), (0, 0, 0o700));
}

#[test]
fn what_root_has_made_is_given_away_where_only_root_can_have_put_it() {
    let Some(place) = Place::new() else { return };
    for directory in DIRECTORIES {
        for (name, mode) in [("old", 0o755), ("secret", 0o400)] {
            let dir = format!("{directory}/{name}");
            place.directory(&dir, 0, 0, mode);
            fs::write(place.at(&dir).join("kept"), "").unwrap();
            let moved = "it belongs to root, and another account may have moved it there";
            if ["roots", "sticky"].contains(&directory) {
                assert_eq!(place.give("", &dir), prints("ran\n"), "{dir}");
                assert_eq!(state(&place.at(&dir)), (WEB, WEB, 0o700), "{dir}");
            } else {
                let words = format!("use directory {dir}: permission denied: {moved}");
                assert_eq!(place.give("", &dir), refused(&words), "{dir}");
                // Nor is it opened for others, if it shall be root's.
                let same = place.0.run(&format!("privatedir -m 777 root {dir} echo ran"));
                assert_eq!(same, refused(&words), "{dir}");
                assert_eq!(state(&place.at(&dir)), (0, 0, mode), "{dir}");
            }
        }
    }
}

#[test]
fn what_belongs_to_another_account_stays_as_it_is() {
    let Some(place) = Place::new() else { return };
    for directory in DIRECTORIES {
        let dir = format!("{directory}/theirs");
        place.directory(&dir, STRANGER, STRANGER, 0o755);
        let words = format!("use directory {dir}: permission denied: it belongs to account {STRANGER}");
        assert_eq!(place.give("", &dir), refused(&words));
        assert_eq!(state(&place.at(&dir)), (STRANGER, STRANGER, 0o755));
    }
}

#[test]
fn no_link_is_followed_at_the_end_and_no_file_is_taken_for_a_directory() {
    let Some(place) = Place::new() else { return };
    let target = place.at("roots/target");
    place.directory("roots/target", 0, 0, 0o755);
    fs::write(place.at("roots/file"), "").unwrap();
    for directory in DIRECTORIES {
        let at = |name: &str| place.at(directory).join(name);
        for (name, to) in [("link", target.as_path()), ("dangling", &at("nowhere")), ("loop", Path::new("loop"))] {
            symlink(to, at(name)).unwrap();
            lchown(at(name), Some(WEB), Some(WEB)).unwrap();
        }
        fs::write(at("file"), "").unwrap();
        fifo(&at("fifo")).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        for (name, why) in [
            ("link", "not a directory: it is a link"),
            ("dangling", "not a directory: it is a link"),
            ("loop", "not a directory: it is a link"),
            ("device", "not a directory: it is a link"),
            ("file", "not a directory"),
            ("fifo", "not a directory"),
        ] {
            let dir = format!("{directory}/{name}");
            assert_eq!(place.give("", &dir), refused(&format!("open directory {dir}: {why}")), "{dir}");
        }
        assert!(!at("nowhere").exists());
    }
    assert_eq!((state(&target), state(&place.at("roots/file"))), ((0, 0, 0o755), (0, 0, 0o644)));
}

#[test]
fn a_link_on_the_way_leads_only_where_its_maker_could_write_himself() {
    let Some(place) = Place::new() else { return };
    place.directory("roots/inner", 0, 0, 0o755);
    for (link, to, owner) in [
        ("roots/link", "inner", 0),
        ("webs/up", "../roots/inner", WEB),
        ("webs/roots", "../roots/inner", 0),
        ("webs/home", "../webs", WEB),
        ("strangers/to-web", "../webs", STRANGER),
        ("sticky/link", "../roots/inner", WEB),
    ] {
        symlink(to, place.at(link)).unwrap();
        lchown(place.at(link), Some(owner), Some(owner)).unwrap();
    }
    // As /var/run is a link to /run.
    assert_eq!(place.give("", "roots/link/run"), prints("ran\n"));
    assert_eq!(state(&place.at("roots/inner/run")), (WEB, WEB, 0o700));
    assert_eq!(place.give("", "webs/home/run"), prints("ran\n"));
    for way in ["webs/up", "webs/roots", "strangers/to-web", "sticky/link"] {
        let outcome = place.give("", &format!("{way}/new"));
        let begin = format!("privatedir: fatal: unable to make directory {way}/new: ");
        assert!(outcome.code == 111 && outcome.stderr.starts_with(&begin), "{outcome:?}");
        assert!(outcome.stderr.contains(": a link in its path "), "{outcome:?}");
    }
    assert!(!place.at("roots/inner/new").exists() && !place.at("webs/new").exists());
}

#[test]
fn a_place_that_is_not_there_or_no_account_is_said() {
    let Some(place) = Place::new() else { return };
    let long = "x".repeat(256);
    fs::write(place.at("roots/file"), "").unwrap();
    for (dir, words) in [
        ("no/run", "make directory no/run: file does not exist: its parent directory does not exist".to_string()),
        ("roots/file/run", "make directory roots/file/run: not a directory".into()),
        (&format!("roots/{long}"), format!("make directory roots/{long}: file name too long")),
        ("/proc/self/run", "make directory /proc/self/run: file does not exist".into()),
    ] {
        assert_eq!(place.give("", dir), refused(&words), "{dir}");
    }
    for (account, what) in [("no-such", "account no-such"), ("root:no-such", "group no-such"), ("", "account ")] {
        let mut command = place.0.command("privatedir");
        let outcome = place.0.outcome_of(command.args([account, "roots/run", "echo", "never"]));
        assert_eq!(outcome, fails(111, &format!("privatedir: fatal: unknown {what}\n")));
    }
    assert!(!place.at("roots/run").exists());
    let usage = place.0.run("privatedir").stderr;
    for (line, why) in [
        ("-m 8 root roots/run true", "-m 8 is no mode: say it in octal, as in 0750"),
        ("-m u=rwx root roots/run true", "-m u=rwx is no mode: say it in octal, as in 0750"),
        ("-z root roots/run true", "illegal option -- z"),
        ("root .. true", ".. is no name for a directory of its own"),
        ("root / true", "/ is no name for a directory of its own"),
    ] {
        let outcome = place.0.run(&format!("privatedir {line}"));
        assert_eq!(outcome, fails(100, &format!("privatedir: {why}\n{usage}")), "{line}");
    }
    assert_eq!(place.0.run("privatedir root roots/run"), fails(100, &usage));
}

/// A killed privatedir leaves it so, and what the account has put in its place is something else.
#[test]
fn what_was_half_made_is_finished() {
    let Some(place) = Place::new() else { return };
    for directory in DIRECTORIES {
        let dir = format!("{directory}/half");
        place.directory(&dir, 0, 0, 0o1400);
        assert_eq!(place.give("-m 755", &dir), prints("ran\n"), "{dir}");
        assert_eq!(state(&place.at(&dir)), (WEB, WEB, 0o755));
    }
    place.directory("webs/full", 0, 0, 0o1400);
    fs::write(place.at("webs/full/file"), "").unwrap();
    assert_eq!(place.give("", "webs/full").code, 111);
    assert_eq!(state(&place.at("webs/full")), (0, 0, 0o1400));
}

/// The owner of a directory renames what is in it, as fast as it can.
#[test]
fn an_account_gets_nothing_by_exchanging_directories() {
    let Some(place) = Place::new() else { return };
    if !has("python3") {
        return;
    }
    place.directory("webs/secret", 0, 0, 0o755);
    fs::write(place.at("webs/secret/file"), "").unwrap();
    let exchange = "import ctypes, os\nos.chdir('webs')\nos.setgid(54321)\nos.setuid(54321)\nlibc = ctypes.CDLL(None)\n\
                    open('begun', 'w').close()\n\
                    while True:\n    libc.renameat2(-100, b'secret', -100, b'run', 2)\n    libc.rmdir(b'run')";
    let owner = Daemon::start(place.0.command("python3").args(["-c", exchange]), &place.0);
    wait_until("it has begun", || place.at("webs/begun").exists());
    for _ in 0..100 {
        let outcome = place.give("", "webs/run");
        assert!([0, 111].contains(&outcome.code), "{outcome:?}");
    }
    owner.kill();
    let full = ["secret", "run"].map(|name| place.at("webs").join(name));
    let full = full.iter().find(|directory| directory.join("file").exists()).unwrap();
    assert_eq!(state(full), (0, 0, 0o755));
}

#[test]
fn another_account_than_root_makes_its_own_directories() {
    let scratch = Scratch::new();
    scratch.dir("theirs");
    if is_root() {
        chown(scratch.path().join("theirs"), Some(65_534), Some(65_534)).unwrap();
    }
    let (uid, gid) = match is_root() {
        true => (65_534, 65_534),
        false => (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
    };
    let own = format!(":{uid}:{gid}");
    let run = |words: &[&str]| scratch.outcome_of(scratch.as_nobody("privatedir").args(words));
    for _ in 0..2 {
        assert_eq!(run(&[&own, "theirs/run", "echo", "ran"]), prints("ran\n"));
        assert_eq!(state(&scratch.path().join("theirs/run")), (uid, gid, 0o700));
    }
    let denied = |words: &str| refused(&format!("{words}: permission denied"));
    assert_eq!(run(&[":1:1", "theirs/other", "echo", "never"]), denied("change owner of theirs/other"));
    // What could not be given away is no directory of the account yet.
    assert_eq!(state(&scratch.path().join("theirs/other")).2, 0o1400);
    if is_root() {
        let outcome = run(&[&own, "new", "echo", "never"]);
        let words = "make directory new: access denied: its parent directory belongs to root, and this is nobody";
        assert_eq!(outcome, refused(words));
    }
}
