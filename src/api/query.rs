//! Query parameters of `/api/v1`: which ones a route has, and what is wrong with those that a request has.
//!
//! It knows no values; the handlers read them ([`super::body::Params`]). Invariant: the table comes from the
//! API's own description, so that a route cannot have a parameter that is not described, and a request with an
//! unknown or repeated parameter reaches no handler: a misspelt `dry_run` would install.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use http::Method;
use percent_encoding::percent_decode_str;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::{OpenApi as Document, PathItem, RefOr};

use super::error::ApiError;

/// Only paths below it are checked; elsewhere, and in media URLs, an unknown parameter is ignored.
const CHECKED: &str = "/api/v1/";
/// At most this much of a parameter's name is shown.
const NAME_CHARS_MAX: usize = 40;

/// The query parameters of every route, by path and method.
#[derive(Debug, Default)]
pub struct QueryTable(BTreeMap<(String, String), Vec<String>>);

/// What is wrong with a query.
#[derive(Debug, PartialEq, Eq)]
enum QueryFault {
    Unknown { name: String, known: Vec<String> },
    Repeated { name: String },
    NotText { name: String },
}

impl QueryTable {
    /// The parameters that the routes of `document` have.
    pub fn of(document: &mut Document) -> QueryTable {
        let mut table = BTreeMap::new();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let names = operation.parameters.iter().flatten().filter_map(query_name).collect();
                table.insert((path.clone(), method.to_string()), names);
            }
        }
        QueryTable(table)
    }

    /// Refuses a query that the route `path` does not have.
    pub fn check(&self, method: &Method, path: &str, query: Option<&str>) -> Result<(), ApiError> {
        let Some(query) = query.filter(|_| path.starts_with(CHECKED)) else { return Ok(()) };
        let described = if *method == Method::HEAD { "GET" } else { method.as_str() };
        let known = self.0.get(&(path.to_owned(), described.to_owned()));
        let checked = check(query, known.map(Vec::as_slice).unwrap_or_default());
        checked.map_err(|fault| ApiError::BadRequest(format!("{method} {path}: {fault}; nothing was done")))
    }
}

fn query_name(parameter: &RefOr<Parameter>) -> Option<String> {
    match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
        _ => None,
    }
}

fn check(query: &str, known: &[String]) -> Result<(), QueryFault> {
    let mut seen: Vec<String> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = decode(name).ok_or_else(|| QueryFault::NotText { name: shown(name) })?;
        if !known.contains(&decoded) {
            return Err(QueryFault::Unknown { name: shown(&decoded), known: known.to_vec() });
        }
        if seen.contains(&decoded) {
            return Err(QueryFault::Repeated { name: decoded });
        }
        decode(value).ok_or_else(|| QueryFault::NotText { name: decoded.clone() })?;
        seen.push(decoded);
    }
    Ok(())
}

/// As forms are encoded; `None` if it is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}

impl fmt::Display for QueryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryFault::Unknown { name, known } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                write!(f, "unknown query parameter `{name}`")?;
                match shoal_base::nearest(name, known) {
                    Some(nearest) => write!(f, "; the nearest known one is `{nearest}`"),
                    None => write!(f, "; this route has no query parameters"),
                }
            }
            QueryFault::Repeated { name } => {
                write!(f, "the query parameter `{name}` is given more than once")
            }
            QueryFault::NotText { name } => {
                write!(f, "the query parameter `{name}` is not percent-encoded UTF-8")
            }
        }
    }
}

/// Every operation of a path, with its method.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, post, put, patch, delete, head, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::POST, post),
        (Method::PUT, put),
        (Method::PATCH, patch),
        (Method::DELETE, delete),
        (Method::HEAD, head),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(query: &str) -> Option<String> {
        let known = ["dry_run".to_owned(), "limit".to_owned()];
        check(query, &known).err().map(|fault| fault.to_string())
    }

    #[test]
    fn known_parameters_pass_however_they_are_encoded() {
        for query in ["", "&", "dry_run=true", "dry%5Frun=x&limit=1", "limit", "limit=%C3%A9+x"] {
            assert_eq!(fault(query), None, "{query}");
        }
    }

    #[test]
    fn each_fault_names_the_parameter_and_the_remedy() {
        for (query, part) in [
            ("dryrun=true", "`dryrun`; the nearest known one is `dry_run`"),
            ("limit=1&Limit=2", "unknown query parameter `Limit`"),
            ("=x", "unknown query parameter ``"),
            ("dry_run=true&dry_run=false", "`dry_run` is given more than once"),
            ("limit=1&%6Cimit=1", "is given more than once"),
            ("limit=%FF", "`limit` is not percent-encoded UTF-8"),
            ("%FF=1", "is not percent-encoded UTF-8"),
            ("a%00%1b[2J=1", "unknown query parameter `a[2J`"),
        ] {
            let fault = fault(query).unwrap_or_else(|| panic!("{query} passes"));
            assert!(fault.contains(part), "{query}: {fault}");
        }
        let none = check("x=1", &[]).unwrap_err().to_string();
        assert!(none.contains("this route has no query parameters"), "{none}");
    }
}
