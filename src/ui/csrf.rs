//! The CSRF token of a session, as the forms of its pages hold it.
//!
//! Invariant: in a page the token is masked anew each time, so that the size of a compressed answer does not reveal it
//! (BREACH).

use maud::{Markup, html};
use shoal_base::world::Rng;
use shoal_base::{hex, unhex};
use subtle::ConstantTimeEq as _;

pub const CSRF_FIELD: &str = "csrf";
pub const ONCE_FIELD: &str = "once";

/// The hidden fields of every form.
pub fn hidden(rng: &Rng, csrf: &str) -> Markup {
    html! {
        input type="hidden" name=(CSRF_FIELD) value=(masked(rng, csrf));
        input type="hidden" name=(ONCE_FIELD) value=(rng.hex(16));
    }
}

/// The token under a mask that is drawn for this one page.
pub fn masked(rng: &Rng, csrf: &str) -> String {
    let token = unhex(csrf).unwrap_or_default();
    let mut mask = vec![0; token.len()];
    rng.fill(&mut mask);
    let covered: Vec<u8> = mask.iter().zip(&token).map(|(mask, byte)| mask ^ byte).collect();
    hex(&mask) + &hex(&covered)
}

pub fn is_masked(shown: &str, csrf: &str) -> bool {
    let (Some(shown), Some(token)) = (unhex(shown), unhex(csrf)) else { return false };
    if token.is_empty() || shown.len() != 2 * token.len() {
        return false;
    }
    let (mask, covered) = shown.split_at(token.len());
    let bare: Vec<u8> = mask.iter().zip(covered).map(|(mask, byte)| mask ^ byte).collect();
    bare.ct_eq(&token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_another_one_each_time_and_comes_off() {
        let rng = Rng::from_seed(1);
        let csrf = rng.hex(16);
        let (first, second) = (masked(&rng, &csrf), masked(&rng, &csrf));
        assert_ne!(first, second);
        assert!(is_masked(&first, &csrf) && is_masked(&second, &csrf));
        let other = rng.hex(16);
        for bad in ["", "00", &csrf, &masked(&rng, &other), &first[2..], &first.replace(&first[..2], "zz")] {
            assert!(!is_masked(bad, &csrf), "{bad}");
        }
        assert!(!is_masked("", ""), "no token is not a token");
    }
}
