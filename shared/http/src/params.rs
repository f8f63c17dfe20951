//! What stands in the path and the query.
//!
//! Invariant: on the `/v1` API a query parameter that is not known, or given twice, is refused: a misspelt filter must not
//! answer with everything.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use clickledger_core::service::ads::FieldError;
use utoipa::IntoParams;

use crate::problem::{Kind, Problem};

/// Rows of a list, if nothing is said.
const LIST_ROWS: usize = 100;
/// Most rows of a list.
const MAX_LIST_ROWS: usize = 1000;

/// Which page of a list, as the API's description tells it.
#[allow(dead_code)] // read by the macro that describes it, never made
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Most rows, 1 to 1000; 100 if nothing is said
    limit: Option<u32>,
    /// The `next_cursor` of the page before
    cursor: Option<String>,
}

/// The only parameter of the path.
pub(crate) struct PathId<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for PathId<T>
where
    S: Send + Sync,
    T: FromStr,
    T::Err: Display,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::parameter("path", "must be UTF-8"))?;
        let Some((name, text)) = params.iter().next() else {
            return Err(Problem::new(Kind::NotFound, "there is no such resource"));
        };
        text.parse()
            .map(Self)
            .map_err(|error| Problem::parameter(name.to_owned(), error.to_string()))
    }
}

/// The parameters of a query, and what is wrong with them.
pub(crate) struct Params<'a> {
    given: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    errors: Vec<FieldError>,
}

impl<'a> Params<'a> {
    /// The parameters of this query, of which only these may occur, each once.
    pub(crate) fn new(query: Option<&'a str>, known: &[&'static str]) -> Self {
        Self::of(
            form_urlencoded::parse(query.unwrap_or_default().as_bytes()),
            known,
        )
    }

    /// The same of names and values that came another way.
    pub(crate) fn of(
        all: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        known: &[&'static str],
    ) -> Self {
        let (mut given, mut errors) = (Vec::<(Cow<'a, str>, Cow<'a, str>)>::new(), Vec::new());
        for (name, value) in all {
            if !known.contains(&&*name) {
                let known = match known {
                    [] => "is not known; there are no parameters here".to_owned(),
                    known => format!("is not known; there are {}", known.join(", ")),
                };
                errors.push(FieldError::new(name.into_owned(), known));
            } else if given.iter().any(|(other, _)| *other == name) {
                errors.push(FieldError::new(name.into_owned(), "is given twice"));
            } else {
                given.push((name, value));
            }
        }
        Self { given, errors }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.given.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| &**value)
    }

    /// The value of a parameter; an error is kept for [`Params::finish`].
    pub(crate) fn read<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(name, error.to_string());
                None
            }
        }
    }

    /// A whole number in a range.
    pub(crate) fn number(&mut self, name: &'static str, least: usize, most: usize) -> Option<usize> {
        let text = self.text(name)?;
        let number = text
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
            .filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.refuse(name, format!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// How many rows of a list are wanted.
    pub(crate) fn list_rows(&mut self) -> usize {
        self.number("limit", 1, MAX_LIST_ROWS).unwrap_or(LIST_ROWS)
    }

    /// Where a list goes on: the name of the last row of the page before.
    pub(crate) fn list_cursor<T: FromStr>(&mut self) -> Option<T> {
        let cursor = self.text("cursor")?.parse().ok();
        if cursor.is_none() {
            self.refuse("cursor", "is not a cursor of this list".to_owned());
        }
        cursor
    }

    pub(crate) fn refuse(&mut self, name: &'static str, reason: String) {
        self.errors.push(FieldError::new(name, reason));
    }

    /// An error for everything that could not be accepted.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        self.finish_as(Kind::InvalidParameter)
    }

    /// The same, of this kind.
    pub(crate) fn finish_as(self, kind: Kind) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::of(kind, self.errors))
        }
    }
}

/// Refuses any parameter in the query.
pub(crate) struct NoParams;

impl<S: Send + Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Params::new(parts.uri.query(), &[]).finish().map(|()| Self)
    }
}

/// A page of at most `limit` rows out of one more than that, and the last one's name if there are more.
pub(crate) fn page<T>(
    mut rows: Vec<T>,
    limit: usize,
    name: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = rows.last().filter(|_| more).map(name);
    (rows, cursor)
}
