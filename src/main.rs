//! argv, the real World, one command. It holds no logic of its own.

fn main() {}
