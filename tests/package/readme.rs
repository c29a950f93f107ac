//! The README's service, started with the README's own commands.

use crate::tree::{Workshop, can_unshare, contents, succeed, unshare, workspace};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// The indented lines below a heading, up to the first other text.
fn block(heading: &str) -> String {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let (_, after) = readme.split_once(heading).unwrap();
    let lines = after.lines().skip_while(|line| !line.starts_with("    "));
    lines.take_while(|line| line.starts_with("    ")).map(|line| format!("{}\n", line.trim())).collect()
}

/// The commands run on a machine of their own: it has this machine's programs, but its own /etc and /service, and no
/// other processes.
#[test]
fn five_commands_make_a_service_and_one_line_takes_it_away() {
    let workshop = Workshop::new();
    let root = workshop.path("machine");
    for folder in ["command", "dev", "etc", "proc", "service", "tmp", "usr"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for part in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{part}"), root.join(part)).unwrap();
    }
    let make = block("## A service in five commands");
    assert_eq!(make.lines().count(), 5, "{make}");
    let take_away = block("away with it for good:");
    let story = format!(
        "until_ok() {{ for _ in $(seq 600); do if eval \"$1\" >/tmp/out 2>&1; then return; fi; sleep 0.1; done
            echo \"in vain: $1\"; cat /tmp/out; kill $!; exit 1; }}
        svscan /service &
        {make}
        until_ok 'svstat /service/clock | grep \"up (pid\"'
        until_ok 'svlog /service/clock | grep \"^20.* 20\"'
        ({take_away})
        until_ok 'svstat /etc/clock | grep \"supervise not running\"'
        until_ok 'svstat /etc/clock/log | grep \"supervise not running\"'
        kill $!"
    );
    let enter = "mount --rbind /usr \"$1/usr\" && mount --rbind /dev \"$1/dev\" && mount -t proc proc \"$1/proc\" &&
        mount --bind \"$2\" \"$1/command\" && exec chroot \"$1\" env -i PATH=/command:/usr/bin:/bin sh -c \"$3\"";
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child"];
    if !can_unshare(&namespaces) {
        return;
    }
    let mut command = unshare(&namespaces);
    command.args(["sh", "-c", enter, "enter"]).arg(&root).arg(tests::programs()).arg(story);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

/// The targets of the links in a Markdown text, except those on other machines.
fn links(text: &str) -> Vec<&str> {
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(link, _)| link.split('#').next().unwrap_or_default()).filter(|link| !link.contains("://")).collect()
}

#[test]
fn every_link_of_an_installed_document_leads_somewhere() {
    let workshop = Workshop::new();
    let image = workshop.image();
    let copy = "cp -r --parents *.md LICENSE-* bench examples fuzz/*.md tests/*.md \"$0\"";
    succeed(Command::new("sh").current_dir(workspace()).args(["-c", copy]).arg(workshop.path("source")));
    workshop.install();
    let home = image.join("package/admin/daemontools-1.2.3");
    let mut followed = 0;
    for document in contents(&home).into_keys().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(home.join(&document)).unwrap();
        for link in links(&text) {
            let target = home.join(&document).parent().unwrap().join(link);
            assert!(target.exists(), "{}: {link} is not installed", document.display());
            followed += 1;
        }
    }
    assert!(followed >= 10, "only {followed} links were found");
    workshop.remove();
    assert!(!home.exists());
}
