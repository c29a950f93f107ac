//! upgrade, run and remove on an image (`DESTDIR`): what is laid where, once, and taken away again.

use crate::tree::{Workshop, commands, contents, identities, refuse, succeed, write_program};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn every_program_is_reached_by_its_three_names() {
    let workshop = Workshop::new();
    let image = workshop.image();
    workshop.install();
    for command in commands() {
        let home = image.join("package/admin/daemontools-1.2.3/command").join(&command);
        assert!(fs::read_to_string(home).unwrap().contains("1.2.3"));
        assert_eq!(
            fs::read_link(image.join("command").join(&command)).unwrap().to_str().unwrap(),
            format!("/package/admin/daemontools/command/{command}")
        );
        assert_eq!(
            fs::read_link(image.join("usr/local/bin").join(&command)).unwrap().to_str().unwrap(),
            format!("/command/{command}")
        );
    }
    assert_eq!(fs::read_link(image.join("package/admin/daemontools")).unwrap().to_str(), Some("daemontools-1.2.3"));
    assert!(image.join("usr/local/share/man/man8/svc.8").is_symlink());
    assert!(image.join("package/admin/daemontools-1.2.3/package/remove").is_file());
    assert!(image.join("service").is_dir());
}

#[test]
fn a_second_time_changes_nothing_at_all() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::write(image.join("etc/inittab"), "id:2:initdefault:\n").unwrap();
    workshop.install();
    let before = identities(&image);
    workshop.install();
    assert_eq!(identities(&image), before);
}

#[test]
fn remove_leaves_the_image_as_it_was() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::write(image.join("etc/inittab"), "id:2:initdefault:\n").unwrap();
    fs::create_dir_all(image.join("usr/local/bin")).unwrap();
    fs::write(image.join("usr/local/bin/other"), "").unwrap();
    let before = contents(&image);
    workshop.install();
    workshop.install();
    assert_eq!(workshop.remove(), "");
    assert_eq!(contents(&image), before);
    assert!(workshop.remove().contains("nothing to undo"));
}

#[test]
fn remove_takes_away_what_svscanboot_has_made() {
    let workshop = Workshop::new();
    let image = workshop.image();
    let before = contents(&image);
    workshop.install();
    fs::create_dir(image.join("service/.svscan")).unwrap();
    tests::fifo(&image.join("service/.svscan/errors")).unwrap();
    workshop.remove();
    assert_eq!(contents(&image), before);
}

#[test]
fn the_installed_tree_can_remove_itself() {
    let workshop = Workshop::new();
    let image = workshop.image();
    let before = contents(&image);
    workshop.install();
    let remove = image.join("package/admin/daemontools-1.2.3/package/remove");
    succeed(std::process::Command::new(remove).env("DESTDIR", &image).env_remove("PREFIX"));
    assert_eq!(contents(&image), before);
}

#[test]
fn a_tree_unpacked_in_its_place_is_used_there() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::create_dir_all(image.join("package/admin")).unwrap();
    workshop.source("an image/package/admin/daemontools-4.5", "4.5");
    let before = contents(&image);
    for script in ["upgrade", "run"] {
        let script = image.join("package/admin/daemontools-4.5/package").join(script);
        succeed(std::process::Command::new(script).env("DESTDIR", &image).env_remove("PREFIX"));
    }
    assert_eq!(fs::read_link(image.join("package/admin/daemontools")).unwrap().to_str(), Some("daemontools-4.5"));
    let remove = image.join("package/admin/daemontools-4.5/package/remove");
    succeed(std::process::Command::new(remove).env("DESTDIR", &image).env_remove("PREFIX"));
    assert_eq!(contents(&image), before);
}

#[test]
fn a_new_version_replaces_the_old_one_and_its_removal_brings_the_old_one_back() {
    let workshop = Workshop::new();
    let image = workshop.image();
    workshop.install();
    let old = contents(&image);
    let source = workshop.source("newer", "1.3.0");
    let new = |script: &str| {
        let mut command = std::process::Command::new(source.join("package").join(script));
        command.env("DESTDIR", &image).env_remove("PREFIX");
        command
    };
    succeed(&mut new("upgrade"));
    succeed(&mut new("run"));
    let program = image.join("package/admin/daemontools/command/svc");
    assert!(fs::read_to_string(&program).unwrap().contains("1.3.0"));
    assert!(refuse(&mut workshop.script("remove"), 111).contains("daemontools-1.3.0 is in use"));
    succeed(&mut new("remove"));
    assert_eq!(contents(&image), old);
}

#[test]
fn the_original_in_its_usual_place_comes_back_too() {
    let workshop = Workshop::new();
    let image = workshop.image();
    for folder in ["package/admin/daemontools-0.76/command", "command", "usr/local/bin", "service"] {
        fs::create_dir_all(image.join(folder)).unwrap();
    }
    symlink("daemontools-0.76", image.join("package/admin/daemontools")).unwrap();
    for command in commands() {
        write_program(&image.join("package/admin/daemontools-0.76/command").join(&command), "original\n");
        symlink(format!("/package/admin/daemontools/command/{command}"), image.join("command").join(&command)).unwrap();
        symlink(format!("/command/{command}"), image.join("usr/local/bin").join(&command)).unwrap();
    }
    let before = contents(&image);
    workshop.install();
    assert!(!fs::read_to_string(image.join("package/admin/daemontools/command/svc")).unwrap().contains("original"));
    workshop.remove();
    assert_eq!(contents(&image), before);
}

#[test]
fn a_name_taken_by_something_else_stops_everything_before_it_begins() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::create_dir_all(image.join("usr/local/bin")).unwrap();
    fs::write(image.join("usr/local/bin/setlock"), "another program\n").unwrap();
    let before = contents(&image);
    let words = refuse(&mut workshop.script("upgrade"), 111);
    assert!(words.contains("unable to link /usr/local/bin/setlock: something else has that name"), "{words}");
    assert_eq!(contents(&image), before);
}

#[test]
fn what_others_changed_or_added_since_stays() {
    let workshop = Workshop::new();
    let image = workshop.image();
    workshop.install();
    let unit = image.join("usr/local/lib/systemd/system/svscanboot.service");
    fs::write(&unit, "mine now\n").unwrap();
    fs::create_dir(image.join("service/mine")).unwrap();
    assert!(workshop.install().contains("svscanboot.service was changed: left as it is"));
    let words = workshop.remove();
    assert!(words.contains("svscanboot.service was changed: left as it is"), "{words}");
    assert!(words.contains("/service is not empty: left as it is"), "{words}");
    assert_eq!(fs::read_to_string(unit).unwrap(), "mine now\n");
    assert!(image.join("service/mine").is_dir());
    assert!(!image.join("command").exists() && !image.join("package").exists());
}

#[test]
fn under_a_prefix_nothing_lies_outside_it() {
    let workshop = Workshop::new();
    let image = workshop.image();
    let run = |script: &str| succeed(workshop.script(script).env("PREFIX", "/opt/dt"));
    let before = contents(&image);
    run("upgrade");
    run("run");
    let outside = |image: &std::path::Path| {
        let all = contents(image);
        all.into_keys().filter(|path| !path.starts_with("opt") && !path.starts_with("etc")).count()
    };
    assert_eq!(outside(&image), 0);
    assert_eq!(fs::read_link(image.join("opt/dt/bin/svc")).unwrap().to_str(), Some("/opt/dt/command/svc"));
    let unit = fs::read_to_string(image.join("opt/dt/lib/systemd/system/svscanboot.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/dt/command/svscanboot /opt/dt/service\n"), "{unit}");
    run("remove");
    assert_eq!(contents(&image), before);
}

#[test]
fn a_prefix_that_a_boot_file_cannot_hold_is_refused() {
    let workshop = Workshop::new();
    for prefix in ["relative", "/with space", "/with\nnewline", "/a|b"] {
        refuse(workshop.script("upgrade").env("PREFIX", prefix), 100);
    }
}

#[test]
fn nothing_is_laid_while_a_program_is_missing() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::remove_file(workshop.path("source/command/svok")).unwrap();
    let before = contents(&image);
    assert!(refuse(&mut workshop.script("upgrade"), 111).contains("command/svok is not built"));
    assert!(refuse(&mut workshop.script("run"), 111).contains("is not installed"));
    assert_eq!(contents(&image), before);
}
