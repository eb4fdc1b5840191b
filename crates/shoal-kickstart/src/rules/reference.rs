//! The rule table as pages of the documentation: one of all rules, and one a rule.
//!
//! Invariant: a function of the table alone, so that a test can hold the pages against it.

use super::{Class, Hook, Rule, all};
use strum::VariantArray as _;

/// The folder of the pages, below that of the page of all rules.
pub const FOLDER: &str = "kickstart-rules";

/// The page of all rules, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Kickstart rules\n\nWritten from the rule table by `cargo xtask rules`, like the page of each rule; a test holds them \
         against it. How to use the linter is in [kickstarts.md](kickstarts.md).\n\n| class | meaning |\n|---|---|\n",
    );
    for &class in Class::VARIANTS {
        page.push_str(&format!("| `{}` | {} |\n", class.name(), class.meaning()));
    }
    page.push_str("\n| rule | class | title |\n|---|---|---|\n");
    for rule in all() {
        let id = rule.id;
        page.push_str(&format!(
            "| [{id}]({FOLDER}/{id}.md) | `{}` | {} |\n",
            rule.class.name(),
            cell(rule.title)
        ));
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The page of one rule, `ID.md` in [`FOLDER`].
pub fn page(rule: &Rule) -> String {
    let hook = match rule.hook {
        Hook::None => "",
        Hook::Poweroff => " Hook: `poweroff`.",
        Hook::Webhook => " Hook: `webhook`.",
        Hook::OwnPoweroff => " Hook: `own-poweroff`.",
    };
    format!(
        "# {}: {}\n\nClass `{}`, versions: {}.{hook}\n\n{} {}\n\nFound in line {} of:\n\n```text\n{}```\n\nNot found in:\n\n```text\n{}```\n\n[All rules](../kickstart-rules.md)\n",
        rule.id,
        rule.title,
        rule.class.name(),
        rule.versions(),
        rule.reason,
        rule.remedy,
        rule.bad_line,
        rule.bad,
        rule.good,
    )
}
