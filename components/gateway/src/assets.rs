//! The page's files, compiled into the component, and the headers that they are served with.
//!
//! Nothing is read at run time. An entity tag is a digest of the content, computed while compiling,
//! so that a browser that has the current file is told so without being sent it again.

/// What the page may do: load itself, talk to its own origin and play what it fetched. No inline
/// script or style, no frame, no other host.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; media-src 'self' blob:; frame-ancestors 'none'; \
     base-uri 'none'; form-action 'self'";

/// Names carry no version, so a browser asks each time; the entity tag makes that cheap.
pub const CACHE_CONTROL: &str = "no-cache";

/// One file of the page.
#[derive(Debug, PartialEq)]
pub struct Asset {
    /// The path that it is served under.
    pub path: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// The file.
    pub content: &'static [u8],
    /// A digest of `content`.
    digest: u64,
}

impl Asset {
    const fn new(path: &'static str, media_type: &'static str, content: &'static [u8]) -> Self {
        Self {
            path,
            media_type,
            content,
            digest: fnv1a(content),
        }
    }

    /// The strong entity tag, with its quotes.
    pub fn etag(&self) -> String {
        format!("\"{:016x}\"", self.digest)
    }
}

static ASSETS: [Asset; 6] = [
    Asset::new(
        "/",
        "text/html; charset=utf-8",
        include_bytes!("../page/index.html"),
    ),
    Asset::new(
        "/app.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../page/app.js"),
    ),
    Asset::new(
        "/row.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../page/row.js"),
    ),
    Asset::new(
        "/server.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../page/server.js"),
    ),
    Asset::new(
        "/style.css",
        "text/css; charset=utf-8",
        include_bytes!("../page/style.css"),
    ),
    Asset::new(
        "/favicon.svg",
        "image/svg+xml",
        include_bytes!("../page/favicon.svg"),
    ),
];

/// Gives the file that is served under `path`.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// FNV-1a with 64 bits (RFC 9923). It tells versions of our own files apart; nothing hostile chooses
/// them.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < bytes.len() {
        digest ^= bytes[index] as u64;
        digest = digest.wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn the_page_obeys_its_own_policy() {
        let page = find("/").expect("the page is an asset");
        let html = std::str::from_utf8(page.content).expect("the page is UTF-8");
        assert!(!html.contains("style=\""), "inline style");
        assert!(!html.contains(" onclick="), "inline handler");
        assert_eq!(html.matches("<script").count(), 1);
        for asset in ASSETS.iter().filter(|asset| asset.path != "/") {
            let name = asset.path;
            assert!(html.contains(name), "{name} is not used");
        }
    }

    #[test]
    fn files_have_different_tags() {
        let tags: Vec<_> = ASSETS.iter().map(Asset::etag).collect();
        for (index, tag) in tags.iter().enumerate() {
            assert!(!tags[index + 1..].contains(tag));
        }
    }
}
