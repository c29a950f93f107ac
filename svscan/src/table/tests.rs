use super::*;
use Part::{Logger, Service};
use std::time::Duration;

/// A table, the time, and what is to be done.
struct Story {
    table: Table,
    start: Instant,
    now: Instant,
    todo: Vec<Action>,
    next_pid: i32,
    on_remove: OnRemove,
}

fn id(inode: u64) -> Id {
    Id { device: 1, inode }
}

fn which(inode: u64, part: Part) -> SuperviseId {
    SuperviseId { id: id(inode), part }
}

impl Story {
    fn new() -> Story {
        let now = Instant::now();
        let (table, on_remove) = (Table::default(), OnRemove::Leave);
        Story { table, start: now, now, todo: Vec::new(), next_pid: 100, on_remove }
    }

    fn scan(&mut self, entries: &[(&str, u64)]) -> Vec<Action> {
        self.table.begin_scan();
        entries.iter().for_each(|(name, inode)| self.table.entry_seen(OsStr::new(name), id(*inode)));
        self.table.end_scan();
        self.table.settle(Some(self.on_remove), self.now, &mut self.todo);
        self.done()
    }

    fn inspected(&mut self, inode: u64, logger: bool, after: &[&str]) -> Vec<Action> {
        let after = after.iter().map(OsString::from).collect();
        let contents = Contents { logger, after, running: false };
        self.table.inspected(id(inode), &contents, self.now, &mut self.todo);
        self.done()
    }

    /// Starts all supervises that are due.
    fn start(&mut self) -> Vec<SuperviseId> {
        let both = self.table.starts(self.now, 100);
        for which in &both {
            self.next_pid += 1;
            self.table.started(*which, Pid::from_raw(self.next_pid), self.now, &mut self.todo);
        }
        both
    }

    fn die(&mut self, which: SuperviseId) -> Vec<Action> {
        self.die_leaving(which, Leftover::Nothing)
    }

    fn die_leaving(&mut self, which: SuperviseId, left: Leftover) -> Vec<Action> {
        let pid = self.table.pid(which).expect("it runs");
        assert_eq!(self.table.process_ended(pid, left, self.now, &mut self.todo), Some(which));
        self.done()
    }

    fn close(&mut self) -> Vec<Action> {
        self.table.stop_all(self.now, &mut self.todo);
        self.done()
    }

    fn after(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn deadline(&self) -> Option<u128> {
        self.table.deadline().map(|at| at.duration_since(self.start).as_millis())
    }

    /// What there is to do, without messages and looking.
    fn done(&mut self) -> Vec<Action> {
        let mut todo = std::mem::take(&mut self.todo);
        let dull = |message: &Message| {
            matches!(message, Message::Stopping | Message::Down(_) | Message::Gone(_) | Message::AfterResolved(_))
        };
        todo.retain(|action| match action {
            Action::Say(_, message) => !dull(message),
            action => !matches!(
                action,
                Action::WatchReady(_) | Action::HoldDirectory(_) | Action::ReleaseDirectory(_) | Action::ForgetStop(_)
            ),
        });
        todo
    }

    /// One service `a`, with or without a logger, up.
    fn with(logger: bool) -> Story {
        let mut story = Story::new();
        story.scan(&[("a", 1)]);
        story.inspected(1, logger, &[]);
        assert_eq!(story.start().len(), 1 + usize::from(logger));
        story
    }
}

#[test]
fn a_new_service_is_inspected_and_started() {
    let mut story = Story::new();
    assert_eq!(story.scan(&[("a", 1)]), [Action::Inspect(id(1))]);
    assert_eq!(story.inspected(1, true, &[]), []);
    assert_eq!(story.start(), [which(1, Service), which(1, Logger)]);
    assert_eq!(story.scan(&[("a", 1)]), []);
    assert_eq!((story.start(), story.deadline()), (vec![], None));
}

#[test]
fn a_supervise_that_died_is_started_at_once_but_not_more_than_twice_in_a_second() {
    let mut story = Story::with(false);
    story.after(10);
    story.die(which(1, Service));
    assert_eq!(story.start(), [which(1, Service)]);
    story.after(10);
    story.die(which(1, Service));
    assert_eq!((story.start(), story.deadline()), (vec![], Some(1000)));
    story.after(980);
    assert_eq!(story.start(), [which(1, Service)]);
    story.after(1000);
    story.die(which(1, Service));
    assert_eq!(story.start(), [which(1, Service)]);
}

#[test]
fn a_supervise_that_cannot_serve_is_started_less_and_less_often() {
    let mut story = Story::with(false);
    let mut waits = Vec::new();
    for _ in 0..7 {
        story.die_leaving(which(1, Service), Leftover::CannotServe);
        let next = story.table.deadline().expect("it is due");
        waits.push(next.duration_since(story.now).as_secs());
        story.now = next;
        assert_eq!(story.start(), [which(1, Service)]);
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 80, 80]);
    story.after(1000);
    story.die_leaving(which(1, Service), Leftover::CannotServe);
    assert_eq!(story.start(), [which(1, Service)], "it has served for a while");
}

#[test]
fn a_supervise_that_the_system_refused_to_start_is_tried_again_later() {
    let mut story = Story::new();
    story.scan(&[("a", 1)]);
    story.inspected(1, false, &[]);
    let both = story.table.starts(story.now, 100);
    story.table.not_started(both[0], story.now);
    assert_eq!(story.deadline(), Some(5000));
}

#[test]
fn a_removed_entry_stops_nothing_and_is_forgotten_with_its_last_supervise() {
    let mut story = Story::with(true);
    assert_eq!(story.scan(&[]), []);
    assert_eq!(story.die(which(1, Service)), [Action::EndInput(id(1))], "its logger is to read to the end");
    assert_eq!(story.start(), []);
    assert_eq!(story.die(which(1, Logger)), [Action::Forget(id(1))]);
    assert_eq!(story.table.name(id(1)), None);
}

#[test]
fn the_input_of_a_logger_ends_only_once_its_service_is_gone_for_good() {
    let mut story = Story::with(true);
    assert_eq!(story.die(which(1, Logger)), [], "its service runs");
    story.start();
    assert_eq!(story.die(which(1, Service)), [], "its entry is there");
    assert_eq!(story.scan(&[]), [Action::EndInput(id(1))]);
}

#[test]
fn an_entry_that_comes_back_is_the_same_service() {
    let mut story = Story::with(true);
    story.scan(&[]);
    story.die(which(1, Service));
    assert_eq!(story.scan(&[("b", 1)]), []);
    assert_eq!(story.start(), [which(1, Service)]);
    assert_eq!(story.table.name(id(1)), Some(OsStr::new("b")));
}

#[test]
fn a_renamed_entry_is_the_same_service() {
    let mut story = Story::with(false);
    story.on_remove = OnRemove::Stop;
    assert_eq!(story.scan(&[("b", 1)]), []);
    assert_eq!(story.table.name(id(1)), Some(OsStr::new("b")));
}

#[test]
fn only_the_link_that_was_resolved_is_kept_without_resolving_it_again() {
    let mut story = Story::new();
    story.scan(&[("a", 1)]);
    let keeps = |story: &mut Story, link| story.table.keep_link(OsStr::new("a"), link);
    assert!(!keeps(&mut story, 8));
    story.table.link_resolved(OsStr::new("a"), 8);
    assert!(keeps(&mut story, 8) && !keeps(&mut story, 9));
    story.scan(&[("a", 2)]);
    assert!(!keeps(&mut story, 8));
}

#[test]
fn two_entries_for_one_directory_are_one_service() {
    let mut story = Story::new();
    let same = Action::Say(id(1), Message::SameAs("b".into()));
    let todo = story.scan(&[("a", 1), ("b", 1)]);
    assert_eq!(todo.iter().filter(|action| **action == same).count(), 2);
    story.inspected(1, false, &[]);
    assert_eq!(story.start(), [which(1, Service)]);
    assert_eq!(story.scan(&[("b", 1)]), []);
    assert_eq!(story.table.name(id(1)), Some(OsStr::new("b")));
}

#[test]
fn a_removed_service_is_stopped_before_its_logger_if_on_remove_says_stop() {
    let mut story = Story::with(true);
    story.on_remove = OnRemove::Stop;
    assert_eq!(story.scan(&[]), [Action::EndSupervise(which(1, Service))]);
    assert_eq!(story.die(which(1, Service)), [Action::DrainLogger(id(1))]);
    assert_eq!(story.die(which(1, Logger)), [Action::Forget(id(1))]);
}

#[test]
fn a_service_that_an_earlier_svscan_left_makes_room_or_comes_back() {
    let mut story = Story::new();
    story.table.inherit(id(1), "a".as_ref(), [Some(Pid::from_raw(1)), None]);
    story.table.inherit(id(2), "b".as_ref(), [Some(Pid::from_raw(2)), Some(Pid::from_raw(3))]);
    assert_eq!(story.scan(&[("a", 3), ("b", 2)]).len(), 2);
    assert_eq!(story.inspected(2, true, &[]), []);
    assert_eq!(story.inspected(3, false, &[])[1..], [Action::EndSupervise(which(1, Service))]);
    assert_eq!(story.start(), []);
    assert_eq!(story.die(which(1, Service)), [Action::Forget(id(1))]);
    assert_eq!(story.start(), [which(3, Service)]);
    assert_eq!(story.scan(&[("a", 3), ("b", 2)]), []);
}

#[test]
fn a_service_whose_name_is_taken_is_stopped_first() {
    let mut story = Story::with(false);
    assert_eq!(story.scan(&[("a", 2)]), [Action::Inspect(id(2))]);
    let todo = story.inspected(2, false, &[]);
    assert_eq!(todo, [Action::Say(id(2), Message::Replaces), Action::EndSupervise(which(1, Service))]);
    assert_eq!(story.start(), []);
    assert_eq!(story.die(which(1, Service)), [Action::Forget(id(1))]);
    assert_eq!(story.start(), [which(2, Service)]);
}

/// `ln -sf` makes its link under another name first, which may have been seen.
#[test]
fn a_service_that_takes_the_name_of_another_while_it_runs_stops_it_too() {
    let mut story = Story::new();
    story.scan(&[("a", 1), ("temporary", 2)]);
    story.inspected(1, false, &[]);
    story.inspected(2, false, &[]);
    story.start();
    // What is said twice here, as two of its entries have changed, is complained of once.
    assert_eq!(
        story.scan(&[("a", 2)])[..2],
        [Action::Say(id(2), Message::Replaces), Action::EndSupervise(which(1, Service))]
    );
    assert_eq!(story.die(which(1, Service)), [Action::Forget(id(1))]);
    assert_eq!(story.scan(&[("a", 2)]), []);
}

/// `b` after `a`.
fn two() -> Story {
    let mut story = Story::new();
    story.scan(&[("a", 1), ("b", 2)]);
    story.inspected(2, false, &["a"]);
    story.inspected(1, true, &[]);
    story
}

#[test]
fn a_service_starts_when_the_services_in_its_after_are_ready() {
    let mut story = two();
    assert_eq!(story.todo, []);
    assert_eq!(story.start(), [which(1, Service), which(1, Logger)]);
    assert_eq!(story.todo, [Action::WatchReady(id(1))]);
    story.table.unblock(id(1), story.now);
    assert_eq!(story.start(), [which(2, Service)]);
    assert_eq!((story.todo.len(), story.table.is_awaited(id(1))), (1, false));
    story.scan(&[("a", 1), ("b", 2), ("c", 3)]);
    story.todo.clear();
    let contents = Contents { after: vec!["a".into()], ..Contents::default() };
    story.table.inspected(id(3), &contents, story.now, &mut story.todo);
    assert_eq!(story.todo.last(), Some(&Action::WatchReady(id(1))), "it may be ready already");
}

#[test]
fn a_service_does_not_wait_for_a_service_that_is_gone() {
    let mut story = Story::new();
    story.scan(&[("a", 1), ("b", 2)]);
    story.inspected(2, false, &["a"]);
    assert_eq!(story.scan(&[("b", 2)]), [Action::Forget(id(1))]);
    assert_eq!(story.start(), [which(2, Service)]);
}

#[test]
fn unknown_names_and_cycles_are_told_and_ignored() {
    let mut story = Story::new();
    story.scan(&[("a", 1), ("b", 2)]);
    assert_eq!(story.inspected(2, false, &["a"]), []);
    let todo = story.inspected(1, false, &["x", "b", "y"]);
    let messages = [Message::UnknownAfter(vec!["x".into(), "y".into()]), Message::CyclicAfter(vec!["b".into()])];
    assert_eq!(todo, messages.map(|message| Action::Say(id(1), message)));
    assert_eq!(story.start(), [which(1, Service)]);
}

#[test]
fn everything_stops_in_order_loggers_last() {
    let mut story = two();
    story.table.unblock(id(1), story.now);
    story.start();
    assert_eq!(story.close(), [Action::EndSupervise(which(2, Service))]);
    assert_eq!(story.die(which(2, Service)), [Action::EndSupervise(which(1, Service))]);
    assert_eq!(story.die(which(1, Service)), [Action::DrainLogger(id(1))]);
    assert!(!story.table.has_stopped_all());
    story.die(which(1, Logger));
    assert!(story.table.has_stopped_all());
}

#[test]
fn a_service_stops_when_the_loggers_of_those_that_need_it_are_down() {
    let mut story = Story::new();
    story.scan(&[("a", 1), ("b", 2)]);
    story.inspected(1, false, &[]);
    story.inspected(2, true, &["a"]);
    story.table.unblock(id(1), story.now);
    story.start();
    assert_eq!(story.close(), [Action::EndSupervise(which(2, Service))]);
    assert_eq!(story.die(which(2, Service)), [Action::DrainLogger(id(2))]);
    assert_eq!(story.die(which(2, Logger)), [Action::EndSupervise(which(1, Service))]);
}

#[test]
fn a_service_installed_anew_still_stops_after_those_that_need_it() {
    let mut story = two();
    story.table.unblock(id(1), story.now);
    story.start();
    story.scan(&[("a", 3), ("b", 2)]);
    story.inspected(3, false, &[]);
    story.die(which(1, Service));
    story.die(which(1, Logger));
    assert_eq!(story.start(), [which(3, Service)]);
    assert_eq!(story.close(), [Action::EndSupervise(which(2, Service))]);
    assert_eq!(story.die(which(2, Service)), [Action::EndSupervise(which(3, Service))]);
}

#[test]
fn a_name_in_after_counts_once_there_is_a_service_of_that_name() {
    let mut story = Story::new();
    story.scan(&[("b", 2)]);
    assert_eq!(story.inspected(2, false, &["a"]), [Action::Say(id(2), Message::UnknownAfter(vec!["a".into()]))]);
    story.table.entry_seen("a".as_ref(), id(1));
    story.table.settle(Some(story.on_remove), story.now, &mut story.todo);
    assert_eq!(story.todo, [Action::Say(id(2), Message::AfterResolved("a".into())), Action::Inspect(id(1))]);
    story.done();
    assert_eq!(story.inspected(1, false, &["b"]), [Action::Say(id(1), Message::CyclicAfter(vec!["b".into()]))]);
    story.start();
    assert_eq!(story.close(), [Action::EndSupervise(which(2, Service))]);
}

#[test]
fn services_stop_in_the_order_that_their_files_say_last() {
    let mut story = two();
    story.table.unblock(id(1), story.now);
    story.start();
    assert_eq!(story.table.order(), [(id(2), vec!["a".into()]), (id(1), vec![])]);
    story.table.reorder(&[(id(2), vec![]), (id(1), vec!["b".into()])], &mut story.todo);
    assert_eq!(story.close(), [Action::EndSupervise(which(1, Service))]);
}

#[test]
fn a_killed_supervise_that_left_its_service_is_started_to_stop_it() {
    let mut story = Story::with(true);
    assert_eq!(story.close(), [Action::EndSupervise(which(1, Service))]);
    assert_eq!(story.die_leaving(which(1, Service), Leftover::Process), []);
    assert_eq!(story.start(), [which(1, Service)]);
    assert_eq!(story.done(), [Action::EndSupervise(which(1, Service))]);
    assert_eq!(story.die(which(1, Service)), [Action::DrainLogger(id(1))]);
    assert_eq!(story.die_leaving(which(1, Logger), Leftover::Process), []);
    story.after(1000);
    assert_eq!(story.start(), [which(1, Logger)]);
    assert_eq!(story.done(), [Action::DrainLogger(id(1))]);
    story.die(which(1, Logger));
    assert!(story.table.has_stopped_all());
}

#[test]
fn a_logger_that_was_killed_is_started_again_while_its_service_runs_or_has_left_lines() {
    let mut story = Story::with(true);
    story.after(2000);
    assert_eq!(story.close(), [Action::EndSupervise(which(1, Service))]);
    assert_eq!(story.die_leaving(which(1, Logger), Leftover::Lines), []);
    assert_eq!(story.start(), [which(1, Logger)]);
    assert_eq!(story.done(), [], "its service runs");
    story.after(2000);
    assert_eq!(story.die(which(1, Service)), [Action::DrainLogger(id(1))]);
    assert_eq!(story.die_leaving(which(1, Logger), Leftover::Lines), []);
    assert_eq!((story.start(), story.table.has_stopped_all()), (vec![which(1, Logger)], false));
    assert_eq!(story.done(), [Action::DrainLogger(id(1))]);
    story.after(2000);
    assert_eq!(story.die(which(1, Logger)), []);
    assert!(story.table.has_stopped_all());
}

#[test]
fn a_logger_that_cannot_be_started_is_given_up() {
    let mut story = Story::with(true);
    story.after(2000);
    story.close();
    story.die_leaving(which(1, Logger), Leftover::Lines);
    assert_eq!(story.table.starts(story.now, 9), [which(1, Logger)]);
    story.table.not_started(which(1, Logger), story.now);
    assert_eq!(story.die(which(1, Service)), []);
    assert!(!story.table.has_stopped_all());
    story.after(5000);
    assert_eq!(story.table.starts(story.now, 9), [which(1, Logger)]);
    story.table.not_needed(which(1, Logger), story.now, &mut story.todo);
    assert!(story.table.has_stopped_all());
}

#[test]
fn a_killed_supervise_is_started_to_stop_its_service_also_without_an_entry() {
    let mut story = two();
    story.table.unblock(id(1), story.now);
    story.start();
    story.close();
    assert_eq!(story.die_leaving(which(2, Service), Leftover::Process), []);
    assert_eq!(story.scan(&[("a", 1)]), []);
    assert_eq!(story.start(), [which(2, Service)]);
    assert_eq!(story.done(), [Action::EndSupervise(which(2, Service))]);
    assert_eq!(story.die(which(2, Service)), [Action::Forget(id(2)), Action::EndSupervise(which(1, Service))]);
}

#[test]
fn a_supervise_that_is_due_when_everything_stops_may_not_be_needed() {
    let mut story = Story::with(false);
    story.die(which(1, Service));
    story.start();
    story.die(which(1, Service));
    assert_eq!(story.close(), []);
    assert!(!story.table.has_stopped_all());
    let due = story.table.starts(story.now, 100);
    assert_eq!(due, [which(1, Service)]);
    story.table.not_needed(due[0], story.now, &mut story.todo);
    assert!(story.table.has_stopped_all());
}

#[test]
fn a_blocked_service_may_run_from_before_and_is_stopped_too() {
    let mut story = two();
    assert_eq!(story.start(), [which(1, Service), which(1, Logger)]);
    assert_eq!(story.close(), []);
    assert_eq!(story.table.starts(story.now, 9), [which(2, Service)]);
    story.table.started(which(2, Service), Pid::from_raw(50), story.now, &mut story.todo);
    assert_eq!(story.done(), [Action::EndSupervise(which(2, Service))]);
    assert_eq!(story.die(which(2, Service)), [Action::EndSupervise(which(1, Service))]);
}

#[test]
fn nothing_new_is_started_once_everything_stops() {
    let mut story = Story::new();
    assert_eq!(story.close(), []);
    assert!(story.table.has_stopped_all());
    assert_eq!(story.scan(&[("a", 1)]), []);
    assert_eq!(story.start(), []);
}

/// `svc -dx SERVICE; sleep 1; rm SERVICE`.
#[test]
fn a_supervise_that_was_told_to_end_leaves_time_to_remove_its_entry() {
    let mut story = Story::new();
    story.scan(&[("a", 1)]);
    story.inspected(1, true, &[]);
    assert_eq!(story.start(), [which(1, Service), which(1, Logger)]);
    story.after(9000);
    story.die_leaving(which(1, Service), Leftover::Told);
    story.die_leaving(which(1, Logger), Leftover::Told);
    assert_eq!((story.start(), story.deadline()), (vec![], Some(14_000)));
    story.after(1000);
    assert_eq!(story.scan(&[]), [Action::Forget(id(1))]);
    assert_eq!(story.deadline(), None);
}

#[test]
fn a_supervise_that_was_told_to_end_is_started_later_or_when_the_user_asks_for_a_scan() {
    for hasten in [false, true] {
        let mut story = Story::new();
        story.scan(&[("a", 1)]);
        story.inspected(1, false, &[]);
        story.start();
        story.die_leaving(which(1, Service), Leftover::Told);
        story.after(1500);
        if hasten {
            story.table.hasten(story.now);
        } else {
            assert_eq!(story.start(), []);
            story.after(3500);
        }
        assert_eq!(story.start(), [which(1, Service)]);
        // svscan starts it no more than twice within a second, even if the user asks for more.
        story.die_leaving(which(1, Service), Leftover::Nothing);
        assert_eq!(story.start(), [which(1, Service)]);
        story.die_leaving(which(1, Service), Leftover::Nothing);
        story.table.hasten(story.now);
        assert_eq!(story.start(), []);
    }
}

/// The supervise of a logger ends while its service, whose entry is gone, speaks on; what is done until all is read.
#[test]
fn a_logger_reads_on_though_the_entry_is_gone() {
    for killed_again in [false, true] {
        let mut story = Story::with(true);
        assert_eq!(story.scan(&[]), []);
        assert_eq!(story.die_leaving(which(1, Logger), Leftover::Lines), []);
        assert_eq!(story.start(), [which(1, Logger)]);
        // Its service ends: only svscan tells the logger to end.
        assert_eq!(story.die(which(1, Service)), [Action::DrainLogger(id(1))]);
        if killed_again {
            assert_eq!(story.die_leaving(which(1, Logger), Leftover::Lines), []);
            story.after(1000);
            assert_eq!(story.table.starts(story.now, 9), [which(1, Logger)]);
            story.table.started(which(1, Logger), Pid::from_raw(999), story.now, &mut story.todo);
            assert_eq!(story.done(), [Action::DrainLogger(id(1))]);
            story.table.process_ended(Pid::from_raw(999), Leftover::Nothing, story.now, &mut story.todo);
            assert_eq!(story.done(), [Action::Forget(id(1))]);
        } else {
            assert_eq!(story.die(which(1, Logger)), [Action::Forget(id(1))]);
        }
        assert!(story.table.may_be_handed_on());
    }
}

#[test]
fn the_directory_of_a_service_with_a_logger_is_held_while_it_has_no_entry() {
    for logger in [true, false] {
        let mut story = Story::with(logger);
        let held = |story: &mut Story, entries: &[&str]| {
            story.table.begin_scan();
            entries.iter().for_each(|name| story.table.entry_seen(OsStr::new(name), id(1)));
            story.table.end_scan();
            story.table.settle(Some(story.on_remove), story.now, &mut story.todo);
            std::mem::take(&mut story.todo)
        };
        let hold: Vec<Action> = logger.then_some(Action::HoldDirectory(id(1))).into_iter().collect();
        assert_eq!(held(&mut story, &[]), hold);
        assert_eq!(held(&mut story, &[]), [], "it is held already");
        assert_eq!(held(&mut story, &["b"]), [Action::ReleaseDirectory(id(1))]);
        assert_eq!(held(&mut story, &[]), hold);
    }
}

#[test]
fn lines_left_by_a_service_are_read_though_its_logger_has_ended() {
    let mut story = Story::with(true);
    story.scan(&[]);
    assert_eq!(story.die(which(1, Logger)), []);
    assert_eq!(story.start(), []);
    assert_eq!(story.die_leaving(which(1, Service), Leftover::Lines), []);
    assert_eq!(story.start(), [which(1, Logger)]);
    assert_eq!(story.done(), [Action::DrainLogger(id(1))]);
    assert_eq!(story.die(which(1, Logger)), [Action::Forget(id(1))]);
}

#[test]
fn lines_that_a_service_leaves_while_its_logger_waits_to_be_started_again_are_read_at_once() {
    let mut story = Story::with(true);
    story.scan(&[]);
    for _ in 0..2 {
        story.die_leaving(which(1, Logger), Leftover::Lines);
        story.start();
    }
    assert_eq!(story.die_leaving(which(1, Service), Leftover::Lines), []);
    assert_eq!(story.start(), [which(1, Logger)]);
    assert_eq!(story.done(), [Action::DrainLogger(id(1))]);
}

#[test]
fn a_logger_that_waits_to_be_started_again_when_the_entry_goes_is_started() {
    let mut story = Story::with(true);
    story.die_leaving(which(1, Logger), Leftover::Told);
    story.scan(&[]);
    assert_eq!(story.start(), []);
    story.after(5000);
    assert_eq!(story.start(), [which(1, Logger)]);
    assert_eq!(story.die(which(1, Service)), [Action::DrainLogger(id(1))]);
    assert_eq!(story.scan(&[("a", 1)]), []);
    assert_eq!(story.die(which(1, Logger)), []);
    assert_eq!(story.start(), [which(1, Service), which(1, Logger)], "it came back");
}

#[test]
fn the_next_svscan_knows_which_loggers_read_on() {
    let mut story = Story::with(true);
    story.scan(&[]);
    story.die_leaving(which(1, Logger), Leftover::Lines);
    story.start();
    let reading_on: Vec<Id> = story.table.reading_on().collect();
    assert_eq!(reading_on, [id(1)]);
    for knows in [true, false] {
        let mut next = Story::new();
        next.table.inherit(id(1), "a".as_ref(), [1, 2].map(|pid| Some(Pid::from_raw(pid))));
        if knows {
            next.table.inherit_reading_on(id(1));
        }
        let expected = if knows { Action::DrainLogger(id(1)) } else { Action::EndInput(id(1)) };
        assert_eq!(next.die(which(1, Service)), [expected]);
    }
}

#[test]
fn the_next_svscan_starts_a_supervise_when_this_one_would_have() {
    for (left, wait) in [(Leftover::Told, 3500), (Leftover::CannotServe, 8500)] {
        let mut story = Story::new();
        story.scan(&[("a", 1), ("b", 2)]);
        story.inspected(1, false, &[]);
        story.inspected(2, false, &[]);
        story.start();
        story.die_leaving(which(1, Service), left);
        if left == Leftover::CannotServe {
            story.after(5000);
            story.start();
            story.die_leaving(which(1, Service), left);
        }
        story.after(1500);
        let delayed: Vec<Delayed> = story.table.delayed(story.now).collect();
        let failures = if left == Leftover::CannotServe { 2 } else { 0 };
        let expected = Delayed { which: which(1, Service), wait: Duration::from_millis(wait), failures };
        assert_eq!(delayed, [expected]);
        for hasten in [false, true] {
            let mut next = Story::new();
            next.table.expect_delayed(&expected, next.now);
            next.scan(&[("a", 1)]);
            if hasten {
                next.table.hasten(next.now);
            }
            next.inspected(1, false, &[]);
            if !hasten {
                assert_eq!(next.start(), []);
                next.after(wait);
            }
            assert_eq!(next.start(), [which(1, Service)]);
            next.die_leaving(which(1, Service), Leftover::CannotServe);
            let doubled = next.table.delayed(next.now).next().map(|delayed| delayed.wait);
            assert_eq!(doubled, Some(RETRY * 2_u32.pow(failures)), "what could not serve before is remembered");
        }
    }
}

/// The entry of a service is gone whose logger's supervise has ended, and removed services are to be stopped: the lines that
/// the service leaves are read, and the stop ends.
#[test]
fn lines_that_a_service_leaves_are_read_also_where_removed_services_are_stopped() {
    let mut story = Story::with(true);
    story.scan(&[]);
    assert_eq!(story.die(which(1, Logger)), []);
    story.on_remove = OnRemove::Stop;
    story.table.settle(Some(story.on_remove), story.now, &mut story.todo);
    assert_eq!(story.die_leaving(which(1, Service), Leftover::Lines), []);
    assert_eq!(story.start(), [which(1, Logger)]);
    assert_eq!(story.done(), [Action::DrainLogger(id(1))]);
    assert_eq!(story.die(which(1, Logger)), [Action::Forget(id(1))]);
    assert!(story.table.may_be_handed_on());
    assert_eq!(story.close(), []);
    assert!(story.table.has_stopped_all());
}

/// No supervise of it is busy any more, and nothing is left: a stop that begins then is over, and holds up no service.
#[test]
fn a_service_that_is_down_already_is_stopped_at_once() {
    let mut story = Story::with(false);
    story.scan(&[]);
    // As a fault elsewhere would leave it.
    let pid = story.table.pid(which(1, Service)).unwrap();
    story.table.pids.remove(&pid);
    story.table.set(which(1, Service), SuperviseState::Idle);
    story.scan(&[("a", 2)]);
    assert_eq!(story.inspected(2, false, &[])[1..], [Action::Forget(id(1))]);
    assert_eq!(story.start(), [which(2, Service)], "it waits for nothing that has happened already");
    assert!(story.table.may_be_handed_on());
}

/// Numbers that look random, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// What is waited for must be able to happen: in any order of entries, starts and ends.
#[test]
fn no_service_waits_for_an_event_that_has_happened() {
    for seed in 0..200 {
        let (mut numbers, mut story) = (Numbers(seed), Story::new());
        for step in 0..200 {
            story.after(numbers.below(3000));
            walk(&mut story, &mut numbers);
            waits_for_something(&story.table, &format!("walk {seed}, step {step}"));
        }
        story.close();
        for _ in 0..100 {
            story.after(20_000);
            story.start();
            let running: Vec<Pid> = story.table.running().map(|(pid, _)| pid).collect();
            for pid in running {
                story.table.process_ended(pid, Leftover::Nothing, story.now, &mut story.todo);
            }
        }
        assert!(story.table.has_stopped_all(), "walk {seed}");
    }
}

/// One event of many, with what svscan would do then.
fn walk(story: &mut Story, numbers: &mut Numbers) {
    let running: Vec<Pid> = story.table.running().map(|(pid, _)| pid).collect();
    let left = [Leftover::Nothing, Leftover::Told, Leftover::Process, Leftover::Lines, Leftover::CannotServe];
    match numbers.below(8) {
        0 | 1 => {
            story.on_remove = if numbers.below(2) == 0 { OnRemove::Leave } else { OnRemove::Stop };
            let names = ["a", "b", "c"].into_iter().filter(|_| numbers.below(3) > 0).collect::<Vec<&str>>();
            let entries: Vec<(&str, u64)> = names.into_iter().map(|name| (name, 1 + numbers.below(4))).collect();
            let mut new: Vec<Id> = story.scan(&entries).into_iter().filter_map(to_inspect).collect();
            new.dedup();
            for id in new {
                let after = ["a", "b", "c"].into_iter().filter(|_| numbers.below(4) == 0).collect::<Vec<&str>>();
                story.inspected(id.inode, numbers.below(2) == 0, &after);
            }
        }
        2 => {
            for which in story.table.starts(story.now, 100) {
                match numbers.below(3) {
                    0 => story.table.not_started(which, story.now),
                    _ => story.table.not_needed(which, story.now, &mut story.todo),
                }
            }
        }
        3 | 4 => drop(story.start()),
        5 => drop(story.table.told_readiness(id(1 + numbers.below(4)), Readiness::Ready, story.now)),
        _ if running.is_empty() => {}
        _ => {
            let at = |numbers: &mut Numbers, length: usize| usize::try_from(numbers.below(length as u64)).unwrap();
            let (pid, left) = (running[at(numbers, running.len())], left[at(numbers, left.len())]);
            story.table.process_ended(pid, left, story.now, &mut story.todo);
        }
    }
    story.done();
}

fn to_inspect(action: Action) -> Option<Id> {
    if let Action::Inspect(id) = action { Some(id) } else { None }
}

/// Each stop and each service that is blocked waits for a supervise that is busy; and what has no entry is known by its name.
fn waits_for_something(table: &Table, when: &str) {
    let is_busy = |id: Id| both(id).into_iter().any(|which| table.is_busy(which));
    for (id, service) in &table.services {
        assert!(service.stop.is_none() || is_busy(*id), "{when}: {id:?} is being stopped: {service:?}");
        let is_known = |holder: &Id| table.services.contains_key(holder);
        assert!(service.blocked_by.iter().all(is_known), "{when}: {id:?} waits for one that is gone: {service:?}");
        let is_absent = table.absent().any(|(absent, name)| (absent, name) == (*id, service.name.as_os_str()));
        assert!(is_absent != table.is_present(*id), "{when}: {id:?}: {service:?} {:?}", table.absent);
    }
    assert!(table.absent().all(|(id, _)| table.services.contains_key(&id)), "{when}: {:?}", table.absent);
}

/// `a` is replaced by what was `b`, and that is removed as well before the first one is down.
#[test]
fn a_service_waits_for_all_that_had_its_name_and_are_not_down() {
    let mut story = Story::new();
    story.scan(&[("a", 1), ("b", 2)]);
    story.inspected(1, false, &[]);
    story.inspected(2, false, &[]);
    story.start();
    assert!(story.scan(&[("a", 2)]).contains(&Action::EndSupervise(which(1, Service))));
    assert_eq!(story.scan(&[]), []);
    assert_eq!(story.scan(&[("a", 3)]), [Action::Inspect(id(3))]);
    assert_eq!(story.inspected(3, false, &[])[1..], [Action::EndSupervise(which(2, Service))]);
    assert_eq!(story.die(which(2, Service)), [Action::Forget(id(2))]);
    assert_eq!(story.start(), [], "the first one that had its name is not down");
    assert_eq!(story.die(which(1, Service)), [Action::Forget(id(1))]);
    assert_eq!(story.start(), [which(3, Service)]);
    assert_eq!(story.table.absent().count(), 0);
}
