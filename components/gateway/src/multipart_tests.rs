//! The reader against bodies cut at every place, and against what is not a form.

use super::*;

#[derive(Debug, Default, PartialEq, Clone)]
struct Part {
    head: String,
    data: Vec<u8>,
    ended: bool,
}

/// Feeds `body` in pieces of `size` bytes.
fn read(body: &[u8], size: usize) -> Result<Vec<Part>, FormatError> {
    let mut reader = Reader::new("multipart/form-data; boundary=XyZ")?;
    let mut parts: Vec<Part> = Vec::new();
    for piece in body.chunks(size) {
        reader.feed(piece, |event| {
            match event {
                Event::Head(head) => parts.push(Part {
                    head: String::from_utf8_lossy(head).into_owned(),
                    ..Part::default()
                }),
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    let part = parts.last_mut().expect("data follows a head");
                    part.data.extend_from_slice(data);
                }
                Event::End => parts.last_mut().expect("an end follows a head").ended = true,
            }
            Ok::<(), FormatError>(())
        })?;
    }
    reader.finish().map(|()| parts)
}

fn part(head: &str, data: &[u8]) -> Part {
    Part {
        head: head.to_owned(),
        data: data.to_vec(),
        ended: true,
    }
}

/// Asserts that the parts are the same however the body is cut.
fn assert_parts(body: &[u8], expected: &[Part]) {
    for size in 1..=body.len() {
        assert_eq!(
            read(body, size).as_deref(),
            Ok(expected),
            "in pieces of {size}"
        );
    }
}

#[test]
fn one_file_is_read_however_the_body_is_cut() {
    let body =
        b"--XyZ\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhello\r\n--XyZ--\r\n";
    assert_parts(
        body,
        &[part(
            "Content-Disposition: form-data; name=\"file\"",
            b"hello",
        )],
    );
}

#[test]
fn preamble_padding_and_epilogue_are_dropped() {
    let body =
        b"read me\r\n--XyZ \t\r\na: b\r\n\r\none\r\n--XyZ\r\nc: d\r\n\r\ntwo\r\n--XyZ--\r\nbye";
    assert_parts(body, &[part("a: b", b"one"), part("c: d", b"two")]);
}

#[test]
fn content_that_looks_like_a_boundary_is_content() {
    let data = b"\r\n--Xy\r\r\n\r\n--XyZA\r\n--XyZ-\r\n-\r\n--XyZ -- x\r\n";
    let mut body = b"--XyZ\r\nh: 1\r\n\r\n".to_vec();
    body.extend_from_slice(data);
    body.extend_from_slice(b"\r\n--XyZ--");
    assert_parts(&body, &[part("h: 1", data)]);
}

#[test]
fn empty_parts_and_missing_headers_are_read() {
    assert_parts(b"--XyZ\r\nh: 1\r\n\r\n\r\n--XyZ--", &[part("h: 1", b"")]);
    assert_parts(b"--XyZ\r\n\r\nx\r\n--XyZ--", &[part("", b"x")]);
    assert_parts(b"--XyZ--\r\n", &[]);
}

#[test]
fn binary_content_survives_at_every_cut() {
    let data: Vec<u8> = (0..700_u32)
        .map(|n| [13, 10, 45, 88][n as usize % 4] ^ (n / 97) as u8)
        .collect();
    let mut body = b"--XyZ\r\nh: 1\r\n\r\n".to_vec();
    body.extend_from_slice(&data);
    body.extend_from_slice(b"\r\n--XyZ--\r\n");
    for size in [1, 2, 3, 5, 7, 11, 64, 4096] {
        assert_eq!(read(&body, size), Ok(vec![part("h: 1", &data)]));
    }
}

#[test]
fn a_body_that_stops_anywhere_is_incomplete() {
    let body = b"--XyZ\r\nh: 1\r\n\r\nhello\r\n--XyZ--";
    for end in 0..body.len() {
        assert_eq!(
            read(&body[..end], 4),
            Err(FormatError::EndedEarly),
            "cut at {end}"
        );
    }
    assert!(read(body, 4).is_ok());
}

#[test]
fn what_is_held_back_is_bounded() {
    let long_head = [b"--XyZ\r\n".as_slice(), &[b'h'; HEAD_BYTES_MAX + 10]].concat();
    assert_eq!(read(&long_head, 100), Err(FormatError::HeadTooLong));
    let preamble = vec![b'x'; FILLER_BYTES_MAX + 10];
    assert_eq!(read(&preamble, 100), Err(FormatError::TooMuchFiller));
    let padding = [b"--XyZ".as_slice(), &[b' '; FILLER_BYTES_MAX + 10]].concat();
    assert_eq!(read(&padding, 100), Err(FormatError::TooMuchFiller));
    let epilogue = [b"--XyZ--".as_slice(), &[b'x'; FILLER_BYTES_MAX + 10]].concat();
    assert_eq!(read(&epilogue, 100), Err(FormatError::TooMuchFiller));

    let mut reader = Reader::new("multipart/form-data; boundary=XyZ").expect("a boundary");
    reader
        .feed::<FormatError>(b"--XyZ\r\nh: 1\r\n\r\n", |_| Ok(()))
        .expect("a head");
    for _ in 0..100 {
        reader
            .feed::<FormatError>(&[b'\r'; 1000], |_| Ok(()))
            .expect("content");
        assert!(reader.pending.len() < reader.delimiter.len());
    }
}

#[test]
fn a_callback_that_fails_stops_the_reading() {
    #[derive(Debug, PartialEq)]
    struct Stop;
    impl From<FormatError> for Stop {
        fn from(_: FormatError) -> Self {
            Self
        }
    }
    let mut reader = Reader::new("multipart/form-data; boundary=XyZ").expect("a boundary");
    let outcome = reader.feed(b"--XyZ\r\nh: 1\r\n\r\nx\r\n--XyZ--", |_| Err(Stop));
    assert_eq!(outcome, Err(Stop));
}

#[test]
fn boundaries_come_quoted_or_plain() {
    for accepted in [
        "multipart/form-data; boundary=XyZ",
        "Multipart/Form-Data;charset=utf-8; Boundary=\"XyZ\"",
        "multipart/form-data; boundary=----WebKitFormBoundaryAbC",
    ] {
        assert!(Reader::new(accepted).is_ok(), "{accepted}");
    }
    for refused in [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=XyZ",
        "application/json; boundary=XyZ",
        "multipart/form-data; boundary=\"XyZ",
    ] {
        assert_eq!(
            Reader::new(refused).err(),
            Some(FormatError::NotMultipart),
            "{refused}"
        );
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    assert!(Reader::new(&long).is_err());
}

#[test]
fn parameters_are_unquoted() {
    let header = r#"form-data; name="file"; filename="say \"hi\"; C:\x\\y.mp4"; other"#;
    assert_eq!(parameter(header, "name").as_deref(), Some("file"));
    assert_eq!(
        parameter(header, "FILENAME").as_deref(),
        Some(r#"say "hi"; C:\x\y.mp4"#)
    );
    assert_eq!(parameter(header, "other"), None);
    assert_eq!(parameter("a; b=c", "b").as_deref(), Some("c"));
    assert_eq!(parameter("a=\"open", "a"), None);
}
