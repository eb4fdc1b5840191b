//! What a decided job has left on its BMC so far, and what the next start of the host would boot. Pure.
//!
//! Nothing is looked at here: a thing counts as left until a look at the BMC has shown that it is gone.
//! Invariant: as long as the boot override and the installer may both be left, the reason of the job says that the
//! next start of the host installs.

use super::{Facts, Job, Medium, Mount, Outcome, PathFacts, Phase};

/// What has not been seen gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    /// The one-time boot override was armed by the job.
    pub armed: bool,
    /// Links of the slots that may hold the boot medium, the installer or the maintenance ISO: one, unless it was moved.
    pub boot: Vec<String>,
    boot_name: &'static str,
    /// The same for the task ISO, or for the USB stick.
    pub task: Vec<String>,
}

impl Leftover {
    fn of(facts: &Facts) -> Leftover {
        let slots = |mount: &Mount| {
            let own = mount.slot.clone().filter(|_| mount.insertions > 0 && mount.gone.is_none());
            own.into_iter().chain(mount.left_open.iter().map(|open| open.slot.clone())).collect()
        };
        Leftover {
            armed: facts.override_armed,
            boot: slots(&facts.mounts.boot),
            boot_name: match facts.path {
                PathFacts::Esxi(_) => "the installer",
                PathFacts::Maintenance(_) => "the maintenance ISO",
            },
            task: slots(&facts.mounts.task),
        }
    }

    pub fn is_empty(&self) -> bool {
        !self.armed && self.boot.is_empty() && self.task.is_empty()
    }

    /// The slots that may hold this medium.
    pub fn slots(&self, medium: Medium) -> &[String] {
        match medium {
            Medium::Boot => &self.boot,
            Medium::Task => &self.task,
        }
    }

    /// That the next start of the host installs, if it does.
    pub fn warning(&self) -> Option<String> {
        if self.boot.is_empty() || !self.armed {
            return None;
        }
        let slots = named(&self.boot);
        Some(format!(
            "the next start of the host installs: the boot override has not been seen cleared, and {} has not \
             been seen ejected from {slots}",
            self.boot_name
        ))
    }

    /// What is left, a phrase each.
    pub fn items(&self) -> Vec<String> {
        let armed = self.armed.then(|| "the boot override has not been seen cleared".to_owned());
        let left = |what: &str, slots: &[String]| {
            (!slots.is_empty()).then(|| format!("{what} has not been seen ejected from {}", named(slots)))
        };
        let media = [left(self.boot_name, &self.boot), left("the task ISO", &self.task)];
        armed.into_iter().chain(media.into_iter().flatten()).collect()
    }
}

fn named(slots: &[String]) -> String {
    slots.join(" and ")
}

impl Job {
    /// What is left of the job on its BMC.
    pub fn leftover(&self) -> Leftover {
        Leftover::of(&self.facts)
    }

    /// The stored reason, which never changes, with what is left now.
    pub fn reason_now(&self) -> Option<String> {
        let parts: Vec<String> = self.reason.iter().cloned().chain(self.danger()).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn danger(&self) -> Option<String> {
        let (left, serial) = (self.leftover(), &self.server);
        let has_succeeded = self.verdict.as_ref().is_none_or(|verdict| verdict.outcome == Outcome::Succeeded);
        match self.cursor.phase {
            Phase::Forward => None,
            // An override that a success has used up is looked at first.
            Phase::Cleanup if has_succeeded && self.facts.cleanup.warning.is_none() => None,
            Phase::Cleanup => left.warning().map(|warning| format!("{warning}; the cleanup is still trying")),
            Phase::Done if self.facts.cleanup.left.is_empty() || left.is_empty() => None,
            Phase::Done => {
                let what = left.warning().unwrap_or_else(|| left.items().join(", and "));
                let also = match left.warning() {
                    Some(_) if !left.task.is_empty() => {
                        format!(", nor the task ISO from {}", named(&left.task))
                    }
                    _ => String::new(),
                };
                Some(format!(
                    "the cleanup is incomplete: {what}{also}; run `shoal server release {serial}` before the host is started"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EjectFacts, Mounts, OpenSlot};

    fn facts() -> Facts {
        let mount = |slot: &str| Mount { slot: Some(slot.into()), insertions: 1, ..Mount::default() };
        let mounts = Mounts { boot: mount("/cd1"), task: mount("/cd2"), on_one_cd: false };
        Facts { mounts, override_armed: true, ..Facts::default() }
    }

    #[test]
    fn an_armed_override_and_an_inserted_installer_are_a_warning() {
        let both = Leftover::of(&facts());
        assert!(both.warning().is_some_and(|text| text.starts_with("the next start of the host installs")));
        assert_eq!(both.items().len(), 3);
        for change in [
            |facts: &mut Facts| facts.override_armed = false,
            |facts: &mut Facts| {
                let at = jiff::Timestamp::UNIX_EPOCH;
                facts.mounts.boot.gone = Some(EjectFacts { at, forced: false });
            },
            |facts: &mut Facts| facts.mounts.boot.insertions = 0,
        ] {
            let mut facts = facts();
            change(&mut facts);
            let left = Leftover::of(&facts);
            assert_eq!((left.warning(), left.items().len()), (None, 2), "{facts:?}");
        }
    }

    #[test]
    fn a_slot_that_a_medium_was_moved_away_from_is_left_until_it_was_looked_at() {
        let mut facts = facts();
        let (slot, since) = ("/cd3".to_owned(), jiff::Timestamp::UNIX_EPOCH);
        facts.mounts.boot.left_open.push(OpenSlot { slot, since });
        let left = Leftover::of(&facts);
        assert_eq!(left.boot, ["/cd1", "/cd3"]);
        assert!(left.warning().is_some_and(|text| text.ends_with("ejected from /cd1 and /cd3")), "{left:?}");
        facts.mounts.boot.gone = Some(EjectFacts { at: since, forced: false });
        assert_eq!(Leftover::of(&facts).slots(Medium::Boot), ["/cd3"]);
    }

    #[test]
    fn the_boot_medium_has_the_name_of_its_path() {
        let linux = Facts { path: PathFacts::Maintenance(Box::default()), ..facts() };
        for (facts, name) in [(facts(), "the installer"), (linux, "the maintenance ISO")] {
            let left = Leftover::of(&facts);
            assert!(left.warning().is_some_and(|text| text.contains(name)), "{left:?}");
            assert!(left.items().iter().any(|item| item.starts_with(name)), "{left:?}");
        }
    }
}
