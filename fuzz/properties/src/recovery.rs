use crate::input::Input;
use daemontools::logdir::{CURRENT, PREVIOUS, PROCESSED};
use multilog::recovery::{Directory, FileState, Step, plan};

/// A log directory that only records where lines are: those of `current` and those of `previous`.
#[derive(Debug, Clone)]
struct Model {
    files: Directory,
    /// How often the lines of `current` and of `previous` were given a final name.
    finished: [u32; 2],
}

/// Begins with any combination of files that a killed multilog may have left, and kills each multilog that recovers
/// them at any step. In the end all lines exist once, in files with a final name or in a `current` that is continued.
pub fn no_line_lost(data: &[u8]) {
    let mut input = Input(data);
    let mut found = || [FileState::Missing, FileState::Complete, FileState::Incomplete][usize::from(input.byte() % 3)];
    let (current, previous, processed) = (found(), found(), found());
    let has_journal = input.byte() % 2 == 1 && current != FileState::Missing;
    // Recovery renames a complete `processed` only after it has removed the `previous` from which it was made. If that
    // was not done, both exist.
    let mut model = Model { files: Directory { current, previous, processed, has_journal }, finished: [0, 0] };
    let begun = model.clone();
    while input.has_more() {
        let steps = plan(model.files);
        let done = usize::from(input.byte()) % (steps.len() + 1);
        steps[..done].iter().for_each(|step| model.perform(*step));
    }
    plan(model.files).into_iter().for_each(|step| model.perform(step));
    let had = |found| u32::from(found != FileState::Missing);
    let kept = had(model.files.current);
    assert_eq!(model.finished[0] + kept, had(begun.files.current), "{begun:?} {model:?}");
    let whole_result = u32::from(begun.files.processed == FileState::Complete);
    assert_eq!(model.finished[1], whole_result.max(had(begun.files.previous)), "{begun:?} {model:?}");
    assert_eq!((model.files.previous, model.files.processed), (FileState::Missing, FileState::Missing), "{begun:?}");
}

impl Model {
    fn perform(&mut self, step: Step) {
        let files = &mut self.files;
        match step {
            Step::Remove(CURRENT) => files.current = FileState::Missing,
            Step::Remove(PREVIOUS) => files.previous = FileState::Missing,
            Step::Remove(PROCESSED) => files.processed = FileState::Missing,
            Step::Remove(_) | Step::EmptyState | Step::KeepState => {}
            Step::FinishUnsafe(CURRENT) => self.finished[0] += taken(&mut files.current),
            Step::FinishUnsafe(PREVIOUS) | Step::Process => self.finished[1] += taken(&mut files.previous),
            Step::FinishSafe(PROCESSED) => self.finished[1] += taken(&mut files.processed),
            Step::FinishSafe(_) | Step::FinishUnsafe(_) => unreachable!("{step:?}"),
        }
    }
}

/// Removes a file from the model, and returns how many files that were.
fn taken(file: &mut FileState) -> u32 {
    u32::from(std::mem::replace(file, FileState::Missing) != FileState::Missing)
}
