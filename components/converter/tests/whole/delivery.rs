//! A message's life: progress, redelivery, what is gone, what is broken, and attempts that end
//! without a word.

use std::sync::Arc;

use converter::failure::{ConvertError, Failure};
use converter::job::{self, Outcome};

use crate::support::{Clip, JOB, Memory};

fn clip() -> Clip {
    Clip::new(44_100, 2, 44_100 * 3)
}

#[test]
fn progress_begins_at_nothing_and_rises_with_the_clock() {
    let memory = Memory::with_upload(clip().wav());
    // Every look at the clock is a second later than the one before.
    memory.step_ms.set(1000);
    memory.run("a.wav").unwrap();
    let progress = memory.messages("media.progress");
    let values: Vec<f64> = progress
        .iter()
        .map(|body| body["progress"].as_f64().unwrap())
        .collect();
    assert_eq!(values[0], 0.0);
    assert!(
        values.len() > 5 && values.is_sorted() && values.iter().all(|v| (0.0..=1.0).contains(v)),
        "{values:?}"
    );
    assert_eq!(
        (progress[0]["job"].as_str(), progress[0]["user"].as_str()),
        (Some(JOB), Some("ab12"))
    );
    assert_eq!(
        memory.published.borrow().last().unwrap().0,
        "media.converted"
    );
}

#[test]
fn a_slow_clock_hears_less() {
    let memory = Memory::with_upload(clip().wav());
    memory.run("a.wav").unwrap();
    assert_eq!(memory.messages("media.progress").len(), 1);
}

#[test]
fn a_second_delivery_announces_the_same_result() {
    let memory = Memory::with_upload(clip().wav());
    memory.run("a.wav").unwrap();
    let first = memory.mp3();
    assert_eq!(memory.run("a.wav").unwrap(), Outcome::Converted);
    assert_eq!(memory.mp3(), first);
    let converted = memory.messages("media.converted");
    assert_eq!(converted.len(), 2);
    assert_eq!(converted[0], converted[1]);
    assert_eq!(
        memory.messages("media.progress").len(),
        1,
        "nothing is converted twice"
    );
    // The gateway removes the upload once it has heard; the result still counts.
    memory.uploads.borrow_mut().clear();
    assert_eq!(memory.run("a.wav").unwrap(), Outcome::Converted);
}

#[test]
fn a_conversion_that_was_interrupted_starts_over() {
    let memory = Memory::with_upload(clip().wav());
    memory
        .results
        .borrow_mut()
        .insert(format!("{JOB}.part"), Arc::new(vec![1, 2, 3]));
    memory
        .results
        .borrow_mut()
        .insert(format!("{JOB}.attempts"), Arc::new(b"3".to_vec()));
    assert_eq!(memory.run("a.wav").unwrap(), Outcome::Converted);
    assert!(memory.mp3().len() > 1000);
}

#[test]
fn a_file_that_ends_every_attempt_fails_in_the_end() {
    let memory = Memory::with_upload(clip().wav());
    memory
        .results
        .borrow_mut()
        .insert(format!("{JOB}.attempts"), Arc::new(b"4".to_vec()));
    assert_eq!(
        memory.run("a.wav").unwrap(),
        Outcome::Failed(Failure::Interrupted)
    );
    assert_eq!(memory.messages("media.failed").len(), 1);
    assert!(memory.results.borrow().is_empty());
}

#[test]
fn an_upload_that_is_gone_is_nothing_to_do() {
    let memory = Memory::default();
    assert!(matches!(memory.run("a.wav").unwrap(), Outcome::Nothing(_)));
    assert!(memory.published.borrow().is_empty());
}

#[test]
fn a_store_that_fails_is_tried_again() {
    for writes in 0..3 {
        let memory = Memory::with_upload(clip().wav());
        memory.writes_left.set(Some(writes));
        let error = memory.run("a.wav").unwrap_err();
        assert!(
            matches!(&error, ConvertError::Storage(e) if e.reason == "the disk is full"),
            "{error}"
        );
        assert!(memory.messages("media.failed").is_empty());
        assert!(!memory.results.borrow().contains_key(&format!("{JOB}.mp3")));
        memory.writes_left.set(None);
        assert_eq!(memory.run("a.wav").unwrap(), Outcome::Converted);
        memory.mp3();
    }
}

#[test]
fn a_store_that_cannot_be_read_is_tried_again() {
    for name in ["a.wav", "a.m4a"] {
        let file = if name == "a.wav" {
            clip().wav()
        } else {
            clip().packed(name, "-c:a alac")
        };
        for fetches in [0, 1, 2, 3] {
            let memory = Memory::with_upload(file.clone());
            memory.reads_left.set(Some(fetches));
            let outcome = memory.run(name);
            assert!(
                matches!(outcome, Err(ConvertError::Storage(_))),
                "{name} {fetches}: {outcome:?}"
            );
            assert!(memory.messages("media.failed").is_empty());
        }
    }
}

#[test]
fn messages_that_are_not_ours_are_dropped() {
    for body in [
        "",
        "[]",
        r#"{"job":"ab","user":"cd","name":"x"}"#,
        r#"{"job":"../ab","user":"cd","name":"x","blob":"ab"}"#,
        r#"{"job":"ab","user":"cd","name":"x","blob":"a/b"}"#,
        r#"{"job":"","user":"cd","name":"x","blob":"ab"}"#,
    ] {
        assert!(job::parse(body.as_bytes()).is_none(), "{body}");
    }
}
