use crate::input::Input;
use daemontools::logdir::{CURRENT, PREVIOUS, PROCESSED};
use multilog::recovery::{Directory, Found, Step, plan};

/// A log directory of which only matters where lines are: those of `current` and those of `previous`.
#[derive(Debug, Clone)]
struct Model {
    files: Directory,
    /// How often the lines of either were given a final name.
    finished: [u32; 2],
}

/// Whatever was left, and wherever those who clear it up are killed in turn: in the end all lines are there
/// once, in files with a final name or in a `current` that is written on.
pub fn no_line_lost(data: &[u8]) {
    let mut input = Input(data);
    let mut found = || [Found::Missing, Found::Complete, Found::Incomplete][usize::from(input.byte() % 3)];
    let (current, previous, processed) = (found(), found(), found());
    let vouched = input.byte() % 2 == 1 && current != Found::Missing;
    // A whole result is renamed only after what it was made of is gone: both lie there if that was not done.
    let mut model = Model { files: Directory { current, previous, processed, vouched }, finished: [0, 0] };
    let begun = model.clone();
    while input.has_more() {
        let steps = plan(model.files);
        let done = usize::from(input.byte()) % (steps.len() + 1);
        steps[..done].iter().for_each(|step| model.perform(*step));
    }
    plan(model.files).into_iter().for_each(|step| model.perform(step));
    let had = |found| u32::from(found != Found::Missing);
    let kept = had(model.files.current);
    assert_eq!(model.finished[0] + kept, had(begun.files.current), "{begun:?} {model:?}");
    let whole_result = u32::from(begun.files.processed == Found::Complete);
    assert_eq!(model.finished[1], whole_result.max(had(begun.files.previous)), "{begun:?} {model:?}");
    assert_eq!((model.files.previous, model.files.processed), (Found::Missing, Found::Missing), "{begun:?}");
}

impl Model {
    fn perform(&mut self, step: Step) {
        let files = &mut self.files;
        match step {
            Step::Remove(CURRENT) => files.current = Found::Missing,
            Step::Remove(PREVIOUS) => files.previous = Found::Missing,
            Step::Remove(PROCESSED) => files.processed = Found::Missing,
            Step::Remove(_) | Step::EmptyState => {}
            Step::FinishUnsafe(CURRENT) => self.finished[0] += taken(&mut files.current),
            Step::FinishUnsafe(PREVIOUS) | Step::Process => self.finished[1] += taken(&mut files.previous),
            Step::FinishSafe(PROCESSED) => self.finished[1] += taken(&mut files.processed),
            Step::FinishSafe(_) | Step::FinishUnsafe(_) => unreachable!("{step:?}"),
        }
    }
}

/// It is there no more; how many there were.
fn taken(file: &mut Found) -> u32 {
    u32::from(std::mem::replace(file, Found::Missing) != Found::Missing)
}
