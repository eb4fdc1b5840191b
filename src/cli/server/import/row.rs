//! One server of a file, as the API is given it.

use serde_json::{Map, Value};

use super::super::set::scalar;

/// The body of the API, and what could not be read of it.
#[derive(Debug, Default)]
pub struct Row {
    /// From 1, without a header.
    pub number: usize,
    pub line: Option<u64>,
    pub body: Map<String, Value>,
    pub faults: Vec<String>,
}

impl Row {
    /// Reads a cell of a known column; those of groups have the group's name and a dot before theirs.
    pub fn set(&mut self, column: &str, cell: &str) {
        match column.split_once('.') {
            Some((group, name)) => {
                let value = if group == "variables" { scalar(cell) } else { cell.into() };
                self.set_in(group, name, value);
            }
            None if column == "protected" => match cell.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => drop(self.body.insert(column.to_owned(), true.into())),
                "false" | "no" | "0" => drop(self.body.insert(column.to_owned(), false.into())),
                _ => self.faults.push("protected: must be true or false".to_owned()),
            },
            None => drop(self.body.insert(column.to_owned(), cell.into())),
        }
    }

    pub fn set_in(&mut self, group: &str, name: &str, value: Value) {
        let object = self.body.entry(group).or_insert_with(|| Map::new().into());
        if let Some(object) = object.as_object_mut() {
            object.insert(name.to_owned(), value);
        }
    }
}
