//! What has worked on one BMC, so that the next request begins with it.
//!
//! It decides nothing, and is never needed: a BMC that has been forgotten is asked in the first form
//! again. Invariant: only what a BMC accepted gets here.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// How a BMC was asked for something when it agreed, as operators read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How(pub(super) String);

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl How {
    pub(super) fn new(text: impl Into<String>) -> How {
        How(text.into())
    }
}

/// How `If-Match` has to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TagForm {
    #[default]
    AsGiven,
    /// A weak tag without its `W/`: it stems from compression (sushy).
    Strong,
    /// No tag at all.
    Absent,
    /// Without its quotes (community.general's `strip_etag_quotes`).
    Bare,
    /// `*` (AMI).
    Star,
}

impl TagForm {
    /// In the order in which they are tried.
    pub(super) const ALL: [TagForm; 5] =
        [TagForm::AsGiven, TagForm::Strong, TagForm::Absent, TagForm::Bare, TagForm::Star];

    /// The tag in this form; `None` is no header.
    pub(super) fn of(self, tag: Option<&str>) -> Option<String> {
        let tag = tag.map(str::to_owned);
        let strong = |tag: String| tag.strip_prefix("W/").map(str::to_owned).unwrap_or(tag);
        match self {
            TagForm::AsGiven => tag,
            TagForm::Strong => tag.map(strong),
            TagForm::Absent => None,
            TagForm::Bare => tag.map(strong).map(|tag| tag.trim_matches('"').to_owned()),
            TagForm::Star => Some("*".to_owned()),
        }
    }

    fn name(self) -> &'static str {
        match self {
            TagForm::AsGiven => "",
            TagForm::Strong => "If-Match as a strong tag",
            TagForm::Absent => "no If-Match",
            TagForm::Bare => "If-Match without quotes",
            TagForm::Star => "If-Match: *",
        }
    }
}

#[derive(Default)]
pub(super) struct Learned(Mutex<Facts>);

#[derive(Clone, Default)]
struct Facts {
    tag: TagForm,
    /// Properties beside `Image` of the insert that was accepted.
    insert: Option<Vec<String>>,
    insert_how: Option<How>,
    boot_how: Option<How>,
}

impl Learned {
    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tag_form(&self) -> TagForm {
        self.facts().tag
    }

    pub(super) fn keep_tag_form(&self, form: TagForm) {
        self.facts().tag = form;
    }

    pub(super) fn insert_form(&self) -> Option<Vec<String>> {
        self.facts().insert.clone()
    }

    pub(super) fn keep_insert(&self, form: Option<Vec<String>>, how: &How) {
        let mut facts = self.facts();
        facts.insert = form.or(facts.insert.take());
        facts.insert_how = Some(how.clone());
    }

    pub(super) fn keep_boot(&self, how: &How) {
        self.facts().boot_how = Some(how.clone());
    }

    /// Everything, as operators read it.
    pub(super) fn list(&self) -> Vec<String> {
        let facts = self.facts();
        let told = |what: &str, how: &Option<How>| how.as_ref().map(|how| format!("{what}: {how}"));
        let tag = Some(facts.tag.name()).filter(|name| !name.is_empty()).map(str::to_owned);
        [told("insert", &facts.insert_how), told("boot", &facts.boot_how), tag]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_five_forms() {
        let forms = |tag| TagForm::ALL.map(|form| form.of(tag).unwrap_or_else(|| "none".to_owned()));
        assert_eq!(forms(Some("W/\"a\"")), ["W/\"a\"", "\"a\"", "none", "a", "*"]);
        assert_eq!(forms(Some("\"a\"")), ["\"a\"", "\"a\"", "none", "a", "*"]);
        assert_eq!(forms(None), ["none", "none", "none", "none", "*"]);
    }
}
