//! Which virtual drives a job uses, and what goes into them. Pure.
//!
//! Invariant: a layout that was asked for is used or refused, never exchanged for another; only
//! where nobody asked does the BMC's offer decide.

use crate::job::MediaLayout;
use crate::redfish::Slot;

/// The drives of one job.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub layout: MediaLayout,
    pub cd1: Slot,
    /// Only of [`MediaLayout::DualCd`].
    pub cd2: Option<Slot>,
}

/// `wanted` is what the recipe or the settings ask for; `None`: two CDs where there are two.
pub fn choose(slots: Vec<Slot>, wanted: Option<MediaLayout>) -> Result<Chosen, String> {
    let offered: Vec<String> =
        slots.iter().map(|slot| format!("{} {:?}", slot.id, slot.media_types)).collect();
    let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
    let mut cds = slots.into_iter().filter(Slot::is_usable_cd);
    let cd1 = cds.next().ok_or_else(|| {
        format!("the job needs a virtual CD drive and the BMC offers none; its virtual media: {offered}")
    })?;
    match (wanted, cds.next()) {
        (Some(MediaLayout::SingleCd), _) | (None, None) => {
            Ok(Chosen { layout: MediaLayout::SingleCd, cd1, cd2: None })
        }
        (_, Some(cd2)) => Ok(Chosen { layout: MediaLayout::DualCd, cd1, cd2: Some(cd2) }),
        (Some(MediaLayout::DualCd), None) => Err(format!(
            "media_layout dual-cd needs two virtual CD drives and the BMC offers one: use auto or single-cd; its \
             virtual media: {offered}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(id: &str, types: &[&str]) -> Slot {
        let media_types = types.iter().map(|kind| (*kind).to_owned()).collect();
        let mut slot = Slot::default();
        (slot.id, slot.media_types, slot.can_insert) = (id.to_owned(), media_types, true);
        slot
    }

    #[track_caller]
    fn check(slots: &[Slot], wanted: Option<MediaLayout>, expected: Result<&[&str], &str>) {
        let found = choose(slots.to_vec(), wanted).map(|chosen| {
            [Some(chosen.cd1), chosen.cd2].into_iter().flatten().map(|slot| slot.id).collect::<Vec<_>>()
        });
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn the_offer_decides_where_nobody_asks() {
        let (stick, cd, dvd) = (slot("1", &["Floppy", "USBStick"]), slot("2", &["CD"]), slot("3", &["DVD"]));
        check(&[stick.clone(), cd.clone()], None, Ok(&["2"]));
        check(&[stick.clone(), cd.clone(), dvd], None, Ok(&["2", "3"]));
        check(&[stick], None, Err("offers none; its virtual media: 1"));
        check(&[], None, Err("its virtual media: none"));
        let mut reserved = slot("RDOC1", &["CD"]);
        reserved.reserved = true;
        check(&[cd, reserved], None, Ok(&["2"]));
    }

    #[test]
    fn who_asks_gets_that_or_a_refusal() {
        let (a, b) = (slot("A", &["CD"]), slot("B", &["CD"]));
        check(&[a.clone(), b], Some(MediaLayout::SingleCd), Ok(&["A"]));
        check(&[a], Some(MediaLayout::DualCd), Err("use auto or single-cd"));
    }
}
