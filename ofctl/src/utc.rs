//! Times as text, in UTC: the date does not depend on where the user is.

/// A time in seconds since 1970 as date and time (UTC), with `between` between them: `2026-11-28T15:40:00`.
pub(crate) fn utc(seconds: u64, between: char) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the last one.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(utc(0, 'T'), "1970-01-01T00:00:00");
        assert_eq!(utc(951_782_400, 'T'), "2000-02-29T00:00:00");
        assert_eq!(utc(1_795_880_400 + 59, ' '), "2026-11-28 15:40:59");
        assert_eq!(utc(4_107_542_399, 'T'), "2100-02-28T23:59:59");
    }
}
