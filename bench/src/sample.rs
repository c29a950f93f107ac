//! Measured values, and their medians, quantiles and ratios of medians.

use anyhow::Result;

/// Whether a larger value is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// One quantity that was measured: each row is a case, and each column is a suite.
#[derive(Debug)]
pub struct Figure {
    /// The name of the figure in `--json` and in the file names of `--svg`.
    pub name: &'static str,
    pub title: String,
    pub unit: &'static str,
    pub better: Better,
    /// The column with which the others are compared.
    pub reference: &'static str,
    pub cells: Vec<Cell>,
}

/// All values of one row and column.
#[derive(Debug, PartialEq)]
pub struct Cell {
    pub row: String,
    pub column: &'static str,
    pub samples: Vec<f64>,
}

impl Figure {
    pub fn add(&mut self, row: &str, column: &'static str, sample: f64) {
        match self.cells.iter_mut().find(|cell| cell.row == row && cell.column == column) {
            Some(cell) => cell.samples.push(sample),
            None => self.cells.push(Cell { row: row.into(), column, samples: vec![sample] }),
        }
    }

    /// Adds a row and column without a value.
    pub fn nothing(&mut self, row: &str, column: &'static str) {
        if !self.cells.iter().any(|cell| cell.row == row && cell.column == column) {
            self.cells.push(Cell { row: row.into(), column, samples: Vec::new() });
        }
    }

    /// The rows, in the order in which they first came.
    pub fn rows(&self) -> Vec<&str> {
        first_of_each(self.cells.iter().map(|cell| cell.row.as_str()))
    }

    /// The columns, in the order in which they first came.
    pub fn columns(&self) -> Vec<&'static str> {
        first_of_each(self.cells.iter().map(|cell| cell.column))
    }

    pub fn median(&self, row: &str, column: &str) -> Option<f64> {
        let cell = self.cells.iter().find(|cell| cell.row == row && cell.column == column)?;
        median(&cell.samples)
    }

    /// The median as a multiple of that of the reference in the same row.
    pub fn ratio(&self, row: &str, column: &str) -> Option<f64> {
        let of = self.median(row, self.reference)?;
        let ratio = self.median(row, column)? / of;
        ratio.is_finite().then_some(ratio)
    }
}

/// Adds figures with the values that a measurement adds to them, even if it fails later.
pub fn keep<const N: usize>(
    figures: &mut Vec<Figure>,
    mut new: [Figure; N],
    measure: impl FnOnce(&mut [Figure; N]) -> Result<()>,
) -> Result<()> {
    let result = measure(&mut new);
    figures.extend(new);
    result
}

fn first_of_each<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

/// The value in the middle, or the mean of the two in the middle.
pub fn median(samples: &[f64]) -> Option<f64> {
    let sorted = sorted(samples);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The smallest sample that a share of all samples, from 0 to 1, does not exceed. None if there are too few samples to
/// distinguish it from the largest one.
pub fn quantile(samples: &[f64], share: f64) -> Option<f64> {
    let sorted = sorted(samples);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    if rank == sorted.len() && share < 1.0 {
        return None;
    }
    sorted.get(rank.max(1) - 1).copied()
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        let cells = Vec::new();
        Figure { name: "speed", title: "Speed".into(), unit: "MB/s", better: Better::More, reference: "cat", cells }
    }

    #[test]
    fn what_was_measured_is_kept_though_what_comes_later_fails() {
        let mut figures = Vec::new();
        let result = keep(&mut figures, [figure()], |[speed]| {
            speed.add("plain", "cat", 120.0);
            anyhow::bail!("no disk")
        });
        assert_eq!(result.unwrap_err().to_string(), "no disk");
        assert_eq!(figures.iter().map(|figure| figure.median("plain", "cat")).collect::<Vec<_>>(), [Some(120.0)]);
    }

    #[test]
    fn a_median_is_the_middle_one_or_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn a_quantile_is_a_sample_and_is_not_told_from_too_few() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.5), Some(50.0));
        assert_eq!(quantile(&hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&hundred, 0.999), None);
        assert_eq!(quantile(&hundred, 1.0), Some(100.0));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[], 1.0), None);
    }

    #[test]
    fn a_ratio_is_that_of_the_medians_and_needs_a_reference() {
        let mut figure = figure();
        for sample in [50.0, 1000.0, 60.0] {
            figure.add("plain", "ours", sample);
        }
        assert_eq!(figure.ratio("plain", "ours"), None);
        figure.add("plain", "cat", 120.0);
        assert_eq!(figure.ratio("plain", "ours"), Some(0.5));
        assert_eq!(figure.ratio("plain", "cat"), Some(1.0));
        figure.add("stamped", "cat", 0.0);
        assert_eq!(figure.ratio("stamped", "cat"), None);
        assert_eq!((figure.rows(), figure.columns()), (vec!["plain", "stamped"], vec!["ours", "cat"]));
    }
}
