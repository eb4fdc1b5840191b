//! What has worked on one BMC, so that the next request begins with it.
//!
//! It decides nothing, and is never needed: a BMC that has been forgotten is asked in the first form
//! again, and so is one that does not take any more what it took. It outlives this process where
//! the caller keeps it ([`Learned::memory`]). Invariant: only what a BMC accepted gets
//! here, and nothing of it stays once the BMC has another firmware.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::memory::{BmcLinks, BmcMemory};

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

    fn named(name: &str) -> TagForm {
        TagForm::ALL.into_iter().find(|form| form.name() == name).unwrap_or_default()
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

/// What one BMC has accepted, for the next request and for operators.
#[derive(Default)]
pub struct Learned(Mutex<VersionedMemory>);

#[derive(Default)]
struct VersionedMemory {
    memory: BmcMemory,
    /// Counts the changes, for the caller that keeps it.
    version: u64,
}

impl Learned {
    fn read<T>(&self, read: impl FnOnce(&BmcMemory) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner).memory)
    }

    fn change(&self, change: impl FnOnce(&mut BmcMemory)) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.memory.clone();
        change(&mut kept.memory);
        if kept.memory != before {
            kept.version += 1;
        }
    }

    /// Another number whenever what is to be kept has changed.
    pub fn version(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).version
    }

    /// What to keep beyond this process, and its [`version`](Self::version).
    pub fn memory(&self) -> (BmcMemory, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.memory.clone(), kept.version)
    }

    /// Begins with what was kept, where nothing has been learned since.
    pub fn recall(&self, memory: BmcMemory) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_another =
            |known: &String| memory.firmware.as_ref().is_some_and(|firmware| firmware != known);
        if kept.memory.is_empty() && !kept.memory.firmware.as_ref().is_some_and(is_of_another) {
            kept.memory = memory;
        }
    }

    /// Where things are, as far as that is remembered.
    pub(super) fn links<T>(&self, read: impl FnOnce(&BmcLinks) -> T) -> T {
        self.read(|memory| read(&memory.links))
    }

    /// Links of slots that refused an image.
    pub(super) fn refusing(&self) -> BTreeSet<String> {
        self.read(|memory| memory.refusing.clone())
    }

    pub(super) fn keep_links(&self, links: BmcLinks) {
        self.change(|memory| memory.links = links);
    }

    /// Something is not where it was. Whether anything was remembered.
    pub(super) fn forget_links(&self) -> bool {
        let had_some = self.read(|memory| memory.links != BmcLinks::default());
        self.change(|memory| memory.links = BmcLinks::default());
        had_some
    }

    /// The BMC has this firmware: what was learned of another is forgotten. Whether there was another.
    pub(super) fn note_firmware(&self, firmware: &str) -> bool {
        let is_another = self.read(|memory| memory.firmware.as_ref().is_some_and(|known| known != firmware));
        self.change(|memory| {
            if is_another {
                *memory = BmcMemory::default();
            }
            memory.firmware = Some(firmware.to_owned());
        });
        is_another
    }

    pub(super) fn boot_clear(&self) -> Option<String> {
        self.read(|memory| memory.boot_clear.clone())
    }

    pub(super) fn keep_boot_clear(&self, form: &str) {
        self.change(|memory| memory.boot_clear = Some(form.to_owned()));
    }

    pub(super) fn tag_form(&self) -> TagForm {
        self.read(|memory| memory.tag.as_deref().map(TagForm::named)).unwrap_or_default()
    }

    pub(super) fn keep_tag_form(&self, form: TagForm) {
        self.change(|memory| {
            memory.tag = Some(form.name()).filter(|name| !name.is_empty()).map(str::to_owned);
        });
    }

    pub(super) fn insert_form(&self) -> Option<Vec<String>> {
        self.read(|memory| memory.insert.clone())
    }

    /// The slot took an image so.
    pub(super) fn keep_insert(&self, slot: &str, form: Option<Vec<String>>, how: &How) {
        self.change(|memory| {
            memory.insert = form.or(memory.insert.take());
            memory.insert_how = Some(how.to_string());
            memory.refusing.remove(slot);
        });
    }

    pub(super) fn boot_target(&self) -> Option<String> {
        self.read(|memory| memory.boot_target.clone())
    }

    pub(super) fn keep_boot(&self, target: Option<&str>, how: &How) {
        self.change(|memory| {
            memory.boot_target = target.map(str::to_owned);
            memory.boot_how = Some(how.to_string());
        });
    }

    /// The slot at this link refused an image for its own sake, and not because it is occupied: it comes last from now
    /// on.
    pub fn note_refusing(&self, slot: &str) {
        self.change(|memory| memory.note_refusing(slot));
    }

    pub(super) fn is_refusing(&self, slot: &str) -> bool {
        self.read(|memory| memory.refusing.contains(slot))
    }

    /// What has worked on this BMC so far, a sentence each.
    pub fn list(&self) -> Vec<String> {
        self.read(BmcMemory::sentences)
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

    fn memory_of(firmware: Option<&str>) -> BmcMemory {
        BmcMemory {
            firmware: firmware.map(str::to_owned),
            insert: Some(vec!["TransferMethod".to_owned()]),
            tag: Some("If-Match: *".to_owned()),
            ..BmcMemory::default()
        }
    }

    #[test]
    fn what_was_kept_is_taken_in_where_nothing_is_known() {
        let learned = Learned::default();
        learned.recall(memory_of(Some("1")));
        assert_eq!(learned.tag_form(), TagForm::Star);
        assert_eq!(learned.memory().1, 0, "it is kept already");
        learned.keep_tag_form(TagForm::Absent);
        learned.recall(memory_of(Some("1")));
        assert_eq!(learned.tag_form(), TagForm::Absent, "what was just seen stands");
        assert_eq!(learned.memory().1, 1);
    }

    #[test]
    fn another_firmware_is_another_bmc() {
        for recalled_first in [true, false] {
            let learned = Learned::default();
            if recalled_first {
                learned.recall(memory_of(Some("1")));
                learned.note_firmware("2");
            } else {
                learned.note_firmware("2");
                learned.recall(memory_of(Some("1")));
            }
            assert_eq!((learned.tag_form(), learned.insert_form()), (TagForm::AsGiven, None));
        }
        let same = Learned::default();
        same.note_firmware("1");
        same.recall(memory_of(Some("1")));
        same.note_firmware("1");
        assert_eq!(same.tag_form(), TagForm::Star);
    }

    #[test]
    fn a_slot_that_takes_an_image_again_is_forgiven() {
        let learned = Learned::default();
        learned.note_refusing("/slot/1");
        learned.note_refusing("/slot/2");
        learned.keep_insert("/slot/1", None, &How::new("InsertMedia"));
        assert_eq!([learned.is_refusing("/slot/1"), learned.is_refusing("/slot/2")], [false, true]);
        assert_eq!(learned.list(), ["insert: InsertMedia", "no image goes into 2"]);
    }
}
