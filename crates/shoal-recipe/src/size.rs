//! Sizes as people write them: `480GB`, `447GiB`, `512M`.

/// Bytes of a number with an optional unit. `GB` is decimal, as on a disk's label; `G`, `Gi` and `GiB` are binary.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_uppercase();
    let Some(letter) = unit.chars().next() else { return Some(number) };
    let base: u64 = match &unit[letter.len_utf8()..] {
        "B" => 1000,
        "" | "I" | "IB" => 1024,
        _ => return None,
    };
    let power = "KMGTP".find(letter)? as u32 + 1;
    base.checked_pow(power)?.checked_mul(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_decimal_with_b_alone_and_binary_otherwise() {
        assert_eq!(parse_size("480GB"), Some(480_000_000_000));
        for text in ["2G", "2GiB", "2gi", "2048M", "2 GiB", "2147483648"] {
            assert_eq!(parse_size(text), Some(2 << 30), "{text}");
        }
        for text in ["", "GB", "-1G", "1.5T", "1X", "1GBs", "99999999P", "1é"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
