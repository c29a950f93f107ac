//! Which boot this is: what distinguishes this life of the kernel, and of process 1 within it, from all others.
//!
//! Files outlive a boot. Processes, pipes, and pages that were never written to the disk do not. A program that writes
//! a file about such things records the boot in it, and a program that reads the file compares. Four facts identify a
//! boot, and each is available only on some systems:
//!
//! | fact | unknown where |
//! |---|---|
//! | the kernel's boot id | `/proc` or `/proc/sys` is not mounted |
//! | the identity of the file system that holds the kernel's own memory files, made at random at each boot | the kernel is older than 5.13, or a filter forbids memfd_create(2) |
//! | when process 1 was started, in clock ticks since boot | `/proc` is not mounted, or hides it |
//! | the number of process 1 among all processes since boot | the kernel is older than 6.9 |
//!
//! Process 1 counts because a container does not live as long as the kernel. Which facts are available can change while
//! the system runs: `/proc` may be mounted late, or remounted so that it hides process 1. So two boots are different
//! only if a fact that is known of both differs, and the same only if at least one fact about the kernel is known of
//! both. None of the facts depends on a clock that can be set.

use super::is_passing;
use super::process::{self, PidFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;
use std::fmt::{self, Display};

/// The known facts about a boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's boot id.
    kernel_id: Option<String>,
    /// The identity of the file system of the kernel's own memory files.
    memory_id: Option<u64>,
    /// When process 1 was started, in clock ticks since boot.
    init_ticks: Option<u64>,
    /// The number of process 1 among all processes since boot.
    init_serial: Option<u64>,
}

impl Boot {
    /// The facts about the current boot.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM, EIO: there are more facts, but they cannot be read now. A comparison with fewer facts
    /// could take this boot for another one.
    pub fn current() -> nix::Result<Boot> {
        let init = Pid::from_raw(1);
        Ok(Boot {
            kernel_id: boot_id()?,
            memory_id: memory_id()?,
            init_ticks: match process::ticks_of(init) {
                Err(errno) if is_passing(errno) => return Err(errno),
                ticks => ticks.ok().flatten(),
            },
            init_serial: match PidFd::open(init).and_then(|init| init.serial()) {
                Err(errno) if is_passing(errno) => return Err(errno),
                serial => serial.ok().flatten(),
            },
        })
    }

    /// The kernel's boot id, which is new at each boot; `None` if it is not known.
    pub fn kernel_id(&self) -> Option<&str> {
        self.kernel_id.as_deref()
    }

    /// Whether both are the same boot of the kernel; `None` if the known facts do not decide it.
    pub fn is_same_kernel(&self, other: &Boot) -> Option<bool> {
        all_equal([equal(&self.kernel_id, &other.kernel_id), equal(&self.memory_id, &other.memory_id)])
    }

    /// Whether both are the same boot of the kernel and the same life of process 1, judged by the known facts; `None`
    /// if they do not decide it.
    pub fn is_same(&self, other: &Boot) -> Option<bool> {
        let init = [equal(&self.init_ticks, &other.init_ticks), equal(&self.init_serial, &other.init_serial)];
        match (self.is_same_kernel(other), all_equal(init)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (kernel, _) => kernel,
        }
    }
}

/// Writes four words in the order of the facts; `-` stands for an unknown fact.
impl Display for Boot {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        let word = |number: Option<u64>| number.map_or("-".into(), |number| format!("{number:x}"));
        let kernel_id = self.kernel_id().unwrap_or("-");
        write!(to, "{kernel_id} {} {} {}", word(self.memory_id), word(self.init_ticks), word(self.init_serial))
    }
}

impl Boot {
    /// Reads the text that [`Display`] writes. Missing or malformed words are unknown facts.
    pub fn from_words(text: &str) -> Boot {
        let mut words = text.split_ascii_whitespace();
        let kernel_id = words.next().filter(|word| *word != "-").map(str::to_string);
        let mut number = || words.next().map(|word| u64::from_str_radix(word, 16).ok());
        let [memory_id, init_ticks, init_serial] = [number(), number(), number()].map(Option::flatten);
        Boot { kernel_id, memory_id, init_ticks, init_serial }
    }

    /// The form in which version 0.1.0 wrote it: the kernel's boot id, a slash, and the start time of process 1.
    pub fn in_one_word(&self) -> String {
        match (&self.kernel_id, self.init_ticks) {
            (Some(id), Some(ticks)) => format!("{id}/{ticks}"),
            (Some(id), None) => id.clone(),
            (None, _) => String::new(),
        }
    }

    /// Reads the form of version 0.1.0.
    pub fn from_one_word(word: &str) -> Boot {
        let (id, ticks) = word.split_once('/').map_or((word, None), |(id, ticks)| (id, ticks.parse().ok()));
        Boot {
            kernel_id: Some(id).filter(|id| !id.is_empty() && *id != "-").map(str::to_string),
            init_ticks: ticks,
            ..Boot::default()
        }
    }
}

/// Compares one fact of two boots; `None` unless it is known of both.
fn equal<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> Option<bool> {
    Some(one.as_ref()? == other.as_ref()?)
}

/// Whether all facts that are known of both are equal; `None` if no fact is known of both.
fn all_equal(facts: [Option<bool>; 2]) -> Option<bool> {
    facts.into_iter().flatten().reduce(|all, fact| all && fact)
}

fn boot_id() -> nix::Result<Option<String>> {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => Ok(Some(id.trim_end()).filter(|id| !id.is_empty()).map(str::to_string)),
        Err(error) => match crate::report::errno_of(&error) {
            errno if is_passing(errno) => Err(errno),
            _ => Ok(None),
        },
    }
}

fn memory_id() -> nix::Result<Option<u64>> {
    let file = match memfd_create("boot", MFdFlags::MFD_CLOEXEC) {
        Ok(file) => file,
        Err(errno) if is_passing(errno) => return Err(errno),
        Err(_) => return Ok(None),
    };
    match super::file_system(file) {
        Ok(found) => Ok(Some(found.id).filter(|id| *id != 0)),
        Err(errno) if is_passing(errno) => Err(errno),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(text: &str) -> Boot {
        Boot::from_words(text)
    }

    #[test]
    fn this_boot_is_this_boot_and_can_be_told() {
        let now = Boot::current().unwrap();
        assert_eq!(now.is_same(&Boot::current().unwrap()), Some(true));
        assert_eq!(boot(&now.to_string()), now);
        assert_eq!(Boot::from_one_word(&now.in_one_word()).is_same(&now), Some(true));
        assert_eq!(Boot::from_one_word("-"), Boot::default());
    }

    #[test]
    fn boots_are_compared_by_what_is_known_of_both() {
        let table = [
            ("a 1 2 3", "a 1 2 3", Some(true), Some(true)),
            ("a 1 2 3", "b 1 2 3", Some(false), Some(false)),
            ("a 1 2 3", "a 9 2 3", Some(false), Some(false)),
            // The second boot is another container under the same kernel.
            ("a 1 2 3", "a 1 9 3", Some(true), Some(false)),
            ("a 1 2 3", "a 1 2 9", Some(true), Some(false)),
            // Process 1 has become hidden, or /proc was mounted late.
            ("a 1 2 3", "a 1 - 3", Some(true), Some(true)),
            ("- 1 - 3", "a 1 2 3", Some(true), Some(true)),
            ("- 1 - -", "a 1 2 3", Some(true), Some(true)),
            ("- 1 - 3", "a 2 2 3", Some(false), Some(false)),
            // No fact about the kernel is known of both.
            ("- - 2 3", "a 1 2 3", None, None),
            ("- - 2 3", "a 1 2 4", None, Some(false)),
            ("- 1 - -", "a - - -", None, None),
            ("", "a 1 2 3", None, None),
        ];
        for (one, other, kernel, all) in table {
            assert_eq!(boot(one).is_same_kernel(&boot(other)), kernel, "{one:?} {other:?}");
            assert_eq!(boot(one).is_same(&boot(other)), all, "{one:?} {other:?}");
            assert_eq!(boot(other).is_same(&boot(one)), all, "{other:?} {one:?}");
        }
    }
}
