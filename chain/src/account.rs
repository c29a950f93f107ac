//! Accounts, looked up by the system's own rules or in `/etc/passwd` alone; or two numbers, `:UID:GID`, without a
//! look-up. An account may be followed by groups: `ACCOUNT:GROUP:GROUP`, `:UID:GID:GID`. This is how runit's chpst
//! writes accounts.
//!
//! A dynamic build asks the C library, which follows `nsswitch.conf` (LDAP, systemd …). A static
//! build must not ask it: the C library would load modules of any version that is installed, or find none
//! in the empty image it was copied into. It reads `/etc/passwd` and `/etc/group` and nothing else.

use daemontools::sys::exec::c_string;
use daemontools::{Attempt, Fatal, Unable, report};
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::str;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const FILES_ONLY: bool = cfg!(target_feature = "crt-static");

/// The user and group as which a program may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name of the account, or the word with its numbers.
    pub name: OsString,
    /// The number of the user.
    pub uid: Uid,
    /// The number of the group: the first one that follows the account, else the account's own.
    pub gid: Gid,
    /// The numbers of the groups that follow the first one.
    pub others: Vec<Gid>,
}

impl Account {
    /// Looks an account up. A word that begins with a colon is `:UID:GID`, as with runit's chpst, and is not looked up,
    /// so that an image needs no list of accounts. No account has a colon in its name: after one, there are names of
    /// groups.
    ///
    /// # Errors
    /// `unknown account NAME`, `unknown group NAME`, or a list exists and cannot be read.
    pub fn named(word: &OsStr) -> Result<Account, Fatal> {
        if is_numeric(word) {
            return Account::numbered(word);
        }
        let mut names = word.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
        let name = names.next().unwrap_or_default();
        let numbers = if FILES_ONLY {
            read_if_there(PASSWD).map(|passwd| numbers_in(&passwd, name.as_bytes()))
        } else {
            ask_system(name)
        };
        let Some((uid, own)) = numbers.unable_to("look up account", name)? else {
            return Err(unknown(b"account ", word, hint(word.as_bytes())));
        };
        let mut groups = names.map(group_named).collect::<Result<Vec<_>, _>>()?.into_iter();
        Ok(Account { name: name.into(), uid, gid: groups.next().unwrap_or(own), others: groups.collect() })
    }

    fn numbered(word: &OsStr) -> Result<Account, Fatal> {
        let (uid, gid, others) =
            numbers_of(word.as_bytes()).ok_or_else(|| unknown(b"account ", word, b": not :UID:GID in numbers"))?;
        Ok(Account { name: word.into(), uid, gid, others })
    }

    /// The groups that the word names, or the account's own where it names none.
    pub fn named_groups(&self) -> Vec<Gid> {
        [&[self.gid], &self.others[..]].concat()
    }

    /// The groups that the word names, and all that list the account.
    ///
    /// # Errors
    /// The list of groups cannot be read.
    pub fn all_groups(&self) -> Result<Vec<Gid>, Unable> {
        let listed = if FILES_ONLY {
            read_if_there(GROUP).map(|group| groups_in(&group, self))
        } else {
            c_string(&self.name).and_then(|name| getgrouplist(&name, self.gid)).map_err(io::Error::from)
        };
        let mut groups = self.named_groups();
        for group in listed.unable_to("look up groups of", &self.name)? {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        Ok(groups)
    }
}

fn unknown(what: &[u8], word: &OsStr, hint: &[u8]) -> Fatal {
    Fatal::new(report::TEMPORARY, &[b"unknown ", what, word.as_bytes(), hint])
}

fn group_named(name: &OsStr) -> Result<Gid, Fatal> {
    let found = if FILES_ONLY {
        read_if_there(GROUP).map(|group| number_in(&group, name.as_bytes()).map(Gid::from_raw))
    } else {
        ask_system_for_group(name)
    };
    let is_number = number(name.as_bytes()).is_some_and(|_| !name.is_empty());
    let hint = if is_number { &b": for numbers say :UID:GID, as in :1000:1000"[..] } else { b"" };
    found.unable_to("look up group", name)?.ok_or_else(|| unknown(b"group ", name, hint))
}

/// Whether a word means two numbers, and not the name of an account.
pub fn is_numeric(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b":")
}

/// The words to use instead of an unknown name that is a number, or two in the form of chown(1).
fn hint(name: &[u8]) -> &'static [u8] {
    let mut fields = name.split(|byte| *byte == b':');
    let is_numbers = fields.all(|field| number(field).is_some());
    if is_numbers { b": for numbers say :UID:GID, as in :1000:1000" } else { b"" }
}

/// The numbers in `:UID:GID`, and those of more groups in `:UID:GID:GID`.
fn numbers_of(name: &[u8]) -> Option<(Uid, Gid, Vec<Gid>)> {
    let mut fields = name.strip_prefix(b":")?.split(|byte| *byte == b':').map(number);
    let (uid, gid) = (fields.next()??, fields.next()??);
    Some((Uid::from_raw(uid), Gid::from_raw(gid), fields.map(|gid| gid.map(Gid::from_raw)).collect::<Option<_>>()?))
}

fn ask_system(name: &OsStr) -> io::Result<Option<(Uid, Gid)>> {
    // No account has a name that is not UTF-8.
    let Some(name) = name.to_str() else { return Ok(None) };
    match User::from_name(name) {
        Ok(user) => Ok(user.map(|user| (user.uid, user.gid))),
        // With these errors, or with none, the C library says that it finds no account.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn ask_system_for_group(name: &OsStr) -> io::Result<Option<Gid>> {
    let Some(name) = name.to_str() else { return Ok(None) };
    match Group::from_name(name) {
        Ok(group) => Ok(group.map(|group| group.gid)),
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn read_if_there(file: &str) -> io::Result<Vec<u8>> {
    match std::fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        content => content,
    }
}

/// The user and group number of the first account of that name in `passwd`: lines of
/// `name:password:uid:gid:…`. A malformed line is no account.
fn numbers_in(passwd: &[u8], name: &[u8]) -> Option<(Uid, Gid)> {
    lines(passwd).find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let found = fields.next() == Some(name) && !name.is_empty();
        let (_password, uid, gid) = (fields.next()?, number(fields.next()?)?, number(fields.next()?)?);
        found.then(|| (Uid::from_raw(uid), Gid::from_raw(gid)))
    })
}

/// The number of the first group of that name in `group`: lines of `name:password:gid:…`. A malformed line is no group.
fn number_in(group: &[u8], name: &[u8]) -> Option<u32> {
    lines(group).find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let found = fields.next() == Some(name) && !name.is_empty();
        let gid = fields.nth(1).and_then(number)?;
        found.then_some(gid)
    })
}

/// The account's group, then those that list it in `group`: lines of `name:password:gid:member,…`.
fn groups_in(group: &[u8], account: &Account) -> Vec<Gid> {
    let mut groups = vec![account.gid];
    for line in lines(group) {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let (Some(gid), Some(members)) = (fields.next().and_then(number), fields.next()) else { continue };
        let gid = Gid::from_raw(gid);
        let is_member = members.split(|byte| *byte == b',').any(|member| member == account.name.as_bytes());
        if is_member && !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    groups
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"))
}

fn number(field: &[u8]) -> Option<u32> {
    let digits = field.iter().all(u8::is_ascii_digit);
    // The last number belongs to no account: to the system calls it means "leave as it is".
    str::from_utf8(field).ok()?.parse().ok().filter(|number| digits && *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        #log:x:9:9::/:\n\
        log:x:nine:9::/:\n\
        log:x::9::/:\n\
        log:x:+9:9::/:\n\
        log:x:4294967295:9::/:\n\
        log:x:9\n\
        log:x:101:102:a log:/var/log:/bin/false\n\
        log:x:7:7::/:\n\
        :x:8:8::/:\n\
        short:x:5:6\n\
        +::::::\n\
        last:x:4294967294:65534::/:";

    #[test]
    fn an_account_is_the_first_well_formed_line_of_its_name() {
        for (name, expected) in [
            ("root", Some((0, 0))),
            ("log", Some((101, 102))),
            ("short", Some((5, 6))),
            ("last", Some((4_294_967_294, 65_534))),
            ("#log", None),
            ("", None),
            ("+", None),
            ("lo", None),
            ("logs", None),
            ("0", None),
        ] {
            let found = numbers_in(PASSWD, name.as_bytes()).map(|(uid, gid)| (uid.as_raw(), gid.as_raw()));
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(numbers_in(b"", b"root"), None);
    }

    #[test]
    fn two_numbers_are_an_account_without_a_name() {
        for (name, expected) in [
            (":0:0", Some((0, 0, &[][..]))),
            (":1000:65534", Some((1000, 65_534, &[]))),
            (":007:1", Some((7, 1, &[]))),
            (":4294967294:1", Some((4_294_967_294, 1, &[]))),
            (":1:2:3", Some((1, 2, &[3]))),
            (":1:2:3:2", Some((1, 2, &[3, 2]))),
            (":1:2:", None),
            (":1:2::3", None),
            (":1:2:root", None),
            (":4294967295:1", None),
            (":1:4294967296", None),
            (":1", None),
            (":1:", None),
            ("::1", None),
            (":+1:2", None),
            (":root:0", None),
            ("1:2", None),
            (":", None),
        ] {
            let found = numbers_of(name.as_bytes());
            let expected = expected.map(|(uid, gid, others)| {
                (Uid::from_raw(uid), Gid::from_raw(gid), others.iter().copied().map(Gid::from_raw).collect())
            });
            assert_eq!(found, expected, "{name}");
            assert_eq!(is_numeric(OsStr::new(name)), name.starts_with(':'));
        }
    }

    #[test]
    fn what_is_written_as_for_chown_is_told_its_form() {
        let numbers = b": for numbers say :UID:GID, as in :1000:1000";
        let table = [
            ("1000", &numbers[..]),
            ("0:0", numbers),
            ("web", b""),
            ("", b""),
            ("root:", b""),
            ("nobody:nogroup", b""),
            ("0:0:0", numbers),
        ];
        for (name, words) in table {
            assert_eq!(hint(name.as_bytes()), words, "{name}");
        }
    }

    #[test]
    fn groups_are_its_own_and_those_that_list_it() {
        let group = b"adm:x:4:syslog,log\n\
            log:x:102:\n\
            tape:x:26:logs,lo\n\
            again:x:4:log\n\
            own:x:102:log\n\
            #off:x:30:log\n\
            bad:x:thirty:log\n\
            short:x:31\n\
            www:x:33:log,\n\
            last:x:34:x,log";
        let log = Account { name: "log".into(), uid: Uid::from_raw(101), gid: Gid::from_raw(102), others: vec![] };
        let groups: Vec<u32> = groups_in(group, &log).into_iter().map(Gid::as_raw).collect();
        assert_eq!(groups, [102, 4, 33, 34]);
    }

    #[test]
    fn a_group_is_the_first_well_formed_line_of_its_name() {
        let group = b"root:x:0:\n#www:x:1:\nwww:x:one:\nwww:x\nwww:x:33:log\nwww:x:34:\n:x:8:\nshort:x:5";
        for (name, expected) in [
            ("root", Some(0)),
            ("www", Some(33)),
            ("short", Some(5)),
            ("", None),
            ("#www", None),
            ("ww", None),
            ("33", None),
        ] {
            assert_eq!(number_in(group, name.as_bytes()), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_account_is_found_between_any_other_lines(
            before in "[a-z0-9:#,\n]{0,60}", after in "[a-z0-9:#,\n]{0,60}", uid in 0..u32::MAX, gid in 0..u32::MAX,
        ) {
            let passwd = format!("{before}\nLog:x:{uid}:{gid}:{after}");
            let expected = Some((Uid::from_raw(uid), Gid::from_raw(gid)));
            prop_assert_eq!(numbers_in(passwd.as_bytes(), b"Log"), expected);

            let log = Account { name: "Log".into(), uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), others: vec![] };
            let group = format!("{before}\nx:x:{uid}:a,Log,b\n{after}");
            let groups = groups_in(group.as_bytes(), &log);
            prop_assert_eq!(groups[0], log.gid);
            prop_assert!(groups.contains(&Gid::from_raw(uid)));
        }
    }
}
