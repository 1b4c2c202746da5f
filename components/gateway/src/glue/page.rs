//! Serves the page's files.

use std::borrow::Cow;

use crate::assets::{Asset, CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use crate::glue::answer::Answer;
use crate::glue::exchange::Request;
use crate::range;

/// The file, or 304 when the browser has it.
pub fn answer(request: &Request, asset: &'static Asset) -> Answer {
    let etag = asset.etag();
    let current = request
        .header("if-none-match")
        .is_some_and(|tags| range::matches_etag(&tags, &etag));
    let answer = if current {
        Answer::empty(304)
    } else {
        Answer {
            body: Cow::Borrowed(asset.content),
            ..Answer::empty(200).with("content-type", asset.media_type)
        }
    };
    answer
        .with("etag", etag)
        .with("cache-control", CACHE_CONTROL)
        .with("content-security-policy", CONTENT_SECURITY_POLICY)
}
