//! Which virtual drives a job uses, and what goes into them. Pure.
//!
//! Invariant: a requested layout is used or refused, never replaced; only
//! without a request does the BMC's offer decide.

use crate::domain::MediaLayout;
use shoal_redfish::Slot;

/// The drives of one job.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub layout: MediaLayout,
    pub cd1: Slot,
    /// The second CD, or the USB stick.
    pub cd2: Option<Slot>,
}

/// Why a BMC's drives do not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFault {
    /// No drive takes the image of a CD.
    #[error("{0}")]
    NoDrive(String),
    /// The requested layout needs others.
    #[error("{0}")]
    NotOffered(String),
}

/// `wanted` is what the recipe or the settings ask for; `None`: two CDs where there are two. A USB
/// stick is used only on request: no installation from a BMC's has been seen.
pub fn choose(slots: Vec<Slot>, wanted: Option<MediaLayout>) -> Result<Chosen, LayoutFault> {
    let offered: Vec<String> =
        slots.iter().map(|slot| format!("{} {:?}", slot.id, slot.media_types)).collect();
    let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
    if wanted == Some(MediaLayout::CdUsb) && slots.iter().any(Slot::is_usable_cd) {
        return cd_and_stick(&slots).ok_or_else(|| {
            LayoutFault::NotOffered(format!(
                "media_layout cd-usb needs a virtual CD drive and, beside it, a virtual USB stick, and the BMC offers \
                 no such pair: use auto or single-cd; its virtual media: {offered}"
            ))
        });
    }
    let mut cds = slots.into_iter().filter(Slot::is_usable_cd);
    let cd1 = cds.next().ok_or_else(|| {
        LayoutFault::NoDrive(format!(
            "the job needs a virtual CD drive and the BMC offers none; its virtual media: {offered}"
        ))
    })?;
    match (wanted, cds.next()) {
        (None, Some(cd2)) if cd2.refusing => Ok(Chosen { layout: MediaLayout::SingleCd, cd1, cd2: None }),
        (Some(MediaLayout::SingleCd), _) | (None, None) => {
            Ok(Chosen { layout: MediaLayout::SingleCd, cd1, cd2: None })
        }
        (_, Some(cd2)) => Ok(Chosen { layout: MediaLayout::DualCd, cd1, cd2: Some(cd2) }),
        (Some(_), None) => Err(LayoutFault::NotOffered(format!(
            "media_layout dual-cd needs two virtual CD drives and the BMC offers one: use auto or single-cd; its \
             virtual media: {offered}"
        ))),
    }
}

/// The first CD drive beside which there is a USB stick; of the sticks one that is nothing else, if
/// there is one, because a slot for both shows its host what it takes the image for.
fn cd_and_stick(slots: &[Slot]) -> Option<Chosen> {
    let sticks = || slots.iter().enumerate().filter(|(_, slot)| slot.is_usable_stick());
    let mut cds = slots.iter().enumerate().filter(|(_, slot)| slot.is_usable_cd());
    let (cd1, stick) = cds.find_map(|(cd, cd1)| {
        let others = || sticks().filter(|(number, _)| *number != cd).map(|(_, stick)| stick);
        let stick = others().find(|stick| !stick.takes_cd()).or_else(|| others().next())?;
        Some((cd1, stick))
    })?;
    Some(Chosen { layout: MediaLayout::CdUsb, cd1: cd1.clone(), cd2: Some(stick.clone()) })
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
            (Err(found), Err(part)) => assert!(found.to_string().contains(part), "{found}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn the_offer_decides_without_a_request() {
        let (stick, cd, dvd) = (slot("1", &["Floppy", "USBStick"]), slot("2", &["CD"]), slot("3", &["DVD"]));
        check(&[stick.clone(), cd.clone()], None, Ok(&["2"]));
        check(&[stick.clone(), cd.clone(), dvd], None, Ok(&["2", "3"]));
        check(&[stick], None, Err("offers none; its virtual media: 1"));
        check(&[], None, Err("its virtual media: none"));
        let mut refusing = slot("4", &["CD"]);
        refusing.refusing = true;
        check(&[cd.clone(), refusing.clone()], None, Ok(&["2"]));
        check(&[cd.clone(), refusing], Some(MediaLayout::DualCd), Ok(&["2", "4"]));
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

    #[test]
    fn a_stick_is_another_slot_than_the_cd() {
        let usb = Some(MediaLayout::CdUsb);
        let (stick, cd) = (slot("1", &["Floppy", "USBStick"]), slot("2", &["CD", "DVD"]));
        check(&[stick.clone(), cd.clone()], usb, Ok(&["2", "1"]));
        let (both, other) = (slot("3", &["CD", "USBStick"]), slot("4", &["CD", "USBStick"]));
        check(&[both.clone(), other.clone()], usb, Ok(&["3", "4"]));
        check(&[both.clone(), other, stick.clone()], usb, Ok(&["3", "1"]));
        check(&[both.clone(), cd.clone()], usb, Ok(&["2", "3"]));
        check(&[both], usb, Err("no such pair"));
        check(&[cd, slot("Remote1", &["Floppy"])], usb, Err("use auto or single-cd; its virtual media: 2"));
        check(&[stick], usb, Err("offers none"));
    }
}
