//! Which bytes a `Range` header asks for (RFC 9110, 14).

use std::ops::Range;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: the header says something else, or more than one range.
    Whole,
    /// Some of it.
    Part(Range<u64>),
    /// Bytes that there are not.
    Nothing,
}

/// Reads the header for something of `size` bytes.
pub(super) fn parse(header: &str, size: u64) -> Wanted {
    let Some(range) = header.trim().strip_prefix("bytes=").map(str::trim) else { return Wanted::Whole };
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else { return Wanted::Whole };
    match (number(first), number(last)) {
        (Number::Is(first), last) => {
            let end = match last {
                Number::Is(last) if last < first => return Wanted::Whole,
                Number::Is(last) => size.min(last.saturating_add(1)),
                Number::Missing => size,
                Number::Broken => return Wanted::Whole,
            };
            if first < size { Wanted::Part(first..end) } else { Wanted::Nothing }
        }
        (Number::Missing, Number::Is(count)) => {
            if count == 0 || size == 0 {
                Wanted::Nothing
            } else {
                Wanted::Part(size.saturating_sub(count)..size)
            }
        }
        _ => Wanted::Whole,
    }
}

enum Number {
    Is(u64),
    Missing,
    Broken,
}

fn number(text: &str) -> Number {
    match text.trim() {
        "" => Number::Missing,
        // Longer ones are larger than any file.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Number::Is(digits.parse().unwrap_or(u64::MAX)),
        _ => Number::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_what_the_standard_says() {
        assert_eq!(parse("bytes=0-0", 10), Wanted::Part(0..1));
        assert_eq!(parse("bytes=2-", 10), Wanted::Part(2..10));
        assert_eq!(parse("bytes=-3", 10), Wanted::Part(7..10));
        assert_eq!(parse("bytes=-99", 10), Wanted::Part(0..10));
        assert_eq!(parse("bytes=5-99999999999999999999999", 10), Wanted::Part(5..10));
        assert_eq!(parse("bytes=10-", 10), Wanted::Nothing);
        assert_eq!(parse("bytes=-0", 10), Wanted::Nothing);
        assert_eq!(parse("bytes=0-", 0), Wanted::Nothing);
        for odd in ["bytes=5-2", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "", "bytes=1-x"] {
            assert_eq!(parse(odd, 10), Wanted::Whole, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_lies_within(header in "bytes=[0-9]{0,3}-[0-9]{0,3}", size in 0_u64..200) {
            if let Wanted::Part(part) = parse(&header, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
