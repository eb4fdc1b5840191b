//! The project's chores, one verb each.

fn main() {}
