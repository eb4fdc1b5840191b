//! Redfish requests of one ESXi installation on each simulated BMC, as the BMC counts them.
//!
//! In this process and under paused time, so the numbers are the same on every machine. What a poll is, `count` says.

#[path = "../../tests/it/requests/count.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the tests, where a panic is what is wanted")]
mod count;

use crate::in_process::{self as site, paused};
use count::{Before, exception, on_every_persona};

const COLUMNS: [(&str, Before); 4] = [
    ("cold, off", Before::Cold),
    ("cold, on", Before::ColdOn),
    ("remembered, off", Before::Remembered),
    ("remembered, on", Before::RememberedOn),
];

pub fn measure() {
    println!(
        "requests besides polls + polls (aim: 25 besides polls of a BMC that is not known, 20 of a remembered one)"
    );
    let tables = COLUMNS.map(|(_, before)| paused().block_on(on_every_persona(before)));
    let heads = COLUMNS.map(|(head, _)| format!("{head:>16}"));
    println!("{:12}{}  in parallel  why more", "", heads.concat());
    for (row, persona) in tables[0].iter().enumerate() {
        let cells = tables.each_ref().map(|table| {
            let one = &table[row];
            format!("{:>10} + {:<3}", one.besides_polls, one.polls)
        });
        let in_parallel = tables.iter().map(|table| table[row].in_parallel).max().unwrap_or_default();
        let why = exception(persona.persona).map_or("", |row| row.why);
        println!("{:12}{}  {in_parallel:<11}  {why}", persona.persona, cells.concat());
    }
}
