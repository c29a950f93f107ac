//! upgrade, run and remove on an image (`DESTDIR`): which files they install, exactly once, and remove again.

use crate::tree::{Workshop, commands, contents, identities, refuse, succeed, write_program};
use std::fs;
use std::os::unix::fs::symlink;
use tests::has;

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

#[test]
fn a_folder_of_links_is_filled_and_emptied_again() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::create_dir_all(image.join("usr/bin")).unwrap();
    fs::write(image.join("usr/bin/other"), "").unwrap();
    let before = contents(&image);
    let upgrade = || succeed(workshop.script("upgrade").args(["--link-dir", "/usr/bin", "--link-dir", "/opt/bin/"]));
    upgrade();
    for command in commands() {
        for folder in ["usr/bin", "opt/bin"] {
            let target = fs::read_link(image.join(folder).join(&command)).unwrap();
            assert_eq!(target.to_str().unwrap(), format!("/command/{command}"));
        }
    }
    let installed = identities(&image);
    upgrade();
    // Links that the user asked for once are kept.
    succeed(&mut workshop.script("upgrade"));
    assert_eq!(identities(&image), installed);
    assert_eq!(workshop.remove(), "");
    assert_eq!(contents(&image), before);
}

#[test]
fn no_such_link_takes_the_place_of_what_is_there() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::create_dir_all(image.join("usr/bin")).unwrap();
    let program = image.join("usr/bin/svc");
    let refused = || {
        let before = contents(&image);
        let words = refuse(workshop.script("upgrade").args(["--link-dir", "/usr/bin"]), 111);
        assert!(words.contains("unable to link /usr/bin/svc: something else has that name"), "{words}");
        assert_eq!(contents(&image), before);
    };
    fs::write(&program, "another program\n").unwrap();
    refused();
    fs::remove_file(&program).unwrap();
    symlink("elsewhere", &program).unwrap();
    refused();
    fs::remove_file(&program).unwrap();
    fs::create_dir(&program).unwrap();
    refused();
}

#[test]
fn a_name_that_belongs_to_a_package_of_dpkg_is_not_linked_even_while_its_file_is_missing() {
    if !has("dpkg-query") {
        return;
    }
    let workshop = Workshop::new();
    let image = workshop.image();
    let status = "Package: stranger\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: all\nVersion: 1\nDescription: x\n";
    fs::create_dir_all(image.join("var/lib/dpkg/info")).unwrap();
    fs::write(image.join("var/lib/dpkg/status"), status).unwrap();
    fs::write(image.join("var/lib/dpkg/info/stranger.list"), "/.\n/usr\n/usr/bin\n/usr/bin/svstat\n").unwrap();
    let before = contents(&image);
    let words = refuse(workshop.script("upgrade").args(["--link-dir", "/usr/bin"]), 111);
    assert!(words.contains("unable to link /usr/bin/svstat: it belongs to the package stranger"), "{words}");
    assert_eq!(contents(&image), before);
    // In another directory none of the names is taken.
    succeed(workshop.script("upgrade").args(["--link-dir", "/opt/bin"]));
    workshop.remove();
    assert_eq!(contents(&image), before);
}

#[test]
fn names_that_other_packages_have_too_are_linked_only_where_that_is_asked() {
    let workshop = Workshop::new();
    let image = workshop.image();
    fs::create_dir_all(image.join("usr/bin")).unwrap();
    let before = contents(&image);
    let link = |path: &str| fs::read_link(image.join(path)).ok().map(|target| target.to_str().unwrap().to_string());
    let places = ["usr/local/bin/sv", "usr/bin/sv", "usr/local/share/man/man8/sv.8"];
    succeed(workshop.script("upgrade").args(["--link-dir", "/usr/bin"]));
    assert_eq!(link("command/compat/sv").as_deref(), Some("/package/admin/daemontools/command/svctl"));
    assert_eq!(places.map(link), [None, None, None]);
    succeed(workshop.script("upgrade").args(["--link-dir", "/usr/bin", "--compat"]));
    let program = Some("/command/compat/sv".to_string());
    let page = Some("/package/admin/daemontools/man/sv.8".to_string());
    assert_eq!(places.map(link), [program.clone(), program, page]);
    let installed = identities(&image);
    succeed(workshop.script("upgrade").args(["--compat", "--link-dir", "/usr/bin"]));
    assert_eq!(identities(&image), installed);
    assert_eq!(workshop.remove(), "");
    assert_eq!(contents(&image), before);
}

#[test]
fn such_a_name_never_takes_the_place_of_another_packages() {
    if !has("dpkg-query") {
        return;
    }
    let workshop = Workshop::new();
    let image = workshop.image();
    let refused = |arguments: &[&str], words: &str| {
        let before = contents(&image);
        let said = refuse(workshop.script("upgrade").args(arguments), 111);
        assert!(said.contains(words), "{said}");
        assert_eq!(contents(&image), before);
    };
    fs::create_dir_all(image.join("usr/local/bin")).unwrap();
    fs::write(image.join("usr/local/bin/sv"), "another program\n").unwrap();
    refused(&["--compat"], "unable to link /usr/local/bin/sv: something else has that name; nothing was changed");
    fs::remove_file(image.join("usr/local/bin/sv")).unwrap();
    let status = "Package: runit\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: all\nVersion: 1\nDescription: x\n";
    fs::create_dir_all(image.join("var/lib/dpkg/info")).unwrap();
    fs::write(image.join("var/lib/dpkg/status"), status).unwrap();
    fs::write(image.join("var/lib/dpkg/info/runit.list"), "/.\n/usr\n/usr/bin\n/usr/bin/sv\n").unwrap();
    refused(&["--compat", "--link-dir", "/usr/bin"], "unable to link /usr/bin/sv: it belongs to the package runit");
    // Without --compat it is not touched.
    succeed(workshop.script("upgrade").args(["--link-dir", "/usr/bin"]));
}

#[test]
fn each_shell_finds_its_completion() {
    let workshop = Workshop::new();
    let image = workshop.image();
    workshop.install();
    for place in
        ["bash-completion/completions/svctl", "zsh/site-functions/_svctl", "fish/vendor_completions.d/svctl.fish"]
    {
        let name = place.rsplit('/').next().unwrap();
        let target = fs::read_link(image.join("usr/local/share").join(place)).unwrap();
        assert_eq!(target.to_str().unwrap(), format!("/package/admin/daemontools/completions/{name}"));
        let home = image.join("package/admin/daemontools-1.2.3/completions").join(name);
        assert_eq!(fs::read_to_string(home).unwrap(), "# 1.2.3\n");
    }
}

#[test]
fn what_is_no_folder_for_links_is_refused_before_anything_is_built() {
    let workshop = Workshop::new();
    let image = workshop.image();
    let before = contents(&image);
    for (arguments, words) in [
        (vec!["--link-dir"], "usage: package/install [ --compat ] [ --link-dir DIR ]..."),
        (vec!["--link-dir", "/usr/bin", "--link-dir"], "usage: package/install [ --compat ] [ --link-dir DIR ]..."),
        (vec!["/usr/bin"], "usage: package/install [ --compat ] [ --link-dir DIR ]..."),
        (vec!["--link-dir", "usr/bin"], "--link-dir must begin with a slash"),
        (vec!["--link-dir", ""], "--link-dir must name a directory below the root"),
        (vec!["--link-dir", "/"], "--link-dir must name a directory below the root"),
        (vec!["--link-dir", "/a b"], "--link-dir may hold only letters, digits and / . _ + -"),
        (vec!["--link-dir", "/command/"], "--link-dir /command: the programs are linked there already"),
    ] {
        let said = refuse(workshop.script("install").args(&arguments), 100);
        assert_eq!(said, format!("package/install: {words}\n"), "{arguments:?}");
    }
    assert_eq!(contents(&image), before);
}

#[test]
fn install_hands_the_folder_for_links_on() {
    let workshop = Workshop::new();
    let image = workshop.image();
    // A binary release is unpacked like this: nothing must be built.
    fs::remove_file(workshop.path("source/Cargo.toml")).unwrap();
    succeed(workshop.script("install").args(["--link-dir", "/usr/bin"]));
    assert_eq!(fs::read_link(image.join("usr/bin/svstat")).unwrap().to_str(), Some("/command/svstat"));
}

#[test]
fn an_image_that_is_not_there_is_made() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.path("an image")).unwrap();
    workshop.install();
    let usual = contents(&workshop.path("an image"));
    let missing = workshop.path("not/there");
    for script in ["run", "remove"] {
        let words = refuse(workshop.script(script).env("DESTDIR", &missing), 111);
        assert_eq!(words, format!("package/{script}: there is no directory DESTDIR={}\n", missing.display()));
    }
    for script in ["upgrade", "run"] {
        succeed(workshop.script(script).env("DESTDIR", "not/there").current_dir(workshop.path("")));
    }
    assert_eq!(contents(&missing), usual);
    succeed(workshop.script("remove").env("DESTDIR", &missing));
    assert!(contents(&missing).is_empty());
    fs::write(workshop.path("file"), "").unwrap();
    let impossible = workshop.path("file/image");
    let words = refuse(workshop.script("upgrade").env("DESTDIR", &impossible), 111);
    let expected = format!("package/upgrade: unable to make the directory DESTDIR={}\n", impossible.display());
    assert!(words.ends_with(&expected), "{words}");
}
