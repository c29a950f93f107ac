//! Draws a figure as a picture: bars side by side, each with its value.

use crate::sample::{Better, Figure};
use crate::table::digits;
use anyhow::{Result, anyhow};
use plotters::prelude::*;

const WIDTH: u32 = 820;
const MARGIN: i32 = 16;
/// The position at which the bars begin.
const LEFT: i32 = 300;
/// The space for the values at the ends of the bars.
const RIGHT: i32 = 70;
const BAR: i32 = 14;
const GAP: i32 = 10;
const HEAD: i32 = 76;
const FOOT: i32 = 34;

/// Ours first; the colours differ in brightness too.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 90, 156),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(150, 150, 150),
    RGBColor(205, 205, 205),
];

/// Draws an SVG with `note` below the bars.
pub fn svg(figure: &Figure, note: &str) -> Result<String> {
    let columns = figure.columns();
    let rows = figure.rows();
    let block = i32::try_from(columns.len())? * BAR + GAP;
    let height = HEAD + block * i32::try_from(rows.len())? + FOOT;
    let mut text = String::new();
    let picture = SVGBackend::with_string(&mut text, (WIDTH, height.cast_unsigned())).into_drawing_area();
    let failed = |error| anyhow!("draw {}: {error}", figure.name);
    picture.fill(&WHITE).map_err(failed)?;
    let write = |words: &str, at: (i32, i32), size: i32| {
        picture.draw(&Text::new(words.to_string(), at, ("sans-serif", size).into_font().color(&BLACK)))
    };
    let scale = Scale::of(figure);
    write(&figure.title, (MARGIN, MARGIN), 22).map_err(failed)?;
    write(&subtitle(figure, &scale), (MARGIN, MARGIN + 22), 15).map_err(failed)?;
    for (number, column) in (0..).zip(&columns) {
        let x = MARGIN + number * 125;
        let square = [(x, HEAD - 22), (x + 10, HEAD - 12)];
        picture.draw(&Rectangle::new(square, color(number).filled())).map_err(failed)?;
        write(column, (x + 16, HEAD - 23), 15).map_err(failed)?;
    }
    for (place, row) in (0..).zip(&rows) {
        let top = HEAD + place * block;
        write(row, (MARGIN, top + (block - GAP) / 2 - 7), 15).map_err(failed)?;
        for (number, column) in (0..).zip(&columns) {
            let y = top + number * BAR;
            let value = figure.median(row, column);
            let end = LEFT + value.map_or(0, |value| scale.length(value));
            let bar = [(LEFT, y), (end, y + BAR - 3)];
            picture.draw(&Rectangle::new(bar, color(number).filled())).map_err(failed)?;
            write(&value.map_or("-".into(), digits), (end + 5, y - 1), 13).map_err(failed)?;
        }
    }
    write(note, (MARGIN, height - FOOT + 10), 14).map_err(failed)?;
    picture.present().map_err(failed)?;
    drop(picture);
    Ok(text)
}

fn color(number: i32) -> RGBColor {
    COLORS.into_iter().cycle().nth(usize::try_from(number).unwrap_or(0)).unwrap_or(BLACK)
}

fn subtitle(figure: &Figure, scale: &Scale) -> String {
    let better = match figure.better {
        Better::More => "more",
        Better::Less => "less",
    };
    let kind = if scale.least.is_some() { "; logarithmic scale" } else { "" };
    format!("{}, {better} is better{kind}", figure.unit)
}

/// The scale of the bars.
#[derive(Debug, PartialEq)]
struct Scale {
    /// The value of the shortest bar, if the scale is logarithmic.
    least: Option<f64>,
    greatest: f64,
}

impl Scale {
    /// Makes a scale, which is logarithmic if a bar would otherwise be too short to be seen.
    fn of(figure: &Figure) -> Scale {
        let all = figure.cells.iter().filter_map(|cell| figure.median(&cell.row, cell.column));
        let seen: Vec<f64> = all.filter(|value| *value > 0.0).collect();
        let least = seen.iter().copied().reduce(f64::min).unwrap_or(1.0);
        let greatest = seen.iter().copied().reduce(f64::max).unwrap_or(1.0);
        Scale { least: (greatest / least > 200.0).then_some(least), greatest }
    }

    /// The length of a bar in pixels.
    fn length(&self, value: f64) -> i32 {
        let room = f64::from(WIDTH.cast_signed() - LEFT - RIGHT);
        let share = match self.least {
            // The shortest bar has a twentieth of the space, so that it can be seen.
            Some(least) if value > 0.0 => 0.05 + 0.95 * (value / least).ln() / (self.greatest / least).ln(),
            Some(_) => 0.0,
            None => value / self.greatest,
        };
        (room * share).round() as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: [f64; 2]) -> Figure {
        let (title, cells) = ("Restart".into(), Vec::new());
        let mut figure = Figure { name: "restart", title, unit: "ms", better: Better::Less, reference: "ours", cells };
        figure.add("death", "ours", values[0]);
        figure.add("death", "s6", values[1]);
        figure.nothing("death", "runit");
        figure
    }

    #[test]
    fn bars_are_as_long_as_values_or_as_their_logarithms() {
        let scale = Scale::of(&figure([50.0, 100.0]));
        assert_eq!(scale, Scale { least: None, greatest: 100.0 });
        assert_eq!((scale.length(50.0), scale.length(100.0), scale.length(0.0)), (225, 450, 0));
        let scale = Scale::of(&figure([1.0, 1000.0]));
        assert_eq!(scale.least, Some(1.0));
        assert_eq!((scale.length(1.0), scale.length(1000.0), scale.length(0.0)), (23, 450, 0));
    }

    #[test]
    fn a_picture_has_all_names_and_values() {
        let picture = svg(&figure([0.5, 1004.0]), "here & now").unwrap();
        for words in
            ["<svg", "Restart", "ms, less is better; logarithmic scale", "death", "s6", "1004", "here &amp; now"]
        {
            assert!(picture.contains(words), "{words} in {picture}");
        }
    }
}
