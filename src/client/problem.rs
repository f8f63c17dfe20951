//! Problem documents (RFC 9457) as errors that people can read.

use std::fmt;

use serde::Deserialize;

/// What the API says went wrong.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<Detail>,
    #[serde(default)]
    request_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    parameter: String,
    reason: String,
}

/// The problem of an answer that is no success; also where its body is something else.
pub(crate) fn read(status: u16, body: &[u8]) -> Problem {
    let mut problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
        title: String::new(),
        status,
        detail: None,
        errors: Vec::new(),
        request_id: None,
    });
    if problem.title.is_empty() {
        problem.title = format!("the server answered {status}");
    }
    problem.status = status;
    problem
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title, self.status)?;
        let detail = self.detail.as_deref().unwrap_or_default();
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        for Detail { parameter, reason } in &self.errors {
            let line = format!("{parameter} {reason}");
            // Where one thing is wrong, the detail says it already.
            if line != detail {
                write!(f, "\n  {line}")?;
            }
        }
        if self.status >= 500
            && let Some(request_id) = &self.request_id
        {
            write!(f, "\n  request {request_id}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_problem_is_shown() {
        let body = br#"{"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,
            "detail":"Two things are wrong.","errors":[{"parameter":"from","reason":"must be a whole minute"},
            {"parameter":"tz","reason":"must be a time zone"}],"request_id":"r1"}"#;
        assert_eq!(
            read(400, body).to_string(),
            "Invalid parameter (400): Two things are wrong.\n  from must be a whole minute\n  tz must be a time zone"
        );
        let once = br#"{"title":"No","detail":"tz must be a zone","errors":[{"parameter":"tz","reason":"must be a zone"}]}"#;
        assert_eq!(read(400, once).to_string(), "No (400): tz must be a zone");
        assert_eq!(read(502, b"<html>").to_string(), "the server answered 502 (502)");
        assert!(
            read(503, br#"{"title":"Unavailable","request_id":"r1"}"#)
                .to_string()
                .ends_with("request r1")
        );
    }
}
