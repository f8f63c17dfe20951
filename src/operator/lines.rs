//! Lines of a file that others wrote: of any length, of any bytes.
//!
//! Invariant: no line is held in memory beyond the longest that a log's event may have; what is longer is told as such.

use std::io::{self, BufRead, Read};

/// CloudWatch takes events of at most 1 MiB; a time stands before each in an export.
const MAX_BYTES: u64 = (1 << 20) + 1024;

/// The next line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// As text.
    Text(String),
    /// Not UTF-8, or too long.
    Unreadable(&'static str),
}

/// The next line; nothing at the end.
pub(super) fn next(file: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    if file.by_ref().take(MAX_BYTES).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.pop_if(|last| *last == b'\n').is_none() && bytes.len() as u64 >= MAX_BYTES {
        file.skip_until(b'\n')?;
        return Ok(Some(Line::Unreadable("longer than an event may be")));
    }
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => Line::Text(text),
        Err(_) => Line::Unreadable("not UTF-8"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length_and_bytes_are_told_apart() {
        let long = "x".repeat(3 << 20);
        let mut file = Vec::new();
        file.extend_from_slice(b"one\r\n\n\xff\xfe\n");
        file.extend_from_slice(long.as_bytes());
        file.extend_from_slice(b"\nlast");
        let mut reader = io::BufReader::with_capacity(1024, &file[..]);
        let mut found = Vec::new();
        while let Some(line) = next(&mut reader).unwrap() {
            found.push(line);
        }
        assert_eq!(
            found,
            [
                Line::Text("one\r".to_owned()),
                Line::Text(String::new()),
                Line::Unreadable("not UTF-8"),
                Line::Unreadable("longer than an event may be"),
                Line::Text("last".to_owned()),
            ]
        );
    }
}
