//! What many measurements say together.

/// The middle of some values. None of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values = sorted(values);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The value that a share of the values, between 0 and 1, does not exceed (nearest rank). None of nothing.
pub(crate) fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> Option<f64> {
    let values = sorted(values);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied()
}

/// The least and the most of some values. None of nothing.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let values = sorted(values);
    Some((*values.first()?, *values.last()?))
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::{median, percentile, range};

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([4.0]), Some(4.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn percentiles() {
        let hundred = || (1..=100).rev().map(f64::from);
        assert_eq!(percentile([], 0.5), None);
        assert_eq!(percentile([7.0], 0.99), Some(7.0));
        assert_eq!(percentile(hundred(), 0.0), Some(1.0));
        assert_eq!(percentile(hundred(), 0.5), Some(50.0));
        assert_eq!(percentile(hundred(), 0.99), Some(99.0));
        assert_eq!(percentile(hundred(), 1.0), Some(100.0));
        assert_eq!(percentile([1.0, 2.0, 3.0], 0.5), Some(2.0));
    }

    #[test]
    fn ranges() {
        assert_eq!(range([]), None);
        assert_eq!(range([2.0, 3.0, 1.0]), Some((1.0, 3.0)));
    }
}
