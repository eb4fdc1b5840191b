//! The rule table as a page of the documentation.
//!
//! Invariant: a function of the table alone, so that a test can hold the page against it.

use super::{Class, Hook, Rule, all};
use strum::VariantArray as _;

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "# Kickstart rules\n\nWritten from the rule table by `cargo xtask rules`; a test holds both against \
         each other. How to use the linter is in [kickstarts.md](kickstarts.md).\n\n| class | meaning |\n|---|---|\n",
    );
    for &class in Class::VARIANTS {
        page.push_str(&format!("| `{}` | {} |\n", class.name(), class.meaning()));
    }
    page.push_str("\n| rule | class | title |\n|---|---|---|\n");
    for rule in all() {
        let (id, anchor) = (rule.id, rule.id.to_lowercase());
        page.push_str(&format!("| [{id}](#{anchor}) | `{}` | {} |\n", rule.class.name(), cell(rule.title)));
    }
    for rule in all() {
        page.push_str(&entry(rule));
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn entry(rule: &Rule) -> String {
    let hook = match rule.hook {
        Hook::None => "",
        Hook::Poweroff => " Hook: `poweroff`.",
        Hook::Webhook => " Hook: `webhook`.",
        Hook::OwnPoweroff => " Hook: `own-poweroff`.",
    };
    format!(
        "\n## {}\n\n**{}.** Class `{}`, versions: {}.{hook}\n\n{} {}\n\nFound in line {} of:\n\n```text\n{}```\n\nNot found in:\n\n```text\n{}```\n",
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
