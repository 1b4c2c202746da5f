//! Spin's names in the form that Wharf's have: labels of lower-case letters, digits and hyphens.

use crate::name::{Digest, NAME_BYTES_MAX};

/// Hexadecimal digits that tell names apart that would be the same without.
const TAIL: usize = 8;

/// `text` as a label: itself where it is one, and otherwise one that no other text has.
pub(super) fn label(text: &str) -> String {
    let plain = plain(text);
    if plain == text && !text.is_empty() && text.len() <= NAME_BYTES_MAX {
        return plain;
    }
    let tail = &Digest::of(text.as_bytes()).to_string()[..TAIL];
    let head: String = plain.chars().take(NAME_BYTES_MAX - TAIL - 1).collect();
    let head = head.trim_end_matches('-');
    if head.is_empty() {
        return tail.to_owned();
    }
    format!("{head}-{tail}")
}

/// `text` as near to a label as it can be read: empty where nothing of it can.
pub(super) fn plain(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => label.push(c),
            _ if label.is_empty() || label.ends_with('-') => {}
            _ => label.push('-'),
        }
    }
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::StoreLabel;

    #[test]
    fn every_text_has_a_label_of_its_own() {
        assert_eq!(label("my-store"), "my-store");
        let others = [
            "my_store",
            "My-Store",
            "my store",
            "--",
            "",
            "ü",
            &"x".repeat(99),
        ];
        let labels = others.map(label);
        for (index, one) in labels.iter().enumerate() {
            assert!(one.parse::<StoreLabel>().is_ok(), "{one:?}");
            assert!(!labels[..index].contains(one), "{one:?}");
        }
        assert_eq!(plain("My Shop (v2)"), "my-shop-v2");
    }
}
