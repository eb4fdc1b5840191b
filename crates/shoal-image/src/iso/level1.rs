//! Level 1 names (ECMA-119 §10.1): the only ones that every reader of ISO 9660 knows.
//!
//! Without version. Invariant: a name is 8.3 of upper-case letters, digits and underscores.

/// Names that differ in their number only, which takes the place of the stem's last characters.
const NUMBERS: std::ops::Range<u32> = 0..10_000;
const NUMBER_DIGITS: usize = 4;
const STEM_MAX: usize = 8;
const EXTENSION_MAX: usize = 3;

/// `recipe.json` is `RECIPE.JSO`: upper case, 8.3, anything but letters, digits and underscores
/// replaced.
pub fn level1_name(name: &str, is_dir: bool) -> Result<Vec<u8>, &'static str> {
    let clean = |text: &str, max: usize| -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(allowed).take(max).collect()
    };
    match name.rsplit_once('.').filter(|_| !is_dir) {
        Some(("", "")) => Err("a part of it is nothing but a dot"),
        Some((stem, "")) => Ok(clean(stem, STEM_MAX).into_bytes()),
        Some((stem, extension)) => {
            Ok(format!("{}.{}", clean(stem, STEM_MAX), clean(extension, EXTENSION_MAX)).into_bytes())
        }
        None => Ok(clean(name, STEM_MAX).into_bytes()),
    }
}

/// The same, but for one that is taken: `USER_DAT` is `USER0000` then.
pub fn unique_level1_name(
    name: &str,
    is_dir: bool,
    is_taken: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, &'static str> {
    let plain = level1_name(name, is_dir)?;
    if !is_taken(&plain) {
        return Ok(plain);
    }
    let stem_end = plain.iter().position(|byte| *byte == b'.').unwrap_or(plain.len());
    let (stem, extension) = plain.split_at(stem_end);
    let stem = &stem[..stem.len().min(STEM_MAX - NUMBER_DIGITS)];
    NUMBERS
        .map(|number| [stem, format!("{number:0NUMBER_DIGITS$}").as_bytes(), extension].concat())
        .find(|numbered| !is_taken(numbered))
        .ok_or("has the 8.3 name of too many other files")
}
