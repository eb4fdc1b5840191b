//! The table as a page of the documentation.
//!
//! Invariant: a function of the table alone, so that a test can hold the page against it.

use super::{EVERY_STEP, FailureEntry, TABLE};

/// `docs/failures.md`.
pub fn failure_reference() -> String {
    let mut page = String::from(
        "# Failure codes\n\nWritten from the table in `src/domain/failure/` by `cargo xtask failures`; a test holds it \
         against that.\n\nA failed job has a `failure_code` beside its `failed_step` and `reason`: in the API, in \
         `shoal job show` and `shoal job list`, in `detail` of the event that ends the failed step, and as the label \
         `code` of the metric `shoal_provisioner_job_failures_total{failed_step,code}`. The reason is for people and \
         may be reworded; the code is for scripts and alerts: it keeps its name and meaning, and a new condition gets \
         a new code. A report of a dry run has one too. A failed step of the cleanup (`cleanup.…`) does not change \
         the job's code; its event carries one of its own. Jobs that failed before 0.2.0 have none.\n",
    );
    for (heading, entries) in TABLE {
        page.push_str(&format!("\n## {heading}\n"));
        for entry in entries {
            page.push_str(&section(entry));
        }
    }
    page
}

fn section(entry: &FailureEntry) -> String {
    let names: Vec<String> = entry.steps.iter().map(|step| format!("`{step}`")).collect();
    let steps = if entry.steps == EVERY_STEP { "any".to_owned() } else { names.join(", ") };
    let FailureEntry { code, proof, cause, remedy, .. } = entry;
    format!(
        "\n### `{code}`\n\n- Step: {steps}\n- Proof: {proof}\n- Likely cause: {cause}\n- Remedy: {remedy}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_the_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/failures.md");
        let found = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            found == failure_reference(),
            "docs/failures.md differs from the table: run `cargo xtask failures`"
        );
    }
}
