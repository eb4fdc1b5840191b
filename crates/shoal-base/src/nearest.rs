//! The name that was most likely meant by one that is unknown.

/// The known name that `name` was most likely meant to be; of equals the first.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &str| strsim::jaro_winkler(name, known);
    known.into_iter().min_by(|a, b| likeness(b).total_cmp(&likeness(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_name_is_found_and_of_equals_the_first() {
        assert_eq!(nearest("dryrun", ["force", "dry_run", "wait"]), Some("dry_run"));
        assert_eq!(nearest("xyz", ["abc", "def"]), Some("abc"));
        assert_eq!(nearest("any", []), None);
    }
}
