//! Standard output: JSON, or tables for people.

use std::io::{self, Write};

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

/// One JSON document, laid out for reading.
pub(super) fn json(value: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    Ok(writeln!(out)?)
}

/// One line.
pub(super) fn line(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// A table without lines, so that it can be cut and sorted as well as read. Columns of numbers are named in `right`.
pub(super) fn table(
    names: &[&str],
    right: impl Fn(usize) -> bool,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<()> {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(names);
    for row in rows {
        table.add_row(row);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right(place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let mut out = io::stdout().lock();
    for line in text.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Items as a table of these fields.
pub(super) fn items(items: &[Value], fields: &[&str]) -> Result<()> {
    let rows = items
        .iter()
        .map(|item| fields.iter().map(|field| text(&item[*field])).collect());
    table(fields, |_| false, rows)
}

/// One object as a list of its fields, empty ones left out.
pub(super) fn fields(object: &Value) -> Result<()> {
    let Some(object) = object.as_object() else {
        return json(object);
    };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        writeln!(out, "{name:width$}  {}", text(value))?;
    }
    Ok(())
}

/// A value as it stands in a cell. Control characters of foreign texts don't reach the terminal.
pub(super) fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.iter().all(|v| !v.is_object()) => {
            all.iter().map(text).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_cannot_steer_the_terminal() {
        assert_eq!(text(&Value::from("a\x1b[2Jb")), "a\u{fffd}[2Jb");
        assert_eq!(text(&serde_json::json!(["1", "2"])), "1,2");
        assert_eq!(text(&serde_json::json!([{"a": 1}])), r#"[{"a":1}]"#);
    }
}
