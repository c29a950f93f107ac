//! Formats a figure as a table for the terminal, and all figures as JSON.

use crate::sample::{Better, Figure, quantile};
use serde_json::{Value, json};

/// Formats each row as a line: the median of each column, and in brackets its multiple of the reference.
pub fn table(figure: &Figure) -> String {
    let columns = figure.columns();
    let mut lines = vec![[vec![String::new()], columns.iter().map(|name| (*name).to_string()).collect()].concat()];
    for row in figure.rows() {
        let cells = columns.iter().map(|column| entry(figure, row, column));
        lines.push(std::iter::once(row.to_string()).chain(cells).collect());
    }
    let widths: Vec<usize> = (0..=columns.len())
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|text| text.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let better = match figure.better {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    let mut text = format!("{} ({}, {better}; in brackets: {} = 1)\n", figure.title, figure.unit, figure.reference);
    for line in lines {
        let mut fields = line.iter().zip(&widths);
        let first = fields.next().map(|(name, width)| format!("{name:<width$}")).unwrap_or_default();
        let others: String = fields.map(|(cell, width)| format!("  {cell:>width$}")).collect();
        text.push_str(format!("  {first}{others}").trim_end());
        text.push('\n');
    }
    text
}

fn entry(figure: &Figure, row: &str, column: &str) -> String {
    match (figure.median(row, column), figure.ratio(row, column)) {
        (None, _) => "-".into(),
        (Some(median), Some(ratio)) if column != figure.reference => format!("{} ({})", digits(median), digits(ratio)),
        (Some(median), _) => digits(median),
    }
}

/// Formats a number with three significant digits. A number of three digits or more before the point has no fraction.
pub fn digits(value: f64) -> String {
    let behind = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        0.0 => 0,
        _ => 2,
    };
    format!("{value:.behind$}")
}

/// All figures as JSON.
pub fn as_json(figures: &[Figure]) -> Value {
    let cell = |figure: &Figure, cell: &crate::sample::Cell| {
        json!({
            "case": cell.row,
            "who": cell.column,
            "median": figure.median(&cell.row, cell.column),
            "p99": quantile(&cell.samples, 0.99),
            "ratio": figure.ratio(&cell.row, cell.column),
            "samples": cell.samples,
        })
    };
    let one = |figure: &Figure| {
        json!({
            "name": figure.name,
            "title": figure.title,
            "unit": figure.unit,
            "better": match figure.better { Better::More => "more", Better::Less => "less" },
            "reference": figure.reference,
            "cells": figure.cells.iter().map(|each| cell(figure, each)).collect::<Vec<_>>(),
        })
    };
    Value::Array(figures.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        let cells = Vec::new();
        let title = "Log writers".into();
        let mut figure = Figure { name: "log", title, unit: "MB/s", better: Better::More, reference: "cat", cells };
        figure.add("plain", "cat", 400.0);
        figure.add("plain", "ours", 200.0);
        figure.add("with stamp", "cat", 12.345);
        figure
    }

    #[test]
    fn columns_are_aligned_and_what_was_not_measured_is_a_dash() {
        let expected = "Log writers (MB/s, more is better; in brackets: cat = 1)\n\
                        \x20              cat        ours\n\
                        \x20 plain        400  200 (0.50)\n\
                        \x20 with stamp  12.3           -\n";
        assert_eq!(table(&figure()), expected);
    }

    #[test]
    fn three_digits_count() {
        let written = [0.0, 0.004, 0.5, 1.0, 9.994, 9.996, 99.94, 99.96, 1234.5].map(digits);
        assert_eq!(written, ["0", "0.00", "0.50", "1.00", "9.99", "10.0", "99.9", "100", "1234"]);
    }

    #[test]
    fn json_has_every_sample() {
        let json = as_json(&[figure()]);
        let cell = &json[0]["cells"][1];
        assert_eq!((&cell["who"], &cell["ratio"], &cell["samples"]), (&json!("ours"), &json!(0.5), &json!([200.0])));
        assert_eq!(json[0]["cells"][2]["p99"], Value::Null);
    }
}
