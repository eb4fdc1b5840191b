//! Quirks by name: the code, their rows in docs/quirks.md, and what misbehaves so are one set.

use std::collections::BTreeSet;

use shoal::redfish::Quirk;

#[test]
fn the_document_has_a_row_for_each_quirk_and_no_other() {
    let document = include_str!("../../docs/quirks.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows, Quirk::all().map(Quirk::name).collect::<Vec<_>>(), "in the order of the code");
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
}
