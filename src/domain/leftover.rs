//! What a decided job has left on its BMC so far, and what the next start of the host would boot. Pure.
//!
//! Nothing is looked at here: a thing counts as left until a look at the BMC has shown that it is gone.
//! Invariant: as long as the boot override and the installer may both be left, the reason of the job says that the
//! next start of the host installs.

use super::{Facts, Job, Outcome, PathFacts, Phase};

/// What has not been seen gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    /// The one-time boot override was armed by the job.
    pub armed: bool,
    /// Link of the slot with the boot medium: the installer, or the maintenance ISO.
    pub boot: Option<String>,
    boot_name: &'static str,
    /// Link of the slot with the task ISO, or of the USB stick.
    pub task: Option<String>,
}

impl Leftover {
    fn of(facts: &Facts) -> Leftover {
        let slot = |mount: &super::Mount| {
            mount.slot.clone().filter(|_| mount.insertions > 0 && mount.gone.is_none())
        };
        Leftover {
            armed: facts.override_armed,
            boot: slot(&facts.mounts.boot),
            boot_name: match facts.path {
                PathFacts::Esxi(_) => "the installer",
                PathFacts::Maintenance(_) => "the maintenance ISO",
            },
            task: slot(&facts.mounts.task),
        }
    }

    pub fn is_empty(&self) -> bool {
        !self.armed && self.boot.is_none() && self.task.is_none()
    }

    /// The slot that holds the boot medium, or the task ISO.
    pub fn slot(&self, boot: bool) -> Option<&str> {
        if boot { self.boot.as_deref() } else { self.task.as_deref() }
    }

    /// That the next start of the host installs, if it does.
    pub fn warning(&self) -> Option<String> {
        let slot = self.boot.as_ref().filter(|_| self.armed)?;
        Some(format!(
            "the next start of the host installs: the boot override has not been seen cleared, and {} has not \
             been seen ejected from {slot}",
            self.boot_name
        ))
    }

    /// What is left, a phrase each.
    pub fn items(&self) -> Vec<String> {
        let armed = self.armed.then(|| "the boot override has not been seen cleared".to_owned());
        let slot = |what: &str, slot: &Option<String>| {
            slot.as_ref().map(|slot| format!("{what} has not been seen ejected from {slot}"))
        };
        let media = [slot(self.boot_name, &self.boot), slot("the task ISO", &self.task)];
        armed.into_iter().chain(media.into_iter().flatten()).collect()
    }
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
                let also = left.task.as_ref().filter(|_| left.warning().is_some());
                let also = also.map(|slot| format!(", nor the task ISO from {slot}")).unwrap_or_default();
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
    use crate::domain::{EjectFacts, Mount, Mounts};

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
    fn the_boot_medium_has_the_name_of_its_path() {
        let linux = Facts { path: PathFacts::Maintenance(Box::default()), ..facts() };
        for (facts, name) in [(facts(), "the installer"), (linux, "the maintenance ISO")] {
            let left = Leftover::of(&facts);
            assert!(left.warning().is_some_and(|text| text.contains(name)), "{left:?}");
            assert!(left.items().iter().any(|item| item.starts_with(name)), "{left:?}");
        }
    }
}
