//! Tables in plain text: columns as wide as they need, two spaces apart.

/// The side on which a column's texts stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table in the making.
pub(in crate::cli) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(in crate::cli) fn new(columns: &[(&str, Side)]) -> Self {
        Self {
            sides: columns.iter().map(|(_, side)| *side).collect(),
            rows: vec![columns.iter().map(|(head, _)| (*head).to_owned()).collect()],
        }
    }

    /// Adds a row, which has as many texts as there are columns.
    pub(in crate::cli) fn row<const N: usize>(&mut self, texts: [String; N]) {
        assert_eq!(N, self.sides.len(), "a row has a text for each column");
        // Whatever somebody wrote, a row is one line.
        let texts = texts.map(|text| text.replace(|c: char| c.is_control(), " "));
        self.rows.push(texts.into());
    }

    /// The lines, headings first.
    pub(in crate::cli) fn text(&self) -> String {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.sides.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                let cell = match self.sides[column] {
                    Side::Left => format!("{cell:<width$}"),
                    Side::Right => format!("{cell:>width$}"),
                };
                if column > 0 {
                    line.push_str("  ");
                }
                line.push_str(&cell);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let mut table = Table::new(&[
            ("NAME", Side::Left),
            ("SHARE", Side::Right),
            ("NOTE", Side::Left),
        ]);
        table.row(["gateway".into(), "100 %".into(), "".into()]);
        table.row(["ä".into(), "5 %".into(), "two\nlines\u{1b}".into()]);
        let expected = "NAME     SHARE  NOTE\n\
                        gateway  100 %\n\
                        ä          5 %  two lines\n";
        assert_eq!(table.text(), expected);
    }
}
