//! What one server's BMC has agreed to, kept with the server's record.
//!
//! A first try for the next job and a line for operators, never a rule: whatever fails is found out
//! again from the beginning. Invariant: it holds no secret, and only forms that the BMC accepted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::action_info::Parameter;

/// What worked, and what a slot would not take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct BmcMemory {
    /// Of the Manager, where it reports it: with another firmware all of this may be wrong.
    pub firmware: Option<String>,
    /// Properties beside `Image` of the insert that was accepted.
    pub insert: Option<Vec<String>>,
    /// How an image went in, as operators read it.
    pub insert_how: Option<String>,
    /// The target word of the one-time boot that was accepted.
    pub boot_target: Option<String>,
    /// How the one-time boot was set, as operators read it.
    pub boot_how: Option<String>,
    /// How `If-Match` has to be written, where not as the tag was given.
    pub tag: Option<String>,
    /// The form in which the one-time boot was cleared.
    pub boot_clear: Option<String>,
    /// Links of slots that refused an image which another one took.
    pub refusing: BTreeSet<String>,
    /// Where things are.
    pub links: BmcLinks,
}

/// Where things are on a BMC, and what it advertises: of one host of it, the server's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct BmcLinks {
    /// The service root, as JSON, as far as it is read before a login.
    pub root: Option<String>,
    /// The host's System.
    pub system: Option<String>,
    /// Which host it is: without its UUID there the link is not believed.
    pub uuid: Option<String>,
    /// Links of its slots.
    pub slots: Vec<String>,
    /// What actions take, by the link of the ActionInfo.
    pub action_infos: BTreeMap<String, Vec<Parameter>>,
    /// Whether a settings object holds the boot override, by its link.
    pub settings: BTreeMap<String, bool>,
}

/// Slots that are remembered to refuse images.
const REFUSING_MAX: usize = 32;

impl BmcMemory {
    pub fn is_empty(&self) -> bool {
        let BmcMemory { firmware, links, .. } = self.clone();
        *self == BmcMemory { firmware, links, ..BmcMemory::default() }
    }

    /// This slot refused an image for its own sake.
    pub fn note_refusing(&mut self, slot: &str) {
        if self.refusing.len() < REFUSING_MAX {
            self.refusing.insert(slot.to_owned());
        }
    }

    /// Everything of what worked, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let sentence = |what: &str, how: &Option<String>| how.as_ref().map(|how| format!("{what}: {how}"));
        let refusing: Vec<&str> =
            self.refusing.iter().map(|slot| slot.rsplit('/').next().unwrap_or(slot)).collect();
        let refusing = (!refusing.is_empty()).then(|| format!("no image goes into {}", refusing.join(", ")));
        [sentence("insert", &self.insert_how), sentence("boot", &self.boot_how), self.tag.clone(), refusing]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firmware_alone_is_nothing_that_worked() {
        let mut memory = BmcMemory { firmware: Some("2.72".to_owned()), ..BmcMemory::default() };
        assert!(memory.is_empty() && memory.sentences().is_empty());
        memory.note_refusing("/redfish/v1/Systems/1/VirtualMedia/RDOC1");
        assert!(!memory.is_empty());
        assert_eq!(memory.sentences(), ["no image goes into RDOC1"]);
    }
}
