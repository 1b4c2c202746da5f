//! Reading on its own, by a document that has one value of each kind.

use std::path::Path;

use super::*;

raw_table! {
    /// One of each.
    pub struct Sample {
        required {
            /// A text.
            name: String,
        }
        optional {
            /// A flag.
            flag: bool,
            /// A number.
            number: u64,
            /// A size.
            size: Size,
            /// A time.
            span: Span,
            /// A list.
            list: Vec<Located<String>>,
            /// A map.
            map: Map<String, u64>,
        }
    }
}

fn read(text: &str) -> Result<Sample, String> {
    let mut report = Report::new(Path::new("sample.toml"), text);
    let sample = report.read::<Sample>(text);
    let sample = report
        .finish(sample)
        .map_err(|problems| problems.to_string())?;
    Ok(sample.0)
}

/// The one problem of `line`, after a name that is right.
fn problem(line: &str) -> String {
    let problems = read(&format!("name = \"x\"\n{line}\n")).expect_err(line);
    assert_eq!(problems.matches("\n    fix: ").count(), 1, "{problems}");
    problems
}

#[test]
fn values_know_where_they_were_written() {
    let sample = read(
        "name = \"x\"\nflag = true\nnumber = 0x1_0\nsize = \"1.5KiB\"\nspan = \"1m 30s\"\n\
         list = [\n\"a\",\n\"b\"]\n[map]\n\"a b\" = 1\n",
    )
    .unwrap();
    let flag = sample.flag.unwrap();
    assert!(flag.value);
    assert_eq!(sample.name.unwrap().value, "x");
    assert_eq!((flag.at.key.as_str(), flag.at.line), ("flag", Some(2)));
    assert_eq!(sample.number.unwrap().value, 16);
    assert_eq!(sample.size.unwrap().value, Size(1536));
    assert_eq!(sample.span.unwrap().value.0.as_secs(), 90);
    let list = sample.list.unwrap().value;
    assert_eq!(
        (list[1].at.key.as_str(), list[1].at.line),
        ("list[1]", Some(8))
    );
    let (key, value) = &sample.map.unwrap().value.0[0];
    assert_eq!(
        (key.at.key.as_str(), key.at.line),
        ("map.\"a b\"", Some(10))
    );
    assert_eq!(*value, Some(1));
}

#[test]
fn sizes_and_times_are_read_with_their_units() {
    for (size, bytes) in [
        ("7", 7),
        ("\"7\"", 7),
        ("\"2 kB\"", 2000),
        ("\"4GiB\"", 4 << 30),
    ] {
        let sample = read(&format!("name = \"x\"\nsize = {size}")).unwrap();
        assert_eq!(sample.size.unwrap().value, Size(bytes), "{size}");
    }
    for (span, ms) in [
        ("500ms", 500),
        ("30s", 30_000),
        ("6h", 21_600_000),
        ("0s", 0),
    ] {
        let sample = read(&format!("name = \"x\"\nspan = {span:?}")).unwrap();
        assert_eq!(sample.span.unwrap().value.0.as_millis(), ms, "{span}");
    }
}

#[test]
fn a_wrong_value_is_reported_with_what_would_be_right() {
    for (line, what, fix) in [
        (
            "flag = 1",
            "flag: must be true or false, but is an integer",
            "write true or false",
        ),
        ("flag = \"true\"", "but is a string", "write true or false"),
        (
            "number = \"1\"",
            "must be a whole number, but is a string",
            "write a whole number",
        ),
        ("number = 1.5", "but is a float", "write a whole number"),
        ("number = true", "but is a boolean", "write a whole number"),
        (
            "number = 2020-01-01",
            "but is a date or time",
            "write a whole number",
        ),
        (
            "number = -1",
            "-1 is out of range",
            "write a number from 0 up",
        ),
        ("size = true", "must be a size", "write a size"),
        ("size = \"much\"", "\"much\" is not a size", "\"64MiB\""),
        ("size = \"-1MiB\"", "is not a size", "\"64MiB\""),
        ("size = \"\"", "is not a size", "\"64MiB\""),
        (
            "span = 30",
            "must be a time with its unit",
            "write a time with its unit",
        ),
        ("span = \"30\"", "\"30\" is not a time", "\"500ms\""),
        ("span = \"\"", "is not a time", "\"500ms\""),
        (
            "span = \"2years\"",
            "\"2years\" is too long",
            "a year at most",
        ),
        (
            "list = {}",
            "must be an array, but is a table",
            "write an array",
        ),
        (
            "list = [1]",
            "list[0]: must be a string, but is an integer",
            "put it in quotes",
        ),
        (
            "list = [[]]",
            "list[0]: must be a string, but is an array",
            "write a string",
        ),
        (
            "map = []",
            "map: must be a table, but is an array",
            "write a table",
        ),
        (
            "map.a = \"1\"",
            "map.a: must be a whole number",
            "write a whole number",
        ),
        (
            "sizes = 1",
            "sizes: unknown key",
            "did you mean size? Known here: name, flag",
        ),
        (
            "colour = 1",
            "colour: unknown key",
            "use one of: name, flag",
        ),
    ] {
        let problem = problem(line);
        assert!(problem.starts_with("sample.toml:2: "), "{problem}");
        assert!(
            problem.contains(what) && problem.contains(fix),
            "{line}: {problem}"
        );
    }
}

#[test]
fn a_missing_key_is_reported_where_its_table_is() {
    assert_eq!(
        read("").unwrap_err(),
        "sample.toml: name: missing\n    fix: add name"
    );
}

#[test]
fn every_syntax_error_is_reported() {
    let problems = read("name = \nflag = true\nnumber = = 1\n").unwrap_err();
    assert!(
        problems.contains("sample.toml:1: not valid TOML: "),
        "{problems}"
    );
    assert!(
        problems.contains("sample.toml:3: not valid TOML: "),
        "{problems}"
    );
    assert!(!problems.contains("missing"), "{problems}");
    let twice = read("name = \"x\"\nname = \"y\"\n").unwrap_err();
    assert!(
        twice.contains("sample.toml:2: not valid TOML: duplicate key"),
        "{twice}"
    );
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let mut report = Report::new(Path::new("x"), "");
    let at = At {
        key: "k".to_owned(),
        line: None,
    };
    report.unknown(&at, "unknown", "a", &[]);
    let problems = report.finish(Some(())).unwrap_err();
    assert_eq!(problems.iter().count(), 1);
    assert_eq!(
        problems.to_string(),
        "x: k: unknown\n    fix: remove it; nothing is known here"
    );
}

#[test]
fn quantities_have_bounds_and_defaults() {
    let mut report = Report::new(Path::new("x"), "");
    fn field<T>(value: T) -> Located<T> {
        Located {
            value,
            at: At {
                key: "k".to_owned(),
                line: None,
            },
        }
    }
    assert_eq!(report.count(None, 7_u32), 7);
    assert_eq!(report.count(Some(&field(9)), 7_u32), 9);
    assert_eq!(report.size(None, 7_usize), 7);
    assert_eq!(report.size(Some(&field(Size(9))), 7_usize), 9);
    let (least, default) = (SPAN_MIN, SPAN_MIN * 5);
    assert_eq!(report.span(None, least, default), default);
    assert_eq!(
        report.span(Some(&field(Span(SPAN_MIN))), least, default),
        SPAN_MIN
    );

    assert_eq!(report.count(Some(&field(0)), 7_u32), 7);
    assert_eq!(report.count(Some(&field(u64::MAX)), 7_u32), 7);
    assert_eq!(report.size(Some(&field(Size(0))), 7_u32), 7);
    assert_eq!(
        report.span(Some(&field(Span(SPAN_MIN / 2))), least, default),
        default
    );
    let problems = report.finish(Some(())).unwrap_err().to_string();
    let expected = [
        "x: k: must be at least 1\n    fix: write 1 or more, or leave it out",
        "x: k: 18446744073709551615 is too large\n    fix: write a smaller number",
        "x: k: must be more than 0 bytes\n    fix: write a size, or leave it out",
        "x: k: must be at least 1ms\n    fix: write \"1ms\" or more, or leave it out",
    ];
    assert_eq!(problems, expected.join("\n"));
}
