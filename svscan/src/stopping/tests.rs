//! Stories about services that are stopped.

use super::*;
use crate::table::{Action, Contents, Leftover};
use std::ffi::OsStr;

const ID: Id = Id { device: 1, inode: 1 };

fn pid(number: i32) -> Pid {
    Pid::from_raw(number)
}

/// A table in which a service has an entry, and what is to be done is carried out as far as it concerns stopping.
struct Story {
    table: Table,
    stopping: Stopping,
    now: Instant,
    next_pid: i32,
}

impl Story {
    /// A service with a logger: supervises 1 and 2.
    fn new() -> Story {
        let (table, stopping) = (Table::default(), Stopping::default());
        let mut story = Story { table, stopping, now: Instant::now(), next_pid: 0 };
        story.entry(true);
        let contents = Contents { logger: true, ..Contents::default() };
        story.act(|table, now, todo| table.inspected(ID, &contents, now, todo));
        story.start();
        story
    }

    fn act(&mut self, event: impl FnOnce(&mut Table, Instant, &mut Vec<Action>)) {
        let mut todo = Vec::new();
        event(&mut self.table, self.now, &mut todo);
        for action in todo {
            let pid = |which| self.table.pid(which).expect("it runs");
            match action {
                Action::EndSupervise(which) => self.stopping.end_supervise((which, pid(which)), self.now),
                Action::DrainLogger(id) => {
                    self.stopping.drain_logger((id, pid(SuperviseId { id, part: Part::Logger })), 0, self.now);
                }
                Action::ReleaseDirectory(id) | Action::ForgetStop(id) => self.stopping.has_come_back(id),
                Action::Forget(id) => self.stopping.forget(id),
                _ => {}
            }
        }
    }

    fn entry(&mut self, is_there: bool) {
        let name = OsStr::new("a");
        if is_there {
            self.table.entry_seen(name, ID)
        } else {
            self.table.entry_gone(name)
        }
        self.act(|table, now, todo| table.settle(None, now, todo));
    }

    fn start(&mut self) {
        for which in self.table.starts(self.now, 9) {
            self.next_pid += 1;
            let new = pid(self.next_pid);
            self.act(|table, now, todo| table.started(which, new, now, todo));
        }
    }

    fn die(&mut self, number: i32, left: Leftover) {
        self.act(|table, now, todo| {
            let _ = table.process_ended(pid(number), left, now, todo);
        });
    }

    /// What is sent in the next seconds, where nothing is unread.
    fn sent(&mut self) -> Vec<(i32, &'static [Command])> {
        let mut sent = Vec::new();
        for _ in 0..500 {
            self.now += AGAIN;
            self.stopping.carry_on(
                &self.table,
                |_| 0,
                self.now,
                |owed| {
                    sent.push((owed.pid.as_raw(), owed.commands));
                    Ok(())
                },
            );
        }
        sent
    }
}

/// Its logger, whose supervise had to be started again, reads what is left.
fn draining() -> Story {
    let mut story = Story::new();
    story.entry(false);
    story.die(2, Leftover::Lines);
    story.start();
    story.die(1, Leftover::Nothing);
    story
}

#[test]
fn a_logger_that_has_read_all_is_told_to_end_in_two_steps() {
    assert_eq!(draining().sent(), [(3, LET_END), (3, END)]);
}

#[test]
fn a_new_supervise_gets_no_commands_that_were_meant_for_the_one_before() {
    let mut story = draining();
    story.entry(true);
    story.die(3, Leftover::Nothing);
    story.start();
    let both = [Part::Service, Part::Logger].map(|part| story.table.pid(SuperviseId { id: ID, part }));
    assert_eq!(both, [Some(pid(4)), Some(pid(5))]);
    assert_eq!(story.sent(), []);
    // Its lines are not given up either because the logger before it had enough time.
    let left = SuperviseId { id: ID, part: Part::Logger };
    assert!(story.stopping.may_be_read(left.id, 100, story.now));
}

#[test]
fn svscan_waits_for_a_while_for_a_part_whose_supervise_cannot_be_started() {
    let (mut stopping, now) = (Stopping::default(), Instant::now());
    let which = SuperviseId { id: ID, part: Part::Service };
    let later = |attempts: u32| now + RETRY_AT_STOP * attempts;
    assert!((0..4).all(|attempts| stopping.waits_for(which, later(attempts))), "several attempts");
    assert!(!stopping.waits_for(which, now + PATIENCE));
    stopping.has_started(which);
    assert!(stopping.waits_for(which, later(60)), "it may leave something again");
    stopping.hurry(Vec::new(), later(60));
    assert!(!stopping.waits_for(which, later(60)));
}

#[test]
fn a_supervise_that_takes_the_place_of_a_killed_one_is_told_once() {
    let mut story = Story::new();
    story.act(|table, now, todo| table.stop_all(now, todo));
    // The first supervise did not read commands yet.
    story.die(1, Leftover::Process);
    story.start();
    assert_eq!(story.sent(), [(3, END)]);
}
