//! Lines as Parquet columns, and back, byte for byte.
//!
//! A line in our own spelling is one value for each of its fields; any other line (a heartbeat, what lies in quarantine)
//! is kept as it is in the column `line`. So the file can be queried as a table, and read as the lines that it was made of.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Rows of a row group: what is in memory at once.
const ROWS: usize = 16_384;

/// What a field's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
}

/// The fields of a record in the order in which it is written.
const FIELDS: [(&str, Kind); 20] = [
    ("v", Kind::Number),
    ("click_id", Kind::Text),
    ("impression_id", Kind::Text),
    ("ad_id", Kind::Text),
    ("campaign_id", Kind::Text),
    ("advertiser_id", Kind::Text),
    ("placement_id", Kind::Text),
    ("clicked_at_ms", Kind::Number),
    ("verdict", Kind::Text),
    ("duplicate_of", Kind::Text),
    ("claimed", Kind::Flag),
    ("partition_key", Kind::Text),
    ("device", Kind::Text),
    ("country", Kind::Text),
    ("network", Kind::Text),
    ("client_hash", Kind::Text),
    ("agent_hash", Kind::Text),
    ("dwell_ms", Kind::Number),
    ("referrer_host", Kind::Text),
    // Not a field: a line in any other spelling, whole.
    ("line", Kind::Text),
];
const LINE: usize = FIELDS.len() - 1;

/// A column's values of some rows.
#[derive(Default)]
struct Column {
    /// 1 where a row has a value.
    levels: Vec<i16>,
    texts: Vec<ByteArray>,
    numbers: Vec<i64>,
    flags: Vec<bool>,
}

impl Column {
    fn clear(&mut self) {
        self.levels.clear();
        self.texts.clear();
        self.numbers.clear();
        self.flags.clear();
    }
}

fn other(error: parquet::errors::ParquetError) -> io::Error {
    io::Error::other(error)
}

fn not_ours() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a Parquet file that was not written by compaction",
    )
}

/// The values of a line in our own spelling, as they stand there.
fn split(line: &[u8]) -> Option<[Option<&[u8]>; LINE]> {
    let mut values = [None; LINE];
    let mut rest = line.strip_prefix(b"{")?;
    for (value, (name, kind)) in values.iter_mut().zip(FIELDS) {
        let comma: &[u8] = if rest.len() + 1 == line.len() {
            b"\""
        } else {
            b",\""
        };
        let Some(found) = rest
            .strip_prefix(comma)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .and_then(|rest| rest.strip_prefix(b"\":"))
        else {
            continue;
        };
        let length = match kind {
            Kind::Text => {
                let text = found.strip_prefix(b"\"")?;
                let length = text.iter().position(|byte| *byte == b'"')?;
                *value = Some(&text[..length]);
                length + 2
            }
            Kind::Number | Kind::Flag => {
                let length = found.iter().position(|byte| matches!(byte, b',' | b'}'))?;
                *value = Some(&found[..length]);
                length
            }
        };
        rest = &found[length..];
    }
    (rest == b"}" && values.iter().any(Option::is_some)).then_some(values)
}

/// Writes lines as a Parquet file.
pub(super) struct ColumnWriter {
    file: SerializedFileWriter<File>,
    columns: Vec<Column>,
}

impl ColumnWriter {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let columns = FIELDS.map(|(name, kind)| match kind {
            Kind::Text => format!("OPTIONAL BYTE_ARRAY {name} (UTF8);"),
            Kind::Number => format!("OPTIONAL INT64 {name};"),
            Kind::Flag => format!("OPTIONAL BOOLEAN {name};"),
        });
        let schema = format!("message clicks {{ {} }}", columns.join(" "));
        let schema = Arc::new(parse_message_type(&schema).map_err(other)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        Ok(Self {
            file: SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(other)?,
            columns: FIELDS.iter().map(|_| Column::default()).collect(),
        })
    }

    /// Adds a line, without its end.
    pub(super) fn push(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.push_fields(line) {
            for column in &mut self.columns[..LINE] {
                column.levels.push(0);
            }
            self.columns[LINE].levels.push(1);
            self.columns[LINE].texts.push(line.to_vec().into());
        }
        if self.columns[LINE].levels.len() >= ROWS {
            self.write()?;
        }
        Ok(())
    }

    /// Adds a line's fields; `false`, and nothing added, where they would not give back the same bytes.
    fn push_fields(&mut self, line: &[u8]) -> bool {
        let Some(values) = split(line).filter(|_| line.is_ascii()) else {
            return false;
        };
        let mut numbers = [0_i64; LINE];
        for ((value, (_, kind)), number) in values.iter().zip(FIELDS).zip(&mut numbers) {
            let Some(value) = value else { continue };
            let text = std::str::from_utf8(value).unwrap_or_default();
            let same = match kind {
                // An escape would have to be undone for those who query the column.
                Kind::Text => !text.contains('\\'),
                Kind::Flag => matches!(text, "true" | "false"),
                Kind::Number => {
                    *number = text.parse().unwrap_or_default();
                    number.to_string() == text
                }
            };
            if !same {
                return false;
            }
        }
        for (place, column) in self.columns.iter_mut().enumerate() {
            let value = values.get(place).copied().flatten();
            column.levels.push(value.is_some().into());
            let Some(value) = value else { continue };
            match FIELDS[place].1 {
                Kind::Text => column.texts.push(value.to_vec().into()),
                Kind::Number => column.numbers.push(numbers[place]),
                Kind::Flag => column.flags.push(value == b"true"),
            }
        }
        true
    }

    fn write(&mut self) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(other)?;
        for (column, (_, kind)) in self.columns.iter_mut().zip(FIELDS) {
            let mut out = group.next_column().map_err(other)?.ok_or_else(not_ours)?;
            let levels = Some(column.levels.as_slice());
            match kind {
                Kind::Text => out
                    .typed::<ByteArrayType>()
                    .write_batch(&column.texts, levels, None),
                Kind::Number => out
                    .typed::<Int64Type>()
                    .write_batch(&column.numbers, levels, None),
                Kind::Flag => out.typed::<BoolType>().write_batch(&column.flags, levels, None),
            }
            .map_err(other)?;
            out.close().map_err(other)?;
            column.clear();
        }
        group.close().map_err(other)?;
        Ok(())
    }

    /// Ends the file and makes it durable.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.columns[LINE].levels.is_empty() {
            self.write()?;
        }
        self.file.into_inner().map_err(other)?.sync_all()
    }
}

/// Reads all values of a column.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: &mut Vec<i16>,
) -> io::Result<Vec<T::T>> {
    let mut values = Vec::with_capacity(rows);
    while levels.len() < rows {
        let (records, ..) = reader
            .read_records(rows - levels.len(), Some(levels), None, &mut values)
            .map_err(other)?;
        if records == 0 {
            return Err(not_ours());
        }
    }
    Ok(values)
}

/// Gives every line of the file to `each`, in the order in which they were written.
pub(super) fn lines(file: File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let reader = SerializedFileReader::new(file).map_err(other)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names = schema.columns().iter().map(|column| column.name());
    if !names.eq(FIELDS.iter().map(|(name, _)| *name)) {
        return Err(not_ours());
    }
    let mut line = Vec::with_capacity(512);
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(other)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut columns = Vec::with_capacity(FIELDS.len());
        for place in 0..FIELDS.len() {
            let mut column = Column::default();
            let levels = &mut column.levels;
            match group.get_column_reader(place).map_err(other)? {
                ColumnReader::ByteArrayColumnReader(mut values) => {
                    column.texts = read(&mut values, rows, levels)?;
                }
                ColumnReader::Int64ColumnReader(mut values) => {
                    column.numbers = read(&mut values, rows, levels)?;
                }
                ColumnReader::BoolColumnReader(mut values) => column.flags = read(&mut values, rows, levels)?,
                _ => return Err(not_ours()),
            }
            columns.push((column, 0));
        }
        for row in 0..rows {
            join(&mut columns, row, &mut line).ok_or_else(not_ours)?;
            each(&line);
        }
    }
    Ok(())
}

/// Puts a row's line together; every column with how many of its values are used up.
fn join(columns: &mut [(Column, usize)], row: usize, line: &mut Vec<u8>) -> Option<()> {
    line.clear();
    for (place, (column, used)) in columns.iter_mut().enumerate() {
        if column.levels.get(row) != Some(&1) {
            continue;
        }
        let (name, kind) = FIELDS[place];
        let value = *used;
        *used += 1;
        if place == LINE {
            line.clear();
            line.extend_from_slice(column.texts.get(value)?.data());
            return Some(());
        }
        line.extend_from_slice(if line.is_empty() { b"{\"" } else { b",\"" });
        line.extend_from_slice(name.as_bytes());
        line.extend_from_slice(b"\":");
        match kind {
            Kind::Text => {
                line.push(b'"');
                line.extend_from_slice(column.texts.get(value)?.data());
                line.push(b'"');
            }
            Kind::Number => line.extend_from_slice(column.numbers.get(value)?.to_string().as_bytes()),
            Kind::Flag => line.extend_from_slice(if *column.flags.get(value)? {
                b"true"
            } else {
                b"false"
            }),
        }
    }
    line.push(b'}');
    Some(())
}

#[cfg(test)]
mod tests {
    use clickledger_testkit::fixtures::ClickMaker;

    use super::*;

    fn back(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines.parquet");
        let mut writer = ColumnWriter::new(File::create(&path).unwrap()).unwrap();
        for line in lines {
            writer.push(line).unwrap();
        }
        writer.finish().unwrap();
        let mut found = Vec::new();
        super::lines(File::open(&path).unwrap(), |line| found.push(line.to_vec())).unwrap();
        found
    }

    #[test]
    fn lines_come_back_byte_for_byte_in_their_order() {
        let mut maker = ClickMaker::new(9, 50, 1_767_312_000_000, 10.0);
        let mut lines: Vec<Vec<u8>> = (0..ROWS + 100)
            .map(|_| maker.record().to_line().unwrap().trim_ascii_end().to_vec())
            .collect();
        let record = String::from_utf8(lines[0].clone()).unwrap();
        for (place, other) in [
            "",
            "{}",
            "{\"v\":1}",
            "{\"v\":01}",
            "{\"v\":1,\"v\":1}",
            "{\"claimed\":maybe}",
            "not JSON",
            "{\"v\":1,\"click_id\":\"a\\\"b\"}",
            "{\"v\":1,\"click_id\":\"ünïcode\"}",
            "{\"v\":99999999999999999999}",
            "{\"v\":-7,\"claimed\":true}",
            &record.replace("\"v\":1", "\"v\": 1"),
            &record.replace('}', ",\"more\":1}"),
        ]
        .into_iter()
        .enumerate()
        {
            lines.insert(place * 7, other.as_bytes().to_vec());
        }
        lines.insert(3, vec![0xff, 0xfe, 0]);
        let found = back(&lines);
        assert_eq!(found.len(), lines.len());
        for (found, line) in found.iter().zip(&lines) {
            assert_eq!(found, line, "{}", String::from_utf8_lossy(line));
        }
        assert_eq!(back(&[]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn records_lie_in_their_fields() {
        let mut maker = ClickMaker::new(9, 50, 1_767_312_000_000, 10.0);
        for _ in 0..200 {
            let line = maker.record().to_line().unwrap();
            let values = split(line.trim_ascii_end()).unwrap();
            assert!(values[1].is_some() && values[7].is_some() && values[10].is_some());
        }
    }
}
