//! Short lists in order.
//!
//! The library's sorts are made for millions of elements and bring five to ten kilobytes of code for every type; what is
//! sorted here are the lines of a file, the nodes of a cluster, the entries of a directory. All of them together were a
//! twentieth of the program.

/// Sorts so that no element stands behind one that it `is_before`; equal ones stay in their order. Takes n²/4 steps: for
/// short lists, or nearly sorted ones.
pub(crate) fn sort<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && is_before(&items[at], &items[at - 1]) {
            items.swap(at, at - 1);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_library_and_stable() {
        let mut seed = 7_u32;
        for length in 0..40 {
            let mut draw = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                seed >> 28
            };
            let drawn: Vec<(u32, usize)> = (0..length).map(|place| (draw(), place)).collect();
            let mut expected = drawn.clone();
            expected.sort_by_key(|(value, _)| *value);
            let mut ours = drawn;
            sort(&mut ours, |(a, _), (b, _)| a < b);
            assert_eq!(ours, expected);
        }
    }
}
