//! The faster ways of most lines, many at a time: unchanged, stamped, or selected. [`Router::take`] takes the other
//! lines one by one. No I/O and no clock.

use super::output::{NEARLY_FULL, each, is_any_full};
use super::{HasOutput, Line, Router};
use crate::steps::{Destinations, LineStart, SEEN, SideOutput};

/// How many lines are looked at between two searches for lines that no pattern can match, where there were none.
const MOST_LOOKS: u32 = 31;

impl Router {
    /// How many bytes at the beginning of `data` go unchanged to every directory: whole lines, up to where a file is
    /// full, and at least one. `None`: [`Router::take`] must go through the data.
    pub fn plain_part(&self, data: &[u8], outputs: &[impl HasOutput]) -> Option<usize> {
        if !self.is_plain || self.line != Line::Fresh {
            return None;
        }
        let whole = memchr::memrchr(b'\n', data).map_or(0, |at| at + 1);
        let room = outputs.iter().map(|place| place.output().room()).min().unwrap_or(usize::MAX);
        let free = room.saturating_sub(NEARLY_FULL as usize);
        if whole <= free {
            return Some(whole).filter(|whole| *whole > 0);
        }
        // The line that is the first to come near the size is the last of its file.
        let near = free.saturating_sub(1);
        let end = memchr::memchr(b'\n', &data[near..whole]).map(|at| near + at + 1);
        end.filter(|end| *end <= room)
    }

    /// Takes whole lines that are not long, in a tight loop for the usual script of a stamp and directories. The lines
    /// are put together for the first directory, and the others get a copy at the end.
    pub(super) fn stamp_lines(&mut self, data: &[u8], to: Destinations, outputs: &mut [impl HasOutput]) -> usize {
        if self.line != Line::Fresh || is_any_full(outputs) {
            return 0;
        }
        let mut room = usize::MAX;
        each(to, outputs, |_, output| room = room.min(output.room()));
        let mut chosen = outputs.iter_mut().enumerate().filter(|(number, _)| to >> number & 1 == 1);
        let Some(first) = chosen.next().map(|(_, place)| place.output_mut()) else { return 0 };
        // One of the files is full when this much is pending.
        let begin = first.pending.len();
        let full = begin + room.saturating_sub(NEARLY_FULL as usize);
        let mut taken = 0;
        for newline in memchr::memchr_iter(b'\n', data) {
            let line = &data[taken..=newline];
            if line.len() > SEEN / 2 {
                break;
            }
            self.stamper.put(&mut first.pending);
            first.pending.extend_from_slice(line);
            taken = newline + 1;
            if first.pending.len() >= full {
                break;
            }
        }
        let written = &first.pending[begin..];
        first.size += written.len() as u64;
        chosen.for_each(|(_, place)| place.output_mut().add(written));
        taken
    }

    /// Takes lines where patterns select. Lines that no pattern can match go together; only the others are looked at.
    pub(super) fn select_lines(&mut self, data: &[u8], outputs: &mut [impl HasOutput], side: &mut SideOutput) -> usize {
        if !self.only_selects || self.line != Line::Fresh {
            return 0;
        }
        if let Some(prefilter) = &mut self.prefilter {
            prefilter.begin();
        }
        // The more lines a pattern may match, the more are looked at one by one before the next search.
        let (mut taken, mut looks, mut found) = (0, 0_u32, 0_u32);
        while !is_any_full(outputs) {
            let end = match &mut self.prefilter {
                Some(prefilter) if looks == 0 => prefilter.unmatched(data, taken),
                _ => taken,
            };
            (looks, found) = match looks {
                0 if end > taken => (0, 0),
                0 => (found, (2 * found + 1).min(MOST_LOOKS)),
                more => (more - 1, found),
            };
            let used = match (&data[taken..end], self.others) {
                ([], _) => self.select_line(&data[taken..], outputs, side),
                (lines, 0) => lines.len(),
                (lines, to) => self.stamp_lines(lines, to, outputs),
            };
            if used == 0 {
                break;
            }
            taken += used;
        }
        taken
    }

    /// Takes a line that is not long. The line is stamped in the output of the first directory, and removed from there
    /// if it is not selected.
    fn select_line(&mut self, data: &[u8], outputs: &mut [impl HasOutput], side: &mut SideOutput) -> usize {
        let Some((first, others)) = outputs.split_first_mut() else { return 0 };
        let first = first.output_mut();
        let Some(newline) = memchr::memchr(b'\n', data).filter(|at| *at < SEEN / 2) else { return 0 };
        let begin = first.pending.len();
        self.stamper.put(&mut first.pending);
        let stamp = first.pending.len() - begin;
        first.pending.extend_from_slice(&data[..=newline]);
        let written = &first.pending[begin..];
        let line_start =
            LineStart { bytes: &written[..written.len() - 1], stamp, goes_on: false, time: self.stamper.last() };
        let to = self.steps.judge(0, &line_start, side);
        each(to >> 1, others, |_, output| output.add(written));
        if to & 1 == 1 {
            first.size += written.len() as u64;
        } else {
            first.pending.truncate(begin);
        }
        newline + 1
    }
}
