//! What the upload form may hold: exactly one file, in the field `file`.
//!
//! Reads a part's head; pure. The bytes are [`crate::multipart`]'s, where they go is the glue's.

use crate::filename;
use crate::multipart::{FormatError, parameter};

/// The only field of the form.
const FIELD: &str = "file";

/// Why a form that is well made is not an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The form itself is broken.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No part, a second one, another field, or a field that is not a file.
    #[error("Send exactly one file, in the form field 'file'.")]
    NotOneFile,
}

/// Follows the parts of one form.
#[derive(Debug, Default)]
pub struct Form {
    name: Option<String>,
}

impl Form {
    /// Takes the head of the next part. Fails on anything but the first file in the right field.
    pub fn begin_part(&mut self, head: &[u8]) -> Result<(), FormError> {
        let (field, file) = read_head(head)?;
        match (field.as_str(), file) {
            (FIELD, Some(name)) if self.name.is_none() => {
                self.name = Some(filename::sanitize(&name));
                Ok(())
            }
            _ => Err(FormError::NotOneFile),
        }
    }

    /// Ends the form and gives the file's name, safe to show and to keep.
    pub fn finish(self) -> Result<String, FormError> {
        self.name.ok_or(FormError::NotOneFile)
    }
}

/// Gives the field's name and, for a file, its raw name.
fn read_head(head: &[u8]) -> Result<(String, Option<String>), FormatError> {
    let head = String::from_utf8_lossy(head);
    let disposition = head
        .split("\r\n")
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim()
                .eq_ignore_ascii_case("content-disposition")
                .then(|| value.trim())
        })
        .ok_or(FormatError::MalformedHead)?;
    let (kind, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FormatError::MalformedHead);
    }
    let field = parameter(parameters, "name").ok_or(FormatError::MalformedHead)?;
    let extended = parameter(parameters, "filename*")
        .as_deref()
        .and_then(filename::decode_extended);
    // Browsers write a quote in a name as %22 and escape nothing else that can be in a name
    // (HTML, "multipart/form-data encoding algorithm").
    let plain = || parameter(parameters, "filename").map(|name| name.replace("%22", "\""));
    Ok((field, extended.or_else(plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(disposition: &str) -> Result<String, FormError> {
        let mut form = Form::default();
        form.begin_part(format!("Content-Disposition: {disposition}").as_bytes())?;
        form.finish()
    }

    #[test]
    fn names_come_in_every_spelling() {
        for (disposition, name) in [
            (r#"form-data; name="file"; filename="a.mp4""#, "a.mp4"),
            ("form-data; name=file; filename=a.mp4", "a.mp4"),
            (
                r#"form-data; name="file"; filename="日本 é.mp4""#,
                "日本 é.mp4",
            ),
            (
                r#"form-data; name="file"; filename="say %22hi%22.mp4""#,
                "say \"hi\".mp4",
            ),
            (
                r#"form-data; name="file"; filename="say \"hi\".mp4""#,
                "say \"hi\".mp4",
            ),
            (
                r#"form-data; name="file"; filename="C:\tmp\a.mp4""#,
                "a.mp4",
            ),
            (r#"form-data; name="file"; filename="../../a.mp4""#, "a.mp4"),
            (r#"form-data; name="file"; filename="""#, "upload"),
            (
                r#"form-data; name="file"; filename="x.mp4"; filename*=UTF-8''na%C3%AFve.mp4"#,
                "naïve.mp4",
            ),
            (
                r#"form-data; name="file"; filename="x.mp4"; filename*=UTF-8''..%2F..%2Fb.mp4"#,
                "b.mp4",
            ),
            (
                r#"form-data; name="file"; filename="x.mp4"; filename*=broken"#,
                "x.mp4",
            ),
        ] {
            assert_eq!(name_of(disposition).as_deref(), Ok(name), "{disposition}");
        }
    }

    #[test]
    fn anything_but_one_file_is_refused() {
        assert_eq!(
            name_of(r#"form-data; name="other"; filename="a.mp4""#),
            Err(FormError::NotOneFile)
        );
        assert_eq!(
            name_of(r#"form-data; name="file""#),
            Err(FormError::NotOneFile)
        );
        assert_eq!(Form::default().finish(), Err(FormError::NotOneFile));

        let mut form = Form::default();
        let head = br#"Content-Disposition: form-data; name="file"; filename="a.mp4""#;
        assert_eq!(form.begin_part(head), Ok(()));
        assert_eq!(form.begin_part(head), Err(FormError::NotOneFile));
    }

    #[test]
    fn a_head_that_says_nothing_is_malformed() {
        let malformed = FormError::Format(FormatError::MalformedHead);
        assert_eq!(Form::default().begin_part(b""), Err(malformed));
        assert_eq!(
            Form::default().begin_part(b"Content-Type: video/mp4"),
            Err(malformed)
        );
        assert_eq!(name_of("attachment; name=\"file\""), Err(malformed));
        assert_eq!(name_of("form-data"), Err(malformed));
    }
}
