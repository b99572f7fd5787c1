//! Numbers as a person wants to read them.

/// A number with the three digits that mean something: `0.619`, `18.8`, `28,600`.
pub(super) fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if magnitude < 2 {
        let decimals = (2 - magnitude).min(6) as usize;
        return format!("{value:.decimals$}");
    }
    let unit = 10f64.powi(magnitude - 2);
    count((value / unit).round() * unit)
}

/// A whole number with all its digits: `135,798`.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.6189, "0.619"),
            (0.0421, "0.0421"),
            (18.84, "18.8"),
            (100.4, "100"),
            (28_649.0, "28,600"),
            (1_234_567.0, "1,230,000"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn counts_show_all_digits() {
        assert_eq!(count(135_798.0), "135,798");
        assert_eq!(count(7.0), "7");
    }
}
