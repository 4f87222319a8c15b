//! Sorting by one function for all types. The standard library's is compiled anew for each type that is sorted, 4 KB of code
//! each time, and to collect a map or a set is to sort as well: that was a twentieth of the binary.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Like `slice::sort_by`: equals stay in their order.
pub fn by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let order = order(items.len(), &mut |a, b| compare(&items[a], &items[b]));
    arrange(order, &mut |a, b| items.swap(a, b));
}

/// Like `slice::sort_by_cached_key`: each key is made once.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl FnMut(&T) -> K) {
    let keys: Vec<K> = items.iter().map(key).collect();
    let order = order(keys.len(), &mut |a, b| keys[a].cmp(&keys[b]));
    arrange(order, &mut |a, b| items.swap(a, b));
}

/// Of two with the same key the last one stays, as with `collect`.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(entries);
    map
}

pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// For each place, which of the items belongs there.
fn order(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

/// Brings the items into that order, one circle of places after the other; a place that is done is its own item's.
fn arrange(mut order: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for first in 0..order.len() {
        let mut place = first;
        loop {
            let item = std::mem::replace(&mut order[place], place);
            if item == first {
                break;
            }
            swap(place, item);
            place = item;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The second of each pair tells equals apart.
        #[test]
        fn sorts_as_the_standard_library_does(keys in prop::collection::vec(0u8..9, 0..40)) {
            let mut expected: Vec<(u8, usize)> = keys.into_iter().zip(0..).collect();
            let (mut compared, mut keyed) = (expected.clone(), expected.clone());
            prop_assert_eq!(map(expected.clone()), expected.iter().copied().collect::<BTreeMap<_, _>>());
            expected.sort_by_key(|(key, _)| *key);
            by(&mut compared, |a, b| a.0.cmp(&b.0));
            by_key(&mut keyed, |(key, _)| *key);
            prop_assert_eq!(&compared, &expected);
            prop_assert_eq!(&keyed, &expected);
        }
    }
}
