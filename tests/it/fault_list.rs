//! The misbehaviours that are known of real BMCs, entry by entry: each has a persona that always shows it,
//! or a fault that anybody can give to one, and docs/simulator.md says which.

use shoal_sim::{Fault, Persona, fault_help, fault_names};

/// One entry of the list, the faults that make it, and whether a persona is so by its shape.
struct Entry {
    known: &'static str,
    faults: &'static [&'static str],
    by_shape: fn(&Persona) -> bool,
}

const fn entry(
    known: &'static str,
    faults: &'static [&'static str],
    by_shape: fn(&Persona) -> bool,
) -> Entry {
    Entry { known, faults, by_shape }
}

fn no(_: &Persona) -> bool {
    false
}

fn wants(persona: &Persona, parameter: &str) -> bool {
    persona.media.required.contains(&parameter)
}

const ENTRIES: &[Entry] = &[
    entry("slot without action", &[], |persona| {
        persona.media.drives.iter().any(|drive| drive.eject_only || drive.applet)
            || format!("{:?}", persona.media.way) == "Patch"
    }),
    entry("slot that refuses (400, 405, 409, 500 for occupied)", &["first-slot-refuses"], |persona| {
        persona.media.drives.iter().any(|drive| drive.refuses && !drive.eject_only && !drive.applet)
    }),
    entry("400 on Inserted", &["insert-rejects-inserted"], |persona| {
        persona.media.refused.contains(&"Inserted")
    }),
    entry("missing TransferProtocolType", &["insert-needs-protocol"], |persona| {
        wants(persona, "TransferProtocolType")
    }),
    entry("202 and a Task that fails late", &["insert-task-fails-late"], no),
    entry("stale Inserted after an eject", &["stale-inserted"], no),
    entry("5xx on an insert after an eject", &["insert-500-after-eject", "insert-500-once"], no),
    entry("400 or 500 on ejecting nothing", &["eject-empty-400", "eject-empty-500"], no),
    entry("412, and good without a tag", &["etag-412-always", "etag-412-once"], no),
    entry("boot override in the settings object alone", &[], |persona| {
        format!("{:?}", persona.boot.place) != "System"
    }),
    entry("400 on the override in a self test", &["boot-patch-400-in-post"], |persona| persona.boot.by_slot),
    entry("409 on On", &["on-409-once"], no),
    entry("reset types in an ActionInfo alone", &["reset-action-info"], no),
    entry("no GracefulRestart", &[], |persona| {
        !persona.resets.iter().any(|reset| format!("{reset:?}") == "GracefulRestart")
    }),
    entry("a session that ends after 30 s", &["session-timeout"], no),
    entry("a lockout after a few logins", &["lockout"], no),
    entry("401 once", &["unauthorised-once"], no),
    entry("a reset connection when it is used again", &["reset-connection"], |persona| {
        persona.manners.no_keep_alive
    }),
    entry("an error whose body ends early", &["error-bodies-cut", "cut-body"], no),
    entry("503 for minutes", &["busy-503-after-start", "busy-503"], no),
    entry("ExtendedInfo as an object", &["extended-info-object"], no),
    entry("dates of the year 0", &["zero-last-reset-time"], no),
    entry("no slots until they are switched on", &["no-slots"], |persona| persona.media.switched),
    entry("media lost at a start", &["media-lost-at-start"], no),
    entry("one CD drive", &["one-cd"], |persona| persona.media.cds() == 1),
    entry("the image's URL without its port", &[], |persona| persona.media.drops_port),
    entry("a second System that answers 500", &[], |persona| persona.baseboard),
    entry("400 on an import while a job is at work", &["import-busy"], no),
    entry("slots without MediaTypes", &[], |persona| persona.media.drives.iter().any(|drive| !drive.typed)),
    entry("the boot mode Legacy beside a disabled override", &["legacy-while-disabled"], no),
    entry("an image refused for its URL's protocol", &[], |persona| persona.media.lists_images),
    entry(
        "resources, accounts or everything not there for a while",
        &[
            "system-404-after-reset",
            "slots-404-after-reset",
            "slots-404-until-listed",
            "unauthorised-after-reset",
            "not-ready-after-reset",
        ],
        no,
    ),
    entry("a reset that is reported as failed", &["reset-task-fails", "reset-critical"], no),
    entry(
        "a reset that is done and reported as failed",
        &["reset-done-task-fails", "reset-done-critical", "reset-answer-lost"],
        no,
    ),
    entry("an override refused by the resource that shows it", &["override-elsewhere"], no),
    entry("every override refused for its value", &["override-value-refused"], no),
    entry(
        "an override that is disabled in one form only",
        &["disabled-alone-refused", "disabled-with-target-refused"],
        |persona| persona.boot.lasts,
    ),
    entry("an override that lasts", &["override-turned-continuous", "override-continuous"], |persona| {
        persona.boot.lasts
    }),
];

impl Entry {
    fn personas(&self) -> Vec<&'static str> {
        let always = |persona: &&Persona| {
            let standing = (persona.faults)();
            (self.by_shape)(persona) || standing.iter().any(|fault| self.faults.contains(&fault.name()))
        };
        Persona::all().filter(always).map(|persona| persona.name).collect()
    }

    fn row(&self) -> String {
        let list = |names: &[&str]| match names {
            [] => "–".to_owned(),
            names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        format!("| {} | {} | {} |", self.known, list(&self.personas()), list(self.faults))
    }
}

#[test]
fn the_document_has_a_row_for_each_known_misbehaviour() {
    let document = include_str!("../../docs/simulator.md");
    let rows: Vec<String> = ENTRIES.iter().map(Entry::row).collect();
    let head = "| known of real BMCs | personas that always do so | faults that make it |\n|---|---|---|\n";
    let table = format!("{head}{}\n", rows.join("\n"));
    assert!(document.contains(&table), "docs/simulator.md should hold:\n{table}");
}

/// Every fault with its value where it has none of its own, and its help.
#[test]
fn the_document_has_a_row_for_each_fault_and_no_other() {
    let document = include_str!("../../docs/simulator.md");
    let row = |line: &str| {
        let (name, help) = line.trim().split_once(' ').unwrap();
        let fault: Fault = name.parse().unwrap();
        format!("| `{fault}` | {} |\n", help.trim())
    };
    let help = fault_help();
    let rows: Vec<String> = help.lines().map(row).collect();
    assert_eq!(rows.len(), fault_names().len());
    let table = format!("\n| fault | what it does |\n|---|---|\n{}\n", rows.concat());
    assert!(document.contains(&table), "docs/simulator.md should hold:{table}");
}

/// Who always loses its media is never installed, and who always reports a failure never begins, so no persona does.
#[test]
fn only_these_misbehaviours_are_no_personas_nature() {
    let without: Vec<&str> =
        ENTRIES.iter().filter(|entry| entry.personas().is_empty()).map(|entry| entry.known).collect();
    let expected = [
        "media lost at a start",
        "resources, accounts or everything not there for a while",
        "a reset that is reported as failed",
        "a reset that is done and reported as failed",
        "an override refused by the resource that shows it",
        "every override refused for its value",
    ];
    assert_eq!(without, expected);
    for fault in ENTRIES.iter().flat_map(|entry| entry.faults) {
        assert!(fault_names().contains(fault), "{fault}");
    }
}
